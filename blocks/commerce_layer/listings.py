"""
Lists that go on past a resource which cannot be read, and the lists that only an overseer needs.

Where a page cannot be read, its ids are listed alone, without the attributes that may be to blame, and the
subscriptions are read by id in ever smaller parts.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from typing import TypeVar

from blocks.commerce_layer import jsonapi
from blocks.commerce_layer.client import CommerceLayer
from blocks.commerce_layer.errors import CommerceLayerError, ReadFailed, Refused
from blocks.commerce_layer.resources import OrderCopy, OrderSubscription
from blocks.commerce_layer.splitting import read_in_parts
from blocks.commerce_layer.views import COPIES, COPY_VIEW, SUBSCRIPTION_VIEW, SUBSCRIPTIONS

M = TypeVar("M", OrderCopy, OrderSubscription)

SOURCES_AT_ONCE = 200
"""Ids in one filter: some 2,300 characters of an address, which every proxy takes."""

_DATES_ONLY = jsonapi.query(fields={SUBSCRIPTIONS: ("next_run_at",)})


@dataclass(frozen=True, slots=True)
class SubscriptionPage:
    """At most 25 subscriptions of a list, and the ids of those that cannot be read, with the reason."""

    subscriptions: list[OrderSubscription]
    unreadable: dict[str, CommerceLayerError] = field(default_factory=dict)
    dates: dict[str, datetime | None] = field(default_factory=dict)
    """When those that cannot be read are due, as far as the list says (UTC)."""


async def iter_due(client: CommerceLayer, as_of: datetime) -> AsyncIterator[SubscriptionPage]:
    """The inactive subscriptions whose next run is at or before `as_of` (UTC), by id."""
    async for page in _iter({"status_eq": "inactive", "next_run_at_lteq": jsonapi.instant(as_of)}, client):
        yield page


async def iter_not_cancelled(client: CommerceLayer) -> AsyncIterator[SubscriptionPage]:
    """All subscriptions that are not cancelled, adopted or not, whatever their status and date, by id."""
    async for page in _iter({"status_not_eq": "cancelled"}, client):
        yield page


async def adopted_with_another_status(client: CommerceLayer) -> list[OrderSubscription]:
    """The first 25 subscriptions with `metadata.perennial` that are neither inactive nor cancelled."""
    return await _first_adopted(client, {"status_not_in": "inactive,cancelled"})


async def adopted_without_a_date(client: CommerceLayer) -> list[OrderSubscription]:
    """The first 25 inactive subscriptions with `metadata.perennial` whose `next_run_at` is null."""
    return await _first_adopted(client, {"status_eq": "inactive", "next_run_at_null": "true"})


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
        filters = {"reference_origin_eq": "perennial", "source_order_id_in": ",".join(some)}
        async for page in _pages(client, COPIES, OrderCopy, filters, COPY_VIEW):
            found += page
            if only_first_page:
                return found
    return found


async def iter_unplaced_copies(client: CommerceLayer, created_until: datetime) -> AsyncIterator[list[OrderCopy]]:
    """Our copies made at or before `created_until` (UTC) whose target order can still be placed, 25 at a time."""
    filters = {
        "reference_origin_eq": "perennial",
        "created_at_lteq": jsonapi.instant(created_until),
        "target_order_status_in": "draft,pending",
    }
    async for page in _pages(client, COPIES, OrderCopy, filters, COPY_VIEW):
        yield page


async def iter_placed_copies(client: CommerceLayer, placed_since: datetime) -> AsyncIterator[list[OrderCopy]]:
    """Our copies whose target order was placed at or after `placed_since` (UTC), 25 at a time."""
    filters = {"reference_origin_eq": "perennial", "target_order_placed_at_gteq": jsonapi.instant(placed_since)}
    async for page in _pages(client, COPIES, OrderCopy, filters, COPY_VIEW):
        yield page


async def _first_adopted(client: CommerceLayer, filters: Mapping[str, str]) -> list[OrderSubscription]:
    filters = {**filters, "metadata_jcont": '{"perennial":{}}'}
    async for page in _pages(client, SUBSCRIPTIONS, OrderSubscription, filters, SUBSCRIPTION_VIEW):
        return page
    return []


async def _pages(
    client: CommerceLayer, endpoint: str, model: type[M], filters: Mapping[str, str], view: Mapping[str, str]
) -> AsyncIterator[list[M]]:
    after: dict[str, str] = {}
    while True:
        ids, is_last, items = await _page(client, endpoint, model, {**filters, **after}, view)
        if ids:
            yield items
        if is_last or not ids:
            return
        after = {"id_gt": ids[-1]}


async def _page(
    client: CommerceLayer, endpoint: str, model: type[M], filters: Mapping[str, str], view: Mapping[str, str]
) -> tuple[list[str], bool, list[M]]:
    def understand(document: jsonapi.Fields) -> tuple[list[str], bool, list[M]]:
        items = [model.model_validate(item) for item in jsonapi.many(document)]
        return [item.id for item in items], jsonapi.is_last_page(document), items

    params = {**view, **jsonapi.query(filters=filters, sort="id", page_size=jsonapi.PAGE_SIZE)}
    return await client.wire.read(endpoint, understand, params=params)


async def _iter(filters: Mapping[str, str], client: CommerceLayer) -> AsyncIterator[SubscriptionPage]:
    after: dict[str, str] = {}
    while True:
        wanted = {**filters, **after}
        try:
            ids, is_last, found = await _page(client, SUBSCRIPTIONS, OrderSubscription, wanted, SUBSCRIPTION_VIEW)
            page = SubscriptionPage(found)
        except (ReadFailed, Refused) as error:
            dates, is_last = await _dates(client, wanted)
            ids, page = list(dates), await _one_by_one(client, dates, error)
        if ids:
            yield page
        if is_last or not ids:
            return
        after = {"id_gt": ids[-1]}


async def _dates(client: CommerceLayer, filters: Mapping[str, str]) -> tuple[dict[str, datetime | None], bool]:
    """The ids of a page with the dates of their next runs, and whether it is the last page."""

    def understand(document: jsonapi.Fields) -> tuple[dict[str, datetime | None], bool]:
        dates = {str(item["id"]): _instant_or_none(item.get("next_run_at")) for item in jsonapi.many(document)}
        return dates, jsonapi.is_last_page(document)

    params = {**_DATES_ONLY, **jsonapi.query(filters=filters, sort="id", page_size=jsonapi.PAGE_SIZE)}
    return await client.wire.read(SUBSCRIPTIONS, understand, params=params)


async def _one_by_one(
    client: CommerceLayer, dates: Mapping[str, datetime | None], error: CommerceLayerError
) -> SubscriptionPage:
    parts = await read_in_parts(list(dates), client.get_subscriptions)
    if parts.trouble is not None:
        raise parts.trouble from error
    found = {key: each for part in parts.read for key, each in part.items()}
    unreadable = dict(parts.unreadable)
    return SubscriptionPage(
        [found[each] for each in dates if each in found], unreadable, {each: dates[each] for each in unreadable}
    )


def _instant_or_none(text: object) -> datetime | None:
    try:
        instant = datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return instant if instant.tzinfo else None
