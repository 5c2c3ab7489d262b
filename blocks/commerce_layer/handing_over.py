"""Handing a subscription over, from the API's own engine or back to it, and the tag that tells whose it is."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import Any, Literal

from blocks.commerce_layer import jsonapi
from blocks.commerce_layer.client import BOOKKEEPING_TRIES, CommerceLayer, reader
from blocks.commerce_layer.errors import CommerceLayerError
from blocks.commerce_layer.resources import OrderSubscription
from blocks.commerce_layer.views import SUBSCRIPTION_VIEW, SUBSCRIPTIONS

_TAGS = "tags"


async def hand_over_subscription(
    client: CommerceLayer,
    subscription_id: str,
    trigger: Literal["activate", "deactivate"] | None,
    *,
    metadata: Mapping[str, Any],
    next_run_at: datetime | None = None,
    add_tag: str | None = None,
    remove_tag: str | None = None,
    check: Callable[[], Awaitable[None]] | None = None,
) -> OrderSubscription:
    """
    Start or stop the API's own engine, set all of `metadata`, and tag it, in one request.

    It is sent once where there is a trigger; else it may be repeated. A tag that does not exist is passed over.
    `check` is called for each try, after all waiting for the rate limit. If it raises, nothing is sent, and the
    exception reaches the caller.
    """
    attributes: dict[str, Any] = {
        "metadata": metadata, "next_run_at": None if next_run_at is None else jsonapi.instant(next_run_at),
        "_add_tags": add_tag, "_remove_tags": remove_tag,
    }  # fmt: skip
    attributes |= {f"_{trigger}": True} if trigger else {}

    async def body() -> jsonapi.Fields:
        if check is not None:
            await check()
        return jsonapi.body_of(SUBSCRIPTIONS, attributes, resource_id=subscription_id)

    return await client.wire.write(
        "PATCH",
        "write",
        SUBSCRIPTIONS,
        reader(OrderSubscription),
        resource_id=subscription_id,
        body=body,
        params=SUBSCRIPTION_VIEW,
        tries=1 if trigger else BOOKKEEPING_TRIES,
    )


async def make_sure_of_tag(client: CommerceLayer, name: str) -> str | None:
    """Create a tag unless there is one of this name; returns why it could not be made, or None when it is there."""
    filters = {"name_eq": name}
    try:
        found = await client.wire.read(_TAGS, jsonapi.many, params=jsonapi.query(filters=filters))
        if not found:
            body = jsonapi.body_of(_TAGS, {"name": name})
            await client.wire.write("POST", "write", _TAGS, jsonapi.one, body=body)
    except CommerceLayerError as error:
        return str(error)
    return None
