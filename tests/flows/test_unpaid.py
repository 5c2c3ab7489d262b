"""Renewals whose orders were placed and turn out unpaid: a sweep reports each to a person once."""

from __future__ import annotations

from typing import Any

import pytest
import stored_runs
from meanwhile import patch
from merchant import Merchant

HOUR = 3600


async def renewed(merchant: Merchant) -> dict[str, Any]:
    merchant.sandbox.create_subscription(total_cents=1000)
    assert (await merchant.sweep()).outcomes == {"renewed": 1}
    merchant.sandbox.advance(HOUR)
    (order,) = merchant.target_orders()
    return order


@pytest.mark.parametrize("status", ["unpaid", "voided", "refunded", "partially_refunded"])
async def test_a_renewal_that_turns_out_unpaid_is_reported_once(merchant: Merchant, status: str) -> None:
    order = await renewed(merchant)
    merchant.sandbox.set_payment_status(order["id"], status)

    ended = await merchant.sweep()

    assert (ended.name, ended.outcomes) == ("Failed", {"needs_attention": 1})
    (row,) = await stored_runs.table(ended.flow_run_id)
    assert row["renewal"] == order["copy_reference"]
    assert row["order"] == order["id"]
    assert row["why"].startswith(f"order #{order['number']} (10.00 EUR) was placed, and is {status} now.")
    subscription_id = order["copy_reference"].partition("@")[0]
    resource = f"perennial.subscription.{subscription_id}"
    (event,) = await stored_runs.events(resource, 1, "perennial.renewal.unpaid", ended.flow_run_id)
    assert event["payload"]["order_is"] == status
    assert (await merchant.sweep()).outcomes == {}
    (after,) = merchant.target_orders()
    assert after["metadata"]["perennial"] == {**order["metadata"]["perennial"], "reported": status}


async def test_a_renewal_whose_order_is_cancelled_is_reported_once(merchant: Merchant) -> None:
    order = await renewed(merchant)
    patch(merchant, "orders", order["id"], _cancel=True, metadata={**order["metadata"], "crm": 7})

    ended = await merchant.sweep()

    assert ended.outcomes == {"needs_attention": 1}
    (row,) = await stored_runs.table(ended.flow_run_id)
    assert "was placed, and is cancelled (its payment is voided) now" in row["why"]
    assert (await merchant.sweep()).outcomes == {}
    (after,) = merchant.target_orders()
    assert after["metadata"]["crm"] == 7


async def test_a_later_change_of_the_payment_status_is_reported_too(merchant: Merchant) -> None:
    order = await renewed(merchant)
    merchant.sandbox.set_payment_status(order["id"], "partially_refunded")
    assert (await merchant.sweep()).outcomes == {"needs_attention": 1}

    merchant.sandbox.set_payment_status(order["id"], "refunded")

    assert (await merchant.sweep()).outcomes == {"needs_attention": 1}
    assert (await merchant.sweep()).outcomes == {}


async def test_a_report_that_could_not_be_noted_is_repeated_and_a_failed_read_does_not_fail_the_sweep(
    merchant: Merchant,
) -> None:
    order = await renewed(merchant)
    merchant.sandbox.set_payment_status(order["id"], "refunded")
    merchant.sandbox.fault("status", method="PATCH", path="/api/orders/*", status=503)
    assert (await merchant.sweep()).outcomes == {"needs_attention": 1}
    merchant.sandbox.clear_faults()
    merchant.sandbox.fault("status", method="GET", path="/api/orders", status=503)
    assert (await merchant.sweep()).name == "Completed"
    merchant.sandbox.clear_faults()

    assert (await merchant.sweep()).outcomes == {"needs_attention": 1}
    assert (await merchant.sweep()).outcomes == {}


async def test_a_refund_is_reported_after_an_erp_changed_the_references_of_the_order(merchant: Merchant) -> None:
    order = await renewed(merchant)
    patch(merchant, "orders", order["id"], reference="ERP-4711", reference_origin="erp")
    merchant.sandbox.set_payment_status(order["id"], "refunded")

    ended = await merchant.sweep()

    assert ended.outcomes == {"needs_attention": 1}
    (row,) = await stored_runs.table(ended.flow_run_id)
    assert row["renewal"] == order["copy_reference"]
    assert (await merchant.sweep()).outcomes == {}


async def test_a_refund_is_reported_however_long_after_the_renewal(merchant: Merchant) -> None:
    merchant.sandbox.create_subscription(frequency="yearly")
    assert (await merchant.sweep()).outcomes == {"renewed": 1}
    (order,) = merchant.target_orders()
    merchant.sandbox.advance(40 * 24 * HOUR)
    assert (await merchant.sweep()).outcomes == {}

    merchant.sandbox.set_payment_status(order["id"], "refunded")

    assert (await merchant.sweep()).outcomes == {"needs_attention": 1}
    assert (await merchant.sweep()).outcomes == {}


async def test_an_order_that_was_withdrawn_before_it_was_placed_is_not_reported(merchant: Merchant) -> None:
    merchant.sandbox.create_subscription()
    await merchant.sweep_that_dies_before_placing()
    (order,) = merchant.target_orders()
    ours = {"subscription_id": order["copy_reference"][:10], "period": order["copy_reference"][11:]}
    patch(merchant, "orders", order["id"], _cancel=True, metadata={"perennial": {**ours, "withdrawn": "postponed"}})

    assert "needs_attention" not in (await merchant.sweep()).outcomes


async def test_looking_for_unpaid_orders_costs_one_read_a_sweep_and_skips_old_orders(merchant: Merchant) -> None:
    order = await renewed(merchant)
    merchant.sandbox.set_payment_status(order["id"], "refunded")
    merchant.sandbox.advance(32 * 24 * HOUR)
    merchant.sandbox.reset_counters()

    ended = await merchant.sweep()

    assert "needs_attention" not in ended.outcomes
    assert merchant.requests("GET /api/orders") == 2, "one for unpaid orders, one for an order of the due period"
