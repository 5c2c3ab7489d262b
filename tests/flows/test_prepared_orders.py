"""A prepared order when it is due: it is used, or withdrawn and copied again; and nobody is charged twice."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from card_charges import charges
from meanwhile import Meanwhile, copy_order, patch
from merchant import Merchant
from preparations import HOUR, Made, due_in, prepared, statuses, sweep_when_due

from blocks.commerce_layer.clock import use_clock


def touch_subscription(merchant: Merchant, made: Made) -> None:
    metadata = merchant.subscription(made["id"])["metadata"]
    patch(merchant, "order_subscriptions", made["id"], metadata={**metadata, "crm": {"seen": True}})


def touch_source_order(merchant: Merchant, made: Made) -> None:
    patch(merchant, "orders", made["source_order_id"], metadata={"gift": "yes"})


def change_the_price(merchant: Merchant, made: Made) -> None:
    (order,) = merchant.target_orders()
    merchant.sandbox.change_price(order["id"], total_cents=99_900)


@pytest.mark.parametrize("change", [touch_subscription, touch_source_order, change_the_price])
async def test_a_prepared_order_that_is_out_of_date_is_withdrawn_and_copied_again(
    ahead: Merchant, change: Callable[[Merchant, Made], None]
) -> None:
    made = await prepared(ahead)
    ahead.sandbox.advance(HOUR)
    change(ahead, made)
    ahead.sandbox.advance(60)

    ended = await sweep_when_due(ahead)

    assert ended.outcomes == {"renewed": 1}, ended.message
    assert statuses(ahead) == ["cancelled", "placed"]
    withdrawn, _ = ahead.target_orders()
    assert withdrawn["metadata"]["perennial"]["withdrawn"]
    assert len(ahead.placed()) == 1


async def test_a_source_order_that_changes_right_before_the_charge_is_copied_again_by_the_next_sweep(
    ahead: Merchant,
) -> None:
    made = await prepared(ahead)
    ahead.sandbox.advance(20 * HOUR)
    seen = ahead.requests("GET /api/order_copies")

    def has_looked() -> bool:
        return ahead.requests("GET /api/order_copies") > seen + 3

    with use_clock(clock := Meanwhile(ahead, has_looked, lambda: touch_source_order(ahead, made))):
        ended = await ahead.sweep()
    assert clock.has_acted
    assert ended.facts["skipped"] == {"out_of_date": 1}
    assert statuses(ahead) == ["cancelled"]

    assert (await ahead.sweep()).outcomes == {"renewed": 1}
    assert statuses(ahead) == ["cancelled", "placed"]


async def test_a_declined_prepared_order_is_retried_as_any_other(ahead: Merchant) -> None:
    made = await prepared(ahead, failure="declined", times=1)

    assert (await sweep_when_due(ahead)).outcomes == {"retry_scheduled": 1}
    ahead.sandbox.advance(25 * HOUR)

    assert (await ahead.sweep()).outcomes == {"renewed": 1}
    assert len(ahead.copies()) == 1
    assert ahead.subscription(made["id"])["metadata"]["perennial"]["attempt"] == 2


async def test_a_decline_whose_record_was_lost_is_not_repeated_by_the_next_sweep(ahead: Merchant) -> None:
    await prepared(ahead, failure="declined")
    ahead.sandbox.advance(20 * HOUR)
    ahead.sandbox.fault("status", method="PATCH", path="/api/order_subscriptions/*", match="perennial", status=503)
    await ahead.sweep()
    ahead.sandbox.clear_faults()
    (tried,) = charges(ahead)

    ended = await ahead.sweep()

    assert ended.outcomes == {"retry_scheduled": 1}
    assert charges(ahead) == [tried]


async def test_the_customer_may_pay_a_prepared_order_before_it_is_due(ahead: Merchant) -> None:
    await prepared(ahead)
    (order,) = ahead.target_orders()
    ahead.sandbox.customer_pays(order["id"])
    assert (await ahead.sweep()).facts["ahead"]["ready"] == 1

    ended = await sweep_when_due(ahead)

    assert ended.outcomes == {"already_renewed": 1}
    assert len(ahead.placed()) == 1


async def test_a_prepared_order_that_a_person_cancelled_is_not_charged(ahead: Merchant) -> None:
    await prepared(ahead)
    (order,) = ahead.target_orders()
    patch(ahead, "orders", order["id"], _cancel=True)
    assert (await ahead.sweep()).facts["ahead"]["will_fail"] == 1

    ended = await sweep_when_due(ahead)

    assert ended.outcomes == {"needs_attention": 1}
    assert ahead.placed() == []


async def test_a_manual_copy_does_not_disturb_what_is_prepared(ahead: Merchant) -> None:
    made = await prepared(ahead)
    copy_order(ahead, made["source_order_id"], reference="by-crm", reference_origin="crm")

    ended = await sweep_when_due(ahead)

    assert ended.outcomes == {"renewed": 1}


# --- orders that nothing waits for any more --------------------------------------------------------


def cancel(merchant: Merchant, made: Made) -> None:
    patch(merchant, "order_subscriptions", made["id"], _cancel=True)


def pause(merchant: Merchant, made: Made) -> None:
    change_state(merchant, made, paused=True)


def hold(merchant: Merchant, made: Made) -> None:
    change_state(merchant, made, held=True)


def give_back(merchant: Merchant, made: Made) -> None:
    patch(merchant, "order_subscriptions", made["id"], metadata={"crm": 7})


def postpone(merchant: Merchant, made: Made) -> None:
    later = merchant.sandbox.clock() + timedelta(days=3)
    patch(merchant, "order_subscriptions", made["id"], next_run_at=later.isoformat())


def end(merchant: Merchant, made: Made) -> None:
    patch(merchant, "order_subscriptions", made["id"], expires_at=made["next_run_at"])


def change_state(merchant: Merchant, made: Made, **changes: Any) -> None:
    metadata = merchant.subscription(made["id"])["metadata"]
    patch(
        merchant, "order_subscriptions", made["id"],
        metadata={**metadata, "perennial": {**metadata["perennial"], **changes}},
    )  # fmt: skip


@pytest.mark.parametrize("change", [cancel, pause, hold, give_back, postpone, end])
async def test_a_prepared_order_that_no_renewal_will_use_is_withdrawn_by_the_next_sweep(
    ahead: Merchant, change: Callable[[Merchant, Made], None]
) -> None:
    made = await prepared(ahead)
    change(ahead, made)

    await ahead.sweep()

    assert statuses(ahead) == ["cancelled"]
    (order,) = ahead.target_orders()
    assert order["metadata"]["perennial"]["withdrawn"]
    await sweep_when_due(ahead)
    assert ahead.placed() == []


async def test_a_renewal_that_was_paused_and_resumed_is_prepared_anew(ahead: Merchant) -> None:
    made = await prepared(ahead)
    pause(ahead, made)
    await ahead.sweep()
    change_state(ahead, made, paused=False)

    ended = await ahead.sweep()

    assert ended.facts["ahead"]["ready"] == 1
    assert statuses(ahead) == ["cancelled", "pending"]
    assert (await sweep_when_due(ahead)).outcomes == {"renewed": 1}


async def test_the_watch_does_not_mind_an_order_that_waits_for_its_date(merchant: Merchant) -> None:
    from flows.watch import watch_renewals

    await merchant.install(prepare_ahead="7d")
    made = due_in(merchant, 5 * 24)
    await merchant.sweep()
    merchant.sandbox.advance(3 * 24 * HOUR)

    quiet = await watch_renewals(credentials=merchant.name, policy=merchant.name, return_state=True)
    postpone(merchant, made)
    found = await watch_renewals(credentials=merchant.name, policy=merchant.name, return_state=True)

    assert (quiet.name, found.name) == ("Completed", "Failed")
    assert "order left unplaced" in (found.message or "")


# --- deaths, lost answers, and several sweeps at once ----------------------------------------------


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_creation_ahead_whose_answer_is_lost_leaves_one_order(ahead: Merchant, when: str) -> None:
    due_in(ahead, 20)
    ahead.sandbox.fault("reset", when=when, method="POST", path="/api/order_copies", times=1)

    await ahead.sweep()

    assert statuses(ahead) == ["pending"]
    assert (await sweep_when_due(ahead)).outcomes == {"renewed": 1}


async def test_a_creation_that_is_carried_out_late_leaves_a_surplus_copy_that_is_cancelled(ahead: Merchant) -> None:
    due_in(ahead, 20)
    ahead.sandbox.fault("late", method="POST", path="/api/order_copies", seconds=600, times=1)
    await ahead.sweep()
    ahead.sandbox.advance(700)

    ended = await ahead.sweep()

    assert ended.facts["surplus"] == 1
    assert sorted(statuses(ahead)) == ["cancelled", "pending"]
    assert (await sweep_when_due(ahead)).outcomes == {"renewed": 1}
    assert len(ahead.placed()) == 1


async def test_a_placement_of_a_prepared_order_whose_answer_is_lost_charges_once(ahead: Merchant) -> None:
    await prepared(ahead)
    ahead.sandbox.fault("reset", when="after", method="PATCH", path="/api/orders/*", match="_place", times=1)

    ended = await sweep_when_due(ahead)

    assert ended.outcomes == {"renewed": 1}
    assert [accepted for _, accepted in charges(ahead)] == [1]


async def test_a_withdrawal_that_fails_leaves_the_renewal_to_the_next_sweep(ahead: Merchant) -> None:
    made = await prepared(ahead)
    ahead.sandbox.advance(60)
    touch_subscription(ahead, made)
    ahead.sandbox.fault("status", method="PATCH", path="/api/orders/*", match="_cancel", status=503)

    ended = await sweep_when_due(ahead)

    assert ended.facts["skipped"] == {"out_of_date": 1}
    assert ahead.placed() == []
    ahead.sandbox.clear_faults()
    assert (await ahead.sweep()).outcomes == {"renewed": 1}
    assert statuses(ahead) == ["cancelled", "placed"]


async def test_two_sweeps_that_prepare_at_once_leave_one_order_and_charge_it_once(ahead: Merchant) -> None:
    for _ in range(3):
        due_in(ahead, 20)

    await asyncio.gather(ahead.sweep(), ahead.sweep())
    assert statuses(ahead).count("pending") == 3
    assert set(statuses(ahead)) <= {"pending", "cancelled"}
    ahead.sandbox.advance(20 * HOUR)
    await asyncio.gather(ahead.sweep(), ahead.sweep())
    ahead.sandbox.advance(60)
    await ahead.sweep()

    assert len(ahead.placed()) == len(set(ahead.placed())) == 3
    assert [accepted for _, accepted in charges(ahead)] == [1, 1, 1]
