"""
The two requests that may cost a customer money: creating an order copy, and placing an order.

One import contract in `pyproject.toml` says which modules may use them. Everything else that the client offers reads,
records, or cancels what is not placed.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from blocks.commerce_layer import jsonapi
from blocks.commerce_layer.client import CommerceLayer, reader
from blocks.commerce_layer.resources import Order, OrderCopy
from blocks.commerce_layer.views import COPIES, ORDER_VIEW, ORDERS
from blocks.commerce_layer.writes import OrderCopyDraft


@dataclass(frozen=True, slots=True)
class Placement:
    """What an order gets in the request that places it. `metadata` is all of it: the API replaces."""

    reference: str
    reference_origin: str
    metadata: Mapping[str, Any]


async def create_order_copy(client: CommerceLayer, draft: OrderCopyDraft) -> OrderCopy:
    """
    Create a copy of an order whose target order stays unplaced, so that it charges nobody.

    The POST is repeated only where it was certainly not carried out: after 429, and once with a new token. After a lost
    answer (WriteFateUnknown, with the draft's reference) the caller looks for the copy, and may create another one.
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
    Place an order, which charges the customer, and tag it in the same request. It is sent once.

    `compose` is asked when all waiting for the rate limit is over: it looks whether the order may still be placed. What
    it raises comes through, and nothing is sent. Placing a placed order changes nothing, so after a lost answer
    (WriteFateUnknown) the caller reads the order, and places it again.
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
