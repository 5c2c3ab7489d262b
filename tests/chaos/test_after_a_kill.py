"""After a sweep was killed, the next one charges within seconds: nothing needs to expire, even if Prefect restarts."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import pytest
from chaos.checker import Auditor
from chaos.crew import Crew
from chaos.own_prefect import OwnPrefect
from merchant import open_merchant
from prefect.settings import PREFECT_API_URL, temporary_settings

DUE = 12
WITHIN = timedelta(seconds=5)
"""Seconds of the sandbox's clock, which moves only when a run waits, and does not depend on the machine."""


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_the_next_sweep_charges_within_seconds_although_prefect_has_forgotten_the_dead_one(
    crew: Crew, tmp_path: Path
) -> None:
    with OwnPrefect(tmp_path) as prefect, temporary_settings({PREFECT_API_URL: prefect.api_url}):
        async with open_merchant() as merchant:
            merchant.sandbox.seed(DUE)
            auditor = Auditor(merchant.sandbox.database)
            dead = crew.hire(merchant, prefect=prefect.api_url, die_at="with a placement that is composed and not sent")
            assert await dead.wait() is None, "it was to be killed"
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
