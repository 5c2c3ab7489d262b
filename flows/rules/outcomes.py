"""
The verdict on a renewal: from what was tried and what came of it, to what is recorded.

`judge` is the only place where money is declared to have moved or not. Whatever it does not
recognise keeps us waiting; it never becomes a success, and never a reason for a second copy.
"""

from dataclasses import replace
from datetime import datetime

from blocks.commerce_layer.errors import AccessDenied, CommerceLayerError, WriteFateUnknown
from blocks.commerce_layer.resources import Order, OrderCopy, OrderStatus
from blocks.policy_terms import FailureClass, FinalAction
from flows.rules.evidence import (
    CopyEnded,
    Evidence,
    HeldBack,
    NotCreated,
    NotPlaced,
    OrderAnswered,
    PlacementRefused,
    StillRunning,
    times_in,
)  # fmt: skip
from flows.rules.failures import Failure, classify_copy, classify_error, classify_order
from flows.rules.next_action import Hold, HoldReason, Place
from flows.rules.order_copies import FAILED_STATUSES, MOVING_STATUSES
from flows.rules.renewal import Renewal, Settlement
from flows.rules.retries import ON_THE_CARD, next_attempt
from flows.rules.state import ERROR_LENGTH, PLACING
from flows.rules.verdicts import Judgement, Outcome
from flows.rules.zones import in_words

__all__ = ["Outcome", "Judgement", "judge"]


def judge(renewal: Renewal, evidence: Evidence, as_of: datetime, flow_run_id: str | None = None) -> Judgement:
    """
    The verdict on what came of a renewal; `flow_run_id` is recorded as the run that wrote it.

    `as_of` is when it happened: the present, not the instant up to which everything was due. Of a late
    run the two are days apart, and waits counted from the past would be over at once. Where the
    evidence carries a later time of the shop, that one holds.
    """
    happened = max(as_of, *times_in(evidence))
    return _Bench(renewal, evidence, happened, flow_run_id).judge()


FAILED_BEFORE = frozenset({Outcome.RETRY_SCHEDULED, Outcome.NEEDS_ATTENTION, Outcome.EXHAUSTED})
"""Outcomes that are recorded only after an attempt was seen to fail."""

_HELD = "held for a person: release it to go on"


