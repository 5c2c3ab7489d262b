"""Two subscriptions or copies that would charge for one source order: found before the charge, left to a person."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import httpx
import pytest
import stored_runs
from meanwhile import JSON_API, Meanwhile, patch
from merchant import Merchant

from blocks.commerce_layer.clock import use_clock


def delete_copy(merchant: Merchant, copy_id: str) -> None:
    """Delete an order copy, as staff might. Nothing then shows which order it made."""
    box = merchant.sandbox
    grant = {"grant_type": "client_credentials", "client_id": box.client_id, "client_secret": box.client_secret}
    token = httpx.post(box.auth_url, json=grant, trust_env=False).json()["access_token"]
    headers = {**JSON_API, "Authorization": f"Bearer {token}"}
    httpx.delete(f"{box.api_url}/order_copies/{copy_id}", headers=headers, trust_env=False).raise_for_status()


def own_policy(merchant: Merchant, subscription_id: str, **fields: object) -> None:
    metadata = merchant.subscription(subscription_id)["metadata"]
    own = {**metadata["perennial"], "policy": fields}
    patch(merchant, "order_subscriptions", subscription_id, metadata={**metadata, "perennial": own})


async def sweep_that_does_not_record(merchant: Merchant) -> None:
    """Sweep as if the process died after the placement: the order is placed, the subscription has no record of it."""
    merchant.sandbox.fault("status", method="PATCH", path="/api/order_subscriptions/*", status=503)
    await merchant.sweep()
    merchant.sandbox.clear_faults()


async def test_of_two_adopted_subscriptions_of_one_order_neither_is_charged_until_a_person_decides(
    merchant: Merchant,
) -> None:
    first = merchant.sandbox.create_subscription()
    second = merchant.sandbox.create_subscription(source_order_id=first["source_order_id"])

    ended = await merchant.sweep()

    assert merchant.copies() == []
    assert ended.facts["skipped"] == {"shared_source_order": 2}
    assert (ended.name, ended.message[:16]) == ("Failed", "2 need a person:")
    rows = {row["renewal"][:10]: row["why"] for row in await stored_runs.table(ended.flow_run_id)}
    assert second["id"] in rows[first["id"]]
    assert first["id"] in rows[second["id"]]

    patch(merchant, "order_subscriptions", second["id"], _cancel=True)
    assert (await merchant.sweep()).outcomes == {"renewed": 1}
    assert [reference[:10] for reference in merchant.placed()] == [first["id"]]


async def test_a_second_subscription_of_the_order_is_not_charged_after_the_first_was_renewed(
    merchant: Merchant,
) -> None:
    first = merchant.sandbox.create_subscription()
    await merchant.sweep()
    merchant.sandbox.create_subscription(source_order_id=first["source_order_id"])

    ended = await merchant.sweep()

    assert ended.facts["skipped"] == {"shared_source_order": 1}
    assert len(merchant.placed()) == 1


async def test_a_second_subscription_of_the_order_that_is_adopted_during_the_copy_stops_the_charge(
    merchant: Merchant,
) -> None:
    first = merchant.sandbox.create_subscription()

    def adopt_another() -> None:
        merchant.sandbox.create_subscription(source_order_id=first["source_order_id"])

    with use_clock(Meanwhile(merchant, lambda: bool(merchant.copies()), adopt_another)):
        ended = await merchant.sweep()

    assert ended.facts["skipped"] == {"shared_source_order": 1}
    assert [order["status"] for order in merchant.target_orders()] == ["cancelled"]


async def test_both_subscriptions_of_an_order_are_charged_if_their_policies_allow_it(merchant: Merchant) -> None:
    first = merchant.sandbox.create_subscription()
    second = merchant.sandbox.create_subscription(source_order_id=first["source_order_id"])
    for each in (first, second):
        own_policy(merchant, each["id"], shared_source_orders=True)

    ended = await merchant.sweep()

    assert ended.outcomes == {"renewed": 2}
    assert sorted(reference[:10] for reference in merchant.placed()) == sorted([first["id"], second["id"]])


async def test_subscriptions_that_share_a_source_order_are_refused_when_they_are_adopted(merchant: Merchant) -> None:
    first = merchant.sandbox.create_subscription(adopted=False, next_run_at="2099-01-01T00:00:00Z")
    second = merchant.sandbox.create_subscription(
        adopted=False, source_order_id=first["source_order_id"], next_run_at="2099-01-01T00:00:00Z"
    )
    both = await merchant.hand_over(first["id"], second["id"])
    assert both.message == "0 adopted, 2 refused"

    assert (await merchant.hand_over(first["id"])).message == "1 adopted"
    ended = await merchant.hand_over(second["id"])

    assert (ended.name, ended.message) == ("Failed", "0 adopted, 1 refused")
    (row,) = ended.facts["rows"]
    assert f"subscription {first['id']} has the same source order {first['source_order_id']}" in row["what"]


async def test_a_reorder_while_a_renewal_is_due_is_refused_unless_a_person_asks_for_both(merchant: Merchant) -> None:
    made = merchant.sandbox.create_subscription()

    refused = await merchant.reorder(made["source_order_id"])
    assert refused.name == "Failed"
    assert f"its renewal {made['id']}@" in str(refused.facts)
    assert "is due: a reorder would charge" in str(refused.facts)
    assert merchant.copies() == []

    ended = await merchant.reorder(made["source_order_id"], reference="goodwill", besides_renewal=True)
    assert ended.name == "Completed"
    assert (await merchant.sweep()).outcomes == {"renewed": 1}
    assert len(merchant.placed()) == 2, "a person has asked for both"

    assert "was placed as order" in str((await merchant.reorder(made["source_order_id"])).facts)
    merchant.sandbox.advance(2 * 86_400)
    assert (await merchant.reorder(made["source_order_id"])).name == "Completed"


async def test_a_reorder_of_the_last_renewals_order_while_the_next_renewal_is_due_is_refused(
    merchant: Merchant,
) -> None:
    made = merchant.sandbox.create_subscription()
    await merchant.sweep()
    (order,) = merchant.target_orders()
    patch(merchant, "orders", order["id"], reference="ERP-4711", reference_origin="erp")
    merchant.sandbox.advance(5 * 86_400)
    assert (await merchant.reorder(order["id"])).name == "Completed", "no renewal is near"
    merchant.sandbox.advance(27 * 86_400)

    refused = await merchant.reorder(order["id"])

    assert refused.name == "Failed"
    assert f"its renewal {made['id']}@" in str(refused.facts)
    assert "is due: a reorder would charge" in str(refused.facts)
    assert (await merchant.sweep()).outcomes == {"renewed": 1}
    assert len(merchant.placed()) == 3


async def test_a_subscription_adopted_after_a_reorder_is_not_charged_until_that_order_is_cancelled(
    merchant: Merchant,
) -> None:
    made = merchant.sandbox.create_subscription(adopted=False)
    await merchant.reorder(made["source_order_id"], reference="by-hand")
    patch(merchant, "order_subscriptions", made["id"], metadata={"perennial": {"v": 1}})

    ended = await merchant.sweep()

    assert merchant.placed() == ["by-hand"]
    assert ended.facts["skipped"] == {"manual_copy": 1}
    (row,) = await stored_runs.table(ended.flow_run_id)
    assert "(by-hand) was made by hand of the same source order" in row["why"]

    (order,) = merchant.target_orders()
    patch(merchant, "orders", order["id"], _cancel=True)
    assert (await merchant.sweep()).outcomes == {"renewed": 1}


async def test_a_copy_whose_reference_an_erp_has_changed_is_still_found_and_placed(merchant: Merchant) -> None:
    made = merchant.sandbox.create_subscription()
    await merchant.sweep_that_dies_before_placing()
    (copy,) = merchant.copies()
    patch(merchant, "order_copies", copy["id"], reference="ERP-4711", reference_origin="erp")

    ended = await merchant.sweep()

    assert ended.outcomes == {"renewed": 1}
    assert [order["status"] for order in merchant.target_orders()] == ["placed"]
    assert merchant.subscription(made["id"])["metadata"]["perennial"]["order_copy_id"] == copy["id"]


async def test_an_erp_may_change_the_reference_while_the_copy_is_under_way(merchant: Merchant) -> None:
    merchant.sandbox.create_subscription()

    def change() -> None:
        patch(merchant, "order_copies", merchant.copies()[0]["id"], reference="ERP-4711", reference_origin="erp")

    with use_clock(Meanwhile(merchant, lambda: bool(merchant.copies()), change)):
        ended = await merchant.sweep()

    assert ended.outcomes == {"renewed": 1}
    assert [order["status"] for order in merchant.target_orders()] == ["placed"]


async def test_a_period_whose_order_is_placed_is_not_copied_again_after_its_copy_was_deleted(
    merchant: Merchant,
) -> None:
    merchant.sandbox.create_subscription()
    await sweep_that_does_not_record(merchant)
    (order,) = merchant.target_orders()
    assert order["status"] == "placed"
    delete_copy(merchant, order["copy_id"])
    merchant.sandbox.advance(2 * 3600)

    ended = await merchant.sweep()

    assert merchant.copies() == []
    assert ended.facts["skipped"] == {"placed_without_copy": 1}
    assert ended.name == "Failed"
    (row,) = await stored_runs.table(ended.flow_run_id)
    assert f"order #{order['number']} of this period is placed" in row["why"]

    patch(merchant, "orders", order["id"], _cancel=True)
    assert (await merchant.sweep()).outcomes == {"renewed": 1, "needs_attention": 1}, (
        "the cancelled order is reported once"
    )


async def placed_by_a_run_that_did_not_record_it(merchant: Merchant) -> dict[str, Any]:
    """The placed order of a subscription's first period, which no run has recorded; its copy was deleted."""
    await sweep_that_does_not_record(merchant)
    (order,) = merchant.target_orders()
    assert order["status"] == "placed"
    delete_copy(merchant, order["copy_id"])
    return order


