"""
Finds out whether a reorder by hand is close to a renewal of the same order: the customer would be charged twice.

A goodwill copy in the middle of a period affects no renewal. A copy while a renewal is due, or was just placed, is
usually a mistake: staff saw that an order was missing, and did not know that a sweep would make it.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from blocks.commerce_layer.resources import OrderCopy, OrderSubscription
from flows.rules.anchors import anchor_of
from flows.rules.copy_periods import period_of
from flows.rules.frequencies import UnknownFrequency
from flows.rules.order_copies import is_placed
from flows.rules.periods import Schedule
from flows.rules.references import reference_of, whole_minute
from flows.rules.rivals import is_driven_by_us
from flows.rules.state import RenewalState

NEARBY = timedelta(days=1)
"""How far a renewal must be from a reorder by hand; a quarter of the interval, if that is less."""


class RenewalNearby(ValueError):  # noqa: N818 - the name says what happened
    """A renewal of the order to copy is due, or was just placed, and the person has not said that both are meant."""


def refuse_beside_a_renewal(
    subscriptions: Iterable[OrderSubscription], copies: Sequence[OrderCopy], now: datetime, time_zone: str
) -> None:
    """
    Raise RenewalNearby if an adopted subscription of the order is due, or was just renewed.

    `subscriptions` have the order to copy as their source order, or one of them has made it by a renewal. `copies` are
    those of their source orders, at least of the last `NEARBY`. `time_zone` is the policy's.
    """
    for subscription in subscriptions:
        if is_driven_by_us(subscription) and (what := _nearby(subscription, copies, now, time_zone)):
            raise RenewalNearby(
                f"subscription {subscription.id} renews this order, and {what}: a reorder would charge the customer "
                "once more. Switch besides_renewal on if both are meant; else leave it to the sweep, or run "
                "renew-subscriptions with that subscription in its field `subscriptions`"
            )


def _nearby(subscription: OrderSubscription, copies: Sequence[OrderCopy], now: datetime, time_zone: str) -> str | None:
    state = RenewalState.read(subscription.metadata)
    margin = _margin(subscription, state, time_zone)
    for copy in copies:
        owner, order = period_of(copy), copy.target_order
        if owner is not None and owner.subscription_id == subscription.id and order is not None and is_placed(copy):
            placed_at = order.placed_at or order.updated_at
            if placed_at is None or placed_at > now - margin:
                return f"its renewal {reference_of(*owner)} was placed as order {order.number or order.id} just now"
    if state is not None and state.is_unsettled and state.period is not None:
        return f"its renewal {reference_of(subscription.id, state.period)} is not settled yet"
    due = subscription.next_run_at
    ends = subscription.expires_at
    if due is None or due > now + margin or (ends is not None and ends <= due):
        return None
    return f"its renewal {reference_of(subscription.id, due)} is due"


def _margin(subscription: OrderSubscription, state: RenewalState | None, time_zone: str) -> timedelta:
    due = subscription.next_run_at
    if due is None:
        return NEARBY
    try:
        anchor = anchor_of(state, subscription.frequency, subscription.starts_at, due, time_zone)
        following = Schedule(subscription.frequency, anchor, time_zone).next_after(due)
        return min(NEARBY, (following - whole_minute(due)) / 4)
    except (UnknownFrequency, ValueError, OverflowError):  # a date beyond all calendars, such as one that means "never"
        return NEARBY
