"""
Handing a subscription from Commerce Layer's own engine to Perennial and back, and releasing held ones.

Perennial renews a subscription with the status `inactive` and `metadata.perennial`; the native engine renews `active`
ones. One PATCH therefore carries both changes of a handover (a trigger is an attribute like any other), so a run that
dies cannot leave one of them out. If Commerce Layer ever carries out only one of them, no subscription gets two
engines, and the next run repairs it:

    marked, but still active    the sweep leaves it alone, since it is not inactive; its native renewals go on
    inactive, but not marked    no engine renews it; the run that did it sees that in the answer and says so

The native engine may still be renewing a subscription at the handover. So a subscription that runs natively now, or
will within `CLEAR_OF_RUNS`, is not adopted, and one that Perennial still has to renew is not given back.
"""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

from blocks.commerce_layer.resources import OrderSubscription
from blocks.commerce_layer.statuses import SubscriptionStatus
from blocks.policy import Policy, PolicyOverrideInvalid
from flows.rules.anchors import anchor_of
from flows.rules.far_dates import never_due, unusable_date
from flows.rules.frequencies import UnknownFrequency
from flows.rules.handover import Change, Decision, Handling, Handover, HandoverRequest
from flows.rules.periods import Schedule
from flows.rules.references import whole_minute
from flows.rules.rivals import rival_at_adoption
from flows.rules.skips import damage_in_words
from flows.rules.state import KEY, Outcome, RenewalState
from flows.rules.zones import with_year

CLEAR_OF_RUNS = timedelta(minutes=10)
"""How far away the next native run must be for an active subscription to be adopted."""


def decide_adoption(
    subscription: OrderSubscription,
    request: HandoverRequest,
    policy: Policy,
    as_of: datetime,
    others: Sequence[OrderSubscription] = (),
) -> Decision:
    """
    Decide what to do about a request for one subscription, given the subscription as just read.

    `others` are the subscriptions of the same source order, including this one; unrelated ones may be among them.
    """
    return _Deciding(subscription, request, policy, as_of, others).decide()