async def test_a_placed_order_whose_copy_was_deleted_is_found_after_its_date_was_moved(merchant: Merchant) -> None:
    made = merchant.sandbox.create_subscription()
    order = await placed_by_a_run_that_did_not_record_it(merchant)
    moved = merchant.sandbox.clock() + timedelta(days=20)
    patch(merchant, "order_subscriptions", made["id"], next_run_at=moved.isoformat())
    merchant.sandbox.advance(20 * 86_400 + 2 * 3600)

    ended = await merchant.sweep()

    assert merchant.copies() == []
    assert ended.facts["skipped"] == {"placed_without_copy": 1}
    (row,) = await stored_runs.table(ended.flow_run_id)
    period = order["copy_reference"].partition("@")[2]
    assert f"order #{order['number']} of the period of " in row["why"]
    assert f"set metadata.perennial.done_through to {period}" in row["why"]

    metadata = merchant.subscription(made["id"])["metadata"]
    own = {**(metadata.get("perennial") or {}), "done_through": period}
    patch(merchant, "order_subscriptions", made["id"], metadata={**metadata, "perennial": own})
    assert (await merchant.sweep()).outcomes == {"renewed": 1}, "a person has settled the earlier period"


@pytest.mark.parametrize("days", [0, 20])
async def test_a_placed_order_whose_copy_was_deleted_is_found_after_an_erp_changed_its_reference(
    merchant: Merchant, days: int
) -> None:
    made = merchant.sandbox.create_subscription()
    order = await placed_by_a_run_that_did_not_record_it(merchant)
    patch(merchant, "orders", order["id"], reference="ERP-4711", reference_origin="erp")
    if days:
        moved = merchant.sandbox.clock() + timedelta(days=days)
        patch(merchant, "order_subscriptions", made["id"], next_run_at=moved.isoformat())
    merchant.sandbox.advance(days * 86_400 + 2 * 3600)

    ended = await merchant.sweep()

    assert merchant.copies() == []
    assert ended.facts["skipped"] == {"placed_without_copy": 1}
    assert ended.name == "Failed"


async def test_looking_for_orders_without_copies_costs_one_list_per_25_late_renewals(merchant: Merchant) -> None:
    merchant.sandbox.seed(subscriptions=25)
    merchant.sandbox.advance(2 * 86_400)
    merchant.sandbox.reset_counters()

    ended = await merchant.sweep()

    assert sum(ended.outcomes.values()) == 25
    assert merchant.requests("GET /api/orders") <= 4


async def test_looking_for_rivals_costs_one_list_per_25_renewals(merchant: Merchant) -> None:
    merchant.sandbox.seed(subscriptions=25)
    merchant.sandbox.reset_counters()

    ended = await merchant.sweep()

    assert ended.outcomes == {"renewed": 25}
    assert merchant.requests("GET /api/orders") <= 3  # waves of 10 and 15 make two pages
