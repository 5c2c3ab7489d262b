"""The queries that merchants' own tools make: the official dashboard apps, the checkout and its components."""

from __future__ import annotations

import pytest

_ORDER_DETAILS = (
    "market,customer,line_items,line_items.line_item_options,line_items.sku,shipping_address,billing_address,shipments,"
    "shipments.stock_transfers,shipments.shipping_method,shipments.available_shipping_methods,shipments.stock_location,"
    "shipments.stock_line_items,shipments.stock_line_items.sku,payment_method,payment_source"
)
_TIMELINE = (
    "shipments,shipments.attachments,shipments.stock_transfers,shipments.stock_transfers.origin_stock_location,returns,"
    "transactions,payment_method,payment_source,attachments"
)
_SUBSCRIPTION_DETAILS = (
    "market,customer,source_order,source_order.billing_address,source_order.shipping_address,order_subscription_items,"
    "order_subscription_items.sku,order_subscription_items.bundle,customer_payment_source.payment_source"
)
_CHECKOUT = (
    "billing_address,shipping_address,line_items.line_item_options.sku_option,line_items.item,"
    "available_customer_payment_sources.payment_source,available_customer_payment_sources.payment_method,"
    "shipments.available_shipping_methods,shipments.stock_transfers.line_item,shipments.stock_line_items.line_item,"
    "shipments.shipping_method,shipments.stock_location,shipments.parcels.parcel_line_items,"
    "available_payment_methods,payment_method,payment_source"
)
_CUSTOMER_DETAILS = (
    "customer_group,customer_addresses,customer_addresses.address,customer_payment_sources,"
    "customer_payment_sources.payment_source,customer_subscriptions,attachments"
)
_STATUSES = "filter[q][status_in]=placed,approved,cancelled"

QUERIES = {
    "subscriptions": "order_subscriptions?include=customer,source_order,source_order.billing_address&sort=-updated_at",
    "a subscription": f"order_subscriptions/{{id}}?include={_SUBSCRIPTION_DETAILS}",
    "items of a subscription": "order_subscription_items?filter[q][order_subscription_id_eq]={id}&include=sku",
    "runs of a subscription": "order_factories?filter[q][order_subscription_id_eq]={id}&include=target_order",
    "orders of a subscription": f"orders?filter[q][order_subscription_id_eq]={{id}}&{_STATUSES}&sort=-placed_at",
    "subscriptions that failed": "order_subscriptions?filter[q][succeeded_on_last_run_eq]=false&page[size]=1",
    "orders": f"orders?include=market,customer,billing_address,payment_source&{_STATUSES}&sort=-updated_at",
    "orders that are not archived": "orders?filter[q][archived_at_null]=true&filter[q][payment_status_in]=paid,unpaid",
    "orders by text": "orders?filter[q][number_or_reference_or_customer_email_cont]=example",
    "orders by address": "orders?filter[q][billing_address_full_name_or_shipping_address_full_name_cont]=Doe",
    "orders by SKU": "orders?filter[q][line_items_sku_code_in]=SKU1,SKU2",
    "orders by amount": "orders?filter[q][total_amount_cents_gteq]=100&filter[q][currency_code_eq]=EUR",
    "an order": f"orders/{{source_order_id}}?include={_ORDER_DETAILS}",
    "an order's timeline": f"orders/{{source_order_id}}?include={_TIMELINE}",
    "an order's lines": "orders/{source_order_id}/line_items?include=item,sku,line_item_options",
    "an order's transactions": "orders/{source_order_id}/transactions?sort=-created_at",
    "an order's notes": "attachments?filter[q][reference_origin_eq]=app-orders--note&filter[q][name_cont]=note",
    "the checkout": f"orders/{{source_order_id}}?include={_CHECKOUT}",
    "the cart": "orders/{source_order_id}?include=line_items,line_items.item&fields[orders]=line_items",
    "customers": "customers?filter[q][email_cont]=example&sort=-updated_at",
    "a customer": f"customers/{{customer_id}}?include={_CUSTOMER_DETAILS}",
    "a customer's wallet": "customer_payment_sources?include=payment_source&filter[q][customer_id_eq]={customer_id}",
    "cards of the account": "customers/{customer_id}/customer_payment_sources?include=payment_source,payment_method",
    "addresses of the account": "customer_addresses?include=address&sort=-created_at",
    "subscriptions of the account": "customers/{customer_id}/order_subscriptions?sort=-starts_at",
    "orders of the account": "customers/{customer_id}/orders?filter[q][order_subscription_id_eq]={id}"
    "&include=authorizations,shipping_address,billing_address,payment_method,payment_source",
    "shipments": "shipments?include=order,shipping_method,stock_location,origin_address,shipping_address,parcels",
    "returns": "returns?include=order,return_line_items,stock_location&filter[q][status_in]=requested,approved",
    "SKUs": "skus?include=stock_items,prices&fields[skus]=code,name,image_url&sort=name",
    "prices": "prices?include=price_list,sku&filter[q][price_list_currency_code_eq]=EUR",
    "promotions": "promotions?include=coupons,coupon_codes_promotion_rule&sort=-created_at",
    "webhooks of an event": "events?include=webhooks,last_event_callbacks&sort=-created_at",
}


