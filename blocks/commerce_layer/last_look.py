"""
The list that shows at once what may forbid a charge: order copies, with their orders and the subscriptions of these.

Commerce Layer links an order copy only to the subscription of its own engine. So the subscriptions come with the source
order: the one that is renewed, and its rivals.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from blocks.commerce_layer import jsonapi
from blocks.commerce_layer.client import CommerceLayer
from blocks.commerce_layer.copy_pages import (
    iter_copy_pages,
    linked_subscriptions,
    order_copies,
    readable_subscriptions,
)
from blocks.commerce_layer.resources import OrderCopy, OrderSubscription
from blocks.commerce_layer.statuses import SubscriptionStatus
from blocks.commerce_layer.views import LAST_LOOK_VIEW


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
    client: CommerceLayer, source_order_ids: Iterable[str], created_since: datetime, *, without: Sequence[str] = ()
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
        async for page in iter_copy_pages(client, filters, LAST_LOOK_VIEW, _understood):
            seen.copies += page.copies
            seen.subscriptions |= page.subscriptions  # if an earlier page has shown the same source order: as it is now
    return seen


def _understood(document: jsonapi.Fields) -> SourceOrdersSeen:
    seen, subscriptions = SourceOrdersSeen(order_copies(document)), readable_subscriptions(document)
    for item in jsonapi.many(document):
        ids = linked_subscriptions(item)
        if ids is not None and all(each in subscriptions for each in ids):
            its = [subscriptions[each] for each in ids]
            seen.subscriptions[item["source_order_id"]] = [
                each for each in its if each.status is not SubscriptionStatus.CANCELLED
            ]
    return seen
