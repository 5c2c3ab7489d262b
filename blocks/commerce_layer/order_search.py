"""Orders by reference or customer, and what went wrong with orders: looked for only where something is missing."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from datetime import datetime
from typing import Any

from blocks.commerce_layer import jsonapi
from blocks.commerce_layer.client import CommerceLayer
from blocks.commerce_layer.resource_errors import ResourceError
from blocks.commerce_layer.resources import Order
from blocks.commerce_layer.views import ORDER_VIEW, ORDERS

_ERRORS = "resource_errors"
_WITH_ERRORS = jsonapi.query(
    include=(_ERRORS,), fields={ORDERS: (_ERRORS,), _ERRORS: ("name", "code", "message", "created_at")}
)


async def find_placed_orders(
    client: CommerceLayer, wanted: Mapping[str, str | None], created_since: datetime
) -> list[Order]:
    """
    The orders with these references and those of these customers that are placed, or may be in a moment.

    `wanted` maps references to the customers' email addresses, 25 of them in a list call: other systems may have
    changed a reference, and a filter by metadata finds the orders of one subscription only. So all orders that these
    customers have made at or after `created_since` are among them, and their metadata tell which are wanted.

    Raises:
        CommerceLayerError: they could not be read.
    """
    unwanted = {"status_not_in": "draft,pending,cancelled", "created_at_gteq": jsonapi.instant(created_since)}
    found: list[Order] = []
    for references in jsonapi.pages_of(wanted):
        # The API splits lists at commas and trims them.
        emails = {email for each in references if (email := wanted[each]) and not set(email) & set(", \t\n")}
        filters = {"reference_or_customer_email_in": ",".join([*references, *sorted(emails)]), **unwanted}
        async for document in _pages(client, filters, ORDER_VIEW):
            found += map(Order.model_validate, jsonapi.many(document))
    return found


async def errors_of_orders(client: CommerceLayer, order_ids: Iterable[str]) -> dict[str, list[ResourceError]]:
    """
    What went wrong with these orders, oldest first, by order id. 25 orders a list call.

    Raises:
        CommerceLayerError: they could not be read.
    """
    found: dict[str, list[ResourceError]] = {}
    for ids in jsonapi.pages_of(order_ids):
        async for document in _pages(client, {"id_in": ",".join(ids)}, _WITH_ERRORS):
            included = {
                item.get("id"): item.get("attributes")
                for item in document.get("included") or ()
                if isinstance(item, dict) and item.get("type") == _ERRORS
            }
            for order in jsonapi.many(document):
                errors = [ResourceError.model_validate(included.get(each) or {}) for each in _error_ids(order)]
                dated = [(error.created_at, error) for error in errors if error.created_at is not None]
                found[order["id"]] = [error for _, error in sorted(dated, key=lambda pair: pair[0])]
    return found


def _error_ids(order: jsonapi.Fields) -> Iterable[str]:
    ids: Iterable[str] = order.get("resource_error_ids", ())
    return ids


async def _pages(
    client: CommerceLayer, filters: Mapping[str, str], view: Mapping[str, str]
) -> AsyncIterator[dict[str, Any]]:
    """Each document of the orders that the filters match, by id."""
    after: dict[str, str] = {}
    while True:
        params = {**view, **jsonapi.query(filters={**filters, **after}, sort="id", page_size=jsonapi.PAGE_SIZE)}
        document = await client.wire.read(ORDERS, lambda answer: answer, params=params)
        items = jsonapi.many(document)
        yield document
        if not items or jsonapi.is_last_page(document):
            return
        after = {"id_gt": items[-1]["id"]}
