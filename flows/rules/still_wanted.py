"""
The last look before a customer is charged: is the renewal still wanted, and does nothing else renew it?

The order exists by then and is not placed. If the answer is no, it is withdrawn, and the customer is not charged.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime

from blocks.commerce_layer.resources import OrderCopy, OrderSubscription
from blocks.commerce_layer.statuses import SubscriptionStatus
from flows.rules.copy_periods import period_of
from flows.rules.far_dates import end_of
from flows.rules.next_action import Hold, HoldReason, Place, copies_of, decided_already
from flows.rules.price import Price, expected_price, objection
from flows.rules.references import REFERENCE_ORIGIN, whole_minute
from flows.rules.renewal import Renewal
from flows.rules.rivals import copy_besides, may_charge, shared_source_order
from flows.rules.skips import NATIVE_STATUSES, Refusal, Skipped, SkipReason, pause_refusal, status_refusal
from flows.rules.state import RenewalState
from flows.rules.unrecorded import unrecorded_period
from flows.rules.zones import in_words


def still_wanted(
    renewal: Renewal,
    fresh: OrderSubscription | None,
    rivals: Sequence[OrderSubscription],
    foreign: Sequence[OrderCopy],
    as_of: datetime,
    *,
    announced: RenewalState | None = None,
    now: datetime | None = None,
) -> Skipped | None:
    """
    Why the renewal must not go on; None when it may.

    `fresh` is the subscription as just read (None: deleted), `rivals` are the subscriptions of the same source order,
    including this one, `foreign` all copies of that order. `announced` is the state that this run itself has written
    since: the look may be older than that. `now` is the present, also if `as_of` is earlier: a subscription that has
    ended by now is not renewed, even if it was due before.
    """
    refusal = (
        _changed_since(renewal, fresh, as_of, announced)
        or _ended(renewal, fresh, max(as_of, now or as_of))
        or _rival_engine(renewal, rivals)
        or shared_source_order(renewal, rivals)
        or copy_besides(renewal, foreign)
        or _foreign_copy(renewal, foreign)
        or _charged_under_another_date(renewal, foreign)
    )
    return Skipped(renewal.subscription_id, renewal.due, *refusal) if refusal else None


def no_longer_wanted(subscription: OrderSubscription | None, due: datetime) -> Refusal | None:
    """Why the unplaced order of the period `due` is to be withdrawn, no matter which run made it."""
    if subscription is None:
        return SkipReason.GONE, "the subscription is gone"
    state = RenewalState.read(subscription.metadata)
    ran_at = subscription.last_run_at
    if state is None and subscription.status is SubscriptionStatus.ACTIVE and ran_at and whole_minute(ran_at) == due:
        return None  # the order of a rescue, which waits for its next attempt: Commerce Layer has not run it again
    if state is None or state.damaged is not None:
        return status_refusal(subscription)
    if state.done_through is not None and state.done_through >= due:
        return SkipReason.NOTHING_PENDING, "its period is settled without it"
    return status_refusal(subscription) or pause_refusal(state)


def price_hold(renewal: Renewal, attempt: Place) -> Hold | None:
    """Why a person must see the price of the order first; None when it may be placed. The subscription is not held."""
    state, copy = renewal.state, attempt.copy
    expected = expected_price(state.price, copy.source_order)
    sentence = objection(attempt.order, expected, state.price_to_accept, renewal.policy.price_tolerance)
    return Hold(HoldReason.PRICE, sentence, copy=copy, price=Price.of(attempt.order)) if sentence else None


def _changed_since(
    renewal: Renewal, fresh: OrderSubscription | None, as_of: datetime, announced: RenewalState | None
) -> Refusal | None:
    if fresh is None:
        return SkipReason.GONE, "the subscription does not exist any more"
    state = RenewalState.read(fresh.metadata)
    if state is not None and state.done_through is not None and state.done_through >= renewal.due:
        return SkipReason.NOTHING_PENDING, "another run has settled this period a moment ago"
    return (
        status_refusal(fresh)
        or _not_due_any_more(renewal, fresh, as_of)
        or _state_changed_since(renewal, fresh, state, announced)
    )


def _not_due_any_more(renewal: Renewal, fresh: OrderSubscription, as_of: datetime) -> Refusal | None:
    if fresh.next_run_at is not None and whole_minute(fresh.next_run_at) > as_of:
        return SkipReason.NOT_DUE, f"it was postponed to {in_words(fresh.next_run_at, renewal.zone)} a moment ago"
    return None


def _ended(renewal: Renewal, fresh: OrderSubscription | None, now: datetime) -> Refusal | None:
    end = None if fresh is None else end_of(fresh)
    if end is None or end > max(renewal.due, now):
        return None
    return SkipReason.EXPIRED, f"it expired on {in_words(end, renewal.zone)}"


def _state_changed_since(
    renewal: Renewal, fresh: OrderSubscription, state: RenewalState | None, announced: RenewalState | None
) -> Refusal | None:
    if state is None:
        return SkipReason.NOT_ADOPTED, "metadata.perennial was removed a moment ago: Perennial does not drive it"
    if (refusal := pause_refusal(state)) is not None:
        return refusal
    planned = RenewalState.read(renewal.metadata)
    if _was_held_since(state, planned, announced):
        return SkipReason.HELD, "held for a person a moment ago; set metadata.perennial.held to false to go on"
    ours = announced if state == announced else planned
    changes = ", ".join(_changes(renewal, fresh, state, ours))
    return (SkipReason.CHANGED, f"changed a moment ago ({changes}); the next sweep decides anew") if changes else None


def _was_held_since(state: RenewalState, *known: RenewalState | None) -> bool:
    """Whether a person put a known state on hold. A record of another run changes more fields."""
    return state not in known and state in [each.model_copy(update={"held": True}) for each in known if each]


def _changes(
    renewal: Renewal, fresh: OrderSubscription, state: RenewalState | None, ours: RenewalState | None
) -> Iterable[str]:
    pairs = {
        "source order": (renewal.source_order_id, fresh.source_order_id),
        "next_run_at": (renewal.next_run_at, fresh.next_run_at),
        "frequency": (renewal.frequency, fresh.frequency),
        "starts_at": (renewal.starts_at, fresh.starts_at),
        "metadata.perennial": (ours, state),
    }
    return (name for name, (before, now) in pairs.items() if before != now)


def _rival_engine(renewal: Renewal, rivals: Sequence[OrderSubscription]) -> Refusal | None:
    for rival in rivals:
        if rival.source_order_id in {None, renewal.source_order_id} and rival.status in NATIVE_STATUSES:
            return SkipReason.SECOND_ENGINE, (
                f"subscription {rival.id} of the same source order is {rival.raw_status or rival.status}: "
                "Commerce Layer's own engine may renew it; deactivate one of the two"
            )
    return None


def _foreign_copy(renewal: Renewal, copies: Sequence[OrderCopy]) -> Refusal | None:
    for copy in copies:
        if copy.source_order_id in {None, renewal.source_order_id} and competes(renewal, copy):
            return SkipReason.FOREIGN_COPY, (
                f"order copy {copy.id} ({copy.reference_origin or 'no origin'}) of the same source order was made "
                "inside this period, and must not renew it twice: cancel its order to go on, or move next_run_at on"
            )
    return None


def _charged_under_another_date(renewal: Renewal, copies: Sequence[OrderCopy]) -> Refusal | None:
    """Leave alone if an order of another date of ours was placed since the first look and no run has recorded it."""
    if decided_already(copies_of(renewal, copies)) is not None:
        return None
    period = unrecorded_period(renewal, copies)
    if period is None:
        return None
    said = in_words(period, renewal.zone)
    return SkipReason.CHANGED, f"its order of {said} was placed a moment ago; the next sweep records that first"


def competes(renewal: Renewal, copy: OrderCopy) -> bool:
    """Whether somebody else has copied the source order within the period, and that may charge the customer."""
    if not may_charge(copy):
        return False
    if copy.reference_origin == REFERENCE_ORIGIN or period_of(copy) is not None:
        return False  # ours
    return copy.created_at is None or whole_minute(copy.created_at) >= renewal.due
