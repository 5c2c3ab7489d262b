"""Addresses, shipments, payment methods and transactions of orders."""

from __future__ import annotations

import pytest


@pytest.fixture
def address_id(caller, source):
    return caller.get(f"/orders/{source['source_order_id']}/billing_address").json()["data"]["id"]


def test_a_seeded_address_is_changed_for_its_customer_and_orders(caller, source, address_id):
    changed = caller.update("addresses", address_id, city="Milan", last_name="Rossi", zip_code=None).json()["data"]
    shown = caller.get(f"/customers/{source['customer_id']}", include="customer_addresses.address").json()["included"]

    assert changed["id"] == address_id
    assert changed["attributes"]["full_name"] == "Jane Rossi"
    assert changed["attributes"]["full_address"] == "Unter den Linden 1, Milan DE"
    assert {one["attributes"]["name"] for one in shown} == {"Jane Rossi, Unter den Linden 1, Milan DE"}
    assert len(caller.filtered("/addresses", id_eq=address_id, city_eq="Milan")) == 1
    assert caller.filtered("/orders", billing_address_city_eq="Milan")[0]["id"] == source["source_order_id"]


def test_a_copy_has_the_addresses_of_its_source_order(caller, sandbox, source, address_id):
    copy_id = caller.copy(source["source_order_id"])
    sandbox.advance(10)
    target = caller.get(f"/order_copies/{copy_id}/target_order", include="billing_address,shipping_address").json()

    assert [one["id"] for one in target["included"]] == [address_id]


def test_an_address_of_an_order_is_locked_and_another_one_is_deleted(caller, address_id):
    given = {"first_name": "Ada", "line_1": "1 Main St", "city": "York", "country_code": "GB", "phone": "1"}
    made = caller.create("addresses", given).json()["data"]
    incomplete = caller.create("addresses", {**given, "city": None})

    assert (made["attributes"]["full_name"], incomplete.status_code) == ("Ada", 422)
    assert caller.http.delete(f"/addresses/{address_id}").status_code == 423
    assert caller.http.delete(f"/addresses/{made['id']}").status_code == 204
    assert caller.get(f"/addresses/{made['id']}").status_code == 404


@pytest.mark.parametrize(("given", "status"), [("45.5", 200), (9, 200), ("far", 422), ([], 422)])
def test_decimals_are_read_as_leniently_as_other_numbers(caller, address_id, given, status):
    response = caller.update("addresses", address_id, lat=given)

    assert response.status_code == status, response.text


def test_an_order_gets_other_addresses(caller, address_id):
    order_id = caller.create("orders", billing_address=("addresses", address_id)).json()["data"]["id"]
    without = caller.get(f"/orders/{order_id}/shipping_address").json()["data"]
    caller.relate("orders", order_id, "shipping_address", ("addresses", address_id))

    assert without is None
    assert caller.get(f"/orders/{order_id}/shipping_address").json()["data"]["id"] == address_id


def test_the_shipment_of_an_order_has_its_status_from_the_order(caller, source):
    order_id = source["source_order_id"]

    def status() -> str:
        return caller.get(f"/orders/{order_id}/shipments").json()["data"][0]["attributes"]["status"]

    statuses = [status()]
    for trigger in ("_approve", "_cancel"):
        caller.update("orders", order_id, **{trigger: True})
        statuses.append(status())

    assert statuses == ["on_hold", "picking", "cancelled"]
    assert caller.attributes("orders", order_id)["shipments_count"] == 1


def test_an_order_has_the_payment_method_of_its_market_once_it_has_a_card(caller, source):
    order_id = source["source_order_id"]
    [available] = caller.get(f"/orders/{order_id}/available_payment_methods").json()["data"]
    guest = caller.create("orders").json()["data"]["id"]

    assert caller.get(f"/orders/{order_id}/payment_method").json()["data"]["id"] == available["id"]
    assert caller.get(f"/orders/{guest}/payment_method").json()["data"] is None


@pytest.mark.parametrize("sort", ["tax_rate", "-subtotal_tax_amount_cents", "country_code,-place_async"])
def test_orders_are_sorted_by_attributes_that_have_no_column(caller, source, sort):
    assert caller.get("/orders", sort=sort).status_code == 200


def test_amounts_are_shown_as_cents_as_decimals_and_as_text(caller, sandbox, source):
    copy_id = caller.copy(source["source_order_id"], place_target_order=False)
    sandbox.advance(10)
    order_id = caller.target(copy_id)["id"]
    sandbox.change_price(order_id, total_cents=123456, currency_code="GBP")

    order = caller.attributes("orders", order_id)

    assert (order["total_amount_cents"], order["total_amount_float"]) == (123456, 1234.56)
    assert (order["formatted_total_amount"], order["formatted_fees_amount"]) == ("£1,234.56", "£0.00")
    sandbox.change_price(order_id, currency_code="EUR")
    assert caller.attributes("orders", order_id)["formatted_total_amount"] == "€1.234,56"
    sandbox.change_price(order_id, currency_code="CHF")
    assert caller.attributes("orders", order_id)["formatted_total_amount"] == "CHF 1,234.56"
