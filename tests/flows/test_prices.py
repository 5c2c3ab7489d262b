"""What a renewal may cost: what the last one did. Any other price waits for a person unless the policy allows it."""

from __future__ import annotations

from typing import Any

import pytest
import stored_runs
from meanwhile import Meanwhile, patch
from merchant import Ended, Merchant

from blocks.commerce_layer.clock import use_clock

MONTH = 31 * 86_400


def own_state(merchant: Merchant, made: dict[str, Any]) -> dict[str, Any]:
    state: dict[str, Any] = merchant.subscription(made["id"])["metadata"]["perennial"]
    return state


def release(merchant: Merchant, made: dict[str, Any]) -> None:
    """Release the held subscription, as its message says: set metadata.perennial.held to false."""
    metadata = merchant.subscription(made["id"])["metadata"]
    own = {**metadata["perennial"], "held": False}
    patch(merchant, "order_subscriptions", made["id"], metadata={**metadata, "perennial": own})


def charged(merchant: Merchant) -> list[int]:
    """What was charged, in cents."""
    orders = merchant.target_orders()
    return [order["total_amount_with_taxes_cents"] for order in orders if order["status"] == "placed"]


async def why(ended: Ended) -> str:
    (row,) = await stored_runs.table(ended.flow_run_id)
    return str(row["why"])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"total_cents": 1001}, "its order costs 10.01 EUR instead of 10.00 EUR (price_tolerance is 0 %)"),
        ({"total_cents": 0}, "its order costs nothing: 0.00 EUR instead of 10.00 EUR"),
        ({"currency_code": "USD"}, "its order is in another currency: it costs 10.00 USD instead of 10.00 EUR"),
        (
            {"skus_count": 1, "total_cents": 500},
            "its order has 1 of 2 items: it costs 5.00 EUR instead of 10.00 EUR",
        ),
    ],
    ids=["more", "nothing", "another currency", "a missing line"],
)
async def test_a_price_that_nobody_agreed_to_is_held_for_a_person_and_not_charged(
    merchant: Merchant, change: dict[str, Any], said: str
) -> None:
    made = merchant.sandbox.create_subscription(total_cents=1000)
    merchant.sandbox.change_price(made["source_order_id"], **{"skus_count": 2, **change})
    record_two_items(merchant, made)

    ended = await merchant.sweep()

    assert (ended.name, ended.outcomes) == ("Failed", {"needs_attention": 1})
    assert (await why(ended)).startswith(f"{said}: no one is charged. If that is wrong, mend the price; then release")
    assert charged(merchant) == []
    assert [order["status"] for order in merchant.target_orders()] == ["cancelled"]
    state = own_state(merchant, made)
    assert (state["held"], state["outcome"], state["attempt"]) == (True, "needs_attention", 0)
    held = await merchant.sweep()
    assert (held.name, held.outcomes) == ("Completed", {"skipped": 1})
    assert said in await why(held)
    assert len(merchant.copies()) == 1


def record_two_items(merchant: Merchant, made: dict[str, Any]) -> None:
    """Record that the last renewal had two items."""
    metadata = merchant.subscription(made["id"])["metadata"]
    own = {**metadata["perennial"], "price": {"cents": 1000, "currency": "EUR", "items": 2}}
    patch(merchant, "order_subscriptions", made["id"], metadata={**metadata, "perennial": own})


async def test_a_released_subscription_is_charged_the_price_that_it_was_held_for(merchant: Merchant) -> None:
    made = merchant.sandbox.create_subscription(total_cents=1000)
    merchant.sandbox.change_price(made["source_order_id"], total_cents=1200)
    await merchant.sweep()
    release(merchant, made)

    ended = await merchant.sweep()

    assert (ended.name, ended.outcomes) == ("Completed", {"renewed": 1})
    assert ", for 12.00 EUR instead of 10.00 EUR; next on" in await why(ended)
    assert charged(merchant) == [1200]
    state = own_state(merchant, made)
    assert state["price"] == {"cents": 1200, "currency": "EUR", "items": 1}
    assert state["price_to_accept"] is None


async def test_an_accepted_price_is_charged_from_then_on_and_another_change_is_held_again(merchant: Merchant) -> None:
    made = merchant.sandbox.create_subscription(total_cents=1000)
    merchant.sandbox.change_price(made["source_order_id"], total_cents=1200)
    await merchant.sweep()
    release(merchant, made)
    await merchant.sweep()

    merchant.sandbox.advance(MONTH)
    assert (await merchant.sweep()).outcomes == {"renewed": 1}
    merchant.sandbox.change_price(made["source_order_id"], total_cents=1300)
    merchant.sandbox.advance(MONTH)
    ended = await merchant.sweep()

    assert ended.outcomes == {"needs_attention": 1}
    assert "13.00 EUR instead of 12.00 EUR" in await why(ended)
    assert charged(merchant) == [1200, 1200]


