"""
The two requests that may cost a customer money: creating an order copy, and placing an order.

An import contract in `pyproject.toml` names the modules that may use them. Everything else in the client reads,
records, or cancels orders that are not placed.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from blocks.commerce_layer import jsonapi
from blocks.commerce_layer.changes import OrderCopyDraft
from blocks.commerce_layer.client import CommerceLayer, reader
from blocks.commerce_layer.resources import Order, OrderCopy
from blocks.commerce_layer.views import COPIES, ORDER_VIEW, ORDERS


@dataclass(frozen=True, slots=True)
class Placement:
    """What the placing request writes on the order. `metadata` is complete, because the API replaces all of it."""

    reference: str
    reference_origin: str
    metadata: Mapping[str, Any]


async def create_order_copy(client: CommerceLayer, draft: OrderCopyDraft) -> OrderCopy:
    """
    Create a copy of an order. The target order stays unplaced, so no customer is charged.

    The POST is repeated only if it was certainly not carried out: after 429, and once with a new token. After a lost
    answer (WriteFateUnknown, with the draft's reference) the caller reads the copies, and may create another one.
    """
    attributes = {**draft.model_dump(exclude={"source_order_id"}), "place_target_order": False}
    copy = await client.wire.write(
        "POST",
        "create",
        COPIES,
        reader(OrderCopy),
        body=jsonapi.body_of(COPIES, attributes, related={"source_order": (ORDERS, draft.source_order_id)}),
        reference=draft.reference,
    )
    return copy.model_copy(update={"source_order_id": draft.source_order_id})


async def place_order(client: CommerceLayer, order_id: str, compose: Callable[[], Awaitable[Placement]]) -> Order:
    """
    Place an order, which charges the customer, and tag it in the same request. The request is sent once.

    `compose` is called after all waiting for the rate limit, so that it can check that the order may still be placed.
    If it raises, nothing is sent, and the exception reaches the caller. Placing a placed order changes nothing, so
    after a lost answer (WriteFateUnknown) the caller reads the order, and may place it again.
    """

    async def body() -> jsonapi.Fields:
        placement = await compose()
        attributes = {
            "_place": True,
            "reference": placement.reference,
            "reference_origin": placement.reference_origin,
            "metadata": placement.metadata,
        }
        return jsonapi.body_of(ORDERS, attributes, resource_id=order_id)

    return await client.wire.write(
        "PATCH", "write", ORDERS, reader(Order), resource_id=order_id, body=body, params=ORDER_VIEW
    )
