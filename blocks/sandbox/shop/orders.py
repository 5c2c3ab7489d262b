"""Orders: placing, paying, cancelling."""

from __future__ import annotations

import math
from datetime import timedelta
from functools import partial
from typing import Any

from blocks.sandbox.shop import catalogue, failure_kinds, transactions, wallet_cards
from blocks.sandbox.shop.database import Row
from blocks.sandbox.shop.failure_kinds import FAILURES, Failure
from blocks.sandbox.shop.problems import Problem, invalid
from blocks.sandbox.shop.shop import Shop
from blocks.sandbox.shop.virtual_clock import instant_of, text_of

_PLACEABLE = {"draft", "pending", "placing"}
_PLACING_SECONDS = 1.0
_NEVER = "never"  # in `_placing_until`, beside instants
# No external validation is set up, payment sources are wallet cards already, and none ever needs a refresh.
_WITHOUT_EFFECT = {"_validate", "_save_payment_source_to_customer_wallet", "_fix_payment_source"}


def reason_not_to_place(shop: Shop, order: Row) -> tuple[Failure, str | None] | None:
    """Why this order cannot be placed now, and the order with the failure (None: its own state is the reason)."""
    paid = order["payment_status"] == "authorized"  # by `_authorize`: placing charges nothing again
    found = failure_kinds.failure_of_order(shop, order)
    if found is not None and _prevents_placing(found[0], order) and not (paid and _is_of_payment(found[0])):
        return found
    short = catalogue.failure_of(shop.database, order)
    if short is not None:
        return FAILURES["out_of_stock_at_placing"] if short.name == "out_of_stock" else short, None
    if paid:
        return None
    card_id, customer_id = order["_customer_payment_source_id"], order["customer_id"]
    if not order["total_amount_with_taxes_cents"]:
        return None
    card = wallet_cards.card_of(shop, card_id, customer_id)
    if card is None:
        return FAILURES["no_wallet"], None
    return (FAILURES["expired_card"], None) if wallet_cards.has_expired(shop, card) else None


def _prevents_placing(failure: Failure, order: Row) -> bool:
    return failure.stage in {"place", "collect", "copy"} and failure.name != order["_ignored_failure"]


def _is_of_payment(failure: Failure) -> bool:
    return failure.field in {"payment_source", "payment_method"}


def _authorize(shop: Shop, order: Row) -> None:
    """Authorize the payment of an order that is not placed yet; placing it does not charge it again."""
    if order["payment_status"] != "unpaid" or not order["total_amount_with_taxes_cents"]:
        return
    if order["status"] not in _PLACEABLE:
        raise _no_transition(order, "payment_status", "authorized")
    reason = reason_not_to_place(shop, order)
    if reason is not None and _is_of_payment(reason[0]):
        refusal = reason[0].refusal()
        refusal.after_rollback = partial(record_refusal, shop, order, *reason)
        raise refusal
    now = shop.now_text()
    changes = {"payment_status": "authorized", "payment_updated_at": now, "updated_at": now}
    shop.database.update("orders", order["id"], changes)
    transactions.authorized(shop, order)


def place(shop: Shop, order: Row, *, paid_by_customer: bool = False) -> None:
    """
    Place an order; placing one that is being placed changes nothing, nor one that is placed, if it charges once.

    With `place_async` the order is placed a second later, with the failure `slow_placing` after many seconds, and with
    `stuck_placing` only when it is released. Until then it is `placing`.

    Raises:
        Problem: 422 with the reason; the order then stays as it was, with a `resource_errors` entry.
    """
    if order["status"] in {"placed", "approved"}:
        if shop.settings.placed_again == "charges-again" and order["payment_status"] != "free":
            transactions.authorized_again(shop, order)
        return
    if order["status"] not in _PLACEABLE:
        raise _no_transition(order, "status", "placed")
    if not paid_by_customer and (order["_placing_until"] is not None or _starts_placing(shop, order)):
        return
    reason = None if paid_by_customer else reason_not_to_place(shop, order)
    if reason is not None:
        refusal = reason[0].refusal()
        refusal.after_rollback = partial(record_refusal, shop, order, *reason)
        raise refusal
    mark_placed(shop, order, paid=paid_by_customer or shop.settings.auto_capture)


