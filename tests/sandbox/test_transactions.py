"""Authorizations, captures, voids and refunds: what an order's payment leaves, and what their triggers do to it."""

from __future__ import annotations

import pytest


def transactions_of(caller, order_id: str) -> dict[str, dict]:
    answer = caller.get(f"/orders/{order_id}", include="transactions").json()
    linked = {one["type"] for one in answer["data"]["relationships"]["transactions"]["data"]}
    found = {one["type"]: one["attributes"] for one in answer.get("included", [])}
    assert linked == set(found)
    return found


def test_transactions_follow_the_payment_of_an_order(caller, source):
    order_id = source["source_order_id"]
    total = caller.attributes("orders", order_id)["total_amount_with_taxes_cents"]

    authorized = transactions_of(caller, order_id)
    caller.update("orders", order_id, _capture=True)
    captured = transactions_of(caller, order_id)
    caller.update("orders", order_id, _refund=True)
    refunded = transactions_of(caller, order_id)

    assert set(authorized) == {"authorizations"}
    assert authorized["authorizations"]["capture_balance_cents"] == total
    assert set(captured) == {"authorizations", "captures"}
    assert captured["authorizations"]["capture_balance_cents"] == 0
    assert (captured["captures"]["amount_cents"], captured["captures"]["refund_balance_cents"]) == (total, total)
    assert set(refunded) == {"authorizations", "captures", "refunds"}
    assert refunded["captures"]["refund_balance_cents"] == 0
    refund = caller.filtered("/refunds", order_id_eq=order_id)[0]
    capture = caller.get(f"/refunds/{refund['id']}/reference_capture").json()["data"]
    authorization = caller.get(f"/captures/{capture['id']}/reference_authorization").json()["data"]
    assert authorization["id"] == caller.filtered("/authorizations", order_id_eq=order_id)[0]["id"]


def test_a_cancelled_order_has_a_void_and_an_unpaid_one_has_no_transactions(caller, sandbox, source):
    copy_id = caller.copy(source["source_order_id"], place_target_order=False)
    sandbox.advance(10)
    target_id = caller.target(copy_id)["id"]
    caller.update("orders", source["source_order_id"], _cancel=True)

    assert set(transactions_of(caller, source["source_order_id"])) == {"authorizations", "voids"}
    assert transactions_of(caller, target_id) == {}


def unplaced(caller, sandbox, source) -> str:
    copy_id = caller.copy(source["source_order_id"], place_target_order=False)
    sandbox.advance(10)
    return str(caller.target(copy_id)["id"])


def one_of(caller, kind: str, order_id: str) -> str:
    [found] = caller.filtered(f"/{kind}", order_id_eq=order_id)
    return str(found["id"])


def payment_status(caller, order_id: str) -> str:
    return str(caller.attributes("orders", order_id)["payment_status"])


@pytest.mark.parametrize(
    ("kind", "error_code"),
    [("declined", "card_declined"), ("insufficient_funds", "insufficient_funds"), ("expired_card", "expired_card")],
)
def test_a_declined_card_leaves_a_failed_authorization_with_the_reason_of_the_gateway(
    caller, sandbox, source, kind, error_code
):
    order_id = unplaced(caller, sandbox, source)
    total = caller.attributes("orders", order_id)["total_amount_with_taxes_cents"]
    sandbox.set_failure(order_id, kind, times=1)

    refused = caller.update("orders", order_id, _place=True)
    [failed] = caller.filtered("/authorizations", order_id_eq=order_id)
    shown = failed["attributes"]

    assert refused.json()["errors"][0]["meta"] == {"error": error_code}
    assert (shown["succeeded"], shown["error_code"], shown["amount_cents"]) == (False, error_code, total)
    assert shown["message"] == refused.json()["errors"][0]["title"]
    assert (shown["capture_balance_cents"], shown["void_balance_cents"]) == (0, 0)
    assert payment_status(caller, order_id) == "unpaid"
    assert caller.get(f"/authorizations/{failed['id']}/order").json()["data"]["id"] == order_id
    source_of = caller.get(f"/authorizations/{failed['id']}/payment_source").json()["data"]["id"]
    assert source_of == caller.get(f"/orders/{order_id}/payment_source").json()["data"]["id"]


