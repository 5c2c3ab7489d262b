"""Customers, staff and rivals that act while an order copy is under way: its order is cancelled, not charged."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
import stored_runs
from meanwhile import Meanwhile, copy_order, patch
from merchant import Ended, Merchant

from blocks.commerce_layer.clock import use_clock

Made = dict[str, Any]


def change_state(merchant: Merchant, made: Made, **changes: Any) -> None:
    metadata = merchant.subscription(made["id"])["metadata"]
    own = {**metadata["perennial"], **changes}
    patch(merchant, "order_subscriptions", made["id"], metadata={**metadata, "perennial": own})


def cancel(merchant: Merchant, made: Made) -> None:
    patch(merchant, "order_subscriptions", made["id"], _cancel=True)


def pause(merchant: Merchant, made: Made) -> None:
    change_state(merchant, made, held=True)


def resume(merchant: Merchant, made: Made) -> None:
    change_state(merchant, made, held=False)


def postpone(merchant: Merchant, made: Made) -> None:
    later = merchant.sandbox.clock() + timedelta(days=3)
    patch(merchant, "order_subscriptions", made["id"], next_run_at=later.isoformat())


def let_three_days_pass(merchant: Merchant, _: Made) -> None:
    merchant.sandbox.advance(3.1 * 86_400)


def expire(merchant: Merchant, made: Made) -> None:
    patch(merchant, "order_subscriptions", made["id"], expires_at=made["next_run_at"])


def extend(merchant: Merchant, made: Made) -> None:
    patch(merchant, "order_subscriptions", made["id"], expires_at="2099-01-01T00:00:00Z")


def give_back(merchant: Merchant, made: Made) -> None:
    patch(merchant, "order_subscriptions", made["id"], _activate=True, metadata={"crm": 7})


def remove_state(merchant: Merchant, made: Made) -> None:
    patch(merchant, "order_subscriptions", made["id"], metadata={"crm": 7})


def adopt_again(merchant: Merchant, made: Made) -> None:
    patch(merchant, "order_subscriptions", made["id"], metadata={"crm": 7, "perennial": {"v": 1}})


def start_a_rival(merchant: Merchant, made: Made) -> None:
    merchant.sandbox.create_subscription(
        status="active", adopted=False, source_order_id=made["source_order_id"], next_run_at="2099-01-01T00:00:00Z"
    )


def cancel_the_rival(merchant: Merchant, made: Made) -> None:
    (rival,) = merchant.rows("SELECT id FROM order_subscriptions WHERE id <> ?", made["id"])
    patch(merchant, "order_subscriptions", rival["id"], _cancel=True)


def copy_with_crm(merchant: Merchant, made: Made) -> None:
    copy_order(merchant, made["source_order_id"], reference="by-crm", reference_origin="crm")


def cancel_the_order_of_the_crm(merchant: Merchant, _: Made) -> None:
    (order,) = [each for each in merchant.target_orders() if each["copy_reference"] == "by-crm"]
    patch(merchant, "orders", order["id"], _cancel=True)


@dataclass(frozen=True)
class Change:
    """What happens while the copy is under way, the reason and the words in the table, and how to undo it."""

    act: Callable[[Merchant, Made], None]
    reason: str
    words: str
    undo: Callable[[Merchant, Made], None] | None = None


CHANGES = [
    Change(cancel, "cancelled", "the subscription is cancelled"),
    Change(pause, "held", "held for a person", resume),
    Change(postpone, "not_due", "it was postponed to", let_three_days_pass),
    Change(expire, "expired", "it expired on", extend),
    Change(give_back, "second_engine", "the subscription's status is 'active'"),
    Change(remove_state, "not_adopted", "metadata.perennial was removed a moment ago", adopt_again),
    Change(start_a_rival, "second_engine", "of the same source order is active", cancel_the_rival),
    Change(copy_with_crm, "foreign_copy", "(crm) of the same source order was made", cancel_the_order_of_the_crm),
]


async def sweep_while(merchant: Merchant, happened: Callable[[], bool], act: Callable[[], None]) -> Ended:
    with use_clock(clock := Meanwhile(merchant, happened, act)):
        ended = await merchant.sweep()
    assert clock.has_acted
    return ended


def our_orders(merchant: Merchant) -> list[dict[str, Any]]:
    return [order for order in merchant.target_orders() if order["copy_reference"] != "by-crm"]


@pytest.mark.parametrize("change", CHANGES, ids=lambda each: each.act.__name__)
async def test_an_order_that_is_no_longer_wanted_when_its_copy_is_done_is_cancelled_and_not_charged(
    merchant: Merchant, change: Change
) -> None:
    made = merchant.sandbox.create_subscription()

    ended = await sweep_while(merchant, lambda: bool(merchant.copies()), lambda: change.act(merchant, made))

    assert merchant.placed() == []
    assert ended.facts["skipped"] == {change.reason: 1}
    (row,) = await stored_runs.table(ended.flow_run_id)
    assert change.words in row["why"]
    (order,) = our_orders(merchant)
    assert (order["status"], order["payment_status"]) == ("cancelled", "unpaid")
    assert order["metadata"]["perennial"]["withdrawn"] == row["why"]
    assert ended.facts["surplus"] == 0


@pytest.mark.parametrize("change", [each for each in CHANGES if each.undo], ids=lambda each: each.act.__name__)
async def test_a_renewal_that_was_withdrawn_and_is_wanted_again_gets_a_new_copy_and_is_charged_once(
    merchant: Merchant, change: Change
) -> None:
    made = merchant.sandbox.create_subscription()
    await sweep_while(merchant, lambda: bool(merchant.copies()), lambda: change.act(merchant, made))
    assert change.undo is not None
    change.undo(merchant, made)

    ended = await merchant.sweep()

    assert ended.outcomes == {"renewed": 1}
    assert [order["status"] for order in our_orders(merchant)] == ["cancelled", "placed"]
    assert (await merchant.sweep()).outcomes == {}
    assert len(merchant.placed()) == 1


async def test_an_order_that_a_dead_sweep_left_is_withdrawn_once_its_renewal_is_no_longer_wanted(
    merchant: Merchant,
) -> None:
    made = merchant.sandbox.create_subscription()
    await merchant.sweep_that_dies_before_placing()
    start_a_rival(merchant, made)

    ended = await merchant.sweep()

    assert ended.facts["skipped"] == {"second_engine": 1}
    (order,) = merchant.target_orders()
    assert order["status"] == "cancelled"
    assert merchant.placed() == []


async def test_an_order_that_is_placed_while_its_withdrawal_waits_for_the_rate_limit_is_not_cancelled(
    merchant: Merchant,
) -> None:
    made = merchant.sandbox.create_subscription()
    await merchant.sweep_that_dies_before_placing()
    (left,) = merchant.target_orders()
    start_a_rival(merchant, made)
    merchant.sandbox.fault("throttle", method="PATCH", path="/api/orders/*", match="_cancel", times=1)

    def customer_pays() -> None:
        patch(merchant, "orders", left["id"], _place=True)

    clock = Meanwhile(merchant, lambda: not merchant.sandbox.faults(), customer_pays)
    with use_clock(clock):
        await merchant.sweep()

    assert clock.has_acted
    (order,) = merchant.target_orders()
    assert (order["status"], order["payment_status"]) == ("placed", "authorized")


async def test_a_withdrawal_that_fails_is_repeated_by_the_next_sweep(merchant: Merchant) -> None:
    made = merchant.sandbox.create_subscription()
    merchant.sandbox.fault("status", method="PATCH", path="/api/orders/*", match="_cancel", status=503)
    await sweep_while(merchant, lambda: bool(merchant.copies()), lambda: start_a_rival(merchant, made))
    assert merchant.placed() == []
    merchant.sandbox.clear_faults()

    await merchant.sweep()

    (order,) = merchant.target_orders()
    assert order["status"] == "cancelled"


async def test_the_open_order_of_a_date_that_was_moved_is_cancelled(merchant: Merchant) -> None:
    """A dead sweep has left a copy of the old date; since then the customer has moved the date."""
    made = merchant.sandbox.create_subscription()
    await merchant.sweep_that_dies_before_placing()
    postpone(merchant, made)
    let_three_days_pass(merchant, made)

    ended = await merchant.sweep()

    assert ended.outcomes == {"renewed": 1}
    assert [order["status"] for order in merchant.target_orders()] == ["cancelled", "placed"]


async def test_an_order_that_staff_cancel_while_its_copy_is_polled_is_not_placed_and_not_copied_again(
    merchant: Merchant,
) -> None:
    made = merchant.sandbox.create_subscription()

    def staff_cancel() -> None:
        (order,) = merchant.target_orders()
        patch(merchant, "orders", order["id"], _cancel=True)

    ended = await sweep_while(merchant, lambda: bool(merchant.target_orders()), staff_cancel)

    assert ended.outcomes == {"needs_attention": 1}
    (row,) = await stored_runs.table(ended.flow_run_id)
    assert "was cancelled: release the subscription to have it copied again" in row["why"]
    assert merchant.placed() == []
    assert (await merchant.sweep()).outcomes == {"skipped": 1}
    assert len(merchant.copies()) == 1
    change_state(merchant, made, held=False)
    assert (await merchant.sweep()).outcomes == {"renewed": 1}
