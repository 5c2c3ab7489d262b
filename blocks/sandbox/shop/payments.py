"""Triggers of transactions. Each does what the trigger of its order does, so that the two cannot disagree."""

from __future__ import annotations

from blocks.sandbox.shop import orders
from blocks.sandbox.shop.database import Row
from blocks.sandbox.shop.problems import invalid
from blocks.sandbox.shop.shop import Shop


def apply_trigger(shop: Shop, transaction: Row, name: str, *, cents: int | None = None) -> None:
    """
    Apply `_capture` or `_void` to an authorization, or `_refund` to a capture: `cents` of it, or all that is left.

    Raises:
        Problem: 422 when the state of the order does not allow it, or the transaction has failed.
    """
    if not transaction["succeeded"]:
        raise invalid("succeeded", f"must be true for {name}", "equal_to")
    order = shop.database.find("orders", transaction["order_id"])
    assert order is not None
    orders.transition(shop, order, name, cents=cents)