def test_each_attempt_is_an_authorization_and_only_the_accepted_one_succeeded(caller, sandbox, source):
    order_id = unplaced(caller, sandbox, source)
    number = caller.attributes("orders", order_id)["number"]
    sandbox.set_failure(order_id, "declined", times=2)
    for _ in range(3):
        caller.update("orders", order_id, _place=True)

    answer = caller.get(f"/orders/{order_id}", include="authorizations,transactions").json()
    made = [one["attributes"] for one in answer["included"]]
    assert len(answer["data"]["relationships"]["transactions"]["data"]) == 3
    assert sorted((one["number"], one["succeeded"]) for one in made) == [
        (f"{number}/A/001", False), (f"{number}/A/002", False), (f"{number}/A/003", True)
    ]  # fmt: skip


def test_a_copy_that_cannot_pay_its_order_leaves_a_failed_authorization_on_it(caller, sandbox, source):
    sandbox.set_failure(source["source_order_id"], "declined", times=1)
    copy_id = caller.copy(source["source_order_id"])
    sandbox.advance(10)

    [failed] = caller.get(f"/orders/{caller.target(copy_id)['id']}/authorizations").json()["data"]
    assert failed["attributes"]["succeeded"] is False


@pytest.mark.parametrize("kind", ["no_wallet", "out_of_stock_at_placing"])
def test_what_is_refused_before_the_gateway_is_asked_leaves_no_authorization(caller, sandbox, source, kind):
    order_id = unplaced(caller, sandbox, source)
    sandbox.set_failure(order_id, kind)

    assert caller.update("orders", order_id, _place=True).status_code == 422
    assert caller.filtered("/authorizations", order_id_eq=order_id) == []


def test_the_failed_authorizations_of_a_deleted_order_are_gone(caller, sandbox, source):
    order_id = caller.create("orders", customer=("customers", source["customer_id"])).json()["data"]["id"]
    caller.create(
        "line_items",
        {"item_type": "adjustments", "quantity": 1, "unit_amount_cents": 500},
        order=("orders", order_id),
    )
    caller.update("orders", order_id, _customer_payment_source_id=source["customer_payment_source_id"])
    sandbox.set_failure(order_id, "declined")
    assert caller.update("orders", order_id, _place=True).status_code == 422
    failed = one_of(caller, "authorizations", order_id)

    assert caller.http.delete(f"/orders/{order_id}").status_code == 204
    assert caller.get(f"/authorizations/{failed}").status_code == 404


# --- triggers -----------------------------------------------------------------------------------


def test_capturing_an_authorization_pays_its_order_as_capturing_the_order_does(caller, source):
    order_id = source["source_order_id"]
    authorization = one_of(caller, "authorizations", order_id)

    captured = caller.update("authorizations", authorization, _capture=True)

    total = caller.attributes("orders", order_id)["total_amount_with_taxes_cents"]
    assert captured.json()["data"]["attributes"]["capture_amount_cents"] == total
    assert payment_status(caller, order_id) == "paid"
    assert one_of(caller, "captures", order_id)
    again = caller.update("orders", order_id, _capture=True)
    assert (again.status_code, len(caller.filtered("/captures", order_id_eq=order_id))) == (200, 1)


def test_voiding_an_authorization_leaves_its_order_placed_and_it_cannot_be_captured_any_more(caller, source):
    order_id = source["source_order_id"]
    authorization = one_of(caller, "authorizations", order_id)

    assert caller.update("authorizations", authorization, _void=True).status_code == 200

    order = caller.attributes("orders", order_id)
    assert (order["status"], order["payment_status"]) == ("placed", "voided")
    void = one_of(caller, "voids", order_id)
    assert caller.get(f"/voids/{void}/reference_authorization").json()["data"]["id"] == authorization
    for kind, key in (("authorizations", authorization), ("orders", order_id)):
        [error] = caller.update(kind, key, _capture=True).json()["errors"]
        assert error["detail"] == "payment_status - cannot transition from voided to paid"
    assert payment_status(caller, order_id) == "voided"


