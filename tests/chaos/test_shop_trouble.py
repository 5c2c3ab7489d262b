"""The shop restarts, or answers after the client's timeout; the shop's clock or the worker's clock jumps."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from chaos.checker import Auditor
from chaos.worker_launcher import WorkerLauncher, until_posted
from merchant import Merchant

from blocks.commerce_layer import client
from blocks.commerce_layer.transport import Timeouts

pytestmark = pytest.mark.timeout(400)

DUE = 6
LONG_AGO = timedelta(days=3)
CREATION = {"method": "POST", "path": "/api/order_copies"}


def seeded(merchant: Merchant) -> Auditor:
    due = merchant.sandbox.clock().replace(second=0, microsecond=0) - LONG_AGO
    merchant.sandbox.seed(DUE, due=due.isoformat())
    return Auditor(merchant.sandbox.database)


async def renewed_in_the_end(merchant: Merchant, auditor: Auditor) -> None:
    merchant.sandbox.clear_faults()
    for _ in range(2):
        merchant.sandbox.advance(3600)
        await merchant.sweep()
    findings = auditor.audit(merchant.sandbox.clock())
    assert findings.is_clean, findings.complaints
    assert findings.renewals == DUE


@pytest.mark.parametrize("how", ["killed", pytest.param("stopped", marks=pytest.mark.chaos)])
async def test_each_subscription_is_renewed_once_when_the_shop_restarts_during_a_sweep(
    merchant: Merchant, launcher: WorkerLauncher, how: str
) -> None:
    await merchant.install(settle_seconds=5, brake_share=1.0, max_unconfirmed=1000)
    auditor = seeded(merchant)
    merchant.sandbox.fault("delay", **CREATION, seconds=0.3)
    merchant.sandbox.resume()  # the clock of a stopped sandbox cannot be advanced
    worker = launcher.start(merchant, advance_clock=False)
    await until_posted(merchant, 1)

    merchant.sandbox.restart(kill=how == "killed")

    assert await worker.wait() is not None
    await renewed_in_the_end(merchant, auditor)


@pytest.mark.chaos
@pytest.mark.parametrize(
    "by", [timedelta(days=1), timedelta(hours=3), -timedelta(hours=3), -timedelta(days=2)], ids=str
)
async def test_each_subscription_is_renewed_once_when_the_shops_clock_jumps_during_a_sweep(
    merchant: Merchant, launcher: WorkerLauncher, by: timedelta
) -> None:
    await merchant.install(copy_deadline_seconds=30, brake_share=1.0, max_unconfirmed=1000)
    auditor = seeded(merchant)
    merchant.sandbox.fault("delay", **CREATION, seconds=0.3)
    merchant.sandbox.resume()
    worker = launcher.start(merchant, advance_clock=False)
    await until_posted(merchant, 2)

    merchant.sandbox.set_clock(merchant.sandbox.clock() + by)
    await asyncio.sleep(1)
    merchant.sandbox.set_clock(merchant.sandbox.clock() - by)  # as if staff noticed

    assert await worker.wait() is not None
    merchant.sandbox.advance(abs(by).total_seconds())  # copies that began at the wrong time end at that time
    await renewed_in_the_end(merchant, auditor)


@pytest.mark.parametrize("by", [timedelta(days=1), pytest.param(-timedelta(days=1), marks=pytest.mark.chaos)], ids=str)
async def test_each_subscription_is_renewed_once_when_the_workers_clock_jumps_during_a_sweep(
    merchant: Merchant, launcher: WorkerLauncher, by: timedelta
) -> None:
    auditor = seeded(merchant)

    result = await launcher.start(merchant, clock_jumps_by=by.total_seconds()).wait()

    assert result is not None
    assert result["outcomes"] == {"renewed": DUE}
    await renewed_in_the_end(merchant, auditor)


@pytest.fixture
def short_timeouts(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client whose timeout is two seconds instead of twenty."""
    monkeypatch.setattr(client, "Timeouts", partial(Timeouts, read=2.0, whole=4.0))


ONCE, PLACEMENT = {"nth": [1, 3]}, {"method": "PATCH", "path": "/api/orders/*"}
RECORD = {"method": "PATCH", "path": "/api/order_subscriptions/*", "match": "perennial"}
LOOK = {"method": "GET", "path": "/api/order_copies"}
LATER: dict[str, Any] = {"action": "late", "answer": "at_commit", "seconds": 300}
NEVER: dict[str, Any] = {"action": "hang", "when": "after"}
SLOW: dict[str, dict[str, Any]] = {
    "creations, carried out later": {**CREATION, **LATER, **ONCE},
    "creations, carried out at once": {**CREATION, **NEVER, **ONCE},
    "placements, carried out later": {**PLACEMENT, **LATER, **ONCE},
    "placements, carried out at once": {**PLACEMENT, **NEVER, **ONCE},
    "records, carried out later": {**RECORD, **LATER, **ONCE},
    "records, carried out at once": {**RECORD, **NEVER, **ONCE},
    "looks": {**LOOK, **NEVER, **ONCE, "match": "source_order_id_in"},
    "polls": {**LOOK, **NEVER, **ONCE, "match": "reference_in"},
}


@pytest.mark.parametrize(
    "slow", [each if "later" in each else pytest.param(each, marks=pytest.mark.chaos) for each in SLOW]
)
async def test_answers_that_come_after_the_clients_timeout_cause_no_second_order(
    merchant: Merchant, short_timeouts: None, slow: str
) -> None:
    auditor = seeded(merchant)
    merchant.sandbox.fault(**SLOW[slow])

    assert (await merchant.sweep()).outcomes == {"renewed": DUE}

    merchant.sandbox.advance(300)  # by then, all delayed requests are carried out
    await renewed_in_the_end(merchant, auditor)


@pytest.mark.chaos
async def test_the_client_gives_up_when_no_answer_comes_within_its_real_timeout(merchant: Merchant) -> None:
    auditor = seeded(merchant)
    merchant.sandbox.fault(**CREATION, **NEVER, nth=[1])

    assert (await merchant.sweep()).outcomes == {"renewed": DUE}

    await renewed_in_the_end(merchant, auditor)
