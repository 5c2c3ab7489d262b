"""Two that would charge for one source order in one period: found before the charge, and left to a person."""

from __future__ import annotations

import httpx
import stored_runs
from meanwhile import JSON_API, Meanwhile, patch
from merchant import Merchant

from blocks.commerce_layer.clock import use_clock


def delete_copy(merchant: Merchant, copy_id: str) -> None:
    """What staff do who tidy up; with it goes all that tells which order the copy made."""
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
    """What a process leaves that dies after the placement: a placed order, and a subscription that knows nothing."""
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


async def test_the_second_is_not_charged_either_after_the_first_was_renewed(merchant: Merchant) -> None:
    first = merchant.sandbox.create_subscription()
    await merchant.sweep()
    merchant.sandbox.create_subscription(source_order_id=first["source_order_id"])

    ended = await merchant.sweep()

    assert ended.facts["skipped"] == {"shared_source_order": 1}
    assert len(merchant.placed()) == 1


async def test_a_second_one_that_is_adopted_while_the_copy_is_under_way_stops_the_charge(merchant: Merchant) -> None:
    first = merchant.sandbox.create_subscription()

    def adopt_another() -> None:
        merchant.sandbox.create_subscription(source_order_id=first["source_order_id"])

    with use_clock(Meanwhile(merchant, lambda: bool(merchant.copies()), adopt_another)):
        ended = await merchant.sweep()

    assert ended.facts["skipped"] == {"shared_source_order": 1}
    assert [order["status"] for order in merchant.target_orders()] == ["cancelled"]


async def test_both_are_charged_where_a_person_has_said_that_both_are_meant(merchant: Merchant) -> None:
    first = merchant.sandbox.create_subscription()
    second = merchant.sandbox.create_subscription(source_order_id=first["source_order_id"])
    for each in (first, second):
        own_policy(merchant, each["id"], shared_source_orders=True)

    ended = await merchant.sweep()

    assert ended.outcomes == {"renewed": 2}
    assert sorted(reference[:10] for reference in merchant.placed()) == sorted([first["id"], second["id"]])


async def test_adopt_says_at_once_that_two_share_a_source_order(merchant: Merchant) -> None:
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


async def test_a_reorder_beside_a_renewal_that_is_due_is_refused_unless_both_are_meant(merchant: Merchant) -> None:
    made = merchant.sandbox.create_subscription()

    refused = await merchant.reorder(made["source_order_id"])
    assert refused.name == "Failed"
    assert f"its renewal {made['id']}@" in str(refused.facts)
    assert "is due: a reorder would charge" in str(refused.facts)
    assert merchant.copies() == []

    ended = await merchant.reorder(made["source_order_id"], reference="goodwill", besides_renewal=True)
    assert ended.name == "Completed"
    assert (await merchant.sweep()).outcomes == {"renewed": 1}
    assert len(merchant.placed()) == 2, "a person has said that both are meant"

    assert "was placed as order" in str((await merchant.reorder(made["source_order_id"])).facts)
    merchant.sandbox.advance(2 * 86_400)
    assert (await merchant.reorder(made["source_order_id"])).name == "Completed"


async def test_a_sweep_waits_after_a_reorder_that_knew_of_no_renewal(merchant: Merchant) -> None:
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


async def test_a_copy_whose_reference_an_erp_has_changed_is_the_one_that_is_placed(merchant: Merchant) -> None:
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


async def test_a_placed_order_whose_copy_was_deleted_is_not_followed_by_another(merchant: Merchant) -> None:
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
    assert (await merchant.sweep()).outcomes == {"renewed": 1, "needs_attention": 1}, "the cancelled one is told once"


async def test_looking_for_rivals_costs_one_more_list_of_25_and_nothing_for_each(merchant: Merchant) -> None:
    merchant.sandbox.seed(subscriptions=25)
    merchant.sandbox.reset_counters()

    ended = await merchant.sweep()

    assert ended.outcomes == {"renewed": 25}
    assert merchant.requests("GET /api/orders") <= 3  # waves of 10 and 15 make two pages
