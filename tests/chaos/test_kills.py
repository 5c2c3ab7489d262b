"""A worker is killed at every critical point. Whatever it leaves, the next run ends with one order for each period."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
from card_charges import attach_card, charges
from chaos.checker import Auditor
from chaos.worker_launcher import WorkerLauncher, until_hit
from chaos.worker_process import KILL_POINTS
from meanwhile import patch
from merchant import Merchant

DUE = 3
"""Few enough to be quick, and enough to kill a run in the middle."""

HELD_UP_FOR = 3600.0
"""Sandbox seconds until a delayed request is carried out. By then, the worker is dead."""


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
    "with a creation ready to send",
    "with the answer to a creation",
    "after it polled",
    "with a placement ready to send",
    "with the answer to a placement",
    "before the record",
    "before its copy is created",
    "after its copy is created, before the answer",
    "before its order is placed",
    "after its order is placed, before the answer",
    "before its record is written",
}
"""The points that `make test` tries. The others take minutes, so only `make chaos` tries them."""


def chaos_unless_quick(names: Iterable[str]) -> list[Any]:
    return [name if name in IN_MAKE_TEST else pytest.param(name, marks=pytest.mark.chaos) for name in names]


async def kill_at_point(merchant: Merchant, launcher: WorkerLauncher, point: str, nth: int = 1) -> None:
    worker = launcher.start(merchant, kill_at=point, nth=nth)
    assert await worker.wait() is None, "the worker should have been killed"


@pytest.mark.parametrize("point", chaos_unless_quick(KILL_POINTS))
async def test_the_next_run_finishes_the_work_of_a_worker_killed_at_this_point(
    merchant: Merchant, launcher: WorkerLauncher, point: str
) -> None:
    merchant.sandbox.seed(DUE)
    auditor = Auditor(merchant.sandbox.database)

    await kill_at_point(merchant, launcher, point, nth=1 if "look" in point else 2)
    await merchant.sweep()

    audit(merchant, auditor)


@pytest.mark.parametrize(
    "point",
    ["before it cancels a surplus order", pytest.param("after it cancelled a surplus order", marks=pytest.mark.chaos)],
)
async def test_the_next_run_cancels_the_surplus_orders_that_a_killed_worker_left(
    merchant: Merchant, launcher: WorkerLauncher, point: str
) -> None:
    merchant.sandbox.seed(DUE)
    auditor = Auditor(merchant.sandbox.database)
    # The run creates each copy a second time, because the first ones appear only after it has ended.
    merchant.sandbox.fault("late", method="POST", path="/api/order_copies", seconds=600, times=DUE)
    assert (await merchant.sweep()).outcomes == {"renewed": DUE}
    merchant.sandbox.advance(700)

    await kill_at_point(merchant, launcher, point)
    await merchant.sweep()

    audit(merchant, auditor)
    assert auditor.audit(merchant.sandbox.clock()).surplus == DUE


COPIES, ORDERS, SUBSCRIPTIONS = "/api/order_copies", "/api/orders/*", "/api/order_subscriptions/*"
NOT_YET = {"action": "late", "answer": "at_commit", "seconds": HELD_UP_FOR}
NO_ANSWER = {"action": "hang", "when": "after"}
HELD_UP: dict[str, dict[str, Any]] = {
    "while it reads the due subscriptions": {"method": "GET", "path": "/api/order_subscriptions", **NO_ANSWER},
    "while it looks for copies": {"method": "GET", "path": COPIES, "match": "source_order_id_in", **NO_ANSWER},
    "before its copy is created": {"method": "POST", "path": COPIES, **NOT_YET},
    "after its copy is created, before the answer": {"method": "POST", "path": COPIES, **NO_ANSWER},
    "while it polls": {"method": "GET", "path": COPIES, "match": "reference_in", **NO_ANSWER},
    "before its order is placed": {"method": "PATCH", "path": ORDERS, **NOT_YET},
    "after its order is placed, before the answer": {"method": "PATCH", "path": ORDERS, **NO_ANSWER},
    "before its record is written": {"method": "PATCH", "path": SUBSCRIPTIONS, "match": "perennial", **NOT_YET},
    "after its record is written, before the answer": {
        "method": "PATCH",
        "path": SUBSCRIPTIONS,
        "match": "perennial",
        **NO_ANSWER,
    },
}


async def kill_during(merchant: Merchant, launcher: WorkerLauncher, fault: dict[str, Any]) -> None:
    """Kill a worker while one of its requests is delayed. The shop carries out that request afterwards."""
    merchant.sandbox.fault(**fault)
    worker = launcher.start(merchant)
    await until_hit(merchant, worker)
    worker.kill()
    assert await worker.wait() is None
    merchant.sandbox.clear_faults()
    merchant.sandbox.advance(HELD_UP_FOR + 1)


@pytest.mark.parametrize("where", chaos_unless_quick(HELD_UP))
async def test_the_next_run_finishes_the_work_of_a_worker_killed_during_a_request(
    merchant: Merchant, launcher: WorkerLauncher, where: str
) -> None:
    merchant.sandbox.seed(DUE)
    auditor = Auditor(merchant.sandbox.database)

    # Delay the first read, or the second of several writes.
    nth = [1] if HELD_UP[where]["method"] == "GET" else [2]
    await kill_during(merchant, launcher, {**HELD_UP[where], "nth": nth})
    await merchant.sweep()

    audit(merchant, auditor)


async def a_declined_renewal(merchant: Merchant) -> Auditor:
    """One renewal whose card was declined once and whose retry is due."""
    await merchant.install(payment_retries=["1d"] * 3, brake_share=1.0)
    merchant.sandbox.create_subscription(failure="declined", times=1)
    auditor = Auditor(merchant.sandbox.database)
    assert (await merchant.sweep()).outcomes == {"retry_scheduled": 1}
    merchant.sandbox.advance(2 * 86_400)
    return auditor


@pytest.mark.parametrize("when", [NOT_YET, NO_ANSWER], ids=["before", "after"])
async def test_a_worker_killed_while_it_retries_a_placement_charges_once(
    merchant: Merchant, launcher: WorkerLauncher, when: dict[str, Any]
) -> None:
    auditor = await a_declined_renewal(merchant)

    await kill_during(merchant, launcher, {"method": "PATCH", "path": ORDERS, **when, "times": 1})
    await is_renewed_by_later_sweeps(merchant, auditor)


async def is_renewed_by_later_sweeps(merchant: Merchant, auditor: Auditor) -> None:
    """The renewal succeeds within three daily sweeps: an attempt of unknown result waits like a failed one."""
    for _ in range(3):
        await merchant.sweep()
        merchant.sandbox.advance(86_400 + 600)
    audit(merchant, auditor)
    assert len(merchant.copies()) == 1, "the existing order is placed, and no second copy is made"


@pytest.mark.parametrize(
    "point",
    [pytest.param("before it announces an attempt", marks=pytest.mark.chaos), "after it announced an attempt",
     pytest.param("with a placement ready to send", marks=pytest.mark.chaos),
     "with the answer to a placement", pytest.param("before the record", marks=pytest.mark.chaos),
     pytest.param("after the record", marks=pytest.mark.chaos)],
)  # fmt: skip
async def test_a_worker_killed_around_a_retry_charges_once(
    merchant: Merchant, launcher: WorkerLauncher, point: str
) -> None:
    auditor = await a_declined_renewal(merchant)

    await kill_at_point(merchant, launcher, point)
    await is_renewed_by_later_sweeps(merchant, auditor)


@pytest.mark.parametrize(
    "point",
    [pytest.param("before it cancels the subscription", marks=pytest.mark.chaos), "after it cancelled the subscription",
     pytest.param("after the record", marks=pytest.mark.chaos)],
)  # fmt: skip
async def test_a_worker_killed_around_the_cancellation_of_a_subscription_charges_nothing(
    merchant: Merchant, launcher: WorkerLauncher, point: str
) -> None:
    await merchant.install(payment_retries=[], final_action="cancel", brake_share=1.0)
    made = merchant.sandbox.create_subscription(failure="declined")

    await kill_at_point(merchant, launcher, point)
    for _ in range(2):
        await merchant.sweep()
        merchant.sandbox.advance(40 * 86_400)

    assert merchant.subscription(made["id"])["status"] == "cancelled"
    assert merchant.rows("SELECT * FROM orders WHERE placed_at IS NOT NULL AND id != ?", made["source_order_id"]) == []
    assert len(merchant.copies()) == 1


CARD = {"method": "PATCH", "path": ORDERS, "match": "_customer_payment_source_id"}
CANCELLATION = {"method": "PATCH", "path": ORDERS, "match": "_cancel"}
ONLY_CHAOS = pytest.param(NOT_YET, marks=pytest.mark.chaos, id="before")


@pytest.mark.parametrize("held_up", [ONLY_CHAOS, pytest.param(NO_ANSWER, id="after")])
async def test_the_next_run_charges_the_new_card_after_a_worker_was_killed_while_it_set_that_card(
    merchant: Merchant, launcher: WorkerLauncher, held_up: dict[str, Any]
) -> None:
    made = merchant.sandbox.create_subscription()
    card = attach_card(merchant, made)

    await kill_during(merchant, launcher, {**CARD, **held_up})
    assert merchant.placed() == []
    await merchant.sweep()

    assert len(merchant.placed()) == 1
    assert charges(merchant) == [(card, 1)]


@pytest.mark.parametrize("held_up", [ONLY_CHAOS, pytest.param(NO_ANSWER, id="after")])
async def test_nothing_is_charged_after_a_worker_was_killed_while_it_withdrew_an_order(
    merchant: Merchant, launcher: WorkerLauncher, held_up: dict[str, Any]
) -> None:
    made = merchant.sandbox.create_subscription()
    await merchant.sweep_that_dies_before_placing()
    patch(merchant, "order_subscriptions", made["id"], _cancel=True)

    await kill_during(merchant, launcher, {**CANCELLATION, **held_up})
    await merchant.sweep()

    assert [order["status"] for order in merchant.target_orders()] == ["cancelled"]
    assert merchant.placed() == []
