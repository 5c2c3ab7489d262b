"""Orders after the copy: placing again, paying at the checkout, healing a declined card."""

from __future__ import annotations

import pytest


@pytest.fixture
def declined(caller, sandbox, source):
    """A target order whose card was declined."""
    sandbox.set_failure(source["source_order_id"], "declined")
    copy_id = caller.copy(source["source_order_id"])
    sandbox.advance(10)
    return caller.target(copy_id)["id"]


def test_placing_twice_places_once(caller, sandbox, source):
    copy_id = caller.copy(source["source_order_id"], place_target_order=False)
    sandbox.advance(10)
    target = caller.target(copy_id)["id"]

    first = caller.update("orders", target, _place=True).json()["data"]["attributes"]
    sandbox.advance(60)
    second = caller.update("orders", target, _place=True).json()["data"]["attributes"]

    assert first["status"] == second["status"] == "placed"
    assert first["placed_at"] == second["placed_at"]
    assert len(caller.filtered("/events", name_eq="orders.place")) >= 1


def test_a_decline_at_placing_names_code_field_and_reason(caller, declined):
    error = caller.update("orders", declined, _place=True).json()["errors"][0]

    assert error["code"] == "PAYMENT_NOT_APPROVED_FOR_EXECUTION"
    assert error["meta"] == {"error": "card_declined"}
    assert error["source"]["pointer"] == "/data/attributes/payment_source"


def test_a_refused_placing_changes_nothing_else(caller, declined):
    caller.update("orders", declined, _place=True, reference="half")

    assert caller.attributes("orders", declined)["reference"] is None


def test_the_customer_can_pay_what_could_not_be_charged(caller, sandbox, declined):
    sandbox.customer_pays(declined)

    order = caller.attributes("orders", declined)
    assert (order["status"], order["payment_status"]) == ("placed", "paid")
    assert caller.update("orders", declined, _place=True).status_code == 200


def test_a_new_card_on_the_order_heals_this_order_only(caller, sandbox, source, declined):
    card = sandbox.add_payment_source(source["customer_id"])
    caller.update("orders", declined, _customer_payment_source_id=card)

    assert caller.update("orders", declined, _place=True).status_code == 200
    copy_id = caller.copy(source["source_order_id"])
    sandbox.advance(10)
    assert caller.attributes("order_copies", copy_id)["status"] == "failed"


def test_a_new_card_on_the_subscription_heals_the_next_copies(caller, sandbox, source, declined):
    card = sandbox.add_payment_source(source["customer_id"])
    caller.relate("order_subscriptions", source["id"], "customer_payment_source", ("customer_payment_sources", card))

    assert caller.update("orders", declined, _place=True).status_code == 200


def test_a_new_card_does_not_bring_back_stock(caller, sandbox, source):
    sandbox.set_failure(source["source_order_id"], "out_of_stock_at_placing")
    copy_id = caller.copy(source["source_order_id"])
    sandbox.advance(10)
    target = caller.target(copy_id)["id"]
    caller.update("orders", target, _customer_payment_source_id=sandbox.add_payment_source(source["customer_id"]))

    refused = caller.update("orders", target, _place=True)

    assert refused.json()["errors"][0]["meta"] == {"error": "out_of_stock"}


def test_a_cancelled_order_is_not_placed(caller, declined):
    assert caller.update("orders", declined, _cancel=True).json()["data"]["attributes"]["status"] == "cancelled"
    assert caller.update("orders", declined, _cancel=True).status_code == 200

    refused = caller.update("orders", declined, _place=True).json()["errors"][0]

    assert refused["detail"] == "status - cannot transition from cancelled to placed"


def test_an_order_goes_on_to_approved_captured_and_refunded(caller, sandbox, declined):
    sandbox.set_failure(declined, "none")
    for trigger, status, payment in [
        ("_place", "placed", "authorized"),
        ("_approve", "approved", "authorized"),
        ("_capture", "approved", "paid"),
        ("_refund", "approved", "refunded"),
    ]:
        order = caller.update("orders", declined, **{trigger: True}).json()["data"]["attributes"]
        assert (order["status"], order["payment_status"]) == (status, payment)


def test_a_trigger_that_is_false_does_nothing(caller, declined):
    assert caller.update("orders", declined, _place=False).json()["data"]["attributes"]["status"] == "pending"


def test_asynchronous_placing_happens_a_moment_later_and_keeps_its_errors(caller, sandbox, declined):
    caller.update("orders", declined, place_async=True)
    answer = caller.update("orders", declined, _place=True)
    before = len(caller.get(f"/orders/{declined}/resource_errors").json()["data"])

    assert answer.status_code == 200
    assert answer.json()["data"]["attributes"]["status"] == "placing"
    sandbox.advance(2)
    order = caller.attributes("orders", declined)
    assert (order["status"], order["payment_status"]) == ("placing", "unpaid")
    assert len(caller.get(f"/orders/{declined}/resource_errors").json()["data"]) == before + 1

    sandbox.set_failure(declined, "none")
    caller.update("orders", declined, _place=True)
    sandbox.advance(2)
    assert caller.attributes("orders", declined)["status"] == "placed"
