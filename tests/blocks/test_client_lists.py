"""The lists that the client reads: page by page, complete, and in as few requests as possible."""

from __future__ import annotations

from client_requests import (
    AS_OF,
    INCLUDED,
    REFERENCE,
)
from odd_shop import (
    answer,
    copy_document,
    page,
    resource,
)

from blocks.commerce_layer.listings import iter_our_copies


async def test_due_subscriptions_are_read_in_pages_by_id(shop, client):
    subscriptions = [
        resource(
            "order_subscriptions",
            f"sub{number:03}",
            status="inactive",
            frequency="monthly",
            links={"source_order": {"type": "orders", "id": f"src{number:03}"}},
        )
        for number in range(30)
    ]
    shop.on(
        "GET",
        "/api/order_subscriptions",
        answer(200, page(*subscriptions[:25], count=30)),
        answer(200, page(*subscriptions[25:])),
    )

    pages = [found async for found in client.iter_due_subscriptions(AS_OF)]

    first, second = (seen.query for seen in shop.requests("GET", "/api/order_subscriptions"))
    assert [len(found) for found in pages] == [25, 5]
    assert pages[1][-1].source_order_id == "src029"
    assert (
        first["filter[q][status_eq]"],
        first["filter[q][next_run_at_lteq]"],
        first["sort"],
        first["page[size]"],
        first["include"],
    ) == ("inactive", "2026-03-01T06:00:00.000Z", "id", "25", INCLUDED)
    assert "filter[q][id_gt]" not in first
    assert second["filter[q][id_gt]"] == "sub024"


async def test_without_due_subscriptions_there_is_no_page(shop, client):
    shop.on("GET", "/api/order_subscriptions", answer(200, page()))

    assert [found async for found in client.iter_due_subscriptions(AS_OF)] == []


async def test_sixty_copies_are_read_in_three_requests_and_missing_ones_are_absent(shop, client):
    shop.on("GET", "/api/order_copies", answer(200, page(copy_document("copy07")["data"])), answer(200, page()))

    found = await client.get_order_copies(f"copy{number:02}" for number in range(60))

    asked = [len(seen.query["filter[q][id_in]"].split(",")) for seen in shop.requests("GET", "/api/order_copies")]
    assert (asked, list(found)) == ([25, 25, 10], ["copy07"])


async def test_copies_are_found_by_reference_even_if_two_share_it(shop, client):
    twins = [
        copy_document(name, reference=REFERENCE, reference_origin="perennial")["data"] for name in ("copyA", "copyB")
    ]
    shop.on("GET", "/api/order_copies", answer(200, page(*twins)))

    found = await client.find_order_copies([REFERENCE, "other"])

    (request,) = shop.requests("GET", "/api/order_copies")
    assert {ref: [copy.id for copy in copies] for ref, copies in found.items()} == {
        REFERENCE: ["copyA", "copyB"],
        "other": [],
    }
    assert (f"{REFERENCE},other", "perennial") == (
        request.query["filter[q][reference_in]"],
        request.query["filter[q][reference_origin_eq]"],
    )


async def test_a_reference_with_a_comma_or_a_space_is_looked_up_in_a_request_of_its_own(shop, client):
    shop.on("GET", "/api/order_copies", answer(200, page()))

    await client.find_order_copies(["plain", "with,comma", "with space"])

    queries = [seen.query for seen in shop.requests("GET", "/api/order_copies")]
    assert [query["filter[q][reference_in]"] for query in queries if "filter[q][reference_in]" in query] == ["plain"]
    assert {"with,comma", "with space"} == {query.get("filter[q][reference_eq]") for query in queries} - {None}


async def test_without_ids_no_request_is_sent(shop, client):
    assert await client.get_orders([]) == {}
    assert shop.seen == []


async def test_subscriptions_and_copies_of_source_orders_are_listed(shop, client):
    shop.on("GET", "/api/order_subscriptions", answer(200, page()))
    shop.on("GET", "/api/order_copies", answer(200, page()))

    await client.list_subscriptions_of(["a", "b"])
    await client.list_order_copies_of(["a", "b"], AS_OF)
    await client.list_order_copies_of(["a", "b"], AS_OF, without=["copyA", "copyB"])

    subscriptions, copies, fewer_copies = (seen.query for seen in shop.seen[1:])
    assert (
        subscriptions["filter[q][source_order_id_in]"],
        subscriptions["filter[q][status_not_eq]"],
    ) == ("a,b", "cancelled")
    assert (
        copies["filter[q][source_order_id_in]"],
        copies["filter[q][created_at_gteq]"],
    ) == ("a,b", "2026-03-01T06:00:00.000Z")
    assert "filter[q][reference_origin_eq]" not in copies
    assert "filter[q][id_not_in]" not in copies
    assert fewer_copies["filter[q][id_not_in]"] == "copyA,copyB"


async def test_our_own_copies_since_a_given_time_are_read_in_pages_by_id(shop, client):
    copies = [copy_document(f"copy{number:02}", reference=REFERENCE)["data"] for number in range(27)]
    shop.on("GET", "/api/order_copies", answer(200, page(*copies[:25], count=27)), answer(200, page(*copies[25:])))

    pages = [found.readable async for found in iter_our_copies(client, created_since=AS_OF)]

    first, second = (seen.query for seen in shop.requests("GET", "/api/order_copies"))
    assert [len(found) for found in pages] == [25, 2]
    assert (
        first["filter[q][reference_origin_eq]"],
        first["filter[q][created_at_gteq]"],
        first["sort"],
    ) == ("perennial", "2026-03-01T06:00:00.000Z", "id")
    assert second["filter[q][id_gt]"] == "copy24"


async def test_the_target_order_comes_with_its_copy(shop, client):
    links = {"target_order": {"type": "orders", "id": "t"}, "source_order": {"type": "orders", "id": "s"}}
    listed = page(
        resource("order_copies", "a", status="failed", links=links),
        included=[resource("orders", "t", status="pending", payment_status="unpaid"), resource("orders", "s")],
    )
    shop.on("GET", "/api/order_copies", answer(200, listed))

    copy = (await client.get_order_copies(["a"]))["a"]

    assert (copy.target_order_id, copy.source_order_id, copy.mode) == ("t", "s", "test")
    assert copy.target_order is not None
    assert not copy.target_order.is_placed
