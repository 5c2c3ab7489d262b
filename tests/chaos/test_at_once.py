"""Eight processes and more renew the same subscriptions at once, and nothing keeps them apart."""

from __future__ import annotations

import pytest
from chaos.at_once import Plan, open_at_once, report
from chaos.crew import Crew


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_eight_processes_at_once_place_one_order_for_each_period(crew: Crew) -> None:
    plan = Plan(subscriptions=24, days=2, sweeps=1, seed=3)
    async with open_at_once(crew, plan) as everyone:
        findings, tally = await everyone.live()
    print(report(findings, tally, plan))
    assert findings.is_clean, findings.complaints
    assert findings.renewals >= 40
    assert findings.surplus > 0
    assert sum(tally.faults.values()) > 20
    assert tally.kills
