"""Pages of order copies, with what an answer includes besides: the subscriptions of their source orders."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from typing import TypeVar

from pydantic import ValidationError

from blocks.commerce_layer import jsonapi
from blocks.commerce_layer.client import CommerceLayer
from blocks.commerce_layer.resources import OrderCopy, OrderSubscription
from blocks.commerce_layer.views import COPIES, SUBSCRIPTIONS

T = TypeVar("T")


async def iter_copy_pages(
    client: CommerceLayer,
    filters: Mapping[str, str],
    view: Mapping[str, str],
    understand: Callable[[jsonapi.Fields], T],
) -> AsyncIterator[T]:
    """Each page of the order copies that match, by id, as `understand` reads its document."""

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


def order_copies(document: jsonapi.Fields) -> list[OrderCopy]:
    """The order copies of a list document."""
    return [OrderCopy.model_validate(item) for item in jsonapi.many(document)]


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
