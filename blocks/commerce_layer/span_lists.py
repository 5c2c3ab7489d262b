"""
The lists by which a span of time is reconciled. Each is made for as few calls as possible.

A page holds 25, so that every list costs 0.04 reads for each of its items. So the copies of the span are listed with
their orders and their subscriptions, and all else is asked by what is *missing* there: the subscriptions without any of
these ids, the copies of these source orders that are not ours. Such a call covers 300 ids, and its answer is mostly
empty.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby, islice
from typing import TypeVar

from blocks.commerce_layer import jsonapi
from blocks.commerce_layer.client import CommerceLayer
from blocks.commerce_layer.last_look import readable_subscriptions
from blocks.commerce_layer.listings import iter_adopted
from blocks.commerce_layer.pages import Page
from blocks.commerce_layer.resources import OrderCopy, OrderSubscription
from blocks.commerce_layer.views import COPIES, COPY_VIEW, RENEWAL_VIEW

T = TypeVar("T")

IDS_AT_ONCE = 300
"""Ids in one filter: less than 4,000 characters of an address, half of what web servers take by default."""

_OURS = {"reference_origin_eq": "perennial"}
_OTHERS = {"reference_origin_not_eq_or_null": "perennial"}  # `not_eq` alone leaves out those without an origin


@dataclass(frozen=True, slots=True)
class RenewalPage:
    """At most 25 order copies with their target orders, and the subscriptions of their source orders."""

    copies: list[OrderCopy]
    subscriptions: list[OrderSubscription]


async def iter_renewals(client: CommerceLayer, parts: Sequence[str]) -> AsyncIterator[RenewalPage]:
    """
    Our copies whose reference contains one of these parts, such as `@2026-03-01T`, whenever they were made.

    A subscription that cannot be read is not in the page; the lists of subscriptions name it.
    """
    filters = {**_OURS, "reference_cont_any": ",".join(parts)}
    async for page in _pages(client, filters, RENEWAL_VIEW, _renewals):
        yield page


async def iter_subscriptions_besides(
    client: CommerceLayer, known: Mapping[str, datetime | None], since: datetime, until: datetime
) -> AsyncIterator[Page[OrderSubscription]]:
    """
    The adopted subscriptions that may have had a period from `since` until before `until`, besides the known ones.

    `known` maps ids to when the subscriptions were created; some of them may be listed all the same. A subscription
    that is due at `until` or later, and was not updated since `since`, had no period in between that a run has settled.
    """
    gone = {"status_eq": "cancelled", "updated_at_gteq": jsonapi.instant(since)}
    here = {"status_not_eq": "cancelled"}
    searches = [gone, {**here, "next_run_at_null": "true"}, {**here, "next_run_at_lt": jsonapi.instant(until)}]
    settled = {**here, "next_run_at_gteq": jsonapi.instant(until), "updated_at_gteq": jsonapi.instant(since)}
    searches += [{**settled, **share} for share in shares(known)]
    for filters in searches:
        async for page in iter_adopted(client, filters):
            yield page


def shares(known: Mapping[str, datetime | None]) -> Iterator[dict[str, str]]:
    """
    Filters that divide all resources among them, each without the known ones, of which it has at most 300.

    They divide by the time of creation, so that nothing depends on the order of ids, which is not documented. Of many
    that were created in one instant, some ids are a share: each id is between two others in any order.
    """
    dated = sorted((created_at, each) for each, created_at in known.items() if created_at is not None)
    together: list[list[tuple[datetime, str]]] = [[]]
    for _, same in groupby(dated, key=lambda pair: pair[0]):
        instant = list(same)
        if together[-1] and len(together[-1]) + len(instant) > IDS_AT_ONCE:
            together.append([])
        together[-1] += instant
    for place, group in enumerate(together):
        bounds = {"created_at_gteq": jsonapi.instant(group[0][0])} if place else {}
        if place + 1 < len(together):
            bounds["created_at_lt"] = jsonapi.instant(together[place + 1][0][0])
        yield from ({**bounds, **share} for share in _by_id([each for _, each in group]))


def _by_id(ids: Sequence[str]) -> Iterator[dict[str, str]]:
    after: dict[str, str] = {}
    for start in range(0, max(len(ids), 1), IDS_AT_ONCE):
        some = ids[start : start + IDS_AT_ONCE]
        is_last = start + IDS_AT_ONCE >= len(ids)
        without = {"id_not_in": ",".join(some)} if some else {}
        yield {**after, **without, **({} if is_last else {"id_lteq": some[-1]})}
        after = {"id_gt": some[-1]} if some else {}


async def iter_copies_of_others(
    client: CommerceLayer, source_order_ids: Iterable[str], since: datetime
) -> AsyncIterator[list[OrderCopy]]:
    """The copies of these source orders made at or after `since` that do not carry our origin."""
    left = iter(dict.fromkeys(source_order_ids))
    while some := list(islice(left, IDS_AT_ONCE)):
        filters = {**_OTHERS, "source_order_id_in": ",".join(some), "created_at_gteq": jsonapi.instant(since)}
        async for page in _pages(client, filters, COPY_VIEW, _copies):
            yield page


async def iter_manual_copies(client: CommerceLayer, since: datetime) -> AsyncIterator[list[OrderCopy]]:
    """Our copies made at or after `since` whose reference is no period: those made by hand, and changed references."""
    filters = {**_OURS, "created_at_gteq": jsonapi.instant(since), "reference_not_end": "Z"}
    async for page in _pages(client, filters, COPY_VIEW, _copies):
        yield page


async def our_copies_made(
    client: CommerceLayer, source_order_ids: Iterable[str], since: datetime, until: datetime
) -> list[OrderCopy]:
    """Our copies of these source orders made from `since` until before `until`, 25 source orders in a call."""
    found: list[OrderCopy] = []
    for some in jsonapi.pages_of(source_order_ids):
        made = {"created_at_gteq": jsonapi.instant(since), "created_at_lt": jsonapi.instant(until)}
        filters = {**_OURS, **made, "source_order_id_in": ",".join(some)}
        async for page in _pages(client, filters, COPY_VIEW, _copies):
            found += page
    return found


async def _pages(
    client: CommerceLayer,
    filters: Mapping[str, str],
    view: Mapping[str, str],
    understand: Callable[[jsonapi.Fields], T],
) -> AsyncIterator[T]:
    """Each page of the copies that match, by id."""

    def read(document: jsonapi.Fields) -> tuple[T, str | None]:
        ids = [str(item["id"]) for item in jsonapi.many(document)]
        return understand(document), ids[-1] if ids and not jsonapi.is_last_page(document) else None

    after: dict[str, str] = {}
    while True:
        params = {**view, **jsonapi.query(filters={**filters, **after}, sort="id", page_size=jsonapi.PAGE_SIZE)}
        page, last = await client.wire.read(COPIES, read, params=params)
        yield page
        if last is None:
            return
        after = {"id_gt": last}


def _copies(document: jsonapi.Fields) -> list[OrderCopy]:
    return [OrderCopy.model_validate(item) for item in jsonapi.many(document)]


def _renewals(document: jsonapi.Fields) -> RenewalPage:
    return RenewalPage(_copies(document), list(readable_subscriptions(document).values()))