def _starts_placing(shop: Shop, order: Row) -> bool:
    """Start a placing that takes time, if this order has one; returns whether it does."""
    found = failure_kinds.failure_of(shop, order["id"], order["_source_order_id"])
    pace = found[0].name if found is not None else ""
    seconds = {"slow_placing": shop.settings.slow_seconds, "stuck_placing": math.inf}.get(pace)
    if found is not None and seconds is not None:
        failure_kinds.use_once(shop, found[1])
    elif order["place_async"]:
        seconds = _PLACING_SECONDS
    else:
        return False
    until = _NEVER if seconds == math.inf else text_of(shop.now() + timedelta(seconds=seconds))
    changes = {"status": "placing", "_placing_until": until, "updated_at": shop.now_text()}
    shop.database.update("orders", order["id"], changes)
    resume_placing(shop, order["id"], until)
    return True


def resume_placing(shop: Shop, order_id: str, until: str) -> None:
    """Schedule the end of a placing, unless it is stuck."""
    if until != _NEVER:
        shop.scheduler.at(instant_of(until), partial(_end_placing, shop, order_id, until))


def release_placing(shop: Shop, order_id: str) -> None:
    """Release the stuck placings of an order and of the orders that were copied from it."""
    sql = "SELECT id FROM orders WHERE _placing_until = ? AND (id = ? OR _source_order_id = ?)"
    for (stuck_id,) in shop.database.execute(sql, (_NEVER, order_id, order_id)).fetchall():
        now = shop.now_text()
        shop.database.update("orders", stuck_id, {"_placing_until": now})
        resume_placing(shop, stuck_id, now)


def _end_placing(shop: Shop, order_id: str, until: str) -> None:
    """End a placing. A refused order stays `placing`, with a `resource_errors` entry, since no caller waits."""
    order = shop.database.find("orders", order_id)
    if order is None or order["_placing_until"] != until:
        return  # deleted, or paid by the customer since
    shop.database.update("orders", order_id, {"_placing_until": None})
    reason = reason_not_to_place(shop, order)
    if reason is None:
        mark_placed(shop, order, paid=shop.settings.auto_capture)
    else:
        record_refusal(shop, order, *reason)


def mark_placed(shop: Shop, order: Row, *, paid: bool) -> None:
    """Store that an order is placed."""
    now = shop.now_text()
    free = not order["total_amount_with_taxes_cents"]
    changes = {
        "status": "placed",
        "payment_status": "free" if free else "paid" if paid else "authorized",
        "placed_at": now,
        "payment_updated_at": now,
        "updated_at": now,
        "_placing_until": None,
    }
    shop.database.update("orders", order["id"], changes)
    catalogue.take(shop.database, order)
    if not free and order["payment_status"] == "unpaid":
        transactions.authorized(shop, order)
    shop.publish("orders.place", "orders", order["id"])
    shop.order_placed(order["id"])


def record_refusal(shop: Shop, order: Row, failure: Failure, owner: str | None) -> None:
    """Record on an order that it could not be placed, and use its failure once."""
    if owner is not None:
        failure_kinds.use_once(shop, owner)
    if failure.field == "payment_source":
        transactions.declined(shop, order, failure)
    if shop.settings.refusal_shows == "nothing":
        return
    now = shop.now_text()
    shop.database.insert(
        "resource_errors",
        {
            "id": shop.database.new_id(),
            "name": failure.field,
            "code": failure.code,
            "message": failure.message,
            "resource_id": order["id"],
            "metadata": "{}",
            "created_at": now,
            "updated_at": now,
        },
    )
    shop.database.update("orders", order["id"], {"errors_count": int(order["errors_count"] or 0) + 1})


def apply_trigger(shop: Shop, order: Row, name: str, value: Any) -> None:
    """
    Apply one write-only attribute such as `_place`.

    Raises:
        Problem: 422 when the order's state does not allow it.
    """
    if name == "_place":
        place(shop, order)
    elif name == "_customer_payment_source_id":
        attach_payment_source(shop, order, value)
    elif name == "_nullify_payment_source":
        shop.database.update("orders", order["id"], wallet_cards.paid_with(None))
    elif name in {"_archive", "_unarchive"}:
        shop.database.update("orders", order["id"], {"archived_at": shop.now_text() if name == "_archive" else None})
    elif name == "_authorize":
        _authorize(shop, order)
    elif name == "_refresh":
        shop.database.update("orders", order["id"], {"refreshed_at": shop.now_text()})
    elif name == "_create_subscriptions":
        shop.publish("orders.create_subscriptions", "orders", order["id"])  # but none are made: there are no line items
    elif name in _WITHOUT_EFFECT:
        pass
    elif name == "_reset_circuit":
        shop.database.update("orders", order["id"], {"circuit_state": "closed", "circuit_failure_count": 0})
    else:
        transition(shop, order, name)


