"""Orders: making the target of a copy, placing, paying, cancelling."""

from __future__ import annotations

from functools import partial
from typing import Any

import orjson

from blocks.sandbox import failures
from blocks.sandbox.database import Row
from blocks.sandbox.failures import FAILURES, Failure
from blocks.sandbox.problems import Problem, invalid
from blocks.sandbox.world import World

_PLACEABLE = {"draft", "pending", "placing"}
_PLACING_SECONDS = 1.0


def make_target(world: World, source: Row, copy: Row) -> str:
    """
    Clone the source order into a pending target order; returns its id.

    Reference and metadata are not carried over: whether the real API does so is undocumented.
    """
    target_id = world.database.new_id()
    number = world.database.next_number("orders")
    stamp = world.stamp()
    amounts = _amounts(world, source, recompute=bool(copy.get("apply_promotions")))
    subscription_id = copy["order_subscription_id"]
    world.database.insert(
        "orders",
        {
            **{column: source[column] for column in _CLONED},
            **amounts,
            "id": target_id,
            "number": str(number),
            "status": "pending",
            "payment_status": "unpaid",
            "fulfillment_status": "unfulfilled",
            "coupon_code": None if _drops_coupon(world, source, copy) else source["coupon_code"],
            "metadata": "{}",
            "order_subscription_id": subscription_id,
            "subscription_created_at": stamp if subscription_id else None,
            "circuit_state": "closed",
            "circuit_failure_count": 0,
            "errors_count": 0,
            "created_at": stamp,
            "updated_at": stamp,
            "_source_order_id": source["id"],
            "_customer_payment_source_id": _wallet(world, source) if copy["reuse_wallet"] else None,
            "_forgiven": _forgiven(world, source, copy),
        },
    )
    world.announce("orders.create", "orders", target_id)
    return target_id


_CLONED = (
    "market_id",
    "customer_id",
    "customer_email",
    "guest",
    "language_code",
    "currency_code",
    "skus_count",
    "gift_card_code",
    "payment_source_details",
)


def _amounts(world: World, source: Row, *, recompute: bool) -> dict[str, int]:
    subtotal, shipping, tax = (
        int(source[name] or 0) for name in ("subtotal_amount_cents", "shipping_amount_cents", "total_tax_amount_cents")
    )
    discount = int(source["discount_amount_cents"] or 0)
    if recompute:
        discount = -round(subtotal * world.settings.promotion_percent / 100)
    total = subtotal + discount + shipping + tax
    return {
        "subtotal_amount_cents": subtotal,
        "shipping_amount_cents": shipping,
        "total_tax_amount_cents": tax,
        "discount_amount_cents": discount,
        "total_amount_cents": total,
        "total_amount_with_taxes_cents": total,
        "place_total_amount_cents": total,
    }


def _drops_coupon(world: World, source: Row, copy: Row) -> bool:
    found = failures.failure_of(world, source["id"])
    return found is not None and failures.is_ignored(found[0], copy)


def _forgiven(world: World, source: Row, copy: Row) -> str | None:
    """The failure that this copy was told to get past: it does not stand against placing what it made either."""
    found = failures.failure_of(world, source["id"])
    if found is None or not failures.is_skipped(found[0], copy) or found[0].name in failures.NEVER_PLACED:
        return None
    return found[0].name


def _wallet(world: World, order: Row) -> str | None:
    found = world.database.execute(
        "SELECT id FROM customer_payment_sources WHERE customer_id = ? ORDER BY created_at DESC, id LIMIT 1",
        (order["customer_id"],),
    ).fetchone()
    return None if found is None else str(found[0])


def reason_not_to_place(world: World, order: Row) -> tuple[Failure, str | None] | None:
    """What stands against placing this order now, and which order's failure it is (None: its own state)."""
    found = failures.failure_of(world, order["id"], order["_source_order_id"])
    if found is not None and found[0].stage in {"place", "collect", "copy"} and found[0].name != order["_forgiven"]:
        return found
    if order["total_amount_with_taxes_cents"] and not _is_card_of(world, order, order["_customer_payment_source_id"]):
        return FAILURES["no_wallet"], None
    return None


def _is_card_of(world: World, order: Row, payment_source_id: str | None) -> bool:
    """Whether this card is still in the wallet of the order's customer."""
    card = world.database.find("customer_payment_sources", payment_source_id)
    return card is not None and card["customer_id"] == order["customer_id"]


def place(world: World, order: Row, *, paid_by_customer: bool = False) -> None:
    """
    Place an order; placing a placed one changes nothing, and with `place_async` it happens a moment later.

    Raises:
        Problem: 422 with what stands against it; the order then stays as it was, with a `resource_errors` entry.
    """
    if order["status"] in {"placed", "approved"}:
        return
    if order["status"] not in _PLACEABLE:
        raise invalid("status", f"cannot transition from {order['status']} to placed", "invalid_transition")
    if order["place_async"] and not paid_by_customer:
        world.database.update("orders", order["id"], {"status": "placing", "updated_at": world.stamp()})
        resume_placing(world, order["id"])
        return
    reason = None if paid_by_customer else reason_not_to_place(world, order)
    if reason is not None:
        refusal = reason[0].refusal()
        refusal.aftermath = partial(note_refusal, world, order, *reason)
        raise refusal
    mark_placed(world, order, paid=paid_by_customer or world.settings.auto_capture)


