"""A worker is killed at every line that matters; whatever it leaves behind, the next run ends with one order each."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterable
from typing import Any

import pytest
from chaos.checker import Auditor
from chaos.crew import Crew, Worker, let_leases_expire
from chaos.worker_process import PLACES
from merchant import Merchant

DUE = 3
"""Few enough to be quick, and enough for a kill in the middle of them."""

HELD_UP_FOR = 1.0
"""Real seconds for which the sandbox holds a request up."""


def audit(merchant: Merchant, auditor: Auditor) -> None:
    findings = auditor.audit(merchant.sandbox.clock())
    assert findings.is_clean, findings.complaints
    assert findings.renewals == len(auditor.contracts)
    for subscription_id in auditor.contracts:
        assert merchant.subscription(subscription_id)["metadata"]["perennial"]["outcome"] in {
            "renewed",
            "already_renewed",
        }


async def killed_while_held_up(merchant: Merchant, worker: Worker) -> None:
    """Kill the worker as soon as one of its requests is held up; wait until that request is carried out."""
    async with asyncio.timeout(200):
        while not merchant.sandbox.counters()["faults"]:
            assert not worker.ended.is_set(), "it ended before it came there"
            await asyncio.sleep(0.02)
    worker.send(signal.SIGKILL)
    assert await worker.wait() is None
    await asyncio.sleep(HELD_UP_FOR + 0.1)  # less than a lease lives
    await let_leases_expire(merchant)


IN_MAKE_TEST = {
    "with a lease that is not published",
    "after the look",
    "between the fence and the socket",
    "with the answer in its hands",
    "before it gives the lease back",
    "before the record",
    "before its copy is made",
    "when its copy is made and it does not know",
    "before its record is written",
}
"""The places that every change is tried at; the others take minutes more, and are for `make chaos`."""


def quick_ones_first(names: Iterable[str]) -> list[Any]:
    return [name if name in IN_MAKE_TEST else pytest.param(name, marks=pytest.mark.chaos) for name in names]


@pytest.mark.parametrize("place", quick_ones_first(PLACES))
async def test_a_worker_killed_there_leaves_nothing_that_the_next_run_cannot_finish(
    merchant: Merchant, crew: Crew, place: str
) -> None:
    merchant.sandbox.seed(DUE)
    auditor = Auditor(merchant.sandbox.database)
    in_the_middle = 2 if "lease" not in place and "look" not in place else 1

    worker = crew.hire(merchant, die_at=place, nth=in_the_middle)
    assert await worker.wait() is None, "it was to be killed"
    await let_leases_expire(merchant)
    await merchant.sweep()

    audit(merchant, auditor)


HELD_UP = {
    "while it reads who is due": {"method": "GET", "path": "/api/order_subscriptions"},
    "while it looks for copies": {"method": "GET", "path": "/api/order_copies", "match": "reference_in"},
    "before its copy is made": {"method": "POST", "path": "/api/order_copies", "when": "before"},
    "when its copy is made and it does not know": {"method": "POST", "path": "/api/order_copies", "when": "after"},
    "while it polls": {"method": "GET", "path": "/api/order_copies", "match": "id_in"},
    "before its record is written": {"method": "PATCH", "path": "/api/order_subscriptions/*", "when": "before"},
    "when its record is written": {"method": "PATCH", "path": "/api/order_subscriptions/*", "when": "after"},
}


@pytest.mark.parametrize("where", quick_ones_first(HELD_UP))
async def test_a_worker_killed_during_a_request_leaves_nothing_that_the_next_run_cannot_finish(
    merchant: Merchant, crew: Crew, where: str
) -> None:
    merchant.sandbox.seed(DUE)
    auditor = Auditor(merchant.sandbox.database)
    # The second of several requests, where there are several; it is carried out after the kill.
    nth = [2] if HELD_UP[where]["method"] != "GET" else [1]
    merchant.sandbox.fault("delay", seconds=HELD_UP_FOR, nth=nth, **HELD_UP[where])

    await killed_while_held_up(merchant, crew.hire(merchant))
    await merchant.sweep()

    audit(merchant, auditor)


async def a_failed_renewal(merchant: Merchant, **terms: Any) -> Auditor:
    """One renewal whose card was declined once, and whose retry is due."""
    await merchant.install(payment_retries=["1d"] * 3, brake_share=1.0, **terms)
    merchant.sandbox.create_subscription(failure="declined", times=1)
    auditor = Auditor(merchant.sandbox.database)
    assert (await merchant.sweep()).outcomes == {"retry_scheduled": 1}
    merchant.sandbox.advance(2 * 86_400)
    return auditor


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_worker_killed_while_it_places_an_order_charges_once(merchant: Merchant, crew: Crew, when: str) -> None:
    auditor = await a_failed_renewal(merchant)
    held_up = {"method": "PATCH", "path": "/api/orders/*", "when": when, "seconds": HELD_UP_FOR}
    merchant.sandbox.fault("delay", times=1, **held_up)

    await killed_while_held_up(merchant, crew.hire(merchant))
    await renewed_by_and_by(merchant, auditor)


async def renewed_by_and_by(merchant: Merchant, auditor: Auditor) -> None:
    """An attempt that may have been made counts as made, so that the next one comes when the policy says."""
    for _ in range(3):
        await merchant.sweep()
        merchant.sandbox.advance(86_400 + 600)
    audit(merchant, auditor)
    assert len(merchant.copies()) == 1, "the order that was there is placed; no second copy is made"


async def killed_there(merchant: Merchant, crew: Crew, place: str, nth: int = 1) -> None:
    worker = crew.hire(merchant, die_at=place, nth=nth)
    assert await worker.wait() is None, "it was to be killed"
    await let_leases_expire(merchant, worker)


@pytest.mark.chaos
@pytest.mark.parametrize("nth", [1, 2], ids=["the announcement", "the record"])
@pytest.mark.parametrize("place", ["before it writes on the subscription", "after it wrote on the subscription"])
async def test_a_worker_killed_around_what_it_writes_of_a_retry_charges_once(
    merchant: Merchant, crew: Crew, place: str, nth: int
) -> None:
    auditor = await a_failed_renewal(merchant)

    await killed_there(merchant, crew, place, nth)
    await renewed_by_and_by(merchant, auditor)


@pytest.mark.chaos
@pytest.mark.parametrize("place", ["before it places the order", "after it placed the order"])
async def test_a_worker_killed_around_a_retry_charges_once(merchant: Merchant, crew: Crew, place: str) -> None:
    auditor = await a_failed_renewal(merchant)

    await killed_there(merchant, crew, place)
    await renewed_by_and_by(merchant, auditor)


@pytest.mark.chaos
@pytest.mark.parametrize("place", ["before it tags the order", "after it tagged the order"])
async def test_a_worker_killed_around_the_tagging_of_an_order_leaves_it_to_the_next_run(
    merchant: Merchant, crew: Crew, place: str
) -> None:
    await merchant.install(tag_target_orders=True)
    merchant.sandbox.seed(DUE)
    auditor = Auditor(merchant.sandbox.database)

    await killed_there(merchant, crew, place)
    await merchant.sweep()

    audit(merchant, auditor)
    tagged = merchant.rows("SELECT o.reference AS ours, c.reference FROM order_copies c, orders o"
                           " WHERE o.id = c.target_order_id")  # fmt: skip
    assert [row["ours"] for row in tagged] == [row["reference"] for row in tagged]


@pytest.mark.parametrize(
    "place",
    [pytest.param("before it cancels the subscription", marks=pytest.mark.chaos), "after it cancelled the subscription",
     pytest.param("after the record", marks=pytest.mark.chaos)],
)  # fmt: skip
async def test_a_worker_killed_around_the_cancelling_of_a_subscription_charges_nobody(
    merchant: Merchant, crew: Crew, place: str
) -> None:
    await merchant.install(payment_retries=[], final_action="cancel", brake_share=1.0)
    made = merchant.sandbox.create_subscription(failure="declined")
    auditor, began_at = Auditor(merchant.sandbox.database), merchant.sandbox.clock()

    await killed_there(merchant, crew, place)
    for _ in range(2):
        await merchant.sweep()
        merchant.sandbox.advance(40 * 86_400)

    assert merchant.subscription(made["id"])["status"] == "cancelled"
    auditor.contracts[made["id"]].cancelled_at = began_at
    findings = auditor.audit(merchant.sandbox.clock())
    assert (findings.is_clean, findings.renewals, len(merchant.copies())) == (True, 0, 1)


async def test_a_worker_killed_while_it_waits_for_the_lease_of_another_one_leaves_it_alone(
    merchant: Merchant, crew: Crew
) -> None:
    merchant.sandbox.seed(1)
    auditor = Auditor(merchant.sandbox.database)
    merchant.sandbox.fault("delay", method="POST", path="/api/order_copies", seconds=4 * HELD_UP_FOR, times=1)
    holder = crew.hire(merchant)
    async with asyncio.timeout(200):
        while not merchant.sandbox.counters()["faults"]:  # noqa: ASYNC110 - it happens in another process
            await asyncio.sleep(0.02)

    waiter = crew.hire(merchant, die_at="while it waits for a lease")
    assert await waiter.wait() is None, "it was to be killed"

    held = await holder.wait()
    assert held is not None
    assert held["outcomes"] == {"renewed": 1}
    await merchant.sweep()  # and nothing stands in the way of the next one
    audit(merchant, auditor)