class _Deciding:
    """Decides about one subscription."""

    def __init__(
        self,
        subscription: OrderSubscription,
        request: HandoverRequest,
        policy: Policy,
        as_of: datetime,
        others: Sequence[OrderSubscription],
    ) -> None:
        self._one, self._request, self._policy, self._as_of = subscription, request, policy, as_of
        self._others = others
        self._state = RenewalState.read(subscription.metadata)

    def decide(self) -> Decision:
        by_handover: dict[Handover, Callable[[], Decision]] = {
            Handover.ADOPT: self._adopt, Handover.RELEASE: self._release, Handover.GIVE_BACK: self._give_back,
        }  # fmt: skip
        if self._state is not None and self._state.damaged is not None:
            return self._refused(damage_in_words(self._one, self._state))
        return by_handover[self._request.handover]()

    # --- adopt ---------------------------------------------------------------------------------

    def _adopt(self) -> Decision:
        if self._is_ours():
            rival = self._rival()
            return self._refused(rival) if rival else self._as_requested(f"adopted already; {self._when_due()}")
        problem = self._cannot_be_driven() or self._native_run_is_near() or self._may_be_paused() or self._rival()
        if problem:
            return self._refused(problem)
        trigger: Literal["deactivate"] | None = "deactivate" if self._is_active else None
        change = Change(self._fresh_state().written_into(self._one.metadata), trigger, tagged=True)
        done = "deactivated and adopted" if self._is_active else "adopted"
        return Decision(self._one.id, Handling.CHANGE, f"{done}; {self._when_due()}", change)

    def _is_ours(self) -> bool:
        return self._state is not None and self._one.status is SubscriptionStatus.INACTIVE

    def _cannot_be_driven(self) -> str | None:
        one = self._one
        if one.status not in {SubscriptionStatus.ACTIVE, SubscriptionStatus.INACTIVE, SubscriptionStatus.RUNNING}:
            return f"its status is {one.raw_status or one.status}; only active and inactive ones can be adopted"
        if one.source_order_id is None:
            return "it has no source order, so there is nothing to copy"
        if one.next_run_at is None:
            return "it has no next_run_at; set one first"
        if (unusable := never_due(one) or unusable_date(one)) is not None:
            return unusable
        try:
            own = self._policy.overridden_by(self._state.policy if self._state else None)
            Schedule(one.frequency, one.starts_at or one.next_run_at, own.time_zone)
        except (UnknownFrequency, PolicyOverrideInvalid) as error:
            return str(error)
        return None

    def _rival(self) -> str | None:
        return rival_at_adoption(self._one, self._others, self._request.requested, self._policy)

    def _native_run_is_near(self) -> str | None:
        if self._one.status is SubscriptionStatus.RUNNING:
            return "its native renewal is running now; adopt it when that is over"
        if self._is_active and self._due <= self._as_of + CLEAR_OF_RUNS:
            minutes = int(CLEAR_OF_RUNS.total_seconds() // 60)
            return (
                f"its native renewal is due at {self._say(self._due)}, less than {minutes} minutes from now or "
                "already past; adopt it when that is over"
            )
        return None

    def _may_be_paused(self) -> str | None:
        """An inactive subscription may be one that the customer paused: staff must name it to adopt it."""
        if self._request.named or self._is_active or self._due > self._as_of or self._state is not None:
            return None
        return (
            f"inactive and overdue since {self._say(self._due)}, perhaps paused by the customer: adopted, it would be "
            "renewed at once. Name it by id if that is meant, or move its next_run_at"
        )

    def _fresh_state(self) -> RenewalState:
        """
        The new state. It keeps the charges of an earlier adoption for the card networks' limits, but not its calendar.
        """
        before = self._state or RenewalState()
        return RenewalState(
            policy=before.policy,
            attempts=before.attempts,
            attempt_cards=before.cards_until(self._as_of),
            frequency=self._one.frequency,
            anchor=self._own_anchor(),
            last_period=before.last_period,
            last_placed_at=before.last_placed_at,
            last_order_id=before.last_order_id,
        )

    def _own_anchor(self) -> datetime | None:
        """
        `next_run_at`, if it is not on the calendar that starts at `starts_at`.

        Once a date was moved, the native engine counts from the new one, and customers are used to that. A shift by a
        clock change is not a move: the native engine may not keep the time of day.
        """
        one = self._one
        if one.starts_at is None or one.next_run_at is None:
            return None
        own = self._policy.overridden_by(self._state.policy if self._state else None)
        anchor = anchor_of(None, one.frequency, one.starts_at, one.next_run_at, own.time_zone)
        return None if anchor == one.starts_at else anchor

    # --- release -------------------------------------------------------------------------------

    def _release(self) -> Decision:
        if self._state is None:
            return self._refused("it is not adopted, so nothing holds it")
        if not self._state.held:
            return self._as_requested("it is not held")
        change = Change(self._state.model_copy(update={"held": False}).written_into(self._one.metadata))
        why = f" (it was held after: {self._state.error})" if self._state.error else ""
        return Decision(self._one.id, Handling.CHANGE, f"released, the next sweep goes on with it{why}", change)

    # --- give back -----------------------------------------------------------------------------

    def _give_back(self) -> Decision:
        if self._state is None:
            return self._as_requested("it is not adopted")
        if self._one.status is SubscriptionStatus.CANCELLED:
            return self._refused("it is cancelled; no engine renews it")
        if self._one.status not in {SubscriptionStatus.INACTIVE, SubscriptionStatus.ACTIVE}:
            return self._refused(f"its status is {self._one.raw_status or self._one.status}; try again later")
        if self._state.paused:
            return self._refused("it is paused, and the native engine would charge it; resume it first")
        if problem := self._still_renewing():
            return self._refused(problem)
        metadata = {key: value for key, value in self._one.metadata.items() if key != KEY}
        trigger: Literal["activate"] | None = None if self._is_active else "activate"
        following = self._next_future_date()
        lost = ""
        if following is not None:
            lost = f"; the period of {self._say(self._open_period)} is given up, the next is {self._say(following)}"
        return Decision(
            self._one.id,
            Handling.CHANGE,
            f"active again, Perennial lets go{lost}",
            Change(metadata, trigger, following, tagged=False),
        )

    def _still_renewing(self) -> str | None:
        """Why the current period must be finished first; the merchant may end a held one."""
        state = self._state
        assert state is not None
        if self._is_active or state.held or self._due > self._as_of:
            return None
        if state.is_unsettled and state.outcome is Outcome.RETRY_SCHEDULED and state.next_attempt_at is not None:
            if state.next_attempt_at > self._as_of:
                return None
            return "its retry is due now; give it back when the next sweep is over"
        return f"it is due since {self._say(self._due)}; give it back when the next sweep has renewed it"

    def _next_future_date(self) -> datetime | None:
        """The native engine's first date, if `next_run_at` is past: the API accepts future dates only."""
        if self._one.next_run_at is None or self._due > self._as_of:
            return None
        state = self._state
        try:
            own = self._policy.overridden_by(state.policy if state else None)
            anchor = anchor_of(state, self._one.frequency, self._one.starts_at, self._one.next_run_at, own.time_zone)
            return Schedule(self._one.frequency, anchor, own.time_zone).next_after(self._as_of)
        except (UnknownFrequency, PolicyOverrideInvalid):
            return None

    # --- words ---------------------------------------------------------------------------------

    @property
    def _open_period(self) -> datetime:
        state = self._state
        return state.period if state and state.is_unsettled and state.period else self._due

    @property
    def _is_active(self) -> bool:
        return self._one.status is SubscriptionStatus.ACTIVE

    @property
    def _due(self) -> datetime:
        return whole_minute(self._one.next_run_at) if self._one.next_run_at else self._as_of + timedelta.resolution

    def _when_due(self) -> str:
        if self._one.next_run_at is None:
            return "it has no next_run_at"
        if (never := never_due(self._one)) is not None:
            return never
        state = self._state
        if state and state.is_unsettled and state.period and self._one.status is SubscriptionStatus.INACTIVE:
            how = "held for a person" if state.held else (state.outcome or "begun").replace("_", " ")
            return f"its period of {self._say(state.period)} is open: {how}"
        if self._due <= self._as_of:
            return f"OVERDUE since {self._say(self._due)}, the next sweep renews it"
        return f"next renewal {self._say(self._due)}"

    def _say(self, instant: datetime) -> str:
        return with_year(instant, ZoneInfo(self._policy.time_zone))

    def _refused(self, sentence: str) -> Decision:
        return Decision(self._one.id, Handling.REFUSED, sentence)

    def _as_requested(self, sentence: str) -> Decision:
        return Decision(self._one.id, Handling.AS_REQUESTED, sentence)
