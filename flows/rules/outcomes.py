"""
The result of a renewal: it turns what was tried, and how that ended, into what is recorded.

Only `result_of` decides whether a customer was charged. What it does not recognise stays open: it never becomes a
success, and never a reason for a second copy.
"""

from dataclasses import replace
from datetime import datetime

from blocks.commerce_layer.errors import AccessDenied, CommerceLayerError, WriteFateUnknown
from blocks.commerce_layer.resources import Order, OrderCopy
from blocks.commerce_layer.statuses import OrderStatus
from blocks.policy import FailureClass
from flows.rules.cards import is_confirmed, paid_at_checkout
from flows.rules.failures import Failure, classify_copy, classify_error, classify_order
from flows.rules.findings import (
    CopyEnded,
    Finding,
    HeldBack,
    NotCreated,
    NotPlaced,
    OrderAnswered,
    PlacementRefused,
    StillRunning,
    times_in,
)  # fmt: skip
from flows.rules.next_action import Hold, HoldReason, Place
from flows.rules.order_copies import FAILED_STATUSES, is_moving, is_refused
from flows.rules.renewal import Renewal
from flows.rules.result_builder import ResultBuilder
from flows.rules.results import RenewalResult
from flows.rules.state import FAILED_BEFORE, Outcome
from flows.rules.zones import in_words


def result_of(renewal: Renewal, finding: Finding, as_of: datetime, flow_run_id: str | None = None) -> RenewalResult:
    """
    The result of a renewal that ended with `finding`; `flow_run_id` is recorded as the run that wrote it.

    `as_of` is when it happened: the present, not the instant up to which everything was due. In a late run the two are
    days apart, and waits counted from the past would be over at once. If the finding has a later time of the shop, that
    one is used.
    """
    happened = max(as_of, *times_in(finding))
    return _FromFinding(renewal, finding, happened, flow_run_id).result_of()


