"""Two placed orders of one period: if another program makes them, the next sweep stops and calls a person."""

from __future__ import annotations

import stored_runs
from meanwhile import charge_once_more, patch
from merchant import Merchant

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
