"""The possible results of a renewal: each sets the state to record, and says why in a sentence."""

from dataclasses import replace
from datetime import datetime

from blocks.commerce_layer.resources import Order, OrderCopy
from blocks.policy import FailureClass, FinalAction
from flows.rules.cards import charges_on
from flows.rules.failures import Failure
from flows.rules.next_action import Hold
from flows.rules.price import Price, difference, expected_price
from flows.rules.renewal import Renewal, Settlement
from flows.rules.results import RenewalResult
from flows.rules.retries import ON_THE_CARD, next_attempt
from flows.rules.state import ERROR_LENGTH, Outcome
from flows.rules.zones import in_words

_HELD = "held for a person: release it to go on"


class ResultBuilder:
    """What all results of one renewal share: the renewal, the present, and the state so far."""

    def __init__(
        self, renewal: Renewal, as_of: datetime, flow_run_id: str | None, *, may_have_charged: bool, card: str | None
    ) -> None:
        self.renewal, self.as_of, self._may_have_charged, self._card = renewal, as_of, may_have_charged, card
        charges = renewal.state.attempts_until(as_of)
        news: dict[str, object] = {"period": renewal.due, "flow_run_id": flow_run_id, "attempts": charges}
        cards = renewal.state.cards_until(as_of)
        news |= {"attempt_cards": cards, "under_way_since": None, "unsettled_since": None, "final_action": None}
        self.state = renewal.state.model_copy(update=news)

    def _renewed(self, copy: OrderCopy, order: Order, outcome: Outcome, how: str = "") -> RenewalResult:
        self._set(error_class=None, error=None, held=False, target_order_id=order.id, payment_source_id=None)
        price, last = Price.of(order), self.renewal.state.price
        cost = difference(price, expected_price(last, copy.source_order))
        self._set(price=price if price.is_known else last, price_to_accept=None)
        placed_at = order.placed_at or order.approved_at or self.as_of
        self._set(last_period=self.renewal.due, last_placed_at=placed_at, last_order_id=order.id)
        by_whom = " by an earlier run" if outcome is Outcome.ALREADY_RENEWED else ""
        what = f"renewed{by_whom} as order {order.shown_number}{how}{cost}"
        return self._settled(outcome, what, placed_at=order.placed_at)

    def _in_progress(self, sentence: str, *, is_tried: bool) -> RenewalResult:
        """Copying or placing is under way. `is_tried`: an attempt to place the order was made already."""
        before = self.renewal.state
        since = before.under_way_since or before.unsettled_since or self.as_of
        self._set(next_attempt_at=None, under_way_since=since)
        result = self._result(Outcome.IN_PROGRESS, sentence, "the next sweep picks it up")
        if is_tried:
            result = replace(result, state=result.state.model_copy(update={"outcome": Outcome.PLACING}))
        if self.as_of - since < self.renewal.policy.stuck_after_delay:
            return result
        # Recorded as it is: when the copy or the placing ends, the renewal goes on by itself.
        told = f"{sentence} since {in_words(since, self.renewal.zone)}: look at it"
        then = "nothing is created until it ends"
        return replace(result, outcome=Outcome.NEEDS_ATTENTION, what=told, then=then, needs_person=True)

    def _unconfirmed(self, sentence: str, failure: Failure | None = None) -> RenewalResult:
        self._complain(failure or Failure(FailureClass.TRANSIENT, sentence))
        self._set(next_attempt_at=None)
        then = "the next sweep looks again before anything is sent"
        return self._unsettled(self._result(Outcome.UNCONFIRMED, sentence, then, failure=failure))

    def _unsettled(self, result: RenewalResult) -> RenewalResult:
        """The result of a period that stays as it was. After the policy's `stuck_after`, it needs a person."""
        before = self.renewal.state
        since = before.unsettled_since or before.under_way_since or self.as_of
        result = replace(result, state=result.state.model_copy(update={"unsettled_since": since}))
        if self.as_of - since < self.renewal.policy.stuck_after_delay:
            return result
        told = f"{result.what}, and so it has gone since {in_words(since, self.renewal.zone)}: look at it"
        return replace(result, outcome=Outcome.NEEDS_ATTENTION, what=told, needs_person=True)

    def _failed(self, failure: Failure) -> RenewalResult:
        """The attempt failed: another one follows later, or a person must act, or the policy's final action follows."""
        self._complain(failure)
        self._note_failed_attempt(failure)
        if failure.permanent:
            self._set(held=True, next_attempt_at=None)
            what = f"{failure.in_short}; not retried"
            return self._result(Outcome.NEEDS_ATTENTION, what, _HELD, failure=failure, needs_person=True)
        policy, failed = self.renewal.policy, self.state.failures[failure.cls]
        charges = charges_on(self.state, self._card, self.as_of)
        following = next_attempt(policy, failure.cls, failed, charges, self.as_of)
        if following is None:
            return self._exhausted(failure)
        self._set(next_attempt_at=following)
        total = len(policy.retry_delays(failure.cls)) + 1
        when = in_words(following, self.renewal.zone)
        then = f"next attempt {when}; {failed + 1} of {total}"
        return self._result(Outcome.RETRY_SCHEDULED, failure.in_short, then, failure=failure)

    def _note_failed_attempt(self, failure: Failure) -> None:
        before = self.state.failures
        self._set(
            failures={**before, failure.cls.value: before.get(failure.cls, 0) + 1},
            payment_source_id=self._card,
        )
        if failure.cls in ON_THE_CARD and self._may_have_charged:
            self._note_charge()

    def _note_charge(self) -> None:
        """One more charge that failed, or may fail, for the card networks' limits."""
        self._set(**self.state.counting(self.as_of, self._card))

    def _exhausted(self, failure: Failure) -> RenewalResult:
        action = self.renewal.policy.final_action_for(failure.cls)
        count = f"{self.state.attempt} attempt{'s' if self.state.attempt != 1 else ''}"
        said = f"{failure.in_short}; retries used up after {count}"
        self._set(next_attempt_at=None, final_action=action.value)
        if action is FinalAction.SKIP_PERIOD:
            settled = self._settled(Outcome.EXHAUSTED, f"{said}; this period is skipped", failure)
            return replace(settled, final_action=action)
        # Held also when it is cancelled: if staff reactivate the subscription, nothing is tried again before they
        # release it.
        self._set(held=True)
        cancelled = action is FinalAction.CANCEL
        then = "the subscription is cancelled" if cancelled else _HELD
        result = self._result(Outcome.EXHAUSTED, said, then, failure=failure, needs_person=not cancelled)
        return replace(result, final_action=action)

    def _settled(
        self, outcome: Outcome, what: str, failure: Failure | None = None, placed_at: datetime | None = None
    ) -> RenewalResult:
        settlement = self.renewal.settlement(self.state, self.as_of, placed_at)
        then = self._what_comes_next(settlement)
        result = self._result(outcome, what, then, failure=failure, settlement=settlement)
        return replace(result, placed_at=placed_at)

    def _what_comes_next(self, settlement: Settlement) -> str:
        following, ends = settlement.next_run_at, self.renewal.expires_at
        if following is None:
            return "the next period is due already"
        if ends is not None and following >= ends:
            return f"it was the last one before it expires on {in_words(ends, self.renewal.zone)}"
        return f"next on {in_words(following, self.renewal.zone)}"

    def _result(
        self, outcome: Outcome, what: str, then: str | None = None, *, failure: Failure | None = None,
        settlement: Settlement | None = None, hold: Hold | None = None, needs_person: bool = False,
    ) -> RenewalResult:  # fmt: skip
        state, next_run_at = settlement or Settlement(self.state, None)
        # No renewal of a held subscription is planned, so this hold is a new one.
        ended = {"outcome": outcome, "held_since": self.as_of if state.held else None}
        return RenewalResult(
            renewal=self.renewal, outcome=outcome, what=what, then=then, failure=failure, hold=hold,
            state=state.model_copy(update=ended), next_run_at=next_run_at, happened=self.as_of,
            needs_person=needs_person,
        )  # fmt: skip

    def _complain(self, failure: Failure) -> None:
        self._set(error_class=failure.cls.value, error=failure.text[:ERROR_LENGTH])

    def _set(self, **changes: object) -> None:
        self.state = self.state.model_copy(update=changes)