class _Bench:
    """Everything the verdicts on one renewal have in common."""

    def __init__(self, renewal: Renewal, evidence: Evidence, as_of: datetime, flow_run_id: str | None) -> None:
        self.renewal, self.evidence, self.as_of = renewal, evidence, as_of
        charges = renewal.state.attempts_until(as_of)
        news = {"period": renewal.due, "flow_run_id": flow_run_id, "attempts": charges}
        self.state = renewal.state.model_copy(update={**news, "under_way_since": None, "final_action": None})

    def judge(self) -> Judgement:  # noqa: PLR0911 - one line for each kind of evidence
        match self.evidence:
            case NotCreated(error):
                return self._not_created(error)
            case StillRunning(copy):
                return self._running(copy)
            case CopyEnded(copy):
                return self._copy_ended(copy)
            case OrderAnswered(attempt, order):
                return self._order_answered(attempt, order)
            case PlacementRefused(attempt, error, order):
                return self._placement_refused(attempt, error, order)
            case NotPlaced(attempt, error):
                return self._not_placed(attempt, error)
            case HeldBack(hold):
                return self._held_back(hold)

    # --- what happened to the copy -------------------------------------------------------------

    def _copy_ended(self, copy: OrderCopy) -> Judgement:
        self._note_copy(copy)
        order = copy.target_order
        if order is not None and order.is_placed:
            self._set(attempt=max(1, self.state.attempt))
            return self._renewed(order, *self._who_placed(copy))
        # An announced attempt has been counted when it was announced.
        if not self._was_announced:
            self._set(attempt=self.state.attempt + 1)
        if order is not None and copy.status not in FAILED_STATUSES:
            return self._failed(classify_order(order, self.renewal.terms))
        return self._failed(classify_copy(copy, self.renewal.terms))

    @property
    def _was_announced(self) -> bool:
        """Whether a run announced an attempt and has not recorded how it went."""
        return self.renewal.state.outcome == PLACING

    def _note_copy(self, copy: OrderCopy) -> None:
        target = copy.target_order_id or (copy.target_order.id if copy.target_order else None)
        known = self.state.target_order_id if self.state.order_copy_id == copy.id else None
        self._set(order_copy_id=copy.id, target_order_id=target or known)

    def _who_placed(self, copy: OrderCopy) -> tuple[Outcome, str]:
        before = self.renewal.state
        # One that had failed was placed since, by the customer or by staff; one that was left under way is renewed
        # now. Any other was renewed by a run that has not recorded it.
        if before.order_copy_id == copy.id and before.outcome in FAILED_BEFORE:
            return Outcome.RENEWED, ", which was placed since the last attempt"
        return (Outcome.RENEWED if before.outcome == Outcome.IN_PROGRESS else Outcome.ALREADY_RENEWED), ""

    def _running(self, copy: OrderCopy) -> Judgement:
        self._note_copy(copy)
        order, status = copy.target_order, copy.raw_status or copy.status
        if not copy.is_final:
            return self._in_progress(f"order copy {copy.id} is still {status}")
        if order is None:
            return self._unconfirmed(f"order copy {copy.id} is {status}, but its order was not found")
        return self._in_progress(f"order {_name(order)} is {order.raw_status or order.status}")

    # --- what happened to the order ------------------------------------------------------------

    def _order_answered(self, attempt: Place, order: Order) -> Judgement:
        self._note_placement(attempt)
        if order.is_placed:
            return self._renewed(order, Outcome.RENEWED)
        if order.status in MOVING_STATUSES:
            return self._in_progress(f"order {_name(order)} is {order.raw_status or order.status}")
        return self._failed(classify_order(order, self.renewal.terms))

    def _placement_refused(self, attempt: Place, error: CommerceLayerError, order: Order | None) -> Judgement:
        if order is not None and order.is_placed:
            self._note_placement(attempt)
            return self._renewed(order, Outcome.RENEWED)
        failure = classify_error(error, self.renewal.terms)
        if not failure.attempted:
            self._note_copy(attempt.copy)
            return self._not_attempted(error, failure)
        self._note_placement(attempt)
        if order is not None and order.status in MOVING_STATUSES:
            return self._in_progress(f"order {_name(order)} is {order.raw_status or order.status}")
        if isinstance(error, WriteFateUnknown):
            return self._unconfirmed(f"the answer to placing order {attempt.order.id} was lost", failure)
        if order is not None and order.status is OrderStatus.CANCELLED:
            return self._failed(classify_order(order, self.renewal.terms))
        return self._failed(failure)

    def _not_placed(self, attempt: Place, error: CommerceLayerError) -> Judgement:
        self._note_copy(attempt.copy)
        return self._not_attempted(error, replace(classify_error(error, self.renewal.terms), attempted=False))

    def _note_placement(self, attempt: Place) -> None:
        self._note_copy(attempt.copy)
        self._set(attempt=attempt.attempt, target_order_id=attempt.order.id)

    # --- what happened to the request ----------------------------------------------------------

    def _not_created(self, error: CommerceLayerError) -> Judgement:
        failure = classify_error(error, self.renewal.terms)
        if not failure.attempted or isinstance(error, WriteFateUnknown):
            return self._not_attempted(error, failure)
        self._set(attempt=self.state.attempt + 1)
        return self._failed(failure)

    def _not_attempted(self, error: CommerceLayerError, failure: Failure) -> Judgement:
        """Nothing reached this renewal: it stays as it was, and due."""
        self._complain(failure)
        if isinstance(error, AccessDenied):
            # Every renewal of the sweep meets this. It is not this subscription that is wrong, so
            # it is not held: it goes on by itself once the credentials are right.
            sentence = f"nothing was charged, the shop refuses us: {failure.text}"
            verdict = self._verdict(Outcome.NEEDS_ATTENTION, sentence, failure=failure, needs_person=True)
            return self._as_it_stood(verdict)
        sentence = f"nothing was charged ({failure.text}); the next sweep tries again"
        return self._as_it_stood(self._verdict(Outcome.RETRY_SCHEDULED, sentence, failure=failure))

    def _as_it_stood(self, verdict: Judgement) -> Judgement:
        """The verdict, but the period's recorded outcome unchanged: the next act depends on what happened last."""
        before = {"outcome": self.renewal.state.outcome}
        return replace(verdict, state=verdict.state.model_copy(update=before))

    def _held_back(self, hold: Hold) -> Judgement:
        if hold.reason is HoldReason.ATTEMPT_LIMIT:
            self._set(next_attempt_at=hold.until)
            return self._verdict(Outcome.RETRY_SCHEDULED, hold.sentence, hold=hold)
        self._complain(Failure(FailureClass.UNKNOWN, hold.sentence))
        missing = hold.reason is HoldReason.COPY_MISSING
        self._set(held=not missing, next_attempt_at=None)
        verdict = self._verdict(Outcome.NEEDS_ATTENTION, hold.sentence, hold=hold, needs_person=True)
        # A copy that is found again goes on from where it was, without anybody's help.
        return self._as_it_stood(verdict) if missing else verdict

    # --- verdicts ------------------------------------------------------------------------------

    def _renewed(self, order: Order, outcome: Outcome, how: str = "") -> Judgement:
        self._set(error_class=None, error=None, held=False, target_order_id=order.id, payment_source_id=None)
        by_whom = " by an earlier run" if outcome is Outcome.ALREADY_RENEWED else ""
        return self._settled(outcome, f"renewed{by_whom} as order {_name(order)}{how}", placed_at=order.placed_at)

    def _in_progress(self, sentence: str) -> Judgement:
        since = self.renewal.state.under_way_since or self.as_of
        self._set(next_attempt_at=None, under_way_since=since)
        verdict = self._verdict(Outcome.IN_PROGRESS, f"{sentence}; the next sweep picks it up")
        if self.as_of - since < self.renewal.terms.stuck_after_delay:
            return verdict
        # Recorded as it is: once it ends, it goes on without anybody's help.
        told = f"{sentence} since {in_words(since, self.renewal.zone)}: look at it; nothing is created until it ends"
        return replace(verdict, outcome=Outcome.NEEDS_ATTENTION, sentence=told, needs_person=True)

    def _unconfirmed(self, sentence: str, failure: Failure | None = None) -> Judgement:
        self._complain(failure or Failure(FailureClass.TRANSIENT, sentence))
        self._set(next_attempt_at=None)
        sentence = f"{sentence}; the next sweep looks again before anything is sent"
        return self._verdict(Outcome.UNCONFIRMED, sentence, failure=failure)

    def _failed(self, failure: Failure) -> Judgement:
        """One attempt failed for good: another one later, a person, or the policy's final action."""
        self._complain(failure)
        self._note_failed_attempt(failure)
        if failure.permanent:
            self._set(held=True, next_attempt_at=None)
            sentence = f"{failure.in_short}; not retried; {_HELD}"
            return self._verdict(Outcome.NEEDS_ATTENTION, sentence, failure=failure, needs_person=True)
        terms, failed = self.renewal.terms, self.state.failures[failure.cls]
        following = next_attempt(terms, failure.cls, failed, self.state.attempts, self.as_of)
        if following is None:
            return self._exhausted(failure)
        self._set(next_attempt_at=following)
        total = len(terms.retry_delays(failure.cls)) + 1
        when = in_words(following, self.renewal.zone)
        sentence = f"{failure.in_short}; next attempt {when}; {failed + 1} of {total}"
        return self._verdict(Outcome.RETRY_SCHEDULED, sentence, failure=failure)

    def _note_failed_attempt(self, failure: Failure) -> None:
        before = self.state.failures
        self._set(
            failures={**before, failure.cls.value: before.get(failure.cls, 0) + 1},
            payment_source_id=self.renewal.payment_source_id,
        )
        if failure.cls in ON_THE_CARD and self._may_have_reached_the_card():
            self._set(attempts=[*self.state.attempts, self.as_of])

    def _may_have_reached_the_card(self) -> bool:
        match self.evidence:
            case CopyEnded(copy):
                # Only a copy of version 0.1 places its order itself.
                return copy.place_target_order and not self._was_announced
            case OrderAnswered() | PlacementRefused():
                return True
        return False

    def _exhausted(self, failure: Failure) -> Judgement:
        action = self.renewal.terms.final_action_for(failure.cls)
        count = f"{self.state.attempt} attempt{'s' if self.state.attempt != 1 else ''}"
        said = f"{failure.in_short}; retries used up after {count}"
        self._set(next_attempt_at=None, final_action=action.value)
        if action is FinalAction.SKIP_PERIOD:
            settled = self._settled(Outcome.EXHAUSTED, f"{said}; this period is skipped", failure)
            return replace(settled, final_action=action)
        # Held also when it is cancelled: should somebody revive the subscription, nothing is tried again behind
        # the merchant's back.
        self._set(held=True)
        cancelled = action is FinalAction.CANCEL
        sentence = f"{said}; {'the subscription is cancelled' if cancelled else _HELD}"
        verdict = self._verdict(Outcome.EXHAUSTED, sentence, failure=failure, needs_person=not cancelled)
        return replace(verdict, final_action=action)

    def _settled(
        self, outcome: Outcome, sentence: str, failure: Failure | None = None, placed_at: datetime | None = None
    ) -> Judgement:
        settlement = self.renewal.settlement(self.state, self.as_of, placed_at)
        sentence = f"{sentence}; {self._what_comes_next(settlement)}"
        verdict = self._verdict(outcome, sentence, failure=failure, settlement=settlement)
        return replace(verdict, placed_at=placed_at)

    def _what_comes_next(self, settlement: Settlement) -> str:
        following, ends = settlement.next_run_at, self.renewal.expires_at
        if following is None:
            return "the next period is due already"
        if ends is not None and following >= ends:
            return f"it was the last one before it expires on {in_words(ends, self.renewal.zone)}"
        return f"next on {in_words(following, self.renewal.zone)}"

    def _verdict(
        self, outcome: Outcome, sentence: str, *, failure: Failure | None = None, settlement: Settlement | None = None,
        hold: Hold | None = None, needs_person: bool = False,
    ) -> Judgement:  # fmt: skip
        state, next_run_at = settlement or Settlement(self.state, None)
        return Judgement(
            renewal=self.renewal, outcome=outcome, sentence=sentence, failure=failure, hold=hold,
            state=state.model_copy(update={"outcome": outcome.value}), next_run_at=next_run_at, happened=self.as_of,
            needs_person=needs_person,
        )  # fmt: skip

    def _complain(self, failure: Failure) -> None:
        self._set(error_class=failure.cls.value, error=failure.text[:ERROR_LENGTH])

    def _set(self, **changes: object) -> None:
        self.state = self.state.model_copy(update=changes)


def _name(order: Order) -> str:
    return f"#{order.number}" if order.number else order.id