def attach_payment_source(shop: Shop, order: Row, payment_source_id: str) -> None:
    """
    Have an order paid with a card of its customer's wallet.

    Raises:
        Problem: 422 when the card is not in that wallet.
    """
    card = wallet_cards.card_of(shop, payment_source_id, order["customer_id"])
    if card is None:
        raise invalid("customer_payment_source", "must exist", "blank")
    if payment_source_id != order["_customer_payment_source_id"]:
        failure_kinds.end_payment_failure(shop, order["id"])
    shop.database.update("orders", order["id"], wallet_cards.shown_as_paid_with(shop, order["id"], card))


# name: (allowed states before, column -> new value, webhook topic); "now" is replaced by the present.
# `_void` is a trigger of authorizations only.
_TRANSITIONS: dict[str, tuple[set[str], dict[str, str], str]] = {
    "_cancel": (
        {"draft", "pending", "placed", "approved"},
        {"status": "cancelled", "cancelled_at": "now"},
        "orders.cancel",
    ),
    "_approve": ({"placed"}, {"status": "approved", "approved_at": "now"}, "orders.approve"),
    "_capture": ({"placed", "approved"}, {"payment_status": "paid", "payment_updated_at": "now"}, "orders.pay"),
    "_void": ({"placed", "approved"}, {"payment_status": "voided", "payment_updated_at": "now"}, "orders.void"),
    "_approve_and_capture": (
        {"placed"},
        {"status": "approved", "approved_at": "now", "payment_status": "paid", "payment_updated_at": "now"},
        "orders.approve",
    ),
    "_refund": (
        {"placed", "approved", "cancelled"},
        {"payment_status": "refunded", "payment_updated_at": "now"},
        "orders.refund",
    ),
}


_OF_PAYMENT = {"_capture": {"authorized"}, "_void": {"authorized"}, "_refund": {"paid", "partially_refunded"}}
"""The triggers that change only the payment, and the payment statuses that they need."""


def transition(shop: Shop, order: Row, name: str, *, cents: int | None = None) -> None:
    """
    Change the state of an order and of its payment. `cents`: how much to refund, in the place of all that is left.

    Raises:
        Problem: 422 when the order's state does not allow it.
    """
    before, changes, topic = _TRANSITIONS[name]
    if name in {"_cancel", "_approve"} and order["status"] == changes["status"]:
        return  # status changes are idempotent
    if order["status"] not in before:
        changed = "status" if "status" in changes else "payment_status"
        raise _no_transition(order, changed, changes[changed])
    if name in _OF_PAYMENT and cents is None and order["payment_status"] == changes["payment_status"]:
        return
    _require_payment(name, order)
    now = shop.now_text()
    values = {column: now if value == "now" else value for column, value in changes.items()}
    if name == "_approve_and_capture" and order["payment_status"] == "free":
        del values["payment_status"], values["payment_updated_at"]  # there is nothing to capture
    if name == "_cancel":
        values["payment_status"] = "voided" if order["payment_status"] == "authorized" else order["payment_status"]
    if name == "_refund":
        values["payment_status"] = transactions.refund(shop, order, cents)
    shop.database.update("orders", order["id"], {**values, "updated_at": now})
    shop.publish(topic, "orders", order["id"])


def _require_payment(name: str, order: Row) -> None:
    needed = {**_OF_PAYMENT, "_approve_and_capture": {"authorized", "paid", "free"}}
    if name in needed and order["payment_status"] not in needed[name]:
        raise _no_transition(order, "payment_status", _TRANSITIONS[name][1]["payment_status"])


def _no_transition(order: Row, attribute: str, new: str) -> Problem:
    """In the words of the one refused transition that is documented, that of `status`."""
    return invalid(attribute, f"cannot transition from {order[attribute]} to {new}", "invalid_transition")
