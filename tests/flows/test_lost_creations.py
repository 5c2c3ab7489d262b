"""Creations whose answers are lost: they may leave a surplus copy, but never cause a second charge."""

from __future__ import annotations

from typing import Any

import pytest
import stored_runs
from merchant import Ended, Merchant

CREATIONS = {"method": "POST", "path": "/api/order_copies"}


def renewed_once(merchant: Merchant, ended: Ended, subscription_id: str) -> None:
    assert (ended.name, ended.outcomes) == ("Completed", {"renewed": 1})
    assert [each.partition("@")[0] for each in merchant.placed()] == [subscription_id]
    assert merchant.subscription(subscription_id)["metadata"]["perennial"]["outcome"] == "renewed"


@pytest.mark.parametrize(
    "fault",
    [
        {"action": "reset"}, {"action": "close"}, {"action": "status", "status": 502}, {"action": "truncate"},
        {"action": "malformed"},
    ],
    ids=lambda each: each["action"],
)  # fmt: skip
async def test_a_copy_whose_creation_was_carried_out_and_not_answered_is_found_by_its_reference(
    merchant: Merchant, fault: dict[str, Any]
) -> None:
    made = merchant.sandbox.create_subscription()["id"]
    merchant.sandbox.fault(when="after", times=1, **fault, **CREATIONS)

    ended = await merchant.sweep()

    renewed_once(merchant, ended, made)
    assert len(merchant.copies()) == 1


@pytest.mark.parametrize(
    "fault", [{"action": "reset"}, {"action": "status", "status": 503}], ids=lambda each: each["action"]
)
async def test_a_creation_that_never_arrived_is_sent_again(merchant: Merchant, fault: dict[str, Any]) -> None:
    made = merchant.sandbox.create_subscription()["id"]
    merchant.sandbox.fault(when="before", times=1, **fault, **CREATIONS)

    ended = await merchant.sweep()

    renewed_once(merchant, ended, made)
    assert len(merchant.copies()) == 1
    assert merchant.requests("POST /api/order_copies") == 2


async def test_a_copy_that_is_created_late_while_another_is_polled_is_cancelled_and_counted(
    merchant: Merchant,
) -> None:
    made = merchant.sandbox.create_subscription()["id"]
    merchant.sandbox.fault("late", seconds=3, times=1, **CREATIONS)

    ended = await merchant.sweep()

    renewed_once(merchant, ended, made)
    await surplus_is_cancelled(merchant, ended)


@pytest.mark.parametrize("stamp", ["commit", "arrival"])
async def test_a_copy_that_is_created_two_minutes_late_is_cancelled_and_counted_by_the_next_sweep(
    merchant: Merchant, stamp: str
) -> None:
    made = merchant.sandbox.create_subscription()["id"]
    merchant.sandbox.fault("late", seconds=120, stamp=stamp, times=1, **CREATIONS)

    first = await merchant.sweep()

    renewed_once(merchant, first, made)
    assert len(merchant.copies()) == 1
    merchant.sandbox.advance(180)
    assert len(merchant.copies()) == 2
    second = await merchant.sweep()

    assert (second.name, second.outcomes) == ("Completed", {})
    await surplus_is_cancelled(merchant, second)
    assert [each.partition("@")[0] for each in merchant.placed()] == [made]


async def surplus_is_cancelled(merchant: Merchant, ended: Ended) -> None:
    """The sweep says that it has cancelled the order of one surplus copy, and the sandbox's database agrees."""
    kept, surplus = sorted(merchant.target_orders(), key=lambda order: order["status"] == "cancelled")
    assert (kept["status"], surplus["status"]) == ("placed", "cancelled")
    assert surplus["payment_status"] == "unpaid"
    assert surplus["metadata"]["perennial"]["withdrawn"] == f"surplus: order copy {kept['copy_id']} counts"
    assert ended.facts["surplus"] == 1
    assert "1 surplus copy cancelled" in ended.message
    (event,) = await stored_runs.events(
        f"perennial.order-copy.{surplus['copy_id']}", 1, "perennial.copy.surplus", ended.flow_run_id
    )
    assert event["payload"]["target_order_id"] == surplus["id"]
    assert event["payload"]["counts_instead"] == kept["copy_id"]


async def test_a_renewal_whose_creations_are_all_lost_is_not_charged_and_the_next_sweep_renews_it(
    merchant: Merchant,
) -> None:
    made = merchant.sandbox.create_subscription()["id"]
    merchant.sandbox.fault("reset", when="before", **CREATIONS)

    first = await merchant.sweep()

    assert first.outcomes == {"retry_scheduled": 1}
    assert merchant.copies() == []
    assert merchant.subscription(made)["metadata"]["perennial"].get("attempts", []) == []
    merchant.sandbox.clear_faults()
    renewed_once(merchant, await merchant.sweep(), made)


async def test_copies_of_creations_that_all_lost_their_answers_are_found_by_the_next_sweep(merchant: Merchant) -> None:
    """Neither the creations nor the reads that look for them are answered: three copies exist, and one counts."""
    made = merchant.sandbox.create_subscription()["id"]
    merchant.sandbox.fault("reset", when="after", **CREATIONS)
    merchant.sandbox.fault("status", method="GET", path="/api/order_copies", match="reference_in", status=503)

    first = await merchant.sweep()

    assert "unconfirmed" not in first.outcomes
    assert merchant.placed() == []
    merchant.sandbox.clear_faults()
    second = await merchant.sweep()
    renewed_once(merchant, second, made)
    statuses = sorted(order["status"] for order in merchant.target_orders())
    assert statuses == ["cancelled", "cancelled", "placed"]
    assert second.facts["surplus"] == 2


@pytest.mark.slow
async def test_many_lost_creations_neither_stop_the_sweep_nor_charge_anybody_twice(merchant: Merchant) -> None:
    merchant.sandbox.seed(40)
    merchant.sandbox.fault("reset", when="after", share=0.3, **CREATIONS)
    merchant.sandbox.fault("reset", when="before", share=0.3, **CREATIONS)
    merchant.sandbox.fault("late", seconds=4, share=0.3, **CREATIONS)

    first = await merchant.sweep()
    merchant.sandbox.clear_faults()
    merchant.sandbox.advance(60)
    second = await merchant.sweep()

    assert first.facts["brake"] is None
    assert "unconfirmed" not in first.outcomes | second.outcomes
    assert len(merchant.placed()) == len(set(merchant.placed())) == 40
    open_ones = [order for order in merchant.target_orders() if order["status"] not in {"placed", "cancelled"}]
    assert open_ones == []
    assert first.facts["surplus"] + second.facts["surplus"] == len(merchant.copies()) - 40


async def test_an_order_copied_by_hand_whose_creation_is_lost_is_placed_once(merchant: Merchant) -> None:
    made = merchant.sandbox.create_subscription(adopted=False)
    merchant.sandbox.fault("late", seconds=3, times=1, **CREATIONS)

    ended = await merchant.reorder(made["source_order_id"], reference="goodwill-18")

    assert ended.name == "Completed"
    assert merchant.placed() == ["goodwill-18"]
    assert sorted(order["status"] for order in merchant.target_orders()) == ["cancelled", "placed"]