def resume_placing(world: World, order_id: str) -> None:
    """Finish an asynchronous placing in a moment."""
    world.after(_PLACING_SECONDS, partial(_end_placing, world, order_id))


def _end_placing(world: World, order_id: str) -> None:
    """Nobody waits for the refusal of an asynchronous placing: it stays `placing`, with a `resource_errors` entry."""
    order = world.database.find("orders", order_id)
    if order is None or order["status"] != "placing":
        return
    reason = reason_not_to_place(world, order)
    if reason is None:
        mark_placed(world, order, paid=world.settings.auto_capture)
    else:
        note_refusal(world, order, *reason)


def mark_placed(world: World, order: Row, *, paid: bool) -> None:
    """Write down that an order is placed."""
    stamp = world.stamp()
    free = not order["total_amount_with_taxes_cents"]
    changes = {
        "status": "placed",
        "payment_status": "free" if free else "paid" if paid else "authorized",
        "placed_at": stamp,
        "payment_updated_at": stamp,
        "updated_at": stamp,
    }
    world.database.update("orders", order["id"], changes)
    world.announce("orders.place", "orders", order["id"])
    world.order_placed(order["id"])


def note_refusal(world: World, order: Row, failure: Failure, owner: str | None) -> None:
    """An order could not be placed: it gets a `resource_errors` entry, and a bounded failure is used once."""
    if owner is not None:
        failures.spend(world, owner)
    stamp = world.stamp()
    world.database.insert(
        "resource_errors",
        {
            "id": world.database.new_id(),
            "name": failure.field,
            "code": failure.code,
            "message": failure.message,
            "resource_id": order["id"],
            "metadata": "{}",
            "created_at": stamp,
            "updated_at": stamp,
        },
    )
    world.database.update("orders", order["id"], {"errors_count": int(order["errors_count"] or 0) + 1})


def pull_trigger(world: World, order: Row, name: str, value: Any) -> None:
    """
    Apply one write-only attribute such as `_place`.

    Raises:
        Problem: 422 when the order's state does not allow it.
    """
    if name == "_place":
        place(world, order)
    elif name == "_customer_payment_source_id":
        _attach_payment_source(world, order, value)
    elif name == "_nullify_payment_source":
        world.database.update("orders", order["id"], {"_customer_payment_source_id": None})
    elif name in {"_archive", "_unarchive"}:
        world.database.update("orders", order["id"], {"archived_at": world.stamp() if name == "_archive" else None})
    elif name == "_reset_circuit":
        world.database.update("orders", order["id"], {"circuit_state": "closed", "circuit_failure_count": 0})
    else:
        _transition(world, order, name)


def _attach_payment_source(world: World, order: Row, payment_source_id: str) -> None:
    if not _is_card_of(world, order, payment_source_id):
        raise invalid("customer_payment_source", "must exist", "blank")
    if payment_source_id != order["_customer_payment_source_id"]:
        failures.heal_payment(world, order["id"], order["_source_order_id"])
    details = orjson.dumps({"type": "customer_payment_sources", "id": payment_source_id}).decode()
    changes = {"_customer_payment_source_id": payment_source_id, "payment_source_details": details}
    world.database.update("orders", order["id"], changes)


# name: (states it starts from, column -> new value, webhook topic); "now" is replaced by the present.
_TRANSITIONS: dict[str, tuple[set[str], dict[str, str], str]] = {
    "_cancel": (
        {"draft", "pending", "placed", "approved"},
        {"status": "cancelled", "cancelled_at": "now"},
        "orders.cancel",
    ),
    "_approve": ({"placed"}, {"status": "approved", "approved_at": "now"}, "orders.approve"),
    "_capture": ({"placed", "approved"}, {"payment_status": "paid", "payment_updated_at": "now"}, "orders.pay"),
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


def _transition(world: World, order: Row, name: str) -> None:
    before, changes, topic = _TRANSITIONS[name]
    new_status = changes.get("status", order["status"])
    if name in {"_cancel", "_approve"} and order["status"] == new_status:
        return  # status changes are idempotent
    if order["status"] not in before:
        raise invalid("status", f"cannot transition from {order['status']} to {new_status}", "invalid_transition")
    if name in {"_capture", "_refund"} and order["payment_status"] == changes["payment_status"]:
        return
    _require_payment(name, order)
    stamp = world.stamp()
    values = {column: stamp if value == "now" else value for column, value in changes.items()}
    if name == "_approve_and_capture" and order["payment_status"] == "free":
        del values["payment_status"], values["payment_updated_at"]  # there is nothing to capture
    if name == "_cancel":
        values["payment_status"] = "voided" if order["payment_status"] == "authorized" else order["payment_status"]
    world.database.update("orders", order["id"], {**values, "updated_at": stamp})
    world.announce(topic, "orders", order["id"])


def _require_payment(name: str, order: Row) -> None:
    needed = {"_capture": {"authorized"}, "_approve_and_capture": {"authorized", "paid", "free"}, "_refund": {"paid"}}
    if name in needed and order["payment_status"] not in needed[name]:
        raise _payment_problem(name, order)


def _payment_problem(name: str, order: Row) -> Problem:
    verb = name.removeprefix("_").replace("_", " ")
    return invalid("payment_status", f"cannot {verb} when {order['payment_status']}", "invalid_transition")
