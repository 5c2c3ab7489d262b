"""
The list that shows at once what may forbid a charge: order copies, with their orders and the subscriptions of these.

Commerce Layer links an order copy only to the subscription of its own engine. So the subscriptions come with the source
order: the one that is renewed, and its rivals.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from pydantic import ValidationError

from blocks.commerce_layer import jsonapi
from blocks.commerce_layer.client import CommerceLayer
from blocks.commerce_layer.resources import OrderCopy, OrderSubscription
from blocks.commerce_layer.statuses import SubscriptionStatus
from blocks.commerce_layer.views import COPIES, LAST_LOOK_VIEW, SUBSCRIPTIONS


@dataclass
class SourceOrdersSeen:
    """The order copies of some source orders, and the subscriptions of those source orders that have a copy."""

    copies: list[OrderCopy] = field(default_factory=list)
    subscriptions: dict[str, list[OrderSubscription]] = field(default_factory=dict)
    """
    By source order: its subscriptions that are not cancelled, and none of them is left out.

    A source order without a listed copy is missing, and one with a subscription that cannot be read.
    """


async def look_at_source_orders(
    client: CommerceLayer, source_order_ids: Iterable[str], created_since: datetime, *, without: Iterable[str] = ()
) -> SourceOrdersSeen:
    """
    The source orders with their copies made at or after `created_since` (UTC), and with their subscriptions.

    Copies with an id in `without` are not listed. Raises as the methods of `CommerceLayer` do.
    """
    seen = SourceOrdersSeen()
    for ids in jsonapi.pages_of(source_order_ids):
        filters = {"source_order_id_in": ",".join(ids), "created_at_gteq": jsonapi.instant(created_since)}
        if without:
            filters["id_not_in"] = ",".join(without)
        await _read_pages(client, filters, seen)
    return seen


async def _read_pages(client: CommerceLayer, filters: Mapping[str, str], seen: SourceOrdersSeen) -> None:
    after: dict[str, str] = {}
    while True:
        query = jsonapi.query(filters={**filters, **after}, sort="id", page_size=jsonapi.PAGE_SIZE)
        page, is_last = await client.wire.read(COPIES, _understood, params={**LAST_LOOK_VIEW, **query})
        seen.copies += page.copies
        seen.subscriptions |= page.subscriptions  # if an earlier page has shown the same source order: as it is now
        if is_last or not page.copies:
            return
        after = {"id_gt": page.copies[-1].id}


def _understood(document: jsonapi.Fields) -> tuple[SourceOrdersSeen, bool]:
    items, subscriptions = jsonapi.many(document), readable_subscriptions(document)
    linked = {item["source_order_id"]: ids for item in items if (ids := linked_subscriptions(item)) is not None}
    complete = {
        source: [subscriptions[each] for each in ids]
        for source, ids in linked.items()
        if all(each in subscriptions for each in ids)
    }
    return (
        SourceOrdersSeen(
            [OrderCopy.model_validate(item) for item in items],
            {
                source: [each for each in found if each.status is not SubscriptionStatus.CANCELLED]
                for source, found in complete.items()
            },
        ),
        jsonapi.is_last_page(document),
    )


def readable_subscriptions(document: jsonapi.Fields) -> dict[str, OrderSubscription]:
    """The subscriptions that are included with their source orders, by id. One that cannot be read is left out."""
    sources = {
        each: item["source_order_id"] for item in jsonapi.many(document) for each in linked_subscriptions(item) or ()
    }
    found = {}
    for item in jsonapi.included(document, SUBSCRIPTIONS):
        try:
            found[item["id"]] = OrderSubscription.model_validate({**item, "source_order_id": sources.get(item["id"])})
        except ValidationError:
            continue
    return found


def linked_subscriptions(copy: jsonapi.Fields) -> tuple[str, ...] | None:
    """The ids of the subscriptions of a copy's source order; None if the answer does not link them."""
    ids: tuple[str, ...] | None = (copy.get("source_order") or {}).get("order_subscription_ids")
    return ids