@pytest.mark.parametrize("query", [pytest.param(query, id=name) for name, query in QUERIES.items()])
def test_a_query_of_an_official_tool_is_answered(caller, source, query):
    response = caller.http.get(query.format(**source))

    assert response.status_code == 200, response.text


def test_what_is_left_out_is_an_empty_or_a_null_relationship(caller, source):
    path = f"/orders/{source['source_order_id']}"
    answer = caller.get(path, include="returns,store,links.item,notifications").json()
    related = answer["data"]["relationships"]

    assert (related["returns"]["data"], related["store"]["data"], related["links"]["data"]) == ([], None, [])
    assert answer["included"] == []
    assert caller.get(f"{path}/store").json() == {"data": None}
    assert caller.get(f"{path}/returns").json()["meta"] == {"record_count": 0, "page_count": 0}
    assert caller.get(f"{path}/relationships/store").json()["data"] is None
    assert caller.get(f"{path}/relationships/returns").json()["data"] == []


@pytest.mark.parametrize(
    ("name", "value", "is_found"),
    [
        ("store_name_eq", "Milan", False),
        ("store_name_null", "true", True),
        ("store_name_null", "false", False),
        ("store_id_null", "true", True),
        ("returns_stock_location_name_cont", "Milan", False),
        ("returns_skus_count_eq_or_null", "2", True),
        ("returns_metadata_jcont", "{}", False),
        ("number_or_store_name_present", "true", True),
    ],
)
def test_filters_across_what_is_left_out_find_only_nulls(caller, source, name, value, is_found):
    found = caller.filtered("/orders", id_eq=source["source_order_id"], **{name: value})

    assert bool(found) is is_found


def test_a_filter_across_what_is_left_out_still_checks_names_and_values(caller):
    odd = caller.get("/orders", **{"filter[q][returns_skus_count_eq]": "many"})
    unknown = caller.get("/orders", **{"filter[q][returns_colour_eq]": "red"})

    assert (odd.status_code, odd.json()["errors"][0]["code"]) == (400, "INVALID_FILTER_VALUE")
    assert (unknown.status_code, unknown.json()["errors"][0]["code"]) == (400, "FILTER_NOT_ALLOWED")


def test_a_type_that_is_always_empty_says_so_when_it_is_written(caller):
    listed = caller.get("/gift_cards")
    one = caller.get("/gift_cards/nobodymade")
    created = caller.create("gift_cards", {"balance_cents": 100})

    assert (listed.status_code, listed.json()["data"]) == (200, [])
    assert one.status_code == 404
    assert created.status_code == 405
    assert "gift_cards are always empty in the sandbox" in created.json()["errors"][0]["detail"]


def test_a_type_of_commerce_layer_that_is_not_here_says_so(caller):
    response = caller.get("/imports")

    assert response.status_code == 404
    assert response.json()["errors"][0]["detail"].startswith("The resource type imports exists in Commerce Layer, but")
    assert "Commerce Layer" not in caller.get("/colours").json()["errors"][0]["detail"]
