"""Eight processes and more renew the same subscriptions at once, and nothing keeps them apart."""

from __future__ import annotations

import pytest
from chaos.at_once import Plan, open_at_once, report
from chaos.crew import Crew
from records import events


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


LATE = {"action": "late", "seconds": 4, "stamp": "arrival", "answer": "at_once", "method": "POST"}
STALE = Plan(
    subscriptions=20,
    days=1,
    sweeps=1,
    list_lag=20.0,
    cancel=0,
    postpone=0,
    decline=0,
    killed_at_a_line=0.0,
    killed_at_any_moment=0.0,
    faults={"creation visible 4 s after its date": {**LATE, "share": 0.5, "path": "/api/order_copies"}},
)
"""Lists lag by more than `settle_seconds`, so that the argument for one charge does not hold any more."""


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_double_charges_from_lists_that_lag_too_much_are_found_and_stop_the_sweep(crew: Crew) -> None:
    async with open_at_once(crew, STALE) as everyone:
        await everyone.have_trouble()
        sandbox = everyone.merchant.sandbox
        sandbox.advance(60)
        charged_twice = set(everyone.auditor.audit(sandbox.clock()).charged_twice)
        sandbox.seed(200)
        ended = await everyone.merchant.sweep()
    alarms = await events(
        "perennial.subscription.", len(charged_twice), "perennial.renewal.charged_twice", ended.flow_run_id
    )

    assert charged_twice, "the auditor sees them"
    assert {event["payload"]["reference"] for event in alarms} == charged_twice
    assert ended.name == "NeedsAttention"
    assert "charged twice" in ended.message
    assert ended.facts["left"] >= 190, "no more than the first wave was begun"
