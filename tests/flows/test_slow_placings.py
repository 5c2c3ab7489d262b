"""Orders that stay `placing` for long or for ever: sweeps wait, then tell a person, and never place them twice."""

from __future__ import annotations

from typing import Any

import pytest
import stored_runs
from meanwhile import Meanwhile, copy_order
from merchant import Merchant

from blocks.commerce_layer.clock import use_clock

HOUR = 3600
CREATIONS, PLACEMENTS = "POST /api/order_copies", "PATCH /api/orders/{id}"


def state_of(merchant: Merchant, made: dict[str, Any]) -> dict[str, Any]:
    state: dict[str, Any] = merchant.subscription(made["id"])["metadata"]["perennial"]
    return state


async def why(merchant: Merchant, flow_run_id: Any) -> str:
    (row,) = await stored_runs.table(flow_run_id)
    return str(row["why"])


def once(merchant: Merchant) -> bool:
    """Whether one copy was made, and one request to place its order was sent."""
    return (merchant.requests(CREATIONS), merchant.requests(PLACEMENTS)) == (1, 1)


async def test_a_sweep_waits_for_an_order_that_takes_minutes_to_be_placed(merchant: Merchant) -> None:
    made = merchant.sandbox.create_subscription(failure="slow_placing")

    ended = await merchant.sweep()

    assert ended.outcomes == {"renewed": 1}
    assert len(merchant.placed()) == 1
    assert once(merchant)
    assert state_of(merchant, made)["outcome"] == "renewed"


async def test_an_order_that_stays_placing_is_in_progress_and_read_again_by_the_next_sweeps(
    merchant: Merchant,
) -> None:
    await merchant.install(copy_deadline_seconds=60)
    made = merchant.sandbox.create_subscription(failure="stuck_placing")

    for _ in range(3):
        ended = await merchant.sweep()
        assert (ended.name, ended.outcomes) == ("Completed", {"in_progress": 1})
        assert (await why(merchant, ended.flow_run_id)).endswith("is placing; the next sweep picks it up")
        merchant.sandbox.advance(HOUR)

    assert once(merchant)
    state = state_of(merchant, made)
    assert state["attempt"] == 1
    merchant.sandbox.release_order(state["target_order_id"])
    merchant.sandbox.advance(60)
    assert (await merchant.sweep()).outcomes == {"renewed": 1}
    assert len(merchant.placed()) == 1
    assert once(merchant)


async def test_an_order_that_has_been_placing_for_a_day_needs_a_person_until_it_is_placed(
    merchant: Merchant,
) -> None:
    await merchant.install(copy_deadline_seconds=60, stuck_after="1d")
    made = merchant.sandbox.create_subscription(failure="stuck_placing")
    assert (await merchant.sweep()).outcomes == {"in_progress": 1}
    merchant.sandbox.advance(25 * HOUR)

    ended = await merchant.sweep()

    assert (ended.name, ended.outcomes) == ("Failed", {"needs_attention": 1})
    assert "is placing since" in await why(merchant, ended.flow_run_id)
    assert once(merchant)
    merchant.sandbox.release_order(state_of(merchant, made)["target_order_id"])
    merchant.sandbox.advance(60)
    assert (await merchant.sweep()).outcomes == {"renewed": 1}
    assert state_of(merchant, made)["held"] is False
    assert once(merchant)


async def test_an_order_that_is_placing_after_a_lost_answer_is_not_placed_again(merchant: Merchant) -> None:
    merchant.sandbox.create_subscription(failure="slow_placing")
    merchant.sandbox.fault("reset", when="after", method="PATCH", path="/api/orders/*", times=1)

    ended = await merchant.sweep()

    assert ended.outcomes == {"renewed": 1}
    assert once(merchant)


@pytest.mark.parametrize("failure", ["slow_placing", "stuck_placing"])
async def test_another_copy_that_appears_while_the_order_is_placing_is_not_placed(
    merchant: Merchant, failure: str
) -> None:
    await merchant.install(copy_deadline_seconds=120)
    made = merchant.sandbox.create_subscription(failure=failure)

    def make_another_copy() -> None:
        (copy,) = merchant.copies()
        copy_order(merchant, made["source_order_id"], reference=copy["reference"], reference_origin="perennial")

    placing = "SELECT id FROM orders WHERE status = 'placing'"
    with use_clock(clock := Meanwhile(merchant, lambda: bool(merchant.rows(placing)), make_another_copy)):
        await merchant.sweep()
    assert clock.has_acted
    merchant.sandbox.advance(300)
    await merchant.sweep()

    first, second = merchant.target_orders()
    assert first["status"] in {"placing", "placed"}
    assert second["status"] == "cancelled"


async def test_a_reorder_that_stays_placing_is_in_progress_and_the_same_reference_finds_it_again(
    merchant: Merchant,
) -> None:
    await merchant.install(copy_deadline_seconds=60)
    made = merchant.sandbox.create_subscription(adopted=False, failure="stuck_placing")

    first = await merchant.reorder(made["source_order_id"], reference="goodwill-21")

    assert (first.name, first.facts["outcome"]) == ("Completed", "in_progress")
    assert "nothing is charged twice" in first.message
    (order,) = merchant.target_orders()
    merchant.sandbox.release_order(order["id"])
    merchant.sandbox.advance(60)
    second = await merchant.reorder(made["source_order_id"], reference="goodwill-21")
    assert second.name == "Completed"
    assert merchant.placed() == ["goodwill-21"]
    assert once(merchant)
