"""
The orders that Perennial has placed: how many, what they cost, and which of them were not paid in the end.

They are known by `metadata.perennial`, which the request that places an order writes. Other systems write references of
their own on placed orders.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from datetime import datetime
from typing import Any

from blocks.commerce_layer import jsonapi
from blocks.commerce_layer.client import BOOKKEEPING_TRIES, CommerceLayer, reader
from blocks.commerce_layer.resources import Order
from blocks.commerce_layer.statuses import NOT_PAID
from blocks.commerce_layer.views import ORDER_VIEW, ORDERS

_OURS = {"metadata_jcont": '{"perennial":{}}'}


async def count_placed_orders(client: CommerceLayer, since: datetime, until: datetime) -> int:
    """How many orders were placed from `since` until before `until`, whatever became of them. Costs one read."""
    filters = {**_placed_since(since), "placed_at_lt": jsonapi.instant(until)}
    params = {**jsonapi.query(filters=filters, fields={ORDERS: ("placed_at",)}), "page[number]": "1", "page[size]": "1"}
    return await client.wire.read(ORDERS, _record_count, params=params)


async def iter_placed_orders(client: CommerceLayer, since: datetime) -> AsyncIterator[list[Order]]:
    """The orders that were placed at or after `since`, whatever became of them, 25 at a time, by id."""
    async for page in _pages(client, _placed_since(since)):
        yield page


async def iter_lost_orders(client: CommerceLayer, updated_since: datetime) -> AsyncIterator[list[Order]]:
    """
    The orders that were placed and then cancelled, or are not paid, 25 at a time, by id.

    Only those that changed at or after `updated_since`, no matter when they were placed.
    """
    filters = {
        **_OURS,
        "placed_at_not_null": "true",
        "updated_at_gteq": jsonapi.instant(updated_since),
        "status_or_payment_status_in": ",".join(("cancelled", *NOT_PAID)),
    }
    async for page in _pages(client, filters):
        yield page


async def set_order_metadata(client: CommerceLayer, order_id: str, metadata: Mapping[str, Any]) -> Order:
    """Set all of an order's `metadata`: the API replaces, it does not merge. May be repeated."""
    return await client.wire.write(
        "PATCH",
        "write",
        ORDERS,
        reader(Order),
        resource_id=order_id,
        body=jsonapi.body_of(ORDERS, {"metadata": metadata}, resource_id=order_id),
        params=ORDER_VIEW,
        tries=BOOKKEEPING_TRIES,
    )


def _placed_since(since: datetime) -> dict[str, str]:
    return {**_OURS, "placed_at_gteq": jsonapi.instant(since)}


async def _pages(client: CommerceLayer, filters: Mapping[str, str]) -> AsyncIterator[list[Order]]:
    after: dict[str, str] = {}
    while True:
        query = jsonapi.query(filters={**filters, **after}, sort="id", page_size=jsonapi.PAGE_SIZE)
        orders, is_last = await client.wire.read(ORDERS, _page, params={**ORDER_VIEW, **query})
        if orders:
            yield orders
        if is_last or not orders:
            return
        after = {"id_gt": orders[-1].id}


def _page(document: jsonapi.Fields) -> tuple[list[Order], bool]:
    return [Order.model_validate(item) for item in jsonapi.many(document)], jsonapi.is_last_page(document)


def _record_count(document: jsonapi.Fields) -> int:
    meta = document.get("meta")
    count = meta.get("record_count") if isinstance(meta, dict) else None
    if not isinstance(count, int):
        raise jsonapi.MalformedDocument("the list has no record_count")
    return count
