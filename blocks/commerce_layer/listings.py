"""Lists of many resources: what sweeps and overseers need, past resources that cannot be read (see `pages.py`)."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from itertools import islice

from blocks.commerce_layer import jsonapi
from blocks.commerce_layer.client import CommerceLayer
from blocks.commerce_layer.pages import Kind, Page, iter_pages
from blocks.commerce_layer.resources import Order, OrderCopy, OrderSubscription
from blocks.commerce_layer.shares import shares
from blocks.commerce_layer.statuses import SubscriptionStatus
from blocks.commerce_layer.views import (
    COPIES,
    COPY_VIEW,
    NATIVE_COPY_VIEW,
    ORDER_VIEW,
    ORDERS,
    SUBSCRIPTION_VIEW,
    SUBSCRIPTIONS,
)

SOURCES_AT_ONCE = 200
"""Ids in one filter: some 2,300 characters of an address, which every proxy takes."""

_OUR_ORIGIN = {"reference_origin_eq": "perennial"}
_ADOPTED = {"metadata_jcont": '{"perennial":{}}'}


_SUBSCRIPTIONS = Kind(
    SUBSCRIPTIONS, OrderSubscription, SUBSCRIPTION_VIEW, "next_run_at", CommerceLayer.get_subscriptions
)
_COPIES = Kind(COPIES, OrderCopy, COPY_VIEW, "created_at", CommerceLayer.get_order_copies)
_ORDERS = Kind(ORDERS, Order, ORDER_VIEW, "created_at", CommerceLayer.get_orders)


async def iter_due(
    client: CommerceLayer, as_of: datetime, *, later_than: datetime | None = None
) -> AsyncIterator[Page[OrderSubscription]]:
    """The inactive subscriptions whose next run is at or before `as_of`, and after `later_than` (UTC), by id."""
    filters = {"status_eq": "inactive", "next_run_at_lteq": jsonapi.instant(as_of)}
    if later_than is not None:
        filters["next_run_at_gt"] = jsonapi.instant(later_than)
    async for page in iter_pages(client, _SUBSCRIPTIONS, filters):
        yield page


async def iter_not_cancelled(client: CommerceLayer) -> AsyncIterator[Page[OrderSubscription]]:
    """All subscriptions that are not cancelled, adopted or not, whatever their status and date, by id."""
    async for page in iter_pages(client, _SUBSCRIPTIONS, {"status_not_eq": "cancelled"}):
        yield page


async def iter_with_status(client: CommerceLayer, status: SubscriptionStatus) -> AsyncIterator[Page[OrderSubscription]]:
    """All subscriptions in a status, by id."""
    async for page in iter_pages(client, _SUBSCRIPTIONS, {"status_eq": status}):
        yield page


async def iter_adopted(client: CommerceLayer, filters: Mapping[str, str]) -> AsyncIterator[Page[OrderSubscription]]:
    """The subscriptions with `metadata.perennial` that match these filters too, by id."""
    async for page in iter_pages(client, _SUBSCRIPTIONS, {**filters, **_ADOPTED}):
        yield page


async def iter_failed_natively(client: CommerceLayer) -> AsyncIterator[Page[OrderSubscription]]:
    """The active subscriptions whose last run by Commerce Layer's own engine failed, by id."""
    failed = {"status_eq": "active", "succeeded_on_last_run_false": "true", "last_run_at_not_null": "true"}
    async for page in iter_pages(client, _SUBSCRIPTIONS, failed):
        yield page


async def copies_with_their_runs(
    client: CommerceLayer, source_order_ids: Iterable[str], created_since: datetime
) -> list[OrderCopy]:
    """All copies of these source orders made at or after `created_since`, with the subscriptions that were run."""
    found: list[OrderCopy] = []
    for ids in jsonapi.pages_of(source_order_ids):
        filters = {"source_order_id_in": ",".join(ids), "created_at_gteq": jsonapi.instant(created_since)}
        async for page in iter_pages(client, replace(_COPIES, view=NATIVE_COPY_VIEW), filters):
            found += page.complete
    return found


async def adopted_with_another_status(client: CommerceLayer) -> list[OrderSubscription]:
    """The first 25 subscriptions with `metadata.perennial` that are neither inactive nor cancelled."""
    return await _first_adopted(client, {"status_not_in": "inactive,cancelled"})


async def adopted_without_a_date(client: CommerceLayer) -> list[OrderSubscription]:
    """The first 25 inactive subscriptions with `metadata.perennial` whose `next_run_at` is null."""
    return await _first_adopted(client, {"status_eq": "inactive", "next_run_at_null": "true"})


