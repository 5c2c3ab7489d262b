"""
What attempts to charge a card leave, and refunds.

The authorization, the capture and the void of an order follow from its `payment_status` (see `views.py`). Those
authorizations that were declined, or that charged an order again, are rows of `stored_authorizations`, and refunds are
rows of `stored_refunds`.
"""

from __future__ import annotations

from typing import Any

from blocks.sandbox.resources.derived_ids import derived_id
from blocks.sandbox.shop.database import Row
from blocks.sandbox.shop.failure_kinds import Failure
from blocks.sandbox.shop.problems import invalid
from blocks.sandbox.shop.shop import Shop


def authorized(shop: Shop, order: Row) -> None:
    """Record that the gateway has accepted a charge, for tests that read the database."""
    _note_charge(shop, order, accepted=True)


def authorized_again(shop: Shop, order: Row) -> None:
    """Record one more accepted charge of an order that is authorized or paid already."""
    _note_charge(shop, order, accepted=True)
    _store_authorization(shop, order, succeeded=1)


def declined(shop: Shop, order: Row, failure: Failure) -> None:
    """Record a charge that the gateway has refused, with its reason."""
    _note_charge(shop, order, accepted=False)
    _store_authorization(shop, order, succeeded=0, message=failure.message, error_code=failure.error)


def refund(shop: Shop, order: Row, cents: int | None) -> str:
    """
    Refund the capture of an order: `cents` of it, or all that is left. Returns the order's new payment status.

    Raises:
        Problem: 422 when the amount is not positive, or more than is left.
    """
    left = int(_total_of(shop, "captures", "refund_balance_cents", order))
    amount = left if cents is None else cents
    if not 0 < amount <= left:
        limit = f"must be less than or equal to {left}" if amount > 0 else "must be greater than 0"
        raise invalid("_refund_amount_cents", limit, "less_than_or_equal_to" if amount > 0 else "greater_than")
    capture_id = derived_id(order["id"], "captures")
    _store(shop, "refunds", "R", order, amount_cents=amount, succeeded=1, reference_capture_id=capture_id)
    return "refunded" if amount == left else "partially_refunded"


def _note_charge(shop: Shop, order: Row, *, accepted: bool) -> None:
    row = {"order_id": order["id"], "card_id": order["_customer_payment_source_id"], "made_at": shop.now_text()}
    shop.database.insert("sandbox_charges", {**row, "accepted": int(accepted)})


def _store_authorization(shop: Shop, order: Row, **more: Any) -> None:
    """Store an authorization of an order's whole amount, of which nothing can be captured or voided."""
    nothing = dict.fromkeys(("capture_amount_cents", "capture_balance_cents", "void_balance_cents"), 0)
    total = order["total_amount_with_taxes_cents"]
    _store(shop, "authorizations", "A", order, amount_cents=total, **nothing, **more)


def _store(shop: Shop, type_name: str, letter: str, order: Row, **more: Any) -> None:
    now, number = shop.now_text(), 1 + int(_total_of(shop, type_name, "1", order))
    own = {"id": shop.database.new_id(), "number": f"{order['number']}/{letter}/{number:03}", "order_id": order["id"]}
    source = {"payment_method_type": "stripe_payments", "payment_source_id": order["payment_source_id"]}
    times = {"metadata": "{}", "created_at": now, "updated_at": now}
    row = {**own, **source, **times, "currency_code": order["currency_code"], **more}
    shop.database.insert(f"stored_{type_name}", row)


def _total_of(shop: Shop, type_name: str, amount: str, order: Row) -> int:
    """The sum over the transactions of one type that an order has."""
    sql = f"SELECT COALESCE(SUM({amount}), 0) FROM {type_name} WHERE order_id = ?"  # noqa: S608  names are ours
    return int(shop.database.execute(sql, (order["id"],)).fetchone()[0])


def forget(shop: Shop, order_id: str) -> None:
    """Remove what a deleted order's attempts have left."""
    for table in ("stored_authorizations", "stored_refunds"):
        shop.database.execute(f"DELETE FROM {table} WHERE order_id = ?", (order_id,))  # noqa: S608  names are ours
