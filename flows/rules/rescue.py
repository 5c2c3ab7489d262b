"""
A renewal that Commerce Layer's own engine has failed: which run that was, and whether it may be repaired now.

The engine makes a copy, and does not retry when the copy or its order fails. A rescue is the renewal of that run's
period, with the policy's retries. The failed run is its first attempt. The engine keeps the subscription: its status
and dates stay, and the state of the rescue has a key of its own, because `metadata.perennial` means adopted.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from blocks.commerce_layer.resources import OrderCopy, OrderSubscription
from blocks.commerce_layer.statuses import SubscriptionStatus
from blocks.policy import FinalAction, Policy
from flows.rules.adoption import CLEAR_OF_RUNS
from flows.rules.far_dates import end_of
from flows.rules.findings import CopyEnded, Finding
from flows.rules.next_action import is_of_period
from flows.rules.outcomes import result_of
from flows.rules.overwritten import card_that_failed
from flows.rules.records import Record, merged
from flows.rules.references import REFERENCE_ORIGIN, whole_minute
from flows.rules.renewal import Renewal
from flows.rules.results import RenewalResult
from flows.rules.rivals import copy_besides, is_driven_by_us
from flows.rules.skips import NATIVE_STATUSES, Refusal, Settlement, Skipped, SkipReason
from flows.rules.state import KEY, RESCUE_KEY, RenewalState
from flows.rules.still_wanted import competes
from flows.rules.zones import in_words, with_year

RUN_AND_COPY = timedelta(minutes=30)
"""How far apart `last_run_at` and the creation of that run's copy may be. No subscription runs more than hourly."""

_NOT_RUN = {
    SubscriptionStatus.CANCELLED: (SkipReason.CANCELLED, "the subscription is cancelled"),
    SubscriptionStatus.INACTIVE: (SkipReason.PAUSED, "the subscription is inactive: nobody renews it now"),
    SubscriptionStatus.RUNNING: (SkipReason.TOO_SOON, "Commerce Layer is renewing it at this moment"),
}


@dataclass(frozen=True, slots=True)
class Rescue(Renewal):
    """
    The renewal of the period of a failed native run. `due` is the minute of that run.

    `native` is the order copy that the run made, `last_run_at` the subscription's when the rescue was planned.
    """

    native: OrderCopy = field(kw_only=True)
    last_run_at: datetime = field(kw_only=True)

    def of_its_run(self, copies: Iterable[OrderCopy]) -> list[OrderCopy]:
        """These copies and the run's own, which has no reference, as one of this period."""
        ours = {"reference": self.reference, "reference_origin": REFERENCE_ORIGIN}
        shown = {copy.id: copy for copy in (self.native, *copies)}
        return [copy.model_copy(update=ours) if copy.id == self.native.id else copy for copy in shown.values()]

    def settlement(self, state: RenewalState, as_of: datetime, placed_at: datetime | None = None) -> Settlement:
        """The state with this period settled. The date is left to Commerce Layer's own engine."""
        del as_of, placed_at
        return Settlement(state.model_copy(update={"done_through": self.due, "next_attempt_at": None}), None)


def rescue_of(
    subscription: OrderSubscription, copies: Iterable[OrderCopy], policy: Policy, now: datetime
) -> Rescue | Skipped:
    """
    The rescue of a subscription's failed run, with its state; or why there is none.

    `copies` are those of its source order since that run; each tells the subscription whose native run made it.
    """
    copies = list(copies)
    refusal = _forbidden(subscription, policy, now)
    if refusal is not None:
        return Skipped(subscription.id, None, *refusal)
    assert subscription.last_run_at is not None
    native = _copy_of_the_run(subscription, copies, subscription.last_run_at)
    refusal = _unusable(subscription, native)
    if refusal is not None:
        return Skipped(subscription.id, whole_minute(subscription.last_run_at), *refusal)
    assert native is not None
    return _begun(_draft(subscription, native, policy, subscription.last_run_at), copies)


def _forbidden(subscription: OrderSubscription, policy: Policy, now: datetime) -> Refusal | None:
    """Why the subscription, as it is now, must be left alone."""
    if KEY in subscription.metadata:
        return SkipReason.NOTHING_PENDING, "it is adopted: the sweep renews it"
    if subscription.status in _NOT_RUN:
        return _NOT_RUN[subscription.status]
    if subscription.last_run_at is None or subscription.succeeded_on_last_run is not False:
        return SkipReason.NOTHING_PENDING, "its last run by Commerce Layer's own engine did not fail"
    if subscription.status is not SubscriptionStatus.ACTIVE:
        status = subscription.raw_status or subscription.status
        return SkipReason.NOT_INACTIVE, f"its status is {status!r}: activate it again, then it can be rescued"
    if subscription.source_order_id is None:
        return SkipReason.NO_SOURCE_ORDER, "it has no source order, so its run cannot be found"
    return _out_of_time(subscription, policy, now)


