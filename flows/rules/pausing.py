"""
Pausing a subscription and resuming it.

The status cannot show a pause, because adopted subscriptions are inactive anyway; `metadata.perennial.paused` does.
Periods that came due in a pause are not made up afterwards: the customer did not want them.
"""

from collections.abc import Sequence
from datetime import datetime
from zoneinfo import ZoneInfo

from blocks.commerce_layer.resources import OrderSubscription
from blocks.commerce_layer.statuses import SubscriptionStatus
from blocks.policy import Policy, PolicyOverrideInvalid
from flows.rules.adoption import decide_adoption
from flows.rules.anchors import anchor_of
from flows.rules.frequencies import UnknownFrequency
from flows.rules.handover import Change, Decision, Handling, Handover, HandoverRequest
from flows.rules.periods import Schedule
from flows.rules.references import whole_minute
from flows.rules.skips import damage_in_words
from flows.rules.state import Outcome, RenewalState
from flows.rules.zones import with_year


def decide(
    subscription: OrderSubscription,
    request: HandoverRequest,
    policy: Policy,
    as_of: datetime,
    others: Sequence[OrderSubscription] = (),
) -> Decision:
    """
    Decide what to do about any request for one subscription, given the subscription as just read.

    `others` are the subscriptions of the same source order; unrelated ones may be among them.
    """
    if request.handover not in {Handover.PAUSE, Handover.RESUME}:
        return decide_adoption(subscription, request, policy, as_of, others)
    state = RenewalState.read(subscription.metadata)
    if state is None:
        return _refused(subscription, "it is not adopted: pause it in Commerce Layer, by deactivating it")
    if state.damaged is not None:
        return _refused(subscription, damage_in_words(subscription, state))
    if subscription.status is not SubscriptionStatus.INACTIVE:
        status = subscription.raw_status or subscription.status
        return _refused(subscription, f"its status is {status}: only inactive ones are renewed by Perennial")
    if request.handover is Handover.PAUSE:
        return _pause(subscription, state)
    return _resume(subscription, state, policy, as_of)


def _pause(subscription: OrderSubscription, state: RenewalState) -> Decision:
    if state.paused:
        return Decision(subscription.id, Handling.AS_REQUESTED, "it is paused already")
    change = Change(state.model_copy(update={"paused": True}).written_into(subscription.metadata))
    sentence = "paused: nothing is charged until it is resumed; an order that waits for its payment is withdrawn"
    return Decision(subscription.id, Handling.CHANGE, sentence, change)


def _resume(subscription: OrderSubscription, state: RenewalState, policy: Policy, as_of: datetime) -> Decision:
    if not state.paused:
        return Decision(subscription.id, Handling.AS_REQUESTED, "it is not paused")
    resumed = state.model_copy(update={"paused": False})
    if subscription.next_run_at is None or whole_minute(subscription.next_run_at) > as_of:
        return _resumed(subscription, resumed, "resumed")
    try:
        own = policy.overridden_by(state.policy)
        anchor = anchor_of(
            state, subscription.frequency, subscription.starts_at, subscription.next_run_at, own.time_zone
        )
        schedule = Schedule(subscription.frequency, anchor, own.time_zone)
    except (UnknownFrequency, PolicyOverrideInvalid) as error:
        return _refused(subscription, str(error))
    missed = schedule.latest_until(as_of) or whole_minute(subscription.next_run_at)
    through = max(missed, whole_minute(subscription.next_run_at), state.done_through or missed)
    following = schedule.next_after(max(as_of, through))
    settled = resumed.for_period(through).model_copy(
        update={"done_through": through, "outcome": Outcome.SKIPPED, "next_attempt_at": None, "held": False}
    )
    zone = ZoneInfo(own.time_zone)
    when = with_year(following, zone)
    return _resumed(
        subscription, settled, f"resumed; what came due in the pause is not made up, the next is {when}", following
    )


def _resumed(
    subscription: OrderSubscription, state: RenewalState, sentence: str, next_run_at: datetime | None = None
) -> Decision:
    change = Change(state.written_into(subscription.metadata), next_run_at=next_run_at)
    return Decision(subscription.id, Handling.CHANGE, sentence, change)


def _refused(subscription: OrderSubscription, sentence: str) -> Decision:
    return Decision(subscription.id, Handling.REFUSED, sentence)
