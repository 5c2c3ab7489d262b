"""Reads what the shop tells about the renewals of a span, in lists of 25. It changes nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from zoneinfo import ZoneInfo

from blocks.commerce_layer import jsonapi
from blocks.commerce_layer.listings import iter_copies_of_span
from blocks.commerce_layer.order_search import errors_of_orders
from blocks.commerce_layer.resource_errors import ResourceError
from blocks.commerce_layer.resources import OrderCopy, OrderSubscription
from flows.rules.history import LOOK_BACK, PastRenewal, past_renewals
from flows.rules.spans import EmptySpan, Span
from flows.rules.zones import with_year
from flows.run.context import Run


@dataclass(frozen=True)
class History:
    """The renewals of a span, and the subscriptions of those that may have failed, by id, as they are now."""

    renewals: list[PastRenewal]
    subscriptions: Mapping[str, OrderSubscription]


async def read_history(run: Run, span: Span, tell: Callable[[str], None]) -> History:
    """
    Read the copies of a span, the errors of their orders, and the subscriptions of renewals that may have failed.

    `tell` is called with how far it is, in words.

    Raises:
        EmptySpan: the span lies in the future.
        CommerceLayerError: something could not be read.
    """
    now = run.now()
    if span.start > now:
        begins = with_year(span.start, ZoneInfo(run.policy.time_zone))
        raise EmptySpan(
            f"The span begins ({begins}) in the future: nothing has happened in it. Give an earlier --from."
        )
    copies: dict[str, OrderCopy] = {}
    async for page in iter_copies_of_span(run.client, span.start, min(span.end, now), span.start - LOOK_BACK):
        copies |= {each.id: each for each in page}
        tell(f"{len(copies)} order copies read")
    troubled = [
        each.target_order.id for each in copies.values() if each.target_order and each.target_order.errors_count
    ]
    errors: dict[str, list[ResourceError]] = {}
    for ids in jsonapi.pages_of(troubled):
        errors |= await errors_of_orders(run.client, ids)
        tell(f"errors of {len(errors)} of {len(troubled)} orders read")
    renewals = list(past_renewals(copies.values(), errors).values())
    failed = [each.of.subscription_id for each in renewals if each.has_trouble]
    subscriptions: dict[str, OrderSubscription] = {}
    for ids in jsonapi.pages_of(failed):
        subscriptions |= await run.client.get_subscriptions(ids)
        tell(f"{len(subscriptions)} of {len(set(failed))} subscriptions read")
    return History(renewals, subscriptions)
