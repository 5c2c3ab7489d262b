"""Eight processes renew the same subscriptions at once, without any coordination."""

from __future__ import annotations

from pathlib import Path

import pytest
from chaos.at_once import Plan, open_concurrent_sweeps, report
from chaos.own_prefect import OwnPrefect
from chaos.worker_launcher import WorkerLauncher
from prefect.settings import PREFECT_API_URL, temporary_settings


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_eight_processes_at_once_place_one_order_for_each_period(launcher: WorkerLauncher) -> None:
    plan = Plan(subscriptions=24, days=2, sweeps=1, seed=3)
    async with open_concurrent_sweeps(launcher, plan) as sweeps:
        findings, tally = await sweeps.run()
    print(report(findings, tally, plan))
    assert findings.is_clean, findings.complaints
    assert findings.renewals >= 40
    assert findings.surplus > 0
    assert sum(tally.faults.values()) > 20
    assert tally.kills


@pytest.mark.chaos
@pytest.mark.timeout(3600)
async def test_eight_processes_at_once_renew_three_thousand_periods_once_each(
    launcher: WorkerLauncher, tmp_path: Path
) -> None:
    plan = Plan(subscriptions=250, days=13)
    with OwnPrefect(tmp_path, stores_runs=False) as prefect, temporary_settings({PREFECT_API_URL: prefect.api_url}):
        async with open_concurrent_sweeps(launcher, plan, prefect) as sweeps:
            findings, tally = await sweeps.run()
    print(report(findings, tally, plan))
    assert findings.is_clean, findings.complaints
    assert findings.renewals >= 3000
    assert findings.surplus > 1000
    assert sum(tally.faults.values()) > 1000
    assert tally.kills.total() > 20
