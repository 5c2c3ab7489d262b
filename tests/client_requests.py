"""Requests that the tests of the client send, and answers to them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from odd_shop import (
    answer,
    hang_up,
    reset,
    resource,
    silence,
    slow_body,
    truncated,
)

from blocks.commerce_layer.changes import OrderCopyDraft
from blocks.commerce_layer.charging import Placement

AS_OF = datetime(2026, 3, 1, 6, 0, tzinfo=UTC)
REFERENCE = "subSubSubS@2026-03-01T06:00Z"
INCLUDED = "source_order,customer_payment_source,customer_payment_source.payment_source,tags"
DRAFT = OrderCopyDraft(source_order_id="srcSrcSrcS", reference=REFERENCE, metadata={"perennial": {"attempt": 1}})
COPIES = ("POST", "/api/order_copies")
PLACE = ("PATCH", "/api/orders/ordrOrdrOr")
SUBSCRIPTION = ("PATCH", "/api/order_subscriptions/subSubSubS")
ORDER_ANSWER = answer(200, {"data": resource("orders", "ordrOrdrOr", status="placed", number=12)})
SUBSCRIPTION_ANSWER = answer(
    200, {"data": resource("order_subscriptions", "subSubSubS", status="inactive", frequency="monthly")}
)
AMBIGUOUS = [
    pytest.param(reset, id="reset"),
    pytest.param(hang_up, id="hang up"),
    pytest.param(silence, id="silence"),
    pytest.param(truncated, id="truncated body"),
    pytest.param(slow_body, id="a body that never ends"),
    pytest.param(answer(500, {"errors": [{"code": "INTERNAL_SERVER_ERROR"}]}), id="500"),
    pytest.param(answer(502, b"<html>Bad gateway</html>"), id="502 in HTML"),
    pytest.param(answer(408, b""), id="408"),
    pytest.param(answer(302, b"", Location="/elsewhere"), id="redirect"),
    pytest.param(answer(201, b"<html>Welcome to the hotel</html>"), id="a captive portal"),
    pytest.param(answer(201, {"data": None}), id="201 without data"),
    pytest.param(answer(201, {"data": {"type": "order_copies", "attributes": {}}}), id="201 without id"),
    pytest.param(answer(200, {"data": resource("orders", "x", created_at="soon")}), id="unreadable attribute"),
]


async def placement() -> Placement:
    return Placement(REFERENCE, "perennial", {"perennial": {"period": "2026-03-01T06:00Z"}, "crm": 7})


def reason(why: str) -> Callable[[], Awaitable[dict[str, Any]]]:
    """Composes the metadata of an order that is cancelled."""

    async def metadata() -> dict[str, Any]:
        return {"perennial": {"withdrawn": why}}

    return metadata
