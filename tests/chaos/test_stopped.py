"""
A worker that is stopped (SIGSTOP, a paused machine) in the middle of a request, and goes on when another run has
finished its job.
"""

from __future__ import annotations

import asyncio
import signal
from typing import Any

import pytest
from chaos.checker import Auditor
from chaos.crew import Crew, Worker, let_leases_expire
from merchant import Merchant

pytestmark = pytest.mark.timeout(400)

A_MONTH = 31 * 86_400


async def stopped_while_held_up(merchant: Merchant, worker: Worker) -> None:
    async with asyncio.timeout(200):
        while not merchant.sandbox.counters()["faults"]:  # noqa: ASYNC110 - it happens in another process
            await asyncio.sleep(0.02)
    worker.send(signal.SIGSTOP)
    async with asyncio.timeout(20):
        while not worker.is_stopped():  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def is_clean_for_two_more_months(merchant: Merchant, auditor: Auditor) -> None:
    for _ in range(2):
        merchant.sandbox.advance(A_MONTH + 3600)
        for _ in range(2):
            await merchant.sweep()
    findings = auditor.audit(merchant.sandbox.clock())
    assert findings.is_clean, findings.complaints
    assert findings.renewals == 3 * len(auditor.contracts)


REQUESTS = {
    "a creation that arrives meanwhile": ({"method": "POST", "path": "/api/order_copies", "when": "before"}, 1.0),
    "a creation that was carried out": ({"method": "POST", "path": "/api/order_copies", "when": "after"}, 1.0),
    "a record that was written": ({"method": "PATCH", "path": "/api/order_subscriptions/*", "when": "after"}, 1.0),
    "a record that arrives afterwards": (
        {"method": "PATCH", "path": "/api/order_subscriptions/*", "when": "before"}, 15.0,
    ),
}  # fmt: skip
IN_MAKE_TEST = "a creation that was carried out"


@pytest.mark.parametrize(
    "what", [each if each == IN_MAKE_TEST else pytest.param(each, marks=pytest.mark.chaos) for each in REQUESTS]
)
async def test_a_worker_stopped_in_the_middle_of_a_request_does_no_harm_when_it_goes_on(
    merchant: Merchant, crew: Crew, what: str
) -> None:
    request, seconds = REQUESTS[what]
    merchant.sandbox.seed(2)
    auditor = Auditor(merchant.sandbox.database)
    merchant.sandbox.fault("delay", seconds=seconds, nth=[1], **request)
    sleeper = crew.hire(merchant)
    await stopped_while_held_up(merchant, sleeper)
    if seconds <= 1.0:
        await asyncio.sleep(seconds + 0.2)  # the request is carried out, long before the lease ends

    await let_leases_expire(merchant, sleeper)
    await merchant.sweep()
    await asyncio.sleep(max(0.0, seconds - 1.0) if seconds > 1.0 else 0.0)
    sleeper.send(signal.SIGCONT)
    await sleeper.wait()

    await is_clean_for_two_more_months(merchant, auditor)
    assert all(row["reference"] is not None for row in merchant.copies())


async def _left_failed(merchant: Merchant) -> Auditor:
    merchant.sandbox.create_subscription(failure="declined", times=1)
    auditor = Auditor(merchant.sandbox.database)
    assert (await merchant.sweep()).outcomes == {"retry_scheduled": 1}
    merchant.sandbox.advance(2 * 86_400)
    return auditor


@pytest.mark.chaos
@pytest.mark.parametrize("fault", [{"when": "before", "seconds": 1.0}, {"when": "after", "seconds": 1.0}], ids=str)
async def test_a_worker_stopped_in_the_middle_of_placing_an_order_charges_once(
    merchant: Merchant, crew: Crew, fault: dict[str, Any]
) -> None:
    auditor = await _left_failed(merchant)
    merchant.sandbox.fault("delay", method="PATCH", path="/api/orders/*", nth=[1], **fault)
    sleeper = crew.hire(merchant)
    await stopped_while_held_up(merchant, sleeper)
    await asyncio.sleep(1.2)

    await let_leases_expire(merchant, sleeper)
    await merchant.sweep()
    sleeper.send(signal.SIGCONT)
    await sleeper.wait()

    await is_clean_for_two_more_months(merchant, auditor)
    assert len(merchant.copies()) == 3
