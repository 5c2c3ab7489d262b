"""Renewals whose orders were placed but are not paid in the end: each is reported to a person once."""

from collections.abc import Mapping, Sequence
from typing import Any

from blocks.commerce_layer.resources import Order, OrderCopy
from blocks.commerce_layer.statuses import OrderStatus
from flows.rules.copy_periods import period_of_order
from flows.rules.order_copies import is_placed, noted
from flows.rules.price import Price

REPORTED = "reported"
"""Key in the `metadata.perennial` of an order: what was reported about it to a person, such as `refunded`."""


def what_became_of(order: Order) -> str:
    """`refunded`: the payment's status, or `cancelled` if the order is cancelled."""
    return "cancelled" if order.status is OrderStatus.CANCELLED else order.payment_status.value


def is_news(order: Order) -> bool:
    """Whether the order belongs to a renewal, and what became of it was not reported yet."""
    ours = order.metadata.get("perennial")
    told = ours.get(REPORTED) if isinstance(ours, dict) else None
    return period_of_order(order) is not None and told != what_became_of(order)


def is_replaced(order: Order, copies: Sequence[OrderCopy]) -> bool:
    """Whether the order is cancelled and another one of its period is placed: staff cancelled one of two, as asked."""
    others = [copy for copy in copies if copy.target_order_id != order.id and is_placed(copy)]
    return order.status is OrderStatus.CANCELLED and bool(others)


def sentence_on(order: Order) -> str:
    """The sentence about the order for a person."""
    how = what_became_of(order)
    is_cancelled = f" (its payment is {order.payment_status.value})" if how == "cancelled" else ""
    return (
        f"order {order.shown_number} ({Price.of(order)}) was placed, and is {how}{is_cancelled} now. The subscription "
        "goes on: cancel it or hold it if it should not. This is told once"
    )


def marked(order: Order) -> Mapping[str, Any]:
    """The order's metadata, with a note that it was reported."""
    return noted(order, REPORTED, what_became_of(order))
