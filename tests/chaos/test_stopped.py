"""
A worker that is stopped (SIGSTOP, a paused machine) anywhere, and goes on when another run has finished its job.
"""

from __future__ import annotations

import signal
from typing import Any

import pytest
from chaos.checker import Auditor
from chaos.crew import Crew, Worker, until_hit
from chaos.worker_process import PLACES
from merchant import Merchant

pytestmark = pytest.mark.timeout(400)

A_MONTH = 31 * 86_400
HELD_UP_FOR = 3600.0
"""Sandbox seconds after which a request that is held up is carried out."""

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


async def goes_on(sleeper: Worker) -> None:
    sleeper.send(signal.SIGCONT)
    assert await sleeper.wait() is not None


WHERE = ["with a placement that is composed and not sent"]


@pytest.mark.parametrize(
    "place", [each if each in WHERE else pytest.param(each, marks=pytest.mark.chaos) for each in PLACES]
)
async def test_a_worker_stopped_there_does_no_harm_when_it_goes_on(merchant: Merchant, crew: Crew, place: str) -> None:
    merchant.sandbox.seed(3)
    auditor = Auditor(merchant.sandbox.database)
    sleeper = crew.hire(merchant, die_at=place, signal=signal.SIGSTOP, nth=1 if "look" in place else 2)
    assert await sleeper.until_stopped()

    merchant.sandbox.advance(HELD_UP_FOR)
    await merchant.sweep()
    merchant.sandbox.advance(HELD_UP_FOR)
    await goes_on(sleeper)

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
IN_MAKE_TEST = {"a creation that arrives afterwards", "a placement that arrives afterwards"}


async def stopped_during(merchant: Merchant, crew: Crew, fault: dict[str, Any]) -> Worker:
    merchant.sandbox.fault(**fault, nth=[1])
    sleeper = crew.hire(merchant)
    await until_hit(merchant, sleeper)
    await sleeper.stop()
    return sleeper


@pytest.mark.parametrize(
    "what", [each if each in IN_MAKE_TEST else pytest.param(each, marks=pytest.mark.chaos) for each in REQUESTS]
)
async def test_a_worker_stopped_in_the_middle_of_a_request_does_no_harm_when_it_goes_on(
    merchant: Merchant, crew: Crew, what: str
) -> None:
    merchant.sandbox.seed(2)
    auditor = Auditor(merchant.sandbox.database)
    sleeper = await stopped_during(merchant, crew, REQUESTS[what])

    await merchant.sweep()
    merchant.sandbox.advance(HELD_UP_FOR + 1)
    await goes_on(sleeper)

    await is_clean_for_two_more_months(merchant, auditor)
    assert all(row["reference"] is not None for row in merchant.copies())


async def _left_failed(merchant: Merchant) -> Auditor:
    merchant.sandbox.create_subscription(failure="declined", times=1)
    auditor = Auditor(merchant.sandbox.database)
    assert (await merchant.sweep()).outcomes == {"retry_scheduled": 1}
    merchant.sandbox.advance(2 * 86_400)
    return auditor


@pytest.mark.chaos
@pytest.mark.parametrize("fault", [NOT_YET, NO_ANSWER], ids=["arrives afterwards", "was carried out"])
async def test_a_worker_stopped_in_the_middle_of_a_retry_charges_once(
    merchant: Merchant, crew: Crew, fault: dict[str, Any]
) -> None:
    auditor = await _left_failed(merchant)
    sleeper = await stopped_during(merchant, crew, {"method": "PATCH", "path": ORDERS, **fault})

    await merchant.sweep()
    merchant.sandbox.advance(HELD_UP_FOR + 1)
    await goes_on(sleeper)

    await is_clean_for_two_more_months(merchant, auditor)
    assert len(merchant.copies()) == 3
