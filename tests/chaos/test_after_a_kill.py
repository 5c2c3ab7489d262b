"""The sweep after a killed one charges within seconds: no lock or lease must expire first, even if Prefect restarts."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import pytest
from chaos.checker import Auditor
from chaos.own_prefect import OwnPrefect
from chaos.worker_launcher import WorkerLauncher
from merchant import open_merchant
from prefect.settings import PREFECT_API_URL, temporary_settings

DUE = 12
WITHIN = timedelta(seconds=5)
"""Seconds of the sandbox's clock, which advances only when a run waits: the machine's speed does not matter."""


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_the_sweep_after_a_kill_charges_within_seconds_even_if_prefect_restarts(
    launcher: WorkerLauncher, tmp_path: Path
) -> None:
    with OwnPrefect(tmp_path) as prefect, temporary_settings({PREFECT_API_URL: prefect.api_url}):
        async with open_merchant() as merchant:
            merchant.sandbox.seed(DUE)
            auditor = Auditor(merchant.sandbox.database)
            killed = launcher.start(merchant, prefect=prefect.api_url, kill_at="with a placement ready to send")
            assert await killed.wait() is None, "the worker should have been killed"
            assert (len(merchant.copies()), merchant.placed()) == (10, [])
            prefect.kill()
            prefect.start()
            began_at = merchant.sandbox.clock()

            ended = await merchant.sweep()

            placed_at = [datetime.fromisoformat(order["placed_at"]) for order in merchant.target_orders()]
            findings = auditor.audit(merchant.sandbox.clock())
    assert ended.outcomes == {"renewed": DUE}
    assert min(placed_at) - began_at <= WITHIN
    assert (findings.is_clean, findings.renewals) == (True, DUE)
