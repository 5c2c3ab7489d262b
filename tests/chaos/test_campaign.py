"""After a virtual year in which everything goes wrong, the auditor finds no error."""

from __future__ import annotations

from pathlib import Path

import pytest
from chaos.campaign import campaign, report
from chaos.own_prefect import OwnPrefect
from chaos.worker_launcher import WorkerLauncher


@pytest.mark.slow
@pytest.mark.timeout(900)
async def test_a_short_campaign_ends_with_one_order_for_each_period(launcher: WorkerLauncher) -> None:
    findings, tally = await campaign(launcher, renewals=30, seed=11, days=7)
    print(report(findings, tally))
    assert findings.is_clean, findings.complaints
    assert findings.renewals > 15
    assert sum(tally.faults.values()) > 5


@pytest.mark.chaos
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_a_year_of_trouble_ends_with_one_order_for_each_period(
    launcher: WorkerLauncher, tmp_path: Path, seed: int
) -> None:
    with OwnPrefect(tmp_path) as prefect:
        findings, tally = await campaign(launcher, renewals=700, seed=seed, prefect=prefect)
    print(report(findings, tally))
    assert findings.is_clean, findings.complaints
    assert tally.kills
    assert tally.actions
