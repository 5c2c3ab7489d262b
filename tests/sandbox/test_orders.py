"""Target orders after the copy: placing them again, paying at the checkout, replacing a declined card."""

from __future__ import annotations

import pytest

from blocks.sandbox.running import RunningSandbox


@pytest.fixture
def declined(caller, sandbox, source):
    """A target order whose card was declined."""
    sandbox.set_failure(source["source_order_id"], "declined")
    copy_id = caller.copy(source["source_order_id"])
    sandbox.advance(10)
    return caller.target(copy_id)["id"]


def test_placing_an_order_again_changes_nothing(caller, sandbox, source):
    copy_id = caller.copy(source["source_order_id"], place_target_order=False)
    sandbox.advance(10)
    target = caller.target(copy_id)["id"]

    first = caller.update("orders", target, _place=True).json()["data"]["attributes"]
    sandbox.advance(60)
    second = caller.update("orders", target, _place=True).json()["data"]["attributes"]

    assert first["status"] == second["status"] == "placed"
    assert first["placed_at"] == second["placed_at"]
    assert len(caller.filtered("/events", name_eq="orders.place")) >= 1


def test_the_error_of_a_declined_placing_names_code_field_and_reason(caller, declined):
    error = caller.update("orders", declined, _place=True).json()["errors"][0]

    assert error["code"] == "PAYMENT_NOT_APPROVED_FOR_EXECUTION"
    assert error["meta"] == {"error": "card_declined"}
    assert error["source"]["pointer"] == "/data/attributes/payment_source"


def test_an_update_whose_placing_is_refused_changes_nothing(caller, declined):
    caller.update("orders", declined, _place=True, reference="half")

    assert caller.attributes("orders", declined)["reference"] is None


def test_a_customer_can_pay_a_declined_order_at_the_checkout(caller, sandbox, declined):
    sandbox.customer_pays(declined)

    order = caller.attributes("orders", declined)
    assert (order["status"], order["payment_status"]) == ("placed", "paid")
    assert caller.update("orders", declined, _place=True).status_code == 200


def test_a_new_card_on_a_target_order_is_used_for_that_order_only(caller, sandbox, source, declined):
    card = sandbox.add_payment_source(source["customer_id"])
    caller.update("orders", declined, _customer_payment_source_id=card)

    assert caller.update("orders", declined, _place=True).status_code == 200
    copy_id = caller.copy(source["source_order_id"])
    sandbox.advance(10)
    assert caller.attributes("order_copies", copy_id)["status"] == "failed"


def test_a_new_card_on_the_subscription_does_not_change_the_card_of_any_order(caller, sandbox, source, declined):
    card = sandbox.add_payment_source(source["customer_id"])
    caller.relate("order_subscriptions", source["id"], "customer_payment_source", ("customer_payment_sources", card))

    copy_id = caller.copy(source["source_order_id"])
    sandbox.advance(10)
    assert caller.attributes("order_copies", copy_id)["status"] == "failed", "the copy has the source order's card"
    assert caller.update("orders", declined, _place=True).status_code == 422, "this order still has the old card"
    caller.update("orders", declined, _customer_payment_source_id=card)
    assert caller.update("orders", declined, _place=True).status_code == 200


def test_a_new_card_does_not_cure_an_order_that_is_out_of_stock(caller, sandbox, source):
    sandbox.set_failure(source["source_order_id"], "out_of_stock_at_placing")
    copy_id = caller.copy(source["source_order_id"])
    sandbox.advance(10)
    target = caller.target(copy_id)["id"]
    caller.update("orders", target, _customer_payment_source_id=sandbox.add_payment_source(source["customer_id"]))

    refused = caller.update("orders", target, _place=True)

    assert refused.json()["errors"][0]["meta"] == {"error": "out_of_stock"}


def test_a_cancelled_order_cannot_be_placed(caller, declined):
    assert caller.update("orders", declined, _cancel=True).json()["data"]["attributes"]["status"] == "cancelled"
    assert caller.update("orders", declined, _cancel=True).status_code == 200

    refused = caller.update("orders", declined, _place=True).json()["errors"][0]

    assert refused["detail"] == "status - cannot transition from cancelled to placed"


def test_a_placed_order_can_be_approved_captured_and_refunded(caller, sandbox, declined):
    sandbox.set_failure(declined, "none")
    for trigger, status, payment in [
        ("_place", "placed", "authorized"),
        ("_approve", "approved", "authorized"),
        ("_capture", "approved", "paid"),
        ("_refund", "approved", "refunded"),
    ]:
        order = caller.update("orders", declined, **{trigger: True}).json()["data"]["attributes"]
        assert (order["status"], order["payment_status"]) == (status, payment)


