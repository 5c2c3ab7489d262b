"""A manual reorder, from the form to the placed order."""

from __future__ import annotations

import stored_runs
from merchant import Merchant


async def test_an_order_is_copied_and_placed_and_carries_its_reference(merchant: Merchant) -> None:
    made = merchant.sandbox.create_subscription(adopted=False)

    ended = await merchant.reorder(made["source_order_id"], reference="goodwill-17")

    assert ended.name == "Completed"
    assert ended.message.startswith("order #")
    assert ended.message.endswith(" was copied and placed")
    (copy,) = merchant.copies()
    assert (copy["reference"], copy["reference_origin"], copy["status"]) == ("goodwill-17", "perennial", "completed")
    async with merchant.dashboard() as dashboard:
        order = await dashboard.get_order(copy["target_order_id"])
    assert order.reference == "goodwill-17"
    assert order.metadata["perennial"]["flow_run_id"] == str(ended.flow_run_id)
    runs = await stored_runs.task_runs(ended.flow_run_id, 4)
    assert {run.name for run in runs} == {f"{verb} goodwill-17" for verb in ("create", "poll", "place", "record")}
    (event,) = await stored_runs.events(f"perennial.order.{made['source_order_id']}", 1, flow_run_id=ended.flow_run_id)
    assert event["event"] == "perennial.reorder.completed"


async def test_a_text_from_outside_does_not_become_a_link_in_the_artifact_of_a_reorder(merchant: Merchant) -> None:
    made = merchant.sandbox.create_subscription(adopted=False)

    ended = await merchant.reorder(made["source_order_id"], reference="[pay](https://evil.example)")

    assert ended.name == "Completed"
    rows = {row[""]: row["value"] for row in await stored_runs.table(ended.flow_run_id, "reorder")}
    assert rows["reference"] == r"\[pay\](https\://evil.example)"
    assert ended.facts["reference"] == "[pay](https://evil.example)"


async def test_the_same_reference_twice_makes_one_copy(merchant: Merchant) -> None:
    made = merchant.sandbox.create_subscription(adopted=False)
    first = await merchant.reorder(made["source_order_id"], reference="twice")

    second = await merchant.reorder(made["source_order_id"], reference="twice")

    assert (first.name, second.name) == ("Completed", "Completed")
    assert second.facts["order copy"] == first.facts["order copy"]
    assert len(merchant.copies()) == 1


async def test_without_a_reference_every_run_makes_a_copy_of_its_own(merchant: Merchant) -> None:
    made = merchant.sandbox.create_subscription(adopted=False)
    await merchant.reorder(made["source_order_id"])
    await merchant.reorder(made["source_order_id"])

    assert len({copy["reference"] for copy in merchant.copies()}) == 2


async def test_a_reorder_with_a_declined_card_fails_and_names_the_order_that_was_copied(merchant: Merchant) -> None:
    made = merchant.sandbox.create_subscription(adopted=False, failure="declined")

    ended = await merchant.reorder(made["source_order_id"])

    (copy,) = merchant.copies()
    assert ended.name == "Failed"
    (order,) = merchant.rows("SELECT number FROM orders WHERE id = ?", copy["target_order_id"])
    assert ended.message == (
        f"order #{order['number']} was copied but could not be placed: card declined. "
        "Repair it and place that one, or run this again with the same reference"
    )
    assert ended.facts["target order"] == copy["target_order_id"]
    assert "Your card was declined." in ended.facts["Commerce Layer said"]


async def test_a_reorder_whose_copy_is_aborted_fails(merchant: Merchant) -> None:
    made = merchant.sandbox.create_subscription(adopted=False, failure="aborted")
    ended = await merchant.reorder(made["source_order_id"])
    assert ended.name == "Failed"
    assert "is aborted" in ended.message


async def test_an_order_can_be_copied_without_being_placed(merchant: Merchant) -> None:
    made = merchant.sandbox.create_subscription(adopted=False)

    ended = await merchant.reorder(made["source_order_id"], place_target_order=False)

    assert ended.name == "Completed"
    assert ended.message.endswith("left unplaced, as asked")
    (copy,) = merchant.copies()
    (order,) = merchant.rows("SELECT status FROM orders WHERE id = ?", copy["target_order_id"])
    assert order["status"] not in {"placed", "approved"}


async def test_the_reference_of_a_renewal_is_refused_with_the_way_to_renew_by_hand(merchant: Merchant) -> None:
    made = merchant.sandbox.create_subscription()

    ended = await merchant.reorder(made["source_order_id"], reference=f"{made['id']}@2026-03-01T06:00Z")

    assert ended.name == "Failed"
    assert f"To renew subscription {made['id']} by hand, run renew-subscriptions" in ended.message
    assert merchant.copies() == []


async def test_an_order_that_does_not_exist_is_named_with_the_shop_that_was_asked(merchant: Merchant) -> None:
    ended = await merchant.reorder("NoSuchOrdr")
    assert ended.name == "Failed"
    assert "There is no order 'NoSuchOrdr' in organization" in ended.message
    assert "(test mode)" in ended.message


async def test_a_reference_that_belongs_to_another_orders_copy_is_refused(merchant: Merchant) -> None:
    one, other = (merchant.sandbox.create_subscription(adopted=False) for _ in range(2))
    await merchant.reorder(one["source_order_id"], reference="taken")

    ended = await merchant.reorder(other["source_order_id"], reference="taken")

    assert ended.name == "Failed"
    assert f"belongs to order copy {merchant.copies()[0]['id']} of order {one['source_order_id']}" in ended.message
    assert len(merchant.copies()) == 1
