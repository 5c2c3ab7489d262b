"""
What to write about a result, given the current subscription.

Minutes may pass between a result and its record, because other requests come first. Meanwhile customers may move dates,
staff may change the policy, and another run may record the same period. Their changes are kept.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from blocks.commerce_layer.resources import OrderSubscription
from blocks.commerce_layer.statuses import SubscriptionStatus
from flows.rules.far_dates import unusable_date
from flows.rules.references import whole_minute
from flows.rules.renewal import Renewal, Settlement
from flows.rules.results import RenewalResult
from flows.rules.skips import Skipped, SkipReason
from flows.rules.state import RENEWED, RenewalState


@dataclass(frozen=True, slots=True)
class Record:
    """One PATCH of a subscription: its complete metadata, a new date, a new card, a cancellation."""

    metadata: Mapping[str, Any]
    next_run_at: datetime | None = None
    cancel: bool = False
    payment_source_id: str | None = None


def record_of(result: RenewalResult, fresh: OrderSubscription) -> Record | None:
    """
    What to write about `result` on the current subscription `fresh`; None when there is nothing to write.

    Nothing is written over a period that was settled meanwhile, nor, by a run that sent nothing, over what another
    run has recorded.
    """
    stored = RenewalState.read(fresh.metadata)
    if stored is None or stored.damaged is not None or _is_behind(result.renewal, stored):
        return None
    planned = RenewalState.read(result.renewal.metadata) or RenewalState()
    # The announcement is this run's own.
    overtaken = stored.flow_run_id not in {planned.flow_run_id, result.state.flow_run_id}
    if overtaken and not result.is_settled and not result.was_attempted:
        return None
    settlement = _settlement(result, fresh)
    state = settlement.state
    if overtaken and not result.is_settled:
        state = merged(state, stored)
    if stored.held and not planned.held and not overtaken:  # by a person, while the renewal was under way
        state = state.model_copy(update={"held": True, "held_since": stored.held_since or result.happened})
    cancel = result.cancel and fresh.status is not SubscriptionStatus.CANCELLED
    # A card that was set on the subscription meanwhile stays.
    card = result.new_card if fresh.customer_payment_source_id == result.renewal.payment_source_id else None
    return Record(_metadata(state, stored, fresh), settlement.next_run_at, cancel, card)


def another_placed_order(result: RenewalResult, fresh: OrderSubscription) -> str | None:
    """Another order that another run placed and recorded for this same period: a double charge."""
    stored = RenewalState.read(fresh.metadata)
    if stored is None or stored.damaged is not None or result.outcome not in RENEWED:
        return None
    theirs = stored.target_order_id
    same_period = stored.period == result.renewal.due and stored.outcome in RENEWED
    return theirs if same_period and theirs not in {None, result.state.target_order_id} else None


def skip_record_of(skipped: Skipped, fresh: OrderSubscription) -> Record | None:
    """What to write about periods that are skipped on purpose; None when the subscription has moved on meanwhile."""
    stored = RenewalState.read(fresh.metadata)
    if skipped.settlement is None or stored is None or stored.damaged is not None or fresh.next_run_at is None:
        return None
    state, next_run_at = skipped.settlement
    if skipped.reason is SkipReason.TOO_CLOSE:
        return _hold_record(state, stored, fresh)
    through = state.done_through
    assert through is not None, "a settlement settles a period"
    if stored.held or (stored.done_through is not None and stored.done_through >= through):
        return None
    if whole_minute(fresh.next_run_at) > through:
        return None
    return Record(_metadata(state, stored, fresh), next_run_at)


def _hold_record(state: RenewalState, stored: RenewalState, fresh: OrderSubscription) -> Record | None:
    """Hold a period that is too close to the one before, unless the date or the settled periods have changed since."""
    is_as_planned = fresh.next_run_at is not None and whole_minute(fresh.next_run_at) == state.too_close_on
    if stored.held or not is_as_planned or stored.done_through != state.done_through:
        return None
    return Record(_metadata(state, stored, fresh))


def _metadata(state: RenewalState, stored: RenewalState, fresh: OrderSubscription) -> dict[str, Any]:
    """
    The metadata of every record. What only others write into the state stays as it is `stored` now.

    That is the policy, the pause, and all keys that Perennial does not know.
    """
    ours = {name: getattr(state, name) for name in RenewalState.model_fields}
    theirs = {"policy": stored.policy, "paused": stored.paused}
    # `written_into` keeps the unknown keys as they are stored; those of the plan may be outdated.
    return RenewalState.model_construct(**ours | theirs).written_into(fresh.metadata)


def _is_behind(renewal: Renewal, stored: RenewalState) -> bool:
    """Whether another run has settled this period, or a later one, while we were waiting."""
    return stored.done_through is not None and stored.done_through >= renewal.due


def _settlement(result: RenewalResult, fresh: OrderSubscription) -> Settlement:
    renewal, moved_to = result.renewal, fresh.next_run_at
    if moved_to is None or moved_to == renewal.next_run_at:
        return Settlement(result.state, result.next_run_at)
    if unusable_date(fresh) is not None:  # such as 9999-12-31, for never: the charge is still recorded
        return Settlement(result.state, None)
    if not result.is_settled:
        return Settlement(result.state, None)
    # The next date was moved while the period was renewed. If it stands for this period, that one is renewed and the
    # date moves on; if it stands for a later one, it stays.
    before = result.state.model_copy(update={"done_through": renewal.state.done_through})
    settled = replace(renewal, next_run_at=moved_to).settlement(before, result.happened, result.placed_at)
    through = settled.state.done_through
    assert through is not None
    return Settlement(settled.state, settled.next_run_at if through >= whole_minute(moved_to) else None)


def merged(ours: RenewalState, stored: RenewalState) -> RenewalState:
    """Merge two runs' states after each saw an attempt fail: every counted attempt stays counted, and a hold stays."""
    if stored.period != ours.period:
        return ours
    classes = {*ours.failures, *stored.failures}
    return ours.model_copy(
        update={
            "copies": max(ours.copies, stored.copies),
            "attempt": max(ours.attempt, stored.attempt),
            "failures": {cls: max(ours.failures.get(cls, 0), stored.failures.get(cls, 0)) for cls in sorted(classes)},
            "attempts": sorted({*ours.attempts, *stored.attempts}),
            "attempt_cards": {**stored.attempt_cards, **ours.attempt_cards},
            "held": ours.held or stored.held,
            "held_since": ours.held_since or stored.held_since,
        }
    )
