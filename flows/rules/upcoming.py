"""
What will be renewed, and when: a simulation of the coming sweeps.

The calendar's rules are not repeated here: as in a sweep, `plan` chooses each period, and its settlement says what
follows. Every renewal is assumed to succeed.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from blocks.commerce_layer.resources import OrderSubscription
from blocks.commerce_layer.statuses import SubscriptionStatus
from blocks.policy import Policy
from flows.rules.anchors import anchor_of
from flows.rules.periods import Schedule
from flows.rules.renewal import Renewal, Settlement, Skipped, SkipReason, plan
from flows.rules.state import RenewalState

_IDLE_ROUNDS = 4
"""After this many rounds without a renewal, none is coming: a wait, or a period skipped as late, takes fewer."""


@dataclass(frozen=True, slots=True)
class UpcomingRenewal:
    """A period that will be renewed: its due instant, when its next attempt is made, and its state before that."""

    due: datetime
    at: datetime
    state: RenewalState


def upcoming_renewals(subscription: OrderSubscription, policy: Policy, as_of: datetime) -> Iterator[UpcomingRenewal]:
    """
    The periods that sweeps from `as_of` on will renew, in order, if each succeeds.

    Anything that a person must resolve first (a hold, a second engine, a missing adoption) is assumed to be resolved.
    """
    simulated, idle = _unblocked(subscription), 0
    while idle < _IDLE_ROUNDS:
        answer = plan(simulated, policy, as_of)
        if isinstance(answer, Renewal):
            yield UpcomingRenewal(answer.due, as_of, answer.state)
            simulated, idle = _settled(simulated, answer.settlement(answer.state, as_of)), 0
            continue
        idle += 1
        if answer.settlement is not None:
            simulated = _unblocked(_settled(simulated, answer.settlement))
        moment = _moment_after(answer, simulated, policy, as_of)
        if moment is None:
            return
        as_of = moment


def _unblocked(subscription: OrderSubscription) -> OrderSubscription:
    """The subscription once only its calendar decides when it is renewed."""
    changes: dict[str, Any] = {"source_order_id": subscription.source_order_id or "none"}
    state = RenewalState.read(subscription.metadata) or RenewalState()
    if state.damaged is None:
        changes["metadata"] = state.model_copy(update={"held": False, "paused": False}).written_into(
            subscription.metadata
        )
    if subscription.status is not SubscriptionStatus.CANCELLED:
        changes["status"] = SubscriptionStatus.INACTIVE
    return subscription.model_copy(update=changes)


def _settled(simulated: OrderSubscription, settlement: Settlement) -> OrderSubscription:
    changes: dict[str, Any] = {"metadata": settlement.state.written_into(simulated.metadata)}
    if settlement.next_run_at is not None:
        changes["next_run_at"] = settlement.next_run_at
    return simulated.model_copy(update=changes)


def _moment_after(answer: Skipped, simulated: OrderSubscription, policy: Policy, as_of: datetime) -> datetime | None:
    """When to plan again if there is nothing to renew now; None when no renewal will come by itself."""
    state = RenewalState.read(simulated.metadata)
    if state is None or simulated.next_run_at is None:
        return None
    match answer.reason:
        case SkipReason.NOT_DUE | SkipReason.TOO_SOON:
            return answer.until or answer.due
        case SkipReason.RETRY_NOT_DUE:
            return state.next_attempt_at
        case SkipReason.NOTHING_PENDING:
            return _date_after(simulated, state, policy, as_of)
        case SkipReason.LATE | SkipReason.TOO_CLOSE:
            return as_of
    return None


def _date_after(simulated: OrderSubscription, state: RenewalState, policy: Policy, as_of: datetime) -> datetime:
    own = policy.overridden_by(state.policy)
    assert simulated.next_run_at is not None
    anchor = anchor_of(state, simulated.frequency, simulated.starts_at, simulated.next_run_at, own.time_zone)
    schedule = Schedule(simulated.frequency, anchor, own.time_zone)
    return schedule.next_after(max(as_of, state.done_through or as_of))
