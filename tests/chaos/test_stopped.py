"""A worker is stopped at any point (SIGSTOP, a paused machine) and continues after another run has done its work."""

from __future__ import annotations

import signal
from typing import Any

import pytest
from chaos.checker import Auditor
from chaos.worker_launcher import Worker, WorkerLauncher, until_hit
from chaos.worker_process import KILL_POINTS
from merchant import Merchant

pytestmark = pytest.mark.timeout(400)

A_MONTH = 31 * 86_400
HELD_UP_FOR = 3600.0
"""Sandbox seconds until a delayed request is carried out."""

NOT_YET: dict[str, Any] = {"action": "late", "answer": "at_commit", "seconds": HELD_UP_FOR}
NO_ANSWER: dict[str, Any] = {"action": "hang", "when": "after"}


async def is_clean_for_two_more_months(merchant: Merchant, auditor: Auditor) -> None:
    for _ in range(2):
        merchant.sandbox.advance(A_MONTH + 3600)
        for _ in range(2):
            await merchant.sweep()
    findings = auditor.audit(merchant.sandbox.clock())
    assert findings.is_clean, findings.complaints
    assert findings.renewals == 3 * len(auditor.contracts)


async def continue_and_end(worker: Worker) -> None:
    worker.send(signal.SIGCONT)
    assert await worker.wait() is not None


POINTS_IN_MAKE_TEST = ["with a placement ready to send"]


@pytest.mark.parametrize(
    "point",
    [each if each in POINTS_IN_MAKE_TEST else pytest.param(each, marks=pytest.mark.chaos) for each in KILL_POINTS],
)
async def test_a_worker_stopped_at_this_point_does_no_harm_when_it_continues(
    merchant: Merchant, launcher: WorkerLauncher, point: str
) -> None:
    merchant.sandbox.seed(3)
    auditor = Auditor(merchant.sandbox.database)
    worker = launcher.start(merchant, kill_at=point, signal=signal.SIGSTOP, nth=1 if "look" in point else 2)
    assert await worker.until_stopped()

    merchant.sandbox.advance(HELD_UP_FOR)
    await merchant.sweep()
    merchant.sandbox.advance(HELD_UP_FOR)
    await continue_and_end(worker)

    await is_clean_for_two_more_months(merchant, auditor)


SUBSCRIPTIONS, ORDERS = "/api/order_subscriptions/*", "/api/orders/*"
REQUESTS: dict[str, dict[str, Any]] = {
    "a creation that arrives afterwards": {"method": "POST", "path": "/api/order_copies", **NOT_YET},
    "a creation that was carried out": {"method": "POST", "path": "/api/order_copies", **NO_ANSWER},
    "a placement that arrives afterwards": {"method": "PATCH", "path": ORDERS, **NOT_YET},
    "a placement that was carried out": {"method": "PATCH", "path": ORDERS, **NO_ANSWER},
    "a record that arrives afterwards": {"method": "PATCH", "path": SUBSCRIPTIONS, "match": "perennial", **NOT_YET},
    "a record that was written": {"method": "PATCH", "path": SUBSCRIPTIONS, "match": "perennial", **NO_ANSWER},
}
REQUESTS_IN_MAKE_TEST = {"a creation that arrives afterwards", "a placement that arrives afterwards"}


async def stopped_during(merchant: Merchant, launcher: WorkerLauncher, fault: dict[str, Any]) -> Worker:
    merchant.sandbox.fault(**fault, nth=[1])
    worker = launcher.start(merchant)
    await until_hit(merchant, worker)
    await worker.stop()
    return worker


@pytest.mark.parametrize(
    "what",
    [each if each in REQUESTS_IN_MAKE_TEST else pytest.param(each, marks=pytest.mark.chaos) for each in REQUESTS],
)
async def test_a_worker_stopped_during_a_request_does_no_harm_when_it_continues(
    merchant: Merchant, launcher: WorkerLauncher, what: str
) -> None:
    merchant.sandbox.seed(2)
    auditor = Auditor(merchant.sandbox.database)
    worker = await stopped_during(merchant, launcher, REQUESTS[what])

    await merchant.sweep()
    merchant.sandbox.advance(HELD_UP_FOR + 1)
    await continue_and_end(worker)

    await is_clean_for_two_more_months(merchant, auditor)
    assert all(row["reference"] is not None for row in merchant.copies())


async def _declined_once(merchant: Merchant) -> Auditor:
    merchant.sandbox.create_subscription(failure="declined", times=1)
    auditor = Auditor(merchant.sandbox.database)
    assert (await merchant.sweep()).outcomes == {"retry_scheduled": 1}
    merchant.sandbox.advance(2 * 86_400)
    return auditor


@pytest.mark.chaos
@pytest.mark.parametrize("fault", [NOT_YET, NO_ANSWER], ids=["arrives afterwards", "was carried out"])
async def test_a_worker_stopped_during_a_retry_charges_once(
    merchant: Merchant, launcher: WorkerLauncher, fault: dict[str, Any]
) -> None:
    auditor = await _declined_once(merchant)
    worker = await stopped_during(merchant, launcher, {"method": "PATCH", "path": ORDERS, **fault})

    await merchant.sweep()
    merchant.sandbox.advance(HELD_UP_FOR + 1)
    await continue_and_end(worker)

    await is_clean_for_two_more_months(merchant, auditor)
    assert len(merchant.copies()) == 3
