"""Prices and payments that change after the source order was placed."""

from __future__ import annotations

import pytest

from blocks.sandbox.running import SandboxFailed


def copied(caller, sandbox, source_order_id: str) -> dict:
    copy_id = caller.copy(source_order_id, place_target_order=False)
    sandbox.advance(10)
    order = caller.target(copy_id)
    return {**order["attributes"], "id": order["id"]}


def test_a_new_price_holds_for_later_copies_and_does_not_change_the_source_order(caller, sandbox, source):
    source_order_id = source["source_order_id"]
    before = copied(caller, sandbox, source_order_id)
    paid = caller.get(f"/orders/{source_order_id}").json()["data"]["attributes"]["total_amount_with_taxes_cents"]

    sandbox.change_price(source_order_id, total_cents=4321)
    sandbox.change_price(source_order_id, currency_code="USD", skus_count=7)
    after = copied(caller, sandbox, source_order_id)

    assert before["total_amount_with_taxes_cents"] == paid != 4321
    assert (after["total_amount_with_taxes_cents"], after["total_amount_cents"]) == (4321, 4321)
    assert (after["currency_code"], after["skus_count"]) == ("USD", 7)
    now = caller.get(f"/orders/{source_order_id}").json()["data"]["attributes"]
    assert (now["total_amount_with_taxes_cents"], now["currency_code"]) == (paid, "EUR")
    assert caller.get(f"/orders/{before['id']}").json()["data"]["attributes"]["currency_code"] == "EUR"


def test_an_unplaced_order_has_a_new_price_at_once_and_is_free_when_it_costs_nothing(caller, sandbox, source):
    order = copied(caller, sandbox, source["source_order_id"])

    sandbox.change_price(order["id"], total_cents=0)
    placed = caller.update("orders", order["id"], _place=True).json()["data"]["attributes"]

    assert (placed["total_amount_with_taxes_cents"], placed["payment_status"]) == (0, "free")


def test_a_placed_order_can_become_unpaid(caller, sandbox, source):
    order = copied(caller, sandbox, source["source_order_id"])
    caller.update("orders", order["id"], _place=True)

    sandbox.set_payment_status(order["id"], "unpaid")

    now = caller.get(f"/orders/{order['id']}").json()["data"]["attributes"]
    assert (now["status"], now["payment_status"]) == ("placed", "unpaid")


@pytest.mark.parametrize(
    "members", [{}, {"total_cents": -1}, {"total_cents": "12"}, {"skus_count": True}, {"currency_code": "EURO"}]
)
def test_an_impossible_price_is_refused_and_the_error_names_the_field(sandbox, source, members):
    with pytest.raises(SandboxFailed, match=next(iter(members), "nothing is changed")):
        sandbox.change_price(source["source_order_id"], **members)


def test_a_payment_status_that_does_not_exist_is_refused(sandbox, source):
    with pytest.raises(SandboxFailed, match="payment_status is 'lost'"):
        sandbox.set_payment_status(source["source_order_id"], "lost")