@pytest.mark.parametrize(
    ("trigger", "payment"), [("_capture", "paid"), ("_refund", "refunded"), ("_approve_and_capture", None)]
)
def test_a_refused_payment_is_worded_like_a_refused_status(caller, declined, trigger, payment):
    refused = caller.update("orders", declined, **{trigger: True})

    transition = f"from unpaid to {payment}" if payment else "from pending to approved"
    attribute = "payment_status" if payment else "status"
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["detail"] == f"{attribute} - cannot transition {transition}"


def test_a_trigger_that_is_false_does_nothing(caller, declined):
    assert caller.update("orders", declined, _place=False).json()["data"]["attributes"]["status"] == "pending"


def test_an_order_whose_card_was_deleted_is_placed_only_with_another_card(caller, sandbox, source):
    copy_id = caller.copy(source["source_order_id"], place_target_order=False)
    sandbox.advance(10)
    target = caller.target(copy_id)["id"]
    assert caller.http.delete(f"/customer_payment_sources/{source['customer_payment_source_id']}").status_code == 204

    refused = caller.update("orders", target, _place=True)
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["detail"] == "payment_method - can't be blank"
    assert caller.attributes("orders", target)["status"] == "pending"
    card = sandbox.add_payment_source(source["customer_id"])
    caller.update("orders", target, _customer_payment_source_id=card)
    assert caller.update("orders", target, _place=True).json()["data"]["attributes"]["status"] == "placed"


def test_a_card_of_another_customer_is_refused(caller, sandbox, source, declined):
    theirs = sandbox.create_subscription()["customer_payment_source_id"]
    refused = caller.update("orders", declined, _customer_payment_source_id=theirs)
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["detail"] == "customer_payment_source - must exist"

    sandbox.set_failure(source["source_order_id"], None)
    other = sandbox.create_subscription()["customer_id"]
    card = source["customer_payment_source_id"]
    assert caller.relate("customer_payment_sources", card, "customer", ("customers", other)).status_code == 200
    assert caller.update("orders", declined, _place=True).status_code == 422


@pytest.mark.parametrize(
    ("kind", "option"),
    [
        ("out_of_stock", "skip_errors"),
        ("invalid_coupon", "skip_errors"),
        ("invalid_coupon", "ignore_invalid_coupon"),
    ],
)
def test_a_failure_that_the_copy_ignored_does_not_stop_a_later_placing(caller, sandbox, source, kind, option):
    sandbox.set_failure(source["source_order_id"], kind)
    copy_id = caller.copy(source["source_order_id"], place_target_order=False, **{option: True})
    sandbox.advance(10)
    target = caller.target(copy_id)["id"]
    assert caller.update("orders", target, _place=True).json()["data"]["attributes"]["status"] == "placed"


def test_a_later_failure_of_another_kind_still_stops_the_placing(caller, sandbox, source):
    sandbox.set_failure(source["source_order_id"], "out_of_stock")
    copy_id = caller.copy(source["source_order_id"], place_target_order=False, skip_errors=True)
    sandbox.advance(10)
    sandbox.set_failure(source["source_order_id"], "declined")

    assert caller.update("orders", caller.target(copy_id)["id"], _place=True).status_code == 422


def test_an_order_without_an_address_is_copied_but_not_placed(caller, sandbox, source):
    sandbox.set_failure(source["source_order_id"], "missing_address")
    copy_id = caller.copy(source["source_order_id"], skip_errors=True)
    sandbox.advance(10)
    copy, target = caller.attributes("order_copies", copy_id), caller.target(copy_id)

    assert copy["status"] == "completed"
    assert copy["errors_log"]["billing_address"] == ["can't be blank"]
    assert (target["attributes"]["status"], target["attributes"]["payment_status"]) == ("pending", "unpaid")
    assert caller.update("orders", target["id"], _place=True).status_code == 422
    sandbox.set_failure(source["source_order_id"], None)
    assert caller.update("orders", target["id"], _place=True).status_code == 200


def test_a_free_order_that_is_approved_and_captured_stays_free(caller, sandbox):
    free = sandbox.create_subscription(total_cents=0)
    copy_id = caller.copy(free["source_order_id"])
    sandbox.advance(10)
    order = caller.update("orders", caller.target(copy_id)["id"], _approve_and_capture=True).json()["data"]

    assert (order["attributes"]["status"], order["attributes"]["payment_status"]) == ("approved", "free")


