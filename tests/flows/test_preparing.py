"""What comes due soon is copied ahead: failures are known early, and at the due time a renewal costs two writes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from typing import Any

import pytest
import pytest_asyncio
import stored_runs
from card_charges import attach_card, charges
from meanwhile import Meanwhile, copy_order, patch
from merchant import Ended, Merchant

from blocks.commerce_layer.clock import use_clock

HOUR = 3600.0
Made = dict[str, Any]


@pytest_asyncio.fixture
async def ahead(merchant: Merchant) -> AsyncIterator[Merchant]:
    """A merchant who prepares a day ahead."""
    await merchant.install(prepare_ahead="24h", brake_share=1.0)
    yield merchant


def due_in(merchant: Merchant, hours: float, **members: Any) -> Made:
    """A subscription that comes due so many hours from now."""
    due = (merchant.sandbox.clock() + timedelta(hours=hours)).replace(second=0, microsecond=0)
    return merchant.sandbox.create_subscription(next_run_at=due.isoformat(), **members)


async def prepared(merchant: Merchant, **members: Any) -> Made:
    """A subscription that is due in 20 hours, and whose order a sweep has prepared."""
    made = due_in(merchant, 20, **members)
    ended = await merchant.sweep()
    assert ended.facts["ahead"]["ready"] == 1, ended.message
    return made


async def sweep_when_due(merchant: Merchant) -> Ended:
    merchant.sandbox.advance(20 * HOUR)
    merchant.sandbox.reset_counters()
    return await merchant.sweep()


def statuses(merchant: Merchant) -> list[str]:
    return [order["status"] for order in merchant.target_orders()]


def writes(merchant: Merchant) -> dict[str, int]:
    counted = merchant.sandbox.counters()["requests"]
    return {name: count for name, count in counted.items() if not name.startswith("GET") and "oauth" not in name}


async def test_what_comes_due_within_the_time_ahead_is_copied_and_not_charged(ahead: Merchant) -> None:
    soon, later = due_in(ahead, 20), due_in(ahead, 30)

    ended = await ahead.sweep()

    assert [copy["reference"][:10] for copy in ahead.copies()] == [soon["id"]]
    assert (ahead.placed(), statuses(ahead)) == ([], ["pending"])
    assert ended.name == "Completed"
    assert ended.message == "0 renewals; prepared ahead: 1 ready"
    assert ended.facts["outcomes"] == {}
    for each in (soon, later):
        assert ahead.subscription(each["id"])["metadata"]["perennial"].get("outcome") is None


async def test_nothing_is_prepared_as_long_as_the_policy_does_not_say_so(merchant: Merchant) -> None:
    due_in(merchant, 20)

    ended = await merchant.sweep()

    assert merchant.copies() == []
    assert ended.facts["ahead"] is None


async def test_a_prepared_renewal_costs_two_writes_when_it_is_due(ahead: Merchant) -> None:
    for _ in range(3):
        due_in(ahead, 20)
    await ahead.sweep()

    ended = await sweep_when_due(ahead)

    assert ended.outcomes == {"renewed": 3}
    assert len(set(ahead.placed())) == 3
    # One change of nothing shows that subscriptions can be written.
    assert writes(ahead) == {"PATCH /api/orders/{id}": 3, "PATCH /api/order_subscriptions/{id}": 3 + 1}


async def test_a_sweep_prepares_only_once_what_is_prepared(ahead: Merchant) -> None:
    await prepared(ahead)

    ended = await ahead.sweep()

    assert len(ahead.copies()) == 1
    assert ended.facts["ahead"] == {"ready": 1, "will_fail": 0, "not_known": 0}
    assert statuses(ahead) == ["pending"]


async def test_a_sweep_for_named_subscriptions_prepares_nothing(ahead: Merchant) -> None:
    due_in(ahead, 20)
    named = ahead.sandbox.create_subscription()

    await ahead.sweep(subscriptions=[named["id"]])

    assert [copy["reference"][:10] for copy in ahead.copies()] == [named["id"]]


async def test_a_sweep_that_the_brake_has_stopped_prepares_nothing(merchant: Merchant) -> None:
    await merchant.install(prepare_ahead="24h", first_wave=2)
    for _ in range(3):
        merchant.sandbox.create_subscription(failure="out_of_stock")
    due_in(merchant, 20)

    ended = await merchant.sweep()

    assert ended.facts["brake"] is not None
    assert ended.facts["ahead"] is None


async def test_many_failures_ahead_stop_no_sweep(merchant: Merchant) -> None:
    await merchant.install(prepare_ahead="24h", first_wave=1)
    for _ in range(3):
        due_in(merchant, 20, failure="out_of_stock")
    merchant.sandbox.create_subscription()

    ended = await merchant.sweep()

    assert (ended.name, ended.facts["brake"]) == ("Completed", None)
    assert ended.outcomes == {"renewed": 1}
    assert ended.facts["failures"] == {}
    assert ended.facts["ahead"]["will_fail"] == 3


# --- what is known ahead ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("failure", "cls", "why"),
    [
        ("out_of_stock", "stock", "out of stock"),
        ("invalid_coupon", "coupon", "coupon"),
        ("missing_address", "catalogue", "address"),
        ("sku_gone", "catalogue", "a product does not exist any more"),
    ],
)
async def test_a_copy_that_fails_ahead_is_reported_and_counts_as_no_attempt(
    ahead: Merchant, failure: str, cls: str, why: str
) -> None:
    made = due_in(ahead, 20, failure=failure)

    ended = await ahead.sweep()

    assert ended.message == "0 renewals; prepared ahead: 1 will fail"
    (row,) = await stored_runs.table(ended.flow_run_id, "prepared-renewals")
    assert why in row["why"]
    assert row["class"] == cls
    (event,) = await stored_runs.events(f"perennial.subscription.{made['id']}", 1, flow_run_id=ended.flow_run_id)
    assert event["event"] == "perennial.renewal.will_fail"
    assert "period" not in ahead.subscription(made["id"])["metadata"]["perennial"]


async def test_what_failed_ahead_is_copied_again_when_it_is_due(ahead: Merchant) -> None:
    made = due_in(ahead, 20, failure="out_of_stock")
    await ahead.sweep()
    ahead.sandbox.set_failure(made["source_order_id"], None)

    ended = await sweep_when_due(ahead)

    assert ended.outcomes == {"renewed": 1}
    assert ahead.subscription(made["id"])["metadata"]["perennial"]["attempt"] == 1


async def test_what_fails_ahead_and_again_when_it_is_due_has_made_one_attempt(ahead: Merchant) -> None:
    made = due_in(ahead, 20, failure="out_of_stock")
    await ahead.sweep()

    ended = await sweep_when_due(ahead)

    assert ended.outcomes == {"retry_scheduled": 1}
    state = ahead.subscription(made["id"])["metadata"]["perennial"]
    assert (state["attempt"], state["failures"]) == (1, {"stock": 1})


async def test_what_failed_ahead_is_not_made_again_by_each_sweep_but_after_a_day(merchant: Merchant) -> None:
    await merchant.install(prepare_ahead="3d")
    due_in(merchant, 60, failure="out_of_stock", times=1)
    await merchant.sweep()

    again = await merchant.sweep()
    merchant.sandbox.advance(25 * HOUR)
    after_a_day = await merchant.sweep()

    assert again.facts["ahead"] == {"ready": 0, "will_fail": 1, "not_known": 0}
    assert after_a_day.facts["ahead"] == {"ready": 1, "will_fail": 0, "not_known": 0}
    assert [copy["status"] for copy in merchant.copies()] == ["failed", "completed"]


async def test_a_subscription_without_a_card_is_known_to_fail(ahead: Merchant) -> None:
    due_in(ahead, 20, wallet=False)

    ended = await ahead.sweep()

    (row,) = await stored_runs.table(ended.flow_run_id, "prepared-renewals")
    assert row["why"] == "nothing to pay with: neither the subscription nor its order has a payment source"


async def test_another_price_is_known_ahead_and_the_order_waits(ahead: Merchant) -> None:
    made = due_in(ahead, 20)
    ahead.sandbox.change_price(made["source_order_id"], total_cents=99_900)

    ended = await ahead.sweep()

    (row,) = await stored_runs.table(ended.flow_run_id, "prepared-renewals")
    assert "its order costs 999.00 EUR instead of" in row["why"].replace("\\", "")
    assert statuses(ahead) == ["pending"]


async def test_the_card_that_the_subscription_has_is_set_ahead(ahead: Merchant) -> None:
    made = due_in(ahead, 20)
    card = attach_card(ahead, made)
    ended = await ahead.sweep()
    assert ended.facts["ahead"]["ready"] == 1

    await sweep_when_due(ahead)

    assert charges(ahead) == [(card, 1)]
    assert writes(ahead)["PATCH /api/orders/{id}"] == 1


async def test_a_card_that_the_shop_refuses_is_known_ahead(ahead: Merchant) -> None:
    made = due_in(ahead, 20)
    attach_card(ahead, made)
    body = json.dumps({"errors": [{"title": "must exist", "detail": "must exist in the wallet", "code": "BLANK"}]})
    ahead.sandbox.fault(
        "status", method="PATCH", path="/api/orders/*", match="_customer_payment_source_id", status=422, body=body
    )

    ended = await ahead.sweep()

    assert ended.facts["ahead"]["will_fail"] == 1


async def test_two_adopted_subscriptions_of_one_source_order_are_reported_ahead_and_not_copied(ahead: Merchant) -> None:
    one = due_in(ahead, 20)
    due_in(ahead, 20, source_order_id=one["source_order_id"])

    ended = await ahead.sweep()

    assert ahead.copies() == []
    assert ended.facts["ahead"]["will_fail"] == 2


# --- when it is due --------------------------------------------------------------------------------


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
