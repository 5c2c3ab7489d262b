"""
What attempts to charge a card leave.

The authorization of an order that is authorized or paid follows from the order (see `views.py`). Those that were
declined, and one that charged an order again, are rows of `stored_authorizations`.
"""

from __future__ import annotations

from blocks.sandbox.shop.database import Row
from blocks.sandbox.shop.failure_kinds import Failure
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


def _note_charge(shop: Shop, order: Row, *, accepted: bool) -> None:
    row = {"order_id": order["id"], "card_id": order["_customer_payment_source_id"], "made_at": shop.now_text()}
    shop.database.insert("sandbox_charges", {**row, "accepted": int(accepted)})


def _store_authorization(shop: Shop, order: Row, *, succeeded: int, **more: str) -> None:
    """Store an authorization of an order's whole amount, of which nothing can be captured or voided."""
    now, order_id = shop.now_text(), order["id"]
    counted = "SELECT COUNT(*) FROM authorizations WHERE order_id = ?"
    number = 1 + shop.database.execute(counted, (order_id,)).fetchone()[0]
    own = {"id": shop.database.new_id(), "number": f"{order['number']}/A/{number:03}", "order_id": order_id}
    paid = {"amount_cents": order["total_amount_with_taxes_cents"], "currency_code": order["currency_code"]}
    source = {"payment_method_type": "stripe_payments", "payment_source_id": order["payment_source_id"]}
    nothing = dict.fromkeys(("capture_amount_cents", "capture_balance_cents", "void_balance_cents"), 0)
    times = {"metadata": "{}", "created_at": now, "updated_at": now}
    row = {**own, **paid, **source, **nothing, **times, "succeeded": succeeded, **more}
    shop.database.insert("stored_authorizations", row)


def forget(shop: Shop, order_id: str) -> None:
    """Remove what a deleted order's attempts have left."""
    shop.database.execute("DELETE FROM stored_authorizations WHERE order_id = ?", (order_id,))