async def test_a_release_does_not_accept_a_price_that_changed_after_the_hold(merchant: Merchant) -> None:
    made = merchant.sandbox.create_subscription(total_cents=1000)
    merchant.sandbox.change_price(made["source_order_id"], total_cents=1200)
    await merchant.sweep()
    merchant.sandbox.change_price(made["source_order_id"], total_cents=1199)
    release(merchant, made)

    ended = await merchant.sweep()

    assert ended.outcomes == {"needs_attention": 1}
    assert "11.99 EUR instead of 10.00 EUR" in await why(ended)
    assert charged(merchant) == []


async def test_a_price_that_is_corrected_before_the_release_is_charged(merchant: Merchant) -> None:
    made = merchant.sandbox.create_subscription(total_cents=1000)
    merchant.sandbox.change_price(made["source_order_id"], total_cents=100_000)
    await merchant.sweep()
    merchant.sandbox.change_price(made["source_order_id"], total_cents=1000)
    release(merchant, made)

    assert (await merchant.sweep()).outcomes == {"renewed": 1}

    assert charged(merchant) == [1000]


async def test_a_lower_price_is_charged_and_reported(merchant: Merchant) -> None:
    made = merchant.sandbox.create_subscription(total_cents=1000)
    merchant.sandbox.change_price(made["source_order_id"], total_cents=100)

    ended = await merchant.sweep()

    assert (ended.name, ended.outcomes) == ("Completed", {"renewed": 1})
    assert ", for 1.00 EUR instead of 10.00 EUR" in await why(ended)


@pytest.mark.parametrize(("cents", "outcome"), [(1050, "renewed"), (1051, "needs_attention")])
async def test_an_increase_needs_a_person_only_beyond_the_tolerance(
    merchant: Merchant, cents: int, outcome: str
) -> None:
    await merchant.install(price_tolerance=5)
    made = merchant.sandbox.create_subscription(total_cents=1000)
    merchant.sandbox.change_price(made["source_order_id"], total_cents=cents)

    assert (await merchant.sweep()).outcomes == {outcome: 1}


async def test_a_price_that_changes_between_the_copy_and_the_charge_is_held_and_not_charged(merchant: Merchant) -> None:
    merchant.sandbox.create_subscription(total_cents=1000)

    def raise_the_price() -> None:
        (order,) = merchant.target_orders()
        merchant.sandbox.change_price(order["id"], total_cents=1200)

    with use_clock(Meanwhile(merchant, lambda: bool(merchant.target_orders()), raise_the_price)):
        ended = await merchant.sweep()

    assert ended.outcomes == {"needs_attention": 1}
    assert "12.00 EUR instead of 10.00 EUR" in await why(ended)
    assert charged(merchant) == []


async def test_a_retry_is_not_placed_at_another_price_than_the_first_attempt(merchant: Merchant) -> None:
    made = merchant.sandbox.create_subscription(total_cents=1000, failure="declined")
    assert (await merchant.sweep()).outcomes == {"retry_scheduled": 1}
    (order,) = merchant.target_orders()
    merchant.sandbox.set_failure(made["source_order_id"], None)
    merchant.sandbox.change_price(order["id"], total_cents=1200)
    merchant.sandbox.advance(86_460)

    ended = await merchant.sweep()

    assert ended.outcomes == {"needs_attention": 1}
    assert charged(merchant) == []
    state = own_state(merchant, made)
    assert (state["attempt"], len(state["attempts"])) == (1, 1), "nothing reached the card"


async def test_a_wrong_price_on_every_renewal_stops_the_sweep_after_its_first_wave(merchant: Merchant) -> None:
    made = merchant.sandbox.seed(40)
    for source in made["source_order_ids"]:
        merchant.sandbox.change_price(source, total_cents=1_000_000)

    ended = await merchant.sweep()

    assert ended.outcomes == {"needs_attention": 10}
    assert "10 of 10 renewals failed for one reason (catalogue)" in ended.message
    assert charged(merchant) == []


async def test_a_price_hold_that_could_not_be_recorded_is_repeated_by_the_next_sweep(merchant: Merchant) -> None:
    made = merchant.sandbox.create_subscription(total_cents=1000)
    merchant.sandbox.change_price(made["source_order_id"], total_cents=1200)
    merchant.sandbox.fault("status", method="PATCH", path="/api/order_subscriptions/*", status=503)
    await merchant.sweep()
    merchant.sandbox.clear_faults()
    assert own_state(merchant, made).get("held") is not True

    assert (await merchant.sweep()).outcomes == {"needs_attention": 1}

    assert charged(merchant) == []
    assert own_state(merchant, made)["held"] is True
