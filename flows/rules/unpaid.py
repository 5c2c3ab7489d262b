"""Renewals whose orders were placed and are not paid in the end: a person is told of each once."""

from collections.abc import Mapping, Sequence
from typing import Any

from blocks.commerce_layer.resources import Order, OrderCopy
from blocks.commerce_layer.statuses import OrderStatus
from flows.rules.order_copies import is_placed
from flows.rules.price import Price
from flows.rules.references import parse_reference
from flows.rules.result_builder import name_of

REPORTED = "reported"
"""Key under `metadata.perennial` of an order: as what it was reported to a person, such as `refunded`."""


def what_became_of(order: Order) -> str:
    """`refunded`: the payment's status, or `cancelled` where the order is."""
    return "cancelled" if order.status is OrderStatus.CANCELLED else order.payment_status.value


def is_news(order: Order) -> bool:
    """Whether the order belongs to a renewal, and nobody was told yet what became of it."""
    ours = order.metadata.get("perennial")
    told = ours.get(REPORTED) if isinstance(ours, dict) else None
    return parse_reference(order.reference) is not None and told != what_became_of(order)


def is_replaced(order: Order, copies: Sequence[OrderCopy]) -> bool:
    """Whether another order of the same period is placed: a person has cancelled one of two, as they were asked to."""
    others = [copy for copy in copies if copy.target_order_id != order.id and is_placed(copy)]
    return order.status is OrderStatus.CANCELLED and bool(others)


def sentence_on(order: Order) -> str:
    """What a person reads of it."""
    how = what_became_of(order)
    is_cancelled = f" (its payment is {order.payment_status.value})" if how == "cancelled" else ""
    return (
        f"order {name_of(order)} ({Price.of(order)}) was placed, and is {how}{is_cancelled} now. The subscription goes "
        "on: cancel it or hold it if it should not. This is told once"
    )


def marked(order: Order) -> Mapping[str, Any]:
    """The order's metadata, with a note that a person was told."""
    ours = order.metadata.get("perennial")
    kept = ours if isinstance(ours, dict) else {}
    return {**order.metadata, "perennial": {**kept, REPORTED: what_became_of(order)}}
