"""
What version 0.1 left in a shop: copies that place their orders themselves, numbered references, states that count them.

Sweeps of this version settle all of it, and none of it leads to a second order.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from meanwhile import copy_order, patch
from merchant import Merchant

CREATIONS, PLACEMENTS = "POST /api/order_copies", "PATCH /api/orders/{id}"

Made = dict[str, Any]


def reference_of(made: Made, number: int = 1) -> str:
    plain = f"{made['id']}@{made['next_run_at'][:16]}Z"
    return plain if number == 1 else f"{plain}#{number}"


def copied_by_0_1(merchant: Merchant, made: Made, number: int = 1, failure: str | None = None) -> str:
    """Make a copy as version 0.1 did, and give it a minute to end; returns its id."""
    if failure is not None:
        merchant.sandbox.set_failure(made["source_order_id"], failure, 1)
    members = {"reference": reference_of(made, number), "reference_origin": "perennial", "place_target_order": True}
    copy_id = copy_order(merchant, made["source_order_id"], **members)
    merchant.sandbox.advance(60)
    return copy_id


def recorded_by_0_1(merchant: Merchant, made: Made, **state: Any) -> None:
    """Write the state that version 0.1 wrote after a copy failed."""
    tried_at = merchant.sandbox.clock().isoformat()
    own = {
        "v": 1, "instance": "0123456789ab", "period": made["next_run_at"], "outcome": "retry_scheduled", "attempt": 1,
        "copies": 1, "attempts": [tried_at], "failures": {"stock": 1}, "error_class": "stock",
        "next_attempt_at": tried_at, "flow_run_id": "of version 0.1", **state,
    }  # fmt: skip
    patch(merchant, "order_subscriptions", made["id"], metadata={"crm": 7, "perennial": own})
    merchant.sandbox.advance(60)


def settled_once(merchant: Merchant, made: Made) -> None:
    row = merchant.subscription(made["id"])
    assert len(merchant.placed()) == 1
    assert row["metadata"]["perennial"]["outcome"] in {"renewed", "already_renewed"}
    assert row["metadata"]["perennial"]["done_through"][:16] == made["next_run_at"][:16]
    assert datetime.fromisoformat(row["next_run_at"]) > merchant.sandbox.clock()


async def test_an_unrecorded_order_that_its_copy_placed_itself_is_settled(merchant: Merchant) -> None:
    made = merchant.sandbox.create_subscription()
    copied_by_0_1(merchant, made)
    merchant.sandbox.reset_counters()

    assert (await merchant.sweep()).outcomes == {"already_renewed": 1}

    assert (merchant.requests(CREATIONS), merchant.requests(PLACEMENTS)) == (0, 0)
    settled_once(merchant, made)


async def test_an_unrecorded_order_under_a_numbered_reference_is_settled(merchant: Merchant) -> None:
    made = merchant.sandbox.create_subscription()
    first = copied_by_0_1(merchant, made, failure="out_of_stock")
    recorded_by_0_1(merchant, made, order_copy_id=first)
    copied_by_0_1(merchant, made, number=2)
    assert merchant.placed() == [reference_of(made, 2)]
    merchant.sandbox.reset_counters()

    ended = await merchant.sweep()

    assert sum(ended.outcomes.values()) == 1
    assert set(ended.outcomes) <= {"renewed", "already_renewed"}
    assert (merchant.requests(CREATIONS), merchant.requests(PLACEMENTS)) == (0, 0)
    settled_once(merchant, made)
    assert merchant.subscription(made["id"])["metadata"]["crm"] == 7


@pytest.mark.parametrize("number", [1, 2])
async def test_a_sweep_waits_for_a_copy_that_will_place_its_order_itself(merchant: Merchant, number: int) -> None:
    await merchant.install(copy_deadline_seconds=60)
    made = merchant.sandbox.create_subscription()
    if number > 1:
        first = copied_by_0_1(merchant, made, failure="out_of_stock")
        recorded_by_0_1(merchant, made, order_copy_id=first)
    under_way = copied_by_0_1(merchant, made, number, failure="stuck")
    merchant.sandbox.reset_counters()

    assert (await merchant.sweep()).outcomes == {"in_progress": 1}
    merchant.sandbox.release(under_way)
    merchant.sandbox.advance(60)
    await merchant.sweep()

    assert (merchant.requests(CREATIONS), merchant.requests(PLACEMENTS)) == (0, 0)
    settled_once(merchant, made)


async def test_after_two_failed_copies_the_next_one_has_the_plain_reference(merchant: Merchant) -> None:
    made = merchant.sandbox.create_subscription()
    copied_by_0_1(merchant, made, failure="out_of_stock")
    second = copied_by_0_1(merchant, made, number=2, failure="out_of_stock")
    recorded_by_0_1(merchant, made, order_copy_id=second, copies=2, attempt=2, failures={"stock": 2})
    merchant.sandbox.reset_counters()

    assert (await merchant.sweep()).outcomes == {"renewed": 1}

    assert merchant.requests(CREATIONS) == 1
    assert merchant.placed() == [reference_of(made)]
    settled_once(merchant, made)
    assert merchant.subscription(made["id"])["metadata"]["perennial"]["attempt"] == 3


async def test_an_order_that_its_copy_could_not_place_is_placed_when_its_retry_is_due(merchant: Merchant) -> None:
    made = merchant.sandbox.create_subscription()
    failed = copied_by_0_1(merchant, made, failure="declined")
    (left,) = merchant.target_orders()
    known = {"order_copy_id": failed, "target_order_id": left["id"], "error_class": "payment"}
    recorded_by_0_1(merchant, made, **known, failures={"payment": 1})
    merchant.sandbox.reset_counters()

    assert (await merchant.sweep()).outcomes == {"renewed": 1}

    assert merchant.requests(CREATIONS) == 0
    (order,) = merchant.target_orders()
    assert (order["id"], order["status"]) == (left["id"], "placed")
    settled_once(merchant, made)


async def test_an_unrecorded_decline_counts_and_waits_for_its_retry(merchant: Merchant) -> None:
    made = merchant.sandbox.create_subscription()
    copied_by_0_1(merchant, made, failure="declined")
    merchant.sandbox.reset_counters()

    assert (await merchant.sweep()).outcomes == {"retry_scheduled": 1}

    assert (merchant.requests(CREATIONS), merchant.requests(PLACEMENTS)) == (0, 0)
    state = merchant.subscription(made["id"])["metadata"]["perennial"]
    assert (state["attempt"], state["failures"], len(state["attempts"])) == (1, {"payment": 1}, 1)
    merchant.sandbox.advance(timedelta(days=2).total_seconds())
    assert (await merchant.sweep()).outcomes == {"renewed": 1}
    settled_once(merchant, made)
    assert len(merchant.copies()) == 1
