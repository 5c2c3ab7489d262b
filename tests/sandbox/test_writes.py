"""What may be written: the rules of a create hold for every later change, too."""

from __future__ import annotations

import pytest


def error(response):
    return response.status_code, response.json()["errors"][0]["code"]


@pytest.mark.parametrize(
    ("kind", "attributes", "field", "symbol"),
    [
        ("webhooks", {"topic": None}, "topic", "blank"),
        ("webhooks", {"callback_url": ""}, "callback_url", "blank"),
        ("webhooks", {"callback_url": "ftp://x"}, "callback_url", "invalid"),
        ("customers", {"email": None}, "email", "blank"),
        ("customers", {"email": "taken@example.com"}, "email", "taken"),
        ("order_subscriptions", {"frequency": None}, "frequency", "blank"),
    ],
)
def test_an_update_must_meet_the_rules_of_a_create(caller, source, kind, attributes, field, symbol):
    caller.create("customers", {"email": "taken@example.com"})
    webhook = caller.create("webhooks", {"topic": "x", "callback_url": "http://127.0.0.1:9/"}).json()["data"]["id"]
    key = {"webhooks": webhook, "customers": source["customer_id"], "order_subscriptions": source["id"]}[kind]
    before = caller.attributes(kind, key)
    refused = caller.update(kind, key, reference="half", **attributes)

    assert error(refused) == (422, "VALIDATION_ERROR")
    assert refused.json()["errors"][0]["source"] == {"pointer": f"/data/attributes/{field}"}
    assert refused.json()["errors"][0]["meta"] == {"error": symbol}
    assert caller.attributes(kind, key) == before


def test_an_update_is_not_checked_for_fields_that_it_leaves_out_or_repeats(caller, source):
    email = caller.attributes("customers", source["customer_id"])["email"]

    assert caller.update("customers", source["customer_id"], reference="r").status_code == 200
    assert caller.update("customers", source["customer_id"], email=email).status_code == 200


def test_a_card_cannot_be_removed_from_its_customer(caller, source):
    key, card = source["customer_payment_source_id"], "customer_payment_sources"
    without_customer = {"type": card, "id": key, "relationships": {"customer": {"data": None}}}
    refused = caller.http.patch(f"/{card}/{key}", json={"data": without_customer})

    assert error(refused) == (422, "VALIDATION_ERROR")
    assert refused.json()["errors"][0]["source"] == {"pointer": "/data/relationships/customer"}


def test_the_options_of_a_copy_cannot_be_changed(caller, source):
    copy_id = caller.copy(source["source_order_id"])

    assert error(caller.update("order_copies", copy_id, place_target_order=False)) == (400, "PARAM_NOT_ALLOWED")


def test_the_id_in_an_update_must_match_the_url(caller, source):
    body = {"data": {"type": "orders", "id": "another", "attributes": {}}}

    assert error(caller.http.patch(f"/orders/{source['source_order_id']}", json=body)) == (
        400,
        "KEY_NOT_INCLUDED_IN_URL",
    )
