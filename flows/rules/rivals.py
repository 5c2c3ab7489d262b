"""
What else charges for a source order: another adopted subscription, or a copy that is not one of its renewals.

Each renewal copies the whole source order. If two are to be charged for it within one period, a person decides.
"""

from collections.abc import Iterable
from datetime import datetime

from blocks.commerce_layer.resources import Order, OrderCopy, OrderSubscription
from blocks.commerce_layer.statuses import OrderStatus, SubscriptionStatus
from blocks.policy import Policy
from flows.rules.copy_periods import is_of_a_rescue, period_of, period_of_order
from flows.rules.order_copies import FAILED_STATUSES, is_moving
from flows.rules.references import REFERENCE_ORIGIN, period_text
from flows.rules.renewal import Renewal
from flows.rules.skips import NATIVE_STATUSES, Refusal, SkipReason
from flows.rules.state import KEY, RenewalState
from flows.rules.unrecorded import made_since
from flows.rules.zones import in_words

BESIDES_RENEWAL = "besides_renewal"
"""Key in the `metadata.perennial` of a copy made by hand that is wanted in addition to the period's renewal."""

BOTH_MEANT = (
    "set shared_source_orders in the policy, or in metadata.perennial.policy of each of them, if all of them are meant"
)


def shared_source_order(renewal: Renewal, others: Iterable[OrderSubscription]) -> Refusal | None:
    """
    Why a renewal waits for a person: another adopted subscription of its source order renews in the same period.

    `others` are the subscriptions of the source order that are not cancelled, including the renewal's own.
    """
    if renewal.policy.shared_source_orders:
        return None
    for other in others:
        if other.id == renewal.subscription_id or other.source_order_id != renewal.source_order_id:
            continue
        if is_driven_by_us(other) and (when := _in_the_same_period(renewal, other)):
            return SkipReason.SHARED_SOURCE_ORDER, (
                f"subscription {other.id} ({when}) has the same source order {renewal.source_order_id}, and each of "
                f"the two would charge for the whole order: cancel one of them or give it back; or {BOTH_MEANT}"
            )
    return None


def is_driven_by_us(subscription: OrderSubscription) -> bool:
    """Whether Perennial renews the subscription, or will once its damaged state is repaired."""
    return subscription.status is SubscriptionStatus.INACTIVE and KEY in subscription.metadata


def _in_the_same_period(renewal: Renewal, other: OrderSubscription) -> str | None:
    """When the other subscription renews, or has renewed, within the same period or later; None when it does not."""
    state = RenewalState.read(other.metadata)
    if state is not None and state.done_through is not None and state.done_through >= renewal.due:
        return f"settled through {in_words(state.done_through, renewal.zone)}"
    due, following = other.next_run_at, renewal.schedule.next_after(renewal.due)
    if due is None or due >= following or (other.expires_at is not None and other.expires_at <= due):
        return None
    return f"due {in_words(due, renewal.zone)}"


def copy_besides(renewal: Renewal, copies: Iterable[OrderCopy]) -> Refusal | None:
    """
    Why a renewal waits for a person: we made another copy of its source order within the period.

    That is a reorder by hand, or the renewal of another subscription. `copies` are those of the source order.
    """
    for copy in copies:
        if copy.source_order_id not in {None, renewal.source_order_id} or not _was_made_since(copy, renewal.due):
            continue
        owner = period_of(copy)
        if owner is None and copy.reference_origin == REFERENCE_ORIGIN and not _is_meant_besides(copy):
            return SkipReason.MANUAL_COPY, _about_a_manual_copy(renewal, copy)
        is_anothers = owner is not None and owner.subscription_id != renewal.subscription_id
        if owner is not None and is_anothers and not renewal.policy.shared_source_orders:
            return SkipReason.SHARED_SOURCE_ORDER, (
                f"order copy {copy.id} of the same source order {renewal.source_order_id} was made inside this period "
                f"for subscription {owner.subscription_id}{_order_of(copy)}: cancel its order to go on, or move "
                f"next_run_at on; or {BOTH_MEANT}"
            )
    return None