class _FromFinding(ResultBuilder):
    """Chooses the result by the finding."""

    def __init__(self, renewal: Renewal, finding: Finding, as_of: datetime, flow_run_id: str | None) -> None:
        may_have_charged, card = _may_have_charged(renewal, finding), _card_tried(renewal, finding)
        super().__init__(renewal, as_of, flow_run_id, may_have_charged=may_have_charged, card=card)
        self.finding = finding

    def result_of(self) -> RenewalResult:  # noqa: PLR0911 - one line for each kind of finding
        match self.finding:
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

    def _copy_ended(self, copy: OrderCopy) -> RenewalResult:
        self._note_copy(copy)
        order = copy.target_order
        if order is not None and order.is_placed:
            self._set(attempt=max(1, self.state.attempt))
            renewed = self._renewed(copy, order, *self._who_placed(copy))
            return self._noting_who_paid(renewed, copy, order)
        if not self._has_ended(copy):
            return self._running(copy)
        if not self._is_counted(copy):
            self._set(attempt=self.state.attempt + 1)
        if order is not None and (copy.status not in FAILED_STATUSES or is_refused(copy)):
            return self._failed(classify_order(order, self.renewal.policy))
        return self._failed(classify_copy(copy, self.renewal.policy))

    def _noting_who_paid(self, renewed: RenewalResult, copy: OrderCopy, order: Order) -> RenewalResult:
        state, card = self.renewal.state, self.renewal.payment_source_id
        return replace(renewed, paid_by_customer=order if paid_at_checkout(state, card, copy, order) else None)

    @staticmethod
    def _has_ended(copy: OrderCopy) -> bool:
        """Whether the copy, and its order if it has one, no longer change."""
        if copy.target_order is None:
            return copy.status in FAILED_STATUSES
        return copy.is_final and not is_moving(copy.target_order)

    def _is_counted(self, copy: OrderCopy) -> bool:
        """
        Whether the attempt to place the copy's order was counted when it was made, because its result was not known.
        """
        before = self.renewal.state
        if before.outcome is Outcome.PLACING:
            return before.order_copy_id in {None, copy.id}
        # Version 0.1 counted the attempt when it created the copy.
        is_known = before.order_copy_id == copy.id and before.outcome in {Outcome.IN_PROGRESS, Outcome.UNCONFIRMED}
        return copy.place_target_order and is_known

    def _note_copy(self, copy: OrderCopy) -> None:
        target = copy.target_order_id or (copy.target_order.id if copy.target_order else None)
        known = self.state.target_order_id if self.state.order_copy_id == copy.id else None
        self._set(order_copy_id=copy.id, target_order_id=target or known)

    def _who_placed(self, copy: OrderCopy) -> tuple[Outcome, str]:
        before = self.renewal.state
        # After a failure, the customer or staff placed the order. If it was left under way, it is renewed now.
        # Otherwise a run renewed it and did not record that.
        if before.order_copy_id == copy.id and before.outcome in FAILED_BEFORE:
            return Outcome.RENEWED, ", which was placed since the last attempt"
        was_left_under_way = before.outcome is Outcome.IN_PROGRESS or before.under_way_since is not None
        return (Outcome.RENEWED if was_left_under_way else Outcome.ALREADY_RENEWED), ""

    def _running(self, copy: OrderCopy) -> RenewalResult:
        self._note_copy(copy)
        order, status = copy.target_order, copy.raw_status or copy.status
        is_tried = self.renewal.state.outcome is Outcome.PLACING and self._is_counted(copy)
        if not copy.is_final:
            return self._in_progress(f"order copy {copy.id} is still {status}", is_tried=is_tried)
        if order is None:
            return self._unconfirmed(f"order copy {copy.id} is {status}, but its order was not found")
        return self._in_progress(f"order {order.shown_number} is {order.raw_status or order.status}", is_tried=is_tried)

    # --- what happened to the order ------------------------------------------------------------

    def _order_answered(self, attempt: Place, order: Order) -> RenewalResult:
        self._note_placement(attempt)
        if order.is_placed:
            renewed = self._renewed(attempt.copy, order, Outcome.RENEWED)
            return self._noting_who_paid(renewed, attempt.copy, order) if is_confirmed(attempt.order) else renewed
        if is_moving(order):
            return self._under_way(order)
        return self._failed(classify_order(order, self.renewal.policy))

    def _placement_refused(self, attempt: Place, error: CommerceLayerError, order: Order | None) -> RenewalResult:
        if order is not None and order.is_placed:
            self._note_placement(attempt)
            return self._renewed(attempt.copy, order, Outcome.RENEWED)
        failure = classify_error(error, self.renewal.policy)
        if not failure.attempted:
            self._note_copy(attempt.copy)
            return self._not_attempted(error, failure)
        self._note_placement(attempt)
        if order is not None and is_moving(order):
            return self._under_way(order)
        if isinstance(error, WriteFateUnknown):
            self._note_charge()
            return self._unconfirmed(f"the answer to placing order {attempt.order.id} was lost", failure)
        if order is not None and order.status is OrderStatus.CANCELLED:
            return self._failed(classify_order(order, self.renewal.policy))
        return self._failed(failure)

    def _under_way(self, order: Order) -> RenewalResult:
        """The attempt was made, and its result is not known yet. If it fails, it must not be repeated at once."""
        self._note_charge()
        return self._in_progress(f"order {order.shown_number} is {order.raw_status or order.status}", is_tried=True)

    def _not_placed(self, attempt: Place, error: CommerceLayerError) -> RenewalResult:
        self._note_copy(attempt.copy)
        return self._not_attempted(error, replace(classify_error(error, self.renewal.policy), attempted=False))

    def _note_placement(self, attempt: Place) -> None:
        self._note_copy(attempt.copy)
        self._set(attempt=attempt.attempt)
        if is_confirmed(attempt.order):
            self._set(confirmed_order_id=attempt.order.id)

    # --- what happened to the request ----------------------------------------------------------

    def _not_created(self, error: CommerceLayerError) -> RenewalResult:
        failure = classify_error(error, self.renewal.policy)
        if not failure.attempted or isinstance(error, WriteFateUnknown):
            # A copy charges nothing, whether it was created or not.
            return self._not_attempted(error, replace(failure, attempted=False))
        self._set(attempt=self.state.attempt + 1)
        return self._failed(failure)

    def _not_attempted(self, error: CommerceLayerError, failure: Failure) -> RenewalResult:
        """No request reached this renewal: it stays as it was, and due."""
        self._complain(failure)
        if isinstance(error, AccessDenied):
            # This happens to every renewal of the sweep. This subscription is not the cause, so it is not held: it goes
            # on by itself once the credentials are right.
            what = f"nothing was charged, the shop refuses us: {failure.text}"
            result = self._result(Outcome.NEEDS_ATTENTION, what, failure=failure, needs_person=True)
            return self._as_it_stood(result)
        what, then = f"nothing was charged ({failure.text})", "the next sweep tries again"
        stays = self._as_it_stood(self._result(Outcome.RETRY_SCHEDULED, what, then, failure=failure))
        return self._unsettled(stays)

    def _as_it_stood(self, result: RenewalResult) -> RenewalResult:
        """The result, but with the period's recorded outcome: what is done next depends on what happened last."""
        before = {"outcome": self.renewal.state.outcome}
        return replace(result, state=result.state.model_copy(update=before))

    def _held_back(self, hold: Hold) -> RenewalResult:
        if hold.reason is HoldReason.ATTEMPT_LIMIT:
            self._set(payment_source_id=self._card)  # recorded, so that another card does not wait like this one
        if hold.reason is HoldReason.FAILED_BEFORE:
            return self._failed_before(hold)
        if hold.until is not None:
            self._set(next_attempt_at=hold.until)
            return self._result(Outcome.RETRY_SCHEDULED, hold.sentence, hold=hold)
        if hold.reason is HoldReason.PRICE:
            return self._held_for_its_price(hold)
        self._complain(Failure(FailureClass.UNKNOWN, hold.sentence))
        missing = hold.reason is HoldReason.COPY_MISSING
        self._set(held=not missing, next_attempt_at=None)
        result = self._result(Outcome.NEEDS_ATTENTION, hold.sentence, hold=hold, needs_person=True)
        # When the copy is found again, the renewal goes on by itself.
        return self._as_it_stood(result) if missing else result

    def _failed_before(self, hold: Hold) -> RenewalResult:
        """What would have been recorded of the attempts that are missing in the state; see `overwritten`."""
        cls = FailureClass(self.state.error_class or FailureClass.UNKNOWN)
        failure = Failure(cls, self.state.error or hold.sentence, attempted=False)
        what = f"{failure.in_short} ({hold.sentence})"
        if hold.until is not None:
            when = in_words(hold.until, self.renewal.zone)
            return self._result(Outcome.RETRY_SCHEDULED, what, f"next attempt {when}", hold=hold)
        if self.state.outcome is Outcome.EXHAUSTED:
            self._set(held=False)  # as the policy says
            result = self._exhausted(failure)
            return replace(result, what=f"{result.what} ({hold.sentence})")
        then = "held for a person: release it to go on"
        return self._result(Outcome.NEEDS_ATTENTION, f"{what}; not retried", then, hold=hold, needs_person=True)

    def _held_for_its_price(self, hold: Hold) -> RenewalResult:
        # It also counts for the brake as a catalogue failure: if all prices are wrong, the sweep stops after a few.
        failure = Failure(FailureClass.CATALOGUE, hold.sentence, permanent=True, attempted=False)
        if hold.copy is not None:
            self._note_copy(hold.copy)
        self._complain(failure)
        self._set(held=True, next_attempt_at=None, price_to_accept=hold.price)
        return self._result(Outcome.NEEDS_ATTENTION, hold.sentence, failure=failure, hold=hold, needs_person=True)


def _may_have_charged(renewal: Renewal, finding: Finding) -> bool:
    """Whether the renewal may have reached the card: card networks count that."""
    match finding:
        case CopyEnded(copy):
            # Only a copy of version 0.1 places its order itself.
            return copy.place_target_order and renewal.state.outcome is not Outcome.PLACING
        case PlacementRefused(is_sent=is_sent):
            return is_sent
        case OrderAnswered():
            return True
    return False


def _card_tried(renewal: Renewal, finding: Finding) -> str | None:
    """The card that an attempt was made with, if that is known; else the subscription's card."""
    charged: str | None = None
    match finding:
        case OrderAnswered(attempt) | PlacementRefused(attempt):
            charged = attempt.card
        case CopyEnded() if renewal.state.outcome is Outcome.PLACING and renewal.state.attempts:
            charged = renewal.state.card_of(max(renewal.state.attempts))  # it was announced
    return charged or renewal.payment_source_id