async def iter_adopted_beside_due_list(client: CommerceLayer) -> AsyncIterator[Page[OrderSubscription]]:
    """
    The adopted subscriptions that no due list shows, and held ones whatever their date; some are listed twice.

    Those that are cancelled are not among them. They cannot be due: they are not inactive, or have no `next_run_at`.
    """
    for filters in (
        {"status_not_eq": "cancelled", "metadata_jcont": '{"perennial":{"held":true}}'},
        {"status_not_in": "inactive,cancelled", **_ADOPTED},
        {"status_eq": "inactive", "next_run_at_null": "true", **_ADOPTED},
    ):
        async for page in iter_pages(client, _SUBSCRIPTIONS, filters):
            yield page


async def iter_copies_marked(client: CommerceLayer, key: str, value: str) -> AsyncIterator[Page[OrderCopy]]:
    """The order copies with `value` under `key` of their `metadata.perennial`, 25 at a time, by id."""
    async for page in iter_pages(client, _COPIES, _marked(key, value)):
        yield page


async def iter_orders_marked(client: CommerceLayer, key: str, value: str) -> AsyncIterator[Page[Order]]:
    """The orders with `value` under `key` of their `metadata.perennial`, 25 at a time, by id."""
    async for page in iter_pages(client, _ORDERS, _marked(key, value)):
        yield page


async def iter_subscriptions_marked(
    client: CommerceLayer, key: str, value: str
) -> AsyncIterator[Page[OrderSubscription]]:
    """The subscriptions with `value` under `key` of their `metadata.perennial`, also cancelled ones, by id."""
    async for page in iter_pages(client, _SUBSCRIPTIONS, _marked(key, value)):
        yield page


async def our_copies_of(
    client: CommerceLayer, source_order_ids: Iterable[str], *, only_first_page: bool = False
) -> list[OrderCopy]:
    """
    The order copies that carry our origin and were made of these source orders, 200 sources in a call.

    Meant for source orders that should have none: those of subscriptions that were never adopted.
    """
    found: list[OrderCopy] = []
    left = iter(dict.fromkeys(source_order_ids))
    while some := list(islice(left, SOURCES_AT_ONCE)):
        filters = {**_OUR_ORIGIN, "source_order_id_in": ",".join(some)}
        async for page in iter_pages(client, _COPIES, filters):
            found += page.readable
            if only_first_page:
                return found
    return found


async def iter_our_copies(
    client: CommerceLayer,
    *,
    created_since: datetime | None = None,
    created_until: datetime | None = None,
    only_unplaced: bool = False,
    besides: Mapping[str, datetime | None] | None = None,
) -> AsyncIterator[Page[OrderCopy]]:
    """
    The copies that carry our origin and were made within these times (UTC, both included), 25 at a time.

    `only_unplaced`: only those with a target order that can still be placed. `besides` maps ids to when these copies
    were created; they are not listed, except those whose time is not known.
    """
    filters = dict(_OUR_ORIGIN)
    if created_since is not None:
        filters["created_at_gteq"] = jsonapi.instant(created_since)
    if created_until is not None:
        filters["created_at_lteq"] = jsonapi.instant(created_until)
    if only_unplaced:
        filters["target_order_status_in"] = "draft,pending"
    for share in shares(besides or {}):
        async for page in iter_pages(client, _COPIES, {**filters, **share}):
            yield page


async def iter_placed_copies(client: CommerceLayer, placed_since: datetime) -> AsyncIterator[Page[OrderCopy]]:
    """Our copies whose target order was placed at or after `placed_since` (UTC), 25 at a time."""
    filters = {**_OUR_ORIGIN, "target_order_placed_at_gteq": jsonapi.instant(placed_since)}
    async for page in iter_pages(client, _COPIES, filters):
        yield page


async def iter_copies_of_span(
    client: CommerceLayer, start: datetime, end: datetime, back_to: datetime
) -> AsyncIterator[list[OrderCopy]]:
    """
    Our copies of the renewals on which anything happened from `start` until before `end` (UTC), 25 at a time.

    Those made in the span, and of earlier ones those whose order was placed since `start`. Those that were made since
    `back_to` and failed, or whose order is not placed, may have been tried in the span, so they come as well. A copy
    may come twice.
    """
    begin = jsonapi.instant(start)
    earlier = {**_OUR_ORIGIN, "created_at_lt": begin}
    recent = {**earlier, "created_at_gteq": jsonapi.instant(back_to)}
    for filters in (
        {**_OUR_ORIGIN, "created_at_gteq": begin, "created_at_lt": jsonapi.instant(end)},
        {**earlier, "target_order_placed_at_gteq": begin},
        {**recent, "status_in": "failed,aborted"},
        {**recent, "target_order_placed_at_null": "true"},
    ):
        async for page in iter_pages(client, _COPIES, filters):
            yield page.complete


def _marked(key: str, value: str) -> dict[str, str]:
    return {"metadata_jcont": json.dumps({"perennial": {key: value}})}


async def _first_adopted(client: CommerceLayer, filters: Mapping[str, str]) -> list[OrderSubscription]:
    async for page in iter_adopted(client, filters):
        return page.readable
    return []