def test_asynchronous_placing_ends_a_moment_later_and_stores_its_errors(caller, sandbox, declined):
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


@pytest.fixture
def pending(caller, sandbox, source):
    """A target order that is not placed yet."""
    copy_id = caller.copy(source["source_order_id"], place_target_order=False)
    sandbox.advance(10)
    return caller.target(copy_id)["id"]


def place(caller, order_id):
    answer = caller.update("orders", order_id, _place=True)
    return answer.status_code, answer.json()["data"]["attributes"]["status"]


def states(caller, order_id):
    order = caller.attributes("orders", order_id)
    return order["status"], order["payment_status"]


def test_asking_again_neither_speeds_up_nor_repeats_a_slow_placing(caller, sandbox, source, pending):
    sandbox.set_failure(source["source_order_id"], "slow_placing")
    assert place(caller, pending) == (200, "placing")
    sandbox.advance(100)
    assert place(caller, pending) == (200, "placing")
    sandbox.advance(19)
    assert states(caller, pending) == ("placing", "unpaid")
    sandbox.advance(1)

    assert states(caller, pending) == ("placed", "authorized")
    assert place(caller, pending) == (200, "placed")
    events = caller.get(f"/orders/{pending}/events").json()["data"]
    assert [event["attributes"]["name"] for event in events].count("orders.place") == 1


def test_a_stuck_order_stays_placing_until_it_is_released(caller, sandbox, source, pending):
    sandbox.set_failure(source["source_order_id"], "stuck_placing", times=1)
    assert place(caller, pending) == (200, "placing")
    sandbox.advance(6000)
    assert place(caller, pending) == (200, "placing")
    sandbox.release_order(pending)

    assert states(caller, pending) == ("placed", "authorized")


@pytest.mark.parametrize("of", ["the order", "its source"])
@pytest.mark.parametrize("kind", [None, "none"])
def test_a_stuck_order_is_placed_when_its_failure_is_cleared(caller, sandbox, source, pending, of, kind):
    order_id = pending if of == "the order" else source["source_order_id"]
    sandbox.set_failure(order_id, "stuck_placing")
    place(caller, pending)
    sandbox.advance(60)
    assert states(caller, pending) == ("placing", "unpaid")
    sandbox.set_failure(order_id, kind)

    assert states(caller, pending) == ("placed", "authorized")


def test_a_stuck_placing_can_end_in_a_decline_and_be_tried_again(caller, sandbox, pending):
    sandbox.set_failure(pending, "stuck_placing")
    place(caller, pending)
    sandbox.set_failure(pending, "declined", times=1)
    sandbox.release_order(pending)

    assert states(caller, pending) == ("placing", "unpaid")
    assert len(caller.get(f"/orders/{pending}/resource_errors").json()["data"]) == 1
    assert place(caller, pending) == (200, "placed")


def test_a_customer_can_pay_an_order_that_is_stuck_in_placing(caller, sandbox, pending):
    sandbox.set_failure(pending, "stuck_placing")
    place(caller, pending)
    sandbox.customer_pays(pending)
    sandbox.release_order(pending)
    sandbox.advance(10)

    assert states(caller, pending) == ("placed", "paid")


def test_a_copy_that_places_its_target_order_itself_does_not_get_stuck_in_placing(caller, sandbox, source):
    sandbox.set_failure(source["source_order_id"], "stuck_placing")
    copy_id = caller.copy(source["source_order_id"])
    sandbox.advance(10)

    assert states(caller, caller.target(copy_id)["id"]) == ("placed", "authorized")


def test_slow_and_stuck_placings_survive_a_restart(make_caller):
    with RunningSandbox("--limits", "off", "--frozen", "--clock", "2026-03-01T06:00:00Z") as running:
        caller, orders = make_caller(running), {}
        for kind in ("slow_placing", "stuck_placing"):
            order_id = running.create_subscription()["source_order_id"]
            running.set_failure(order_id, kind)
            copy_id = caller.copy(order_id, place_target_order=False)
            running.advance(10)
            orders[kind] = caller.target(copy_id)["id"]
            place(caller, orders[kind])
        running.restart()
        running.advance(120)

        assert {kind: caller.attributes("orders", one)["status"] for kind, one in orders.items()} == {
            "slow_placing": "placed",
            "stuck_placing": "placing",
        }
        running.release_order(orders["stuck_placing"])
        assert states(caller, orders["stuck_placing"]) == ("placed", "authorized")
