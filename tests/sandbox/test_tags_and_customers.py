"""Tags, customers and their data, and triggers that the sandbox accepts with little effect."""

from __future__ import annotations

import pytest


@pytest.fixture
def tags(caller, source):
    """Two tags for this test only: ids by name."""
    names = [f"first-{source['id']}", f"second-{source['id']}"]
    return {name: caller.create("tags", {"name": name}).json()["data"]["id"] for name in names}


def tags_of(caller, kind, key):
    return [tag["attributes"]["name"] for tag in caller.get(f"/{kind}/{key}/tags").json()["data"]]


def test_tags_are_added_and_removed_by_name_and_unknown_names_are_ignored(caller, source, tags):
    first, second = tags
    caller.update("order_subscriptions", source["id"], _add_tags=f"{first}, {second},nobody made this,{first}")
    assert sorted(tags_of(caller, "order_subscriptions", source["id"])) == [first, second]
    caller.update("order_subscriptions", source["id"], _remove_tags=f"{first},nobody made this")

    assert tags_of(caller, "order_subscriptions", source["id"]) == [second]
    linkage = caller.get(f"/order_subscriptions/{source['id']}/relationships/tags").json()["data"]
    assert linkage == [{"type": "tags", "id": tags[second]}]


def test_subscriptions_that_share_a_tag_are_found_by_it(caller, sandbox, source, tags):
    first, second = tags
    other = sandbox.create_subscription()["id"]
    caller.update("order_subscriptions", source["id"], _add_tags=first)
    caller.update("order_subscriptions", other, _add_tags=f"{first},{second}")

    def found(**filters):
        return {one["id"] for one in caller.filtered("/order_subscriptions", **filters)}

    assert found(tags_id_in=tags[first]) == found(tags_name_eq=first) == {source["id"], other}
    assert found(tags_id_in=f"{tags[second]},nobody") == {other}
    assert found(tags_id_null="true", id_in=f"{source['id']},{other}") == set()
    document = caller.get("/order_subscriptions", include="tags", sort="-created_at", **{"page[size]": 25}).json()
    linked = {one["id"]: one["relationships"]["tags"]["data"] for one in document["data"]}
    assert (len(linked[source["id"]]), len(linked[other])) == (1, 2)
    assert len([one for one in document["included"] if one["id"] == tags[first]]) == 1


def test_a_deleted_tag_is_removed_from_its_resources(caller, source, tags):
    first, _ = tags
    caller.update("customers", source["customer_id"], _add_tags=first)
    assert caller.http.delete(f"/tags/{tags[first]}").status_code == 204

    assert tags_of(caller, "customers", source["customer_id"]) == []


def test_a_tag_needs_a_unique_name(caller, tags):
    taken = caller.create("tags", {"name": next(iter(tags))})

    assert taken.json()["errors"][0]["meta"] == {"error": "taken"}
    assert caller.create("tags", {}).status_code == 422


def test_tags_are_set_by_a_create_and_replaced_by_an_update(caller, source, tags):
    first, second = tags.values()

    def document(kind, *given, key=None):
        linked = {"tags": {"data": [{"type": "tags", "id": one} for one in given]}}
        return {"data": {"type": kind, "relationships": linked} | ({"id": key} if key else {})}

    made = caller.http.post("/orders?include=tags", json=document("orders", first)).json()["data"]
    assert [one["id"] for one in made["relationships"]["tags"]["data"]] == [first]
    caller.http.patch(f"/orders/{made['id']}", json=document("orders", second, key=made["id"]))
    linkage = caller.get(f"/orders/{made['id']}/relationships/tags").json()["data"]
    assert [one["id"] for one in linkage] == [second]
    wrong = caller.http.patch(f"/orders/{made['id']}", json=document("orders", "nobody", key=made["id"]))
    assert wrong.json()["errors"][0]["source"] == {"pointer": "/data/relationships/tags"}


def test_adding_a_tag_creates_a_tagged_event(caller, source, tags):
    caller.update("order_subscriptions", source["id"], _add_tags=next(iter(tags)))
    events = caller.get(f"/order_subscriptions/{source['id']}/events").json()["data"]

    assert "order_subscriptions.tagged" in [event["attributes"]["name"] for event in events]


def test_a_password_is_accepted_and_never_shown(caller, source):
    created = caller.create(
        "customers", {"email": f"{source['id']}@example.com", "password": "secret", "profile_id": "p"}
    )
    attributes = created.json()["data"]["attributes"]

    assert created.status_code == 201
    assert "password" not in attributes
    assert (attributes["has_password"], attributes["profile_id"]) == (True, "p")
    assert caller.update("customers", source["customer_id"], password="").status_code == 422
    assert caller.update("customers", source["customer_id"], password="other").status_code == 200


def test_an_anonymization_can_be_requested_and_cancelled(caller, source):
    key = source["customer_id"]
    assert caller.update("customers", key, _cancel_anonymization=True).status_code == 422
    for trigger, status in [("_request_anonymization", "requested"), ("_cancel_anonymization", "cancelled")]:
        answer = caller.update("customers", key, **{trigger: True}).json()["data"]["attributes"]
        assert answer["anonymization_status"] == status


def test_a_webhook_can_be_created_disabled(caller):
    given = {"topic": "orders.place", "callback_url": "http://127.0.0.1:9/"}
    disabled, enabled = (caller.create("webhooks", {**given, name: True}) for name in ("_disable", "_enable"))

    assert disabled.json()["data"]["attributes"]["disabled_at"] is not None
    assert enabled.json()["data"]["attributes"]["disabled_at"] is None
    for made in (disabled, enabled):
        caller.http.delete(f"/webhooks/{made.json()['data']['id']}")
    assert caller.create("webhooks", {**given, "_reset_circuit": True}).status_code == 400


@pytest.fixture
def pending(caller, sandbox, source):
    """A target order that is not placed yet."""
    copy_id = caller.copy(source["source_order_id"], place_target_order=False)
    sandbox.advance(10)
    return caller.target(copy_id)["id"]


def test_an_order_that_is_authorized_before_it_is_placed_is_not_charged_again(caller, sandbox, source, pending):
    sandbox.set_failure(source["source_order_id"], "declined")
    assert caller.update("orders", pending, _authorize=True).status_code == 422
    assert caller.attributes("orders", pending)["payment_status"] == "unpaid"
    sandbox.set_failure(source["source_order_id"], None)
    authorized = caller.update("orders", pending, _authorize=True).json()["data"]["attributes"]
    assert (authorized["status"], authorized["payment_status"]) == ("pending", "authorized")
    sandbox.set_failure(source["source_order_id"], "declined")
    placed = caller.update("orders", pending, _place=True).json()["data"]["attributes"]

    assert (placed["status"], placed["payment_status"]) == ("placed", "authorized")
    assert caller.update("orders", pending, _authorize=True).status_code == 200


def test_triggers_without_effect_in_the_sandbox_are_accepted(caller, pending):
    before = caller.attributes("orders", pending)
    for name in (
        "_validate",
        "_save_payment_source_to_customer_wallet",
        "_fix_payment_source",
        "_create_subscriptions",
    ):
        assert caller.update("orders", pending, **{name: True}).status_code == 200
    assert caller.update("orders", pending, _refresh=True).json()["data"]["attributes"]["refreshed_at"] is not None

    assert caller.attributes("orders", pending)["status"] == before["status"]
    events = caller.get(f"/orders/{pending}/events").json()["data"]
    assert "orders.create_subscriptions" in [event["attributes"]["name"] for event in events]
