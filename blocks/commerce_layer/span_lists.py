"""
The lists by which a span of time is reconciled. Each is made for as few calls as possible.

A page holds 25, so that every list costs 0.04 reads for each of its items. So the copies of the span are listed with
their orders and their subscriptions, and all else is asked by what is *missing* there: the subscriptions without any of
these ids, the copies of these source orders that are not ours. Such a call covers 300 ids, and its answer is mostly
empty.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice

from blocks.commerce_layer import jsonapi
from blocks.commerce_layer.client import CommerceLayer
from blocks.commerce_layer.copy_pages import iter_copy_pages, order_copies, readable_subscriptions
from blocks.commerce_layer.listings import iter_adopted
from blocks.commerce_layer.pages import Page
from blocks.commerce_layer.resources import OrderCopy, OrderSubscription
from blocks.commerce_layer.shares import IDS_AT_ONCE, shares
from blocks.commerce_layer.views import COPY_VIEW, RENEWAL_VIEW

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
    async for page in iter_copy_pages(client, filters, RENEWAL_VIEW, _renewals):
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


async def iter_copies_of_others(
    client: CommerceLayer, source_order_ids: Iterable[str], since: datetime
) -> AsyncIterator[list[OrderCopy]]:
    """The copies of these source orders made at or after `since` that do not carry our origin."""
    left = iter(dict.fromkeys(source_order_ids))
    while some := list(islice(left, IDS_AT_ONCE)):
        filters = {**_OTHERS, "source_order_id_in": ",".join(some), "created_at_gteq": jsonapi.instant(since)}
        async for page in iter_copy_pages(client, filters, COPY_VIEW, order_copies):
            yield page


async def iter_manual_copies(client: CommerceLayer, since: datetime) -> AsyncIterator[list[OrderCopy]]:
    """Our copies made at or after `since` whose reference is no period: those made by hand, and changed references."""
    filters = {**_OURS, "created_at_gteq": jsonapi.instant(since), "reference_not_end": "Z"}
    async for page in iter_copy_pages(client, filters, COPY_VIEW, order_copies):
        yield page


async def our_copies_made(
    client: CommerceLayer, source_order_ids: Iterable[str], since: datetime, until: datetime
) -> list[OrderCopy]:
    """Our copies of these source orders made from `since` until before `until`, 25 source orders in a call."""
    found: list[OrderCopy] = []
    for some in jsonapi.pages_of(source_order_ids):
        made = {"created_at_gteq": jsonapi.instant(since), "created_at_lt": jsonapi.instant(until)}
        filters = {**_OURS, **made, "source_order_id_in": ",".join(some)}
        async for page in iter_copy_pages(client, filters, COPY_VIEW, order_copies):
            found += page
    return found


def _renewals(document: jsonapi.Fields) -> RenewalPage:
    return RenewalPage(order_copies(document), list(readable_subscriptions(document).values()))