def test_a_capture_is_refunded_in_parts_and_never_more_than_was_captured(caller, source):
    order_id = source["source_order_id"]
    total = caller.attributes("orders", order_id)["total_amount_with_taxes_cents"]
    caller.update("orders", order_id, _capture=True)
    capture = one_of(caller, "captures", order_id)

    def refund(cents: int | None = None) -> tuple[int, str, int]:
        amount = {} if cents is None else {"_refund_amount_cents": cents}
        answer = caller.update("captures", capture, _refund=True, **amount)
        shown = caller.attributes("captures", capture)
        assert shown["refund_amount_cents"] + shown["refund_balance_cents"] == total
        return answer.status_code, payment_status(caller, order_id), shown["refund_amount_cents"]

    assert refund(100) == (200, "partially_refunded", 100)
    assert refund(total - 99) == (422, "partially_refunded", 100)
    assert refund(0) == (422, "partially_refunded", 100)
    assert refund(-1) == (422, "partially_refunded", 100)
    assert refund(50) == (200, "partially_refunded", 150)
    assert refund() == (200, "refunded", total)
    assert refund() == (200, "refunded", total)
    assert refund(1) == (422, "refunded", total)
    amounts = [one["attributes"]["amount_cents"] for one in caller.filtered("/refunds", order_id_eq=order_id)]
    assert sorted(amounts) == sorted([100, 50, total - 150])


def test_an_amount_alone_refunds_nothing(caller, source):
    order_id = source["source_order_id"]
    caller.update("orders", order_id, _capture=True)
    capture = one_of(caller, "captures", order_id)

    assert caller.update("captures", capture, _refund_amount_cents=100).status_code == 200
    assert payment_status(caller, order_id) == "paid"


def test_refunding_the_order_refunds_what_is_left_of_its_capture(caller, source):
    order_id = source["source_order_id"]
    total = caller.attributes("orders", order_id)["total_amount_with_taxes_cents"]
    caller.update("orders", order_id, _capture=True)
    capture = one_of(caller, "captures", order_id)
    caller.update("captures", capture, _refund=True, _refund_amount_cents=100)

    refunded = caller.update("orders", order_id, _refund=True).json()["data"]["attributes"]

    assert refunded["payment_status"] == "refunded"
    refunds = caller.get(f"/captures/{capture}/refunds").json()["data"]
    assert sorted(one["attributes"]["amount_cents"] for one in refunds) == sorted([100, total - 100])


def test_an_order_that_was_set_to_be_refunded_shows_one_refund_of_all(caller, sandbox, source):
    order_id = source["source_order_id"]
    total = caller.attributes("orders", order_id)["total_amount_with_taxes_cents"]
    sandbox.set_payment_status(order_id, "refunded")

    [refund] = caller.filtered("/refunds", order_id_eq=order_id)
    assert refund["attributes"]["amount_cents"] == total
    assert transactions_of(caller, order_id)["captures"]["refund_balance_cents"] == 0


@pytest.mark.parametrize("name", ["_capture", "_void"])
def test_a_failed_authorization_can_be_neither_captured_nor_voided(caller, sandbox, source, name):
    order_id = unplaced(caller, sandbox, source)
    sandbox.set_failure(order_id, "declined", times=1)
    caller.update("orders", order_id, _place=True)
    failed = one_of(caller, "authorizations", order_id)
    assert caller.update("orders", order_id, _place=True).status_code == 200

    [error] = caller.update("authorizations", failed, **{name: True}).json()["errors"]
    assert (error["code"], error["source"]) == ("VALIDATION_ERROR", {"pointer": "/data/attributes/succeeded"})
    assert payment_status(caller, order_id) == "authorized"


def test_only_triggers_of_a_transaction_can_be_written(caller, source):
    authorization = one_of(caller, "authorizations", source["source_order_id"])

    refused = caller.update("authorizations", authorization, metadata={"by": "me"})
    unknown = caller.update("authorizations", authorization, _refund=True)

    assert (refused.status_code, refused.json()["errors"][0]["code"]) == (400, "PARAM_NOT_ALLOWED")
    assert unknown.status_code == 400


@pytest.mark.parametrize(("trigger", "topic"), [("_capture", "orders.pay"), ("_void", "orders.void")])
def test_a_trigger_of_an_authorization_has_the_event_of_its_order(caller, source, trigger, topic):
    order_id = source["source_order_id"]
    caller.update("authorizations", one_of(caller, "authorizations", order_id), **{trigger: True})

    events = caller.get(f"/orders/{order_id}/events").json()["data"]
    assert topic in {one["attributes"]["name"] for one in events}
