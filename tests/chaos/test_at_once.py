"""Eight processes and more renew the same subscriptions at once, and nothing coordinates them."""

from __future__ import annotations

from pathlib import Path

import pytest
from chaos.at_once import Plan, open_at_once, report
from chaos.crew import Crew
from chaos.own_prefect import OwnPrefect
from prefect.settings import PREFECT_API_URL, temporary_settings


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


@pytest.mark.chaos
@pytest.mark.timeout(3600)
async def test_three_thousand_renewals_by_eight_processes_at_once(crew: Crew, tmp_path: Path) -> None:
    plan = Plan(subscriptions=250, days=13)
    with OwnPrefect(tmp_path, keeps_books=False) as prefect, temporary_settings({PREFECT_API_URL: prefect.api_url}):
        async with open_at_once(crew, plan, prefect) as everyone:
            findings, tally = await everyone.live()
    print(report(findings, tally, plan))
    assert findings.is_clean, findings.complaints
    assert findings.renewals >= 3000