def _out_of_time(subscription: OrderSubscription, policy: Policy, now: datetime) -> Refusal | None:
    ends, following, zone = end_of(subscription), subscription.next_run_at, ZoneInfo(policy.time_zone)
    if ends is not None and ends <= now:
        return SkipReason.EXPIRED, f"it expired on {with_year(ends, zone)}"
    if following is not None and following <= now + CLEAR_OF_RUNS:
        minutes = int(CLEAR_OF_RUNS.total_seconds() // 60)
        sentence = (
            f"Commerce Layer runs it next on {in_words(following, zone)}, less than {minutes} minutes from now: "
            "rescue it when that is over, if it fails as well"
        )
        return SkipReason.TOO_SOON, sentence
    return None


def _copy_of_the_run(
    subscription: OrderSubscription, copies: Iterable[OrderCopy], ran_at: datetime
) -> OrderCopy | None:
    made = [
        (copy.created_at, copy.id, copy)
        for copy in copies
        if copy.order_subscription_id == subscription.id and copy.created_at is not None
    ]
    found = max(made, default=None, key=lambda each: each[:2])
    return found[2] if found is not None and abs(found[0] - ran_at) <= RUN_AND_COPY else None


def _unusable(subscription: OrderSubscription, native: OrderCopy | None) -> Refusal | None:
    if native is None:
        return SkipReason.PLACED_WITHOUT_COPY, (
            f"its run of {subscription.last_run_at:%Y-%m-%d %H:%M} UTC has made none of the order copies of its source "
            "order, as for a subscription with a subscription model: nobody knows here whether the customer was "
            "charged. Look at its orders in the dashboard"
        )
    if not native.is_final:
        return SkipReason.TOO_SOON, f"order copy {native.id} of its run is still {native.raw_status or native.status}"
    if not native.place_target_order:
        return SkipReason.NOTHING_PENDING, "its orders are not placed when they are copied, so nothing is to be charged"
    return None


def _draft(subscription: OrderSubscription, native: OrderCopy, policy: Policy, ran_at: datetime) -> Rescue:
    due, stored = whole_minute(ran_at), RenewalState.read(subscription.metadata, RESCUE_KEY)
    return Rescue(
        subscription_id=subscription.id, source_order_id=subscription.source_order_id or "", due=due,
        state=(stored or RenewalState()).for_period(due), metadata=dict(subscription.metadata),
        policy=_without_cancellation(policy), frequency=subscription.frequency, starts_at=subscription.starts_at,
        expires_at=end_of(subscription), next_run_at=subscription.next_run_at or due,
        payment_source_id=subscription.customer_payment_source_id, card=subscription.customer_payment_source,
        customer_email=subscription.customer_email, state_key=RESCUE_KEY,
        looked_back_to=min(due, native.created_at or due), native=native, last_run_at=ran_at,
    )  # fmt: skip


def _without_cancellation(policy: Policy) -> Policy:
    """The policy, which holds where it would cancel: Commerce Layer's own engine goes on with the subscription."""
    hold = {FinalAction.CANCEL: FinalAction.HOLD}
    actions = {cls: hold.get(action, action) for cls, action in policy.final_actions.items()}
    action = hold.get(policy.final_action, policy.final_action)
    return policy.model_copy(update={"final_action": action, "final_actions": actions})


def _begun(rescue: Rescue, copies: Sequence[OrderCopy]) -> Rescue | Skipped:
    """The rescue with the copies of its period, and with the failed run as its first attempt."""
    if rescue.state.damaged is not None:
        sentence = f"the state of its rescue cannot be read, repair or remove it: {rescue.state.damaged}"
        return Skipped(rescue.subscription_id, rescue.due, SkipReason.DAMAGED, sentence)
    rescue = replace(rescue, found=tuple(copy for copy in rescue.of_its_run(copies) if is_of_period(rescue, copy)))
    if rescue.state.attempt or rescue.state.outcome is not None:
        return rescue
    failed_at = rescue.native.failed_at or rescue.last_run_at
    state = result_of(rescue, CopyEnded(rescue.native), failed_at).state
    # A card that the subscription got since then may be tried at once.
    card = card_that_failed(rescue, rescue.native.target_order) or rescue.payment_source_id
    return replace(rescue, state=state.model_copy(update={"payment_source_id": card}))


# --- right before the charge, and while it is planned --------------------------------------------


def refusal_of_rescue(
    rescue: Rescue,
    fresh: OrderSubscription | None,
    rivals: Iterable[OrderSubscription],
    copies: Sequence[OrderCopy],
    now: datetime,
    announced: RenewalState | None = None,
) -> Skipped | None:
    """
    Why a rescue must not go on; None when it may.

    `fresh` is the subscription as just read (None: deleted), `rivals` are the subscriptions of its source order,
    `copies` all copies of that order since the run. `announced` is the state that this run has written since it was
    planned.
    """
    if fresh is None:
        return Skipped(rescue.subscription_id, rescue.due, SkipReason.GONE, "the subscription does not exist any more")
    others = [copy for copy in copies if copy.id != rescue.native.id]
    refusal = (
        _forbidden(fresh, rescue.policy, now)
        or _changed(rescue, fresh, announced)
        or _another_subscription(rescue, rivals)
        or ((SkipReason.CHANGED, "the copy of its run is not there any more") if len(others) == len(copies) else None)
        or copy_besides(rescue, others)
        or _foreign_copy(rescue, others)
    )
    return Skipped(rescue.subscription_id, rescue.due, *refusal) if refusal else None


def _changed(rescue: Rescue, fresh: OrderSubscription, announced: RenewalState | None) -> Refusal | None:
    if fresh.last_run_at != rescue.last_run_at:
        return SkipReason.CHANGED, "Commerce Layer has run it again since a moment ago"
    if fresh.source_order_id != rescue.source_order_id:
        return SkipReason.CHANGED, "its source order was changed a moment ago"
    state = RenewalState.read(fresh.metadata, RESCUE_KEY)
    planned = RenewalState.read(rescue.metadata, RESCUE_KEY)
    if state is not None and state == announced:
        return None
    return None if state == planned else (SkipReason.CHANGED, "another run has worked on it a moment ago")


def _another_subscription(rescue: Rescue, rivals: Iterable[OrderSubscription]) -> Refusal | None:
    for other in rivals:
        if other.id == rescue.subscription_id or other.source_order_id != rescue.source_order_id:
            continue
        if other.status in NATIVE_STATUSES or is_driven_by_us(other):
            return SkipReason.SHARED_SOURCE_ORDER, (
                f"subscription {other.id} has the same source order {rescue.source_order_id}, so that nobody knows "
                "whose order a copy is: place the order of the failed run in the dashboard, or cancel one of the two"
            )
    return None


def _foreign_copy(rescue: Rescue, copies: Iterable[OrderCopy]) -> Refusal | None:
    for copy in copies:
        if competes(rescue, copy):
            return SkipReason.FOREIGN_COPY, (
                f"order copy {copy.id} ({copy.reference_origin or 'no origin'}) of the same source order was made "
                "since its failed run, and may have charged the customer: cancel its order to go on"
            )
    return None


# --- the result ----------------------------------------------------------------------------------


def result_of_rescue(rescue: Rescue, finding: Finding, as_of: datetime, flow_run_id: str | None) -> RenewalResult:
    """The result, as of any renewal; but the next date is Commerce Layer's."""
    result = result_of(rescue, finding, as_of, flow_run_id)
    then = in_words_of_a_rescue(result.then) if result.then else None
    if result.is_settled:
        then = f"Commerce Layer renews it next on {in_words(rescue.next_run_at, rescue.zone)}"
    return replace(result, what=in_words_of_a_rescue(result.what), then=then)


def in_words_of_a_rescue(sentence: str) -> str:
    """A sentence about a renewal, as it is true of a rescue: no sweep takes it up."""
    released = "`perennial rescue --release --apply ID` tries it once more"
    said = sentence.replace("the next sweep", "the next rescue").replace("release it to go on", released)
    return said.replace(f"metadata.{KEY}.order_copy_id", f"metadata.{RESCUE_KEY}.order_copy_id")


def record_of_rescue(result: RenewalResult, fresh: OrderSubscription) -> Record | None:
    """
    What to write about the result: the state alone. None if a later run is rescued, or the subscription is adopted.
    """
    stored = RenewalState.read(fresh.metadata, RESCUE_KEY)
    if KEY in fresh.metadata or (stored is not None and stored.damaged is not None):
        return None
    state, due = result.state, result.renewal.due
    if stored is not None and stored.period is not None:
        if stored.period > due or (stored.done_through is not None and stored.done_through >= due):
            return None
        planned = RenewalState.read(result.renewal.metadata, RESCUE_KEY) or RenewalState()
        if stored.flow_run_id not in {planned.flow_run_id, state.flow_run_id} and not result.is_settled:
            if not result.was_attempted:
                return None
            state = merged(state, stored)
    return Record(state.written_into(fresh.metadata, RESCUE_KEY))