def may_charge(copy: OrderCopy) -> bool:
    """Whether a copy has charged the customer, or may: it has, or will have, an order that is not cancelled."""
    if copy.status in FAILED_STATUSES and copy.target_order_id is None:
        return False
    return copy.target_order is None or copy.target_order.status is not OrderStatus.CANCELLED


def _was_made_since(copy: OrderCopy, due: datetime) -> bool:
    placed_at = copy.target_order.placed_at if copy.target_order else None
    begun = copy.created_at is None or max(copy.created_at, placed_at or copy.created_at) >= due
    return may_charge(copy) and begun


def _is_meant_besides(copy: OrderCopy) -> bool:
    ours = copy.metadata.get(KEY)
    return isinstance(ours, dict) and ours.get(BESIDES_RENEWAL) is True


def _about_a_manual_copy(renewal: Renewal, copy: OrderCopy) -> str:
    return (
        f"order copy {copy.id} ({copy.reference}) was made by hand of the same source order {renewal.source_order_id} "
        f"inside this period{_order_of(copy)}: cancel its order to go on; or move next_run_at on, if it stands for "
        f"this renewal; or set metadata.{KEY}.{BESIDES_RENEWAL} of the copy to true, if both are meant"
    )


def _order_of(copy: OrderCopy) -> str:
    order = copy.target_order
    if order is None:
        return ""
    return f", and its order {order.shown_number} is {order.raw_status or order.status}"


def placed_without_copy(renewal: Renewal, orders: Iterable[Order]) -> Refusal | None:
    """
    Why a renewal without an order copy waits for a person: an order of its period, or of another one that is not
    settled, is placed.

    The copy was deleted. The date may have been moved since, and another system may have changed the reference.
    """
    for order in orders:
        period = _unsettled_period(renewal, order)
        if period is not None and (order.is_placed or is_moving(order)):
            which = "this period" if period == renewal.due else f"the period of {in_words(period, renewal.zone)}"
            return SkipReason.PLACED_WITHOUT_COPY, (
                f"order {order.shown_number} of {which} is {order.raw_status or order.status}, but its order copy does "
                f"not exist any more: cancel it to go on; or set metadata.{KEY}.done_through to "
                f"{period_text(period)}, and move next_run_at on as well if it stands for this renewal"
            )
    return None


def _unsettled_period(renewal: Renewal, order: Order) -> datetime | None:
    """The order's period, if it is one of the same subscription that no run has settled."""
    owner, through = period_of_order(order), renewal.state.done_through
    if is_of_a_rescue(order):
        return None  # of a run before the subscription was adopted: no renewal settles it
    if order.reference == renewal.reference:
        return renewal.due  # whatever another system has written into its metadata
    if owner is None or owner.subscription_id != renewal.subscription_id:
        return None
    if owner.due != renewal.due:
        is_recent = order.created_at is None or order.created_at >= made_since(renewal)
        if not is_recent or (through is not None and owner.due <= through):
            return None
    return owner.due


def rival_at_adoption(
    subscription: OrderSubscription, others: Iterable[OrderSubscription], requested: frozenset[str], policy: Policy
) -> str | None:
    """
    Why a subscription is not adopted: another one charges, or is about to charge, for the same source order.

    `requested` are the ids that are adopted in the same run, `policy` is the merchant's.
    """
    state = RenewalState.read(subscription.metadata)
    own = (state.policy if state else None) or {}
    shared = own.get("shared_source_orders", policy.shared_source_orders) is True
    for other in others:
        if other.id == subscription.id or other.source_order_id != subscription.source_order_id:
            continue
        is_ours = is_driven_by_us(other) or other.id in requested
        if is_ours and not shared:
            return (
                f"subscription {other.id} has the same source order {subscription.source_order_id} and "
                f"{'is adopted as well' if is_driven_by_us(other) else 'was asked to be adopted as well'}: each of the "
                f"two would charge for the whole order. Cancel one of them or give it back; or {BOTH_MEANT}"
            )
        if not is_ours and other.status in NATIVE_STATUSES:
            return (
                f"subscription {other.id} of the same source order {subscription.source_order_id} is "
                f"{other.raw_status or other.status}: Commerce Layer's own engine may renew it; deactivate it first"
            )
    return None
