"""Two placed orders of one period: if another program makes them, the next sweep stops and calls a person."""

from __future__ import annotations

import pytest
import stored_runs
from meanwhile import Meanwhile, charge_once_more, copy_order, patch
from merchant import Merchant

from blocks.commerce_layer.clock import use_clock

WAITING = 200


async def test_a_double_charge_is_found_by_the_next_sweep_which_stops_and_calls_a_person(merchant: Merchant) -> None:
    made = merchant.sandbox.create_subscription()
    assert (await merchant.sweep()).outcomes == {"renewed": 1}
    (copy,) = merchant.copies()
    await charge_once_more(merchant, copy["reference"], made["source_order_id"])
    merchant.sandbox.seed(WAITING)

    ended = await merchant.sweep()

    assert ended.name == "Failed"
    assert f"one period is charged twice: {copy['reference']}" in ended.message
    assert ended.facts["left"] >= WAITING - 10, "no more than the first wave was begun"
    (row,) = [row for row in await stored_runs.table(ended.flow_run_id) if row["renewal"] == copy["reference"]]
    assert row["why"].endswith("cancel all but one of them")
    found = await stored_runs.events(
        f"perennial.subscription.{made['id']}", 1, "perennial.renewal.charged_twice", ended.flow_run_id
    )
    assert {event["payload"]["reference"] for event in found} == {copy["reference"]}


async def test_a_double_charge_is_found_after_an_erp_changed_the_reference_of_one_copy(merchant: Merchant) -> None:
    made = merchant.sandbox.create_subscription()
    assert (await merchant.sweep()).outcomes == {"renewed": 1}
    (copy,) = merchant.copies()
    await charge_once_more(merchant, copy["reference"], made["source_order_id"])
    patch(merchant, "order_copies", copy["id"], reference="ERP-4711")

    ended = await merchant.sweep()

    assert ended.name == "Failed"
    assert f"one period is charged twice: {copy['reference']}" in ended.message


@pytest.mark.parametrize("erp", ["", "ERP-4711"], ids=["both have the reference", "an ERP has changed ours"])
async def test_a_double_charge_is_found_by_the_very_sweep_whose_own_copy_is_one_of_the_two(
    merchant: Merchant, erp: str
) -> None:
    made = merchant.sandbox.create_subscription()
    merchant.sandbox.create_subscription(failure="slow")  # keeps the sweep busy meanwhile
    reference = None

    def is_recorded() -> bool:
        return bool(merchant.subscription(made["id"])["metadata"]["perennial"].get("outcome") == "renewed")

    def charge_again() -> None:
        nonlocal reference
        (ours,) = [copy for copy in merchant.copies() if copy["source_order_id"] == made["source_order_id"]]
        reference = ours["reference"]
        tracked = {"reference": reference, "reference_origin": "perennial", "place_target_order": True}
        copy_order(merchant, made["source_order_id"], **tracked)
        if erp:
            patch(merchant, "order_copies", ours["id"], reference=erp)

    with use_clock(Meanwhile(merchant, is_recorded, charge_again)):
        ended = await merchant.sweep()

    assert reference is not None
    assert ended.name == "Failed"
    assert f"one period is charged twice: {reference}" in ended.message
