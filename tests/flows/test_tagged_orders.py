"""What a placed order carries: its reference, the reference's origin, and the renewal and the run that placed it."""

from __future__ import annotations

from typing import Any

import stored_runs
from meanwhile import Meanwhile, patch
from merchant import Ended, Merchant

from blocks.commerce_layer.clock import use_clock


async def names_its_renewal_and_run(
    merchant: Merchant, order: dict[str, Any], made: dict[str, Any], ended: Ended, **attempts: Any
) -> None:
    (copy,) = [each for each in merchant.copies() if each["target_order_id"] == order["id"]]
    assert (order["reference"], order["reference_origin"]) == (copy["reference"], "perennial")
    assert order["metadata"]["perennial"] == {
        "subscription_id": made["id"],
        "period": copy["reference"].partition("@")[2],
        **(attempts or {"attempt": 1}),
        "flow_run_id": str(ended.flow_run_id),
        "flow_run_name": (await stored_runs.flow_run(ended.flow_run_id)).name,
        "deployment": None,
        "policy": merchant.name,
    }


async def test_every_placed_order_carries_its_reference_and_the_run_that_placed_it(merchant: Merchant) -> None:
    made = [merchant.sandbox.create_subscription() for _ in range(3)]

    ended = await merchant.sweep()

    orders = {order["_source_order_id"]: order for order in merchant.target_orders()}
    assert len(orders) == 3
    for each in made:
        await names_its_renewal_and_run(merchant, orders[each["source_order_id"]], each, ended)


async def test_an_order_that_is_placed_at_the_second_attempt_names_that_attempt_and_its_run(merchant: Merchant) -> None:
    made = merchant.sandbox.create_subscription(failure="declined", times=1)
    await merchant.sweep()
    merchant.sandbox.advance(2 * 86_400)

    ended = await merchant.sweep()

    (order,) = merchant.target_orders()
    assert order["status"] == "placed"
    await names_its_renewal_and_run(merchant, order, made, ended, attempt=2, failures={"payment": 1})


async def test_an_order_that_a_dead_sweep_left_names_the_run_that_placed_it(merchant: Merchant) -> None:
    made = merchant.sandbox.create_subscription()
    await merchant.sweep_that_dies_before_placing()

    ended = await merchant.sweep()

    (order,) = merchant.target_orders()
    await names_its_renewal_and_run(merchant, order, made, ended)


async def test_what_others_write_on_the_order_before_it_is_placed_is_kept(merchant: Merchant) -> None:
    merchant.sandbox.create_subscription()

    def warehouse_writes() -> None:
        (order,) = merchant.target_orders()
        metadata = {**order["metadata"], "warehouse": {"shelf": 7}, "perennial": {"note": "theirs"}}
        patch(merchant, "orders", order["id"], metadata=metadata)

    with use_clock(clock := Meanwhile(merchant, lambda: bool(merchant.target_orders()), warehouse_writes)):
        ended = await merchant.sweep()

    assert clock.has_acted
    (order,) = merchant.target_orders()
    assert order["status"] == "placed"
    assert order["metadata"]["warehouse"] == {"shelf": 7}
    assert order["metadata"]["perennial"]["flow_run_id"] == str(ended.flow_run_id)


async def test_a_withdrawn_order_keeps_what_others_wrote_and_says_why_it_was_withdrawn(merchant: Merchant) -> None:
    made = merchant.sandbox.create_subscription()

    def warehouse_writes_and_customer_cancels() -> None:
        (order,) = merchant.target_orders()
        patch(merchant, "orders", order["id"], metadata={"warehouse": {"shelf": 7}})
        patch(merchant, "order_subscriptions", made["id"], _cancel=True)

    act = warehouse_writes_and_customer_cancels
    with use_clock(Meanwhile(merchant, lambda: bool(merchant.target_orders()), act)):
        await merchant.sweep()

    (order,) = merchant.target_orders()
    assert order["status"] == "cancelled"
    assert order["metadata"] == {
        "warehouse": {"shelf": 7},
        "perennial": {"withdrawn": "the subscription is cancelled"},
    }


async def test_a_placed_order_that_was_copied_by_hand_carries_its_reference_and_run_too(merchant: Merchant) -> None:
    made = merchant.sandbox.create_subscription(adopted=False)

    ended = await merchant.reorder(made["source_order_id"], reference="goodwill-19")

    (order,) = merchant.target_orders()
    assert (order["reference"], order["reference_origin"]) == ("goodwill-19", "perennial")
    own = order["metadata"]["perennial"]
    assert (own["source_order_id"], own["flow_run_id"]) == (made["source_order_id"], str(ended.flow_run_id))
