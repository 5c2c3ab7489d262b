"""A worker is killed at every line that matters; whatever it leaves, the next run ends with one order per period."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
from chaos.checker import Auditor
from chaos.crew import Crew, until_hit
from chaos.worker_process import PLACES
from merchant import Merchant

DUE = 3
"""Few enough to be quick, and enough to kill a run in the middle of them."""

HELD_UP_FOR = 3600.0
"""Sandbox seconds after which a request that is held up is carried out: the worker is dead by then."""


def audit(merchant: Merchant, auditor: Auditor) -> None:
    findings = auditor.audit(merchant.sandbox.clock())
    assert findings.is_clean, findings.complaints
    assert findings.renewals == len(auditor.contracts)
    for subscription_id in auditor.contracts:
        assert merchant.subscription(subscription_id)["metadata"]["perennial"]["outcome"] in {
            "renewed",
            "already_renewed",
        }
    placed = merchant.rows("SELECT o.reference AS ours, c.reference FROM order_copies c, orders o"
                           " WHERE o.id = c.target_order_id AND o.placed_at IS NOT NULL")  # fmt: skip
    assert [row["ours"] for row in placed] == [row["reference"] for row in placed]


IN_MAKE_TEST = {
    "after the first look",
    "with a creation that is composed and not sent",
    "with the answer to a creation",
    "after it polled",
    "with a placement that is composed and not sent",
    "with the answer to a placement",
    "before the record",
    "before its copy is made",
    "when its copy is made and it does not know",
    "before its order is placed",
    "when its order is placed and it does not know",
    "before its record is written",
}
"""The places that `make test` tries; the others take minutes more, and are for `make chaos`."""


def quick_ones_first(names: Iterable[str]) -> list[Any]:
    return [name if name in IN_MAKE_TEST else pytest.param(name, marks=pytest.mark.chaos) for name in names]


async def killed_there(merchant: Merchant, crew: Crew, place: str, nth: int = 1) -> None:
    worker = crew.hire(merchant, die_at=place, nth=nth)
    assert await worker.wait() is None, "it was to be killed"


@pytest.mark.parametrize("place", quick_ones_first(PLACES))
async def test_a_worker_killed_there_leaves_nothing_that_the_next_run_cannot_finish(
    merchant: Merchant, crew: Crew, place: str
) -> None:
    merchant.sandbox.seed(DUE)
    auditor = Auditor(merchant.sandbox.database)

    await killed_there(merchant, crew, place, nth=1 if "look" in place else 2)
    await merchant.sweep()

    audit(merchant, auditor)


@pytest.mark.parametrize(
    "place",
    ["before it cancels a surplus order", pytest.param("after it cancelled a surplus order", marks=pytest.mark.chaos)],
)
async def test_a_worker_killed_around_the_cancelling_of_a_surplus_order_leaves_the_others_to_the_next_run(
    merchant: Merchant, crew: Crew, place: str
) -> None:
    merchant.sandbox.seed(DUE)
    auditor = Auditor(merchant.sandbox.database)
    # Each is created a second time before the first copy arrives, which is when everything is done.
    merchant.sandbox.fault("late", method="POST", path="/api/order_copies", seconds=600, times=DUE)
    assert (await merchant.sweep()).outcomes == {"renewed": DUE}
    merchant.sandbox.advance(700)

    await killed_there(merchant, crew, place)
    await merchant.sweep()

    audit(merchant, auditor)
    assert auditor.audit(merchant.sandbox.clock()).surplus == DUE


COPIES, ORDERS, SUBSCRIPTIONS = "/api/order_copies", "/api/orders/*", "/api/order_subscriptions/*"
NOT_YET = {"action": "late", "answer": "at_commit", "seconds": HELD_UP_FOR}
NO_ANSWER = {"action": "hang", "when": "after"}
HELD_UP: dict[str, dict[str, Any]] = {
    "while it reads who is due": {"method": "GET", "path": "/api/order_subscriptions", **NO_ANSWER},
    "while it looks for copies": {"method": "GET", "path": COPIES, "match": "source_order_id_in", **NO_ANSWER},
    "before its copy is made": {"method": "POST", "path": COPIES, **NOT_YET},
    "when its copy is made and it does not know": {"method": "POST", "path": COPIES, **NO_ANSWER},
    "while it polls": {"method": "GET", "path": COPIES, "match": "reference_in", **NO_ANSWER},
    "before its order is placed": {"method": "PATCH", "path": ORDERS, **NOT_YET},
    "when its order is placed and it does not know": {"method": "PATCH", "path": ORDERS, **NO_ANSWER},
    "before its record is written": {"method": "PATCH", "path": SUBSCRIPTIONS, "match": "perennial", **NOT_YET},
    "when its record is written": {"method": "PATCH", "path": SUBSCRIPTIONS, "match": "perennial", **NO_ANSWER},
}


async def killed_during(merchant: Merchant, crew: Crew, fault: dict[str, Any]) -> None:
    """Kill a worker while one of its requests is held up, and let that request be carried out afterwards."""
    merchant.sandbox.fault(**fault)
    worker = crew.hire(merchant)
    await until_hit(merchant, worker)
    worker.kill()
    assert await worker.wait() is None
    merchant.sandbox.clear_faults()
    merchant.sandbox.advance(HELD_UP_FOR + 1)


@pytest.mark.parametrize("where", quick_ones_first(HELD_UP))
async def test_a_worker_killed_during_a_request_leaves_nothing_that_the_next_run_cannot_finish(
    merchant: Merchant, crew: Crew, where: str
) -> None:
    merchant.sandbox.seed(DUE)
    auditor = Auditor(merchant.sandbox.database)

    # The second of several requests, if there are several.
    nth = [1] if HELD_UP[where]["method"] == "GET" else [2]
    await killed_during(merchant, crew, {**HELD_UP[where], "nth": nth})
    await merchant.sweep()

    audit(merchant, auditor)


async def a_failed_renewal(merchant: Merchant) -> Auditor:
    """One renewal whose card was declined once, and whose retry is due."""
    await merchant.install(payment_retries=["1d"] * 3, brake_share=1.0)
    merchant.sandbox.create_subscription(failure="declined", times=1)
    auditor = Auditor(merchant.sandbox.database)
    assert (await merchant.sweep()).outcomes == {"retry_scheduled": 1}
    merchant.sandbox.advance(2 * 86_400)
    return auditor


@pytest.mark.parametrize("when", [NOT_YET, NO_ANSWER], ids=["before", "after"])
async def test_a_worker_killed_while_it_places_an_order_again_charges_once(
    merchant: Merchant, crew: Crew, when: dict[str, Any]
) -> None:
    auditor = await a_failed_renewal(merchant)

    await killed_during(merchant, crew, {"method": "PATCH", "path": ORDERS, **when, "times": 1})
    await renewed_by_and_by(merchant, auditor)


async def renewed_by_and_by(merchant: Merchant, auditor: Auditor) -> None:
    """An attempt that may have been made counts as made, so that the next one comes when the policy says."""
    for _ in range(3):
        await merchant.sweep()
        merchant.sandbox.advance(86_400 + 600)
    audit(merchant, auditor)
    assert len(merchant.copies()) == 1, "the order that was there is placed; no second copy is made"


@pytest.mark.parametrize(
    "place",
    [pytest.param("before it announces an attempt", marks=pytest.mark.chaos), "after it announced an attempt",
     pytest.param("with a placement that is composed and not sent", marks=pytest.mark.chaos),
     "with the answer to a placement", pytest.param("before the record", marks=pytest.mark.chaos),
     pytest.param("after the record", marks=pytest.mark.chaos)],
)  # fmt: skip
async def test_a_worker_killed_around_a_retry_charges_once(merchant: Merchant, crew: Crew, place: str) -> None:
    auditor = await a_failed_renewal(merchant)

    await killed_there(merchant, crew, place)
    await renewed_by_and_by(merchant, auditor)


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

    await killed_there(merchant, crew, place)
    for _ in range(2):
        await merchant.sweep()
        merchant.sandbox.advance(40 * 86_400)

    assert merchant.subscription(made["id"])["status"] == "cancelled"
    assert merchant.rows("SELECT * FROM orders WHERE placed_at IS NOT NULL AND id != ?", made["source_order_id"]) == []
    assert len(merchant.copies()) == 1
