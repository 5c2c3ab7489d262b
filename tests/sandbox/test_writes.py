"""What may be written: the rules of a create hold for every later change, too."""

from __future__ import annotations

import pytest


def error(response):
    return response.status_code, response.json()["errors"][0]["code"]


@pytest.mark.parametrize(
    ("kind", "attributes", "field", "symbol"),
    [
        ("webhooks", {"topic": None}, "topic", "blank"),
        ("webhooks", {"topic": "orders.placed"}, "topic", "inclusion"),
        ("webhooks", {"callback_url": ""}, "callback_url", "blank"),
        ("webhooks", {"callback_url": "ftp://x"}, "callback_url", "invalid"),
        ("customers", {"email": None}, "email", "blank"),
        ("customers", {"email": "nobody"}, "email", "invalid"),
        ("customers", {"email": "no body@example.com"}, "email", "invalid"),
        ("orders", {"customer_email": "@example.com"}, "customer_email", "invalid"),
        ("customers", {"email": "taken@example.com"}, "email", "taken"),
        ("customers", {"email": "Taken@EXAMPLE.com"}, "email", "taken"),
        ("order_subscriptions", {"frequency": None}, "frequency", "blank"),
    ],
)
def test_an_update_must_meet_the_rules_of_a_create(caller, source, kind, attributes, field, symbol):
    caller.create("customers", {"email": "taken@example.com"})
    fields = {"topic": "orders.place", "callback_url": "http://127.0.0.1:9/"}
    webhook = caller.create("webhooks", fields).json()["data"]["id"]
    key = {
        "webhooks": webhook,
        "customers": source["customer_id"],
        "order_subscriptions": source["id"],
        "orders": source["source_order_id"],
    }[kind]
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


def test_a_subscription_is_not_paid_with_the_card_of_another_customer(caller, sandbox, source):
    theirs = sandbox.create_subscription()["customer_payment_source_id"]
    before = caller.get(f"/order_subscriptions/{source['id']}").json()
    refused = caller.relate(
        "order_subscriptions", source["id"], "customer_payment_source", ("customer_payment_sources", theirs)
    )

    assert error(refused) == (422, "VALIDATION_ERROR")
    assert refused.json()["errors"][0]["source"] == {"pointer": "/data/relationships/customer_payment_source"}
    assert caller.get(f"/order_subscriptions/{source['id']}").json() == before


def test_a_draft_order_is_not_copied(caller, source):
    draft = caller.create("orders", customer=("customers", source["customer_id"])).json()["data"]
    assert draft["attributes"]["status"] == "draft"
    refused = caller.create("order_copies", source_order=("orders", draft["id"]))

    assert error(refused) == (422, "VALIDATION_ERROR")
    assert refused.json()["errors"][0]["source"] == {"pointer": "/data/relationships/source_order"}


def test_every_topic_of_what_is_simulated_is_accepted(caller):
    for topic in ("order_copies.fail", "order_subscriptions.pending", "customers.anonymization_failed"):
        assert caller.create("webhooks", {"topic": topic, "callback_url": "http://127.0.0.1:9/"}).status_code == 201


def test_the_options_of_a_copy_cannot_be_changed(caller, source):
    copy_id = caller.copy(source["source_order_id"])

    assert error(caller.update("order_copies", copy_id, place_target_order=False)) == (400, "PARAM_NOT_ALLOWED")


def test_the_id_in_an_update_must_match_the_url(caller, source):
    body = {"data": {"type": "orders", "id": "another", "attributes": {}}}

    assert error(caller.http.patch(f"/orders/{source['source_order_id']}", json=body)) == (
        400,
        "KEY_NOT_INCLUDED_IN_URL",
    )


@pytest.mark.parametrize(
    ("kind", "pointers"),
    [
        ("webhooks", ["attributes/topic", "attributes/callback_url"]),
        ("order_subscriptions", ["attributes/frequency", "relationships/source_order"]),
        ("customers", ["attributes/email"]),
    ],
)
def test_a_create_without_anything_is_told_every_missing_field(caller, kind, pointers):
    refused = caller.create(kind, {})

    assert refused.status_code == 422
    assert [one["source"]["pointer"] for one in refused.json()["errors"]] == [f"/data/{each}" for each in pointers]


def test_an_update_that_empties_several_fields_is_told_each(caller):
    fields = {"topic": "orders.place", "callback_url": "http://127.0.0.1:9/"}
    webhook = caller.create("webhooks", fields).json()["data"]["id"]
    refused = caller.update("webhooks", webhook, topic="", callback_url=None).json()["errors"]

    assert [one["detail"] for one in refused] == ["topic - can't be blank", "callback_url - can't be blank"]
