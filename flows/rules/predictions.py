"""
What will become of one renewal that is not due yet, as far as the shop shows it.

The same rules decide as in a sweep: `next_action` what would be sent, `result_of` what a hold or a failed copy means,
`price_hold` whether the price may be charged. Only where there is no order yet, the source order and the card tell.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from pydantic import BaseModel, ConfigDict

from blocks.commerce_layer.resources import CustomerPaymentSource, Order, OrderCopy, OrderSubscription
from blocks.policy import FailureClass
from flows.rules.cards import another_card_of, card_to_set, failed_with_another, is_confirmed
from flows.rules.failure_summaries import in_short
from flows.rules.findings import CopyEnded, HeldBack
from flows.rules.next_action import Conclude, Create, Hold, Place, Wait, next_action
from flows.rules.order_copies import is_placed
from flows.rules.outcomes import result_of
from flows.rules.prepared_copies import has_failed_ahead, may_have_been_tried
from flows.rules.price import Price, difference, expected_price
from flows.rules.references import reference_of
from flows.rules.renewal import Renewal, Skipped
from flows.rules.state import Outcome, RenewalState
from flows.rules.still_wanted import price_hold

WRITES = 3
"""Writes of a renewal: the order copy (or, for one that exists, the announced attempt), the placement, the record."""

_PASSES_BY_ITSELF = frozenset({None, FailureClass.TRANSIENT.value})


class Expected(StrEnum):
    """How a renewal is expected to end."""

    RENEWED = "renewed"
    FAILED = "failed"
    NOT_CHARGED = "not charged"  # held, left alone, or beyond a cap: no attempt is made


class Prediction(BaseModel):
    """What is expected of one period of one subscription."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    subscription_id: str
    """The subscription's id."""
    reference: str | None = None
    """The renewal's reference; None when no period is known."""
    at: datetime
    """When a sweep works on it first, UTC."""
    expected: Expected
    """How it is expected to end."""
    sentence: str = ""
    """Why, in plain words; empty for a renewal about which there is nothing to say."""
    failure_class: str | None = None
    """Failure class, when it is expected to fail."""
    cents: int | None = None
    """What it costs with taxes, in the smallest unit of `currency`; None when that is not known."""
    currency: str | None = None
    """ISO 4217."""
    is_exact: bool = False
    """Whether the order exists already, so that the amount is its own and not that of an earlier one."""
    is_placed: bool = False
    """Whether the order is placed already, and only the record is missing."""
    customer_email: str | None = None
    """The customer's address."""
    needs_person: bool = False
    """Whether it stays like this until a person acts."""
    is_retry: bool = False
    """Whether an attempt was made before: the brake does not count retries."""
    is_beyond_caps: bool = False
    """Whether nothing but the caps of the policy stops it."""
    writes: int = 0
    """Requests that change something, which the sweep will send for it."""
    warnings: tuple[str, ...] = ()
    """What may surprise about its date or its card."""

    @property
    def price(self) -> Price:
        """What it costs."""
        return Price(cents=self.cents, currency=self.currency)


@dataclass(frozen=True, slots=True)
class Known:
    """What was read about a renewal besides its copies. `card` is the wallet's card that it would be paid with."""

    subscription: OrderSubscription
    source_order: Order | None
    is_source_gone: bool = False
    card: CustomerPaymentSource | None = None
    is_card_known: bool = True


def predict(renewal: Renewal, known: Known, at: datetime, warnings: tuple[str, ...] = ()) -> Prediction:
    """What a sweep at `at` (UTC) will make of this renewal, whose `found` are the copies of its period."""
    return _Predicting(renewal, known, at, warnings).prediction()


def left_alone(skipped: Skipped, at: datetime, email: str | None) -> Prediction:
    """The prediction for a subscription that a sweep at `at` (UTC) would leave alone."""
    return Prediction(
        subscription_id=skipped.subscription_id, at=at, expected=Expected.NOT_CHARGED, sentence=skipped.sentence,
        reference=reference_of(skipped.subscription_id, skipped.due) if skipped.due else None, customer_email=email,
        needs_person=skipped.reason.needs_person, writes=int(skipped.settlement is not None),
    )  # fmt: skip


def recorded_failure(state: RenewalState) -> tuple[FailureClass, str]:
    """Class of the failure that a state has recorded, and why in a few words."""
    cls = FailureClass(state.error_class) if state.error_class in set(FailureClass) else FailureClass.UNKNOWN
    return cls, in_short(cls, state.error or "")


def waiting_for(before: Prediction, following: Renewal, at: datetime) -> Prediction:
    """The prediction for a period that comes due while the one before it is not settled."""
    return Prediction(
        subscription_id=following.subscription_id, reference=following.reference, at=at, expected=Expected.NOT_CHARGED,
        sentence=f"it waits for {before.reference or 'the period before it'}", cents=before.cents,
        currency=before.currency, customer_email=following.customer_email,
    )  # fmt: skip


class _Predicting:
    """Chooses the prediction of one renewal by what a sweep would do next."""

    def __init__(self, renewal: Renewal, known: Known, at: datetime, warnings: tuple[str, ...]) -> None:
        self._renewal, self._known, self._at, self._warnings = renewal, known, at, warnings

    def prediction(self) -> Prediction:
        action = next_action(self._renewal, self._renewal.found, self._at)
        match action:
            case Hold():
                return self._held(action)
            case Conclude(copy):
                if is_placed(copy) and copy.target_order is not None:
                    order = copy.target_order
                    said = f"its order {order.shown_number} is placed already"
                    return self._as(Expected.RENEWED, said, Price.of(order), writes=1, is_exact=True, is_placed=True)
                return self._failed_copy(action)
            case Place(copy, order):
                hold = price_hold(self._renewal, action)
                return self._held(hold) if hold is not None else self._with_an_order(copy, order)
            case Create() if (ahead := self._failed_ahead()) is not None:
                return self._failed_copy(Conclude(ahead), writes=2)
            case Create() | Wait():
                return self._without_an_order()

    def _held(self, hold: Hold) -> Prediction:
        result = result_of(self._renewal, HeldBack(hold), self._at)
        price = hold.price or self._price()
        return self._as(
            Expected.NOT_CHARGED, hold.sentence, price, writes=1, is_exact=hold.price is not None,
            needs_person=result.needs_person,
        )  # fmt: skip

    def _failed_ahead(self) -> OrderCopy | None:
        """The newest copy that failed when it was made ahead: the one that is made when it is due will fail as well."""
        due, state = self._renewal.due, self._renewal.state
        failed = [copy for copy in self._renewal.found if has_failed_ahead(copy, due, state)]
        return max(failed, key=lambda copy: (copy.created_at is not None, copy.created_at, copy.id), default=None)

    def _failed_copy(self, action: Conclude, writes: int = 1) -> Prediction:
        result = result_of(self._renewal, CopyEnded(action.copy), self._at)
        cls = result.failure.cls if result.failure else FailureClass.UNKNOWN
        return self._failed(cls, f"{result.sentence} (its order copy exists)", self._price(), writes=writes)

    def _with_an_order(self, copy: OrderCopy, order: Order) -> Prediction:
        price, writes = Price.of(order), self._writes(order)
        if not may_have_been_tried(copy, order, self._renewal.due, self._renewal.state):
            writes -= 1  # it was prepared, and its first attempt is not announced
        if is_confirmed(order):
            return self._as(Expected.RENEWED, "its customer has confirmed the payment", price, is_exact=True)
        risk = self._last_failure() or self._risk_of_card(order, price)
        if risk is not None:
            return self._failed(*risk, price, is_exact=True, writes=writes)
        expected = expected_price(self._renewal.state.price, self._known.source_order)
        other = difference(price, expected).removeprefix(", ")
        return self._as(Expected.RENEWED, other, price, is_exact=True, writes=writes)

    def _without_an_order(self) -> Prediction:
        source, price = self._known.source_order, self._price()
        if self._known.is_source_gone:
            said = f"the source order {self._renewal.source_order_id} does not exist any more"
            return self._failed(FailureClass.CATALOGUE, said, price, writes=WRITES - 1)
        risk = self._last_failure() or (self._risk_of_card(source, price) if source else None)
        if risk is not None:
            return self._failed(*risk, price, writes=self._writes(source))
        return self._as(Expected.RENEWED, "", price, writes=self._writes(source))

    # --- why it may fail -----------------------------------------------------------------------

    def _last_failure(self) -> tuple[FailureClass, str] | None:
        """A retry fails as the attempt before it did, if that does not pass by itself and nothing was changed since."""
        state = self._renewal.state
        if state.outcome is not Outcome.RETRY_SCHEDULED or state.error_class in _PASSES_BY_ITSELF:
            return None
        if failed_with_another(self._renewal.payment_source_id, state):
            return None
        cls, why = recorded_failure(state)
        return cls, f"attempt {state.attempt + 1}, and the last one failed: {why}"

    def _risk_of_card(self, order: Order, price: Price) -> tuple[FailureClass, str] | None:
        """Why the payment will fail, by the card that an order like this one is paid with."""
        if not self._renewal.policy.reuse_wallet or price.cents == 0:
            return None
        card, known = self._known.card, self._known
        has_none = known.subscription.customer_payment_source_id is None and order.payment_source_id is None
        if has_none or (known.is_card_known and card is None):
            return FailureClass.PAYMENT, "no payment source in the customer's wallet"
        if card is not None and card.valid_until is not None and card.valid_until <= self._at:
            last = card.valid_until - timedelta(days=1)
            return FailureClass.PAYMENT, f"its card expires at the end of {last:%Y-%m}, before it is charged"
        return None

    # --- the prediction ------------------------------------------------------------------------

    def _price(self) -> Price:
        expected = expected_price(self._renewal.state.price, self._known.source_order)
        return expected or Price(cents=None, currency=None)

    def _writes(self, order: Order | None) -> int:
        sets_card = order and card_to_set(self._renewal.policy, self._known.subscription, order)
        return WRITES + bool(sets_card)

    def _failed(
        self, cls: FailureClass, sentence: str, price: Price, *, writes: int, is_exact: bool = False
    ) -> Prediction:
        made = self._as(Expected.FAILED, sentence, price, writes=writes, is_exact=is_exact)
        return made.model_copy(update={"failure_class": cls.value})

    def _as(
        self, expected: Expected, sentence: str, price: Price, *, writes: int = WRITES, is_exact: bool = False,
        is_placed: bool = False, needs_person: bool = False,
    ) -> Prediction:  # fmt: skip
        return Prediction(
            subscription_id=self._renewal.subscription_id, reference=self._renewal.reference, at=self._at,
            expected=expected, sentence=sentence, cents=price.cents, currency=price.currency, is_exact=is_exact,
            is_placed=is_placed, is_retry=self._renewal.state.attempt > 0, needs_person=needs_person, writes=writes,
            customer_email=self._renewal.customer_email,
            warnings=(*self._warnings, *self._renewal.warnings, *self._other_card()),
        )  # fmt: skip

    def _other_card(self) -> tuple[str, ...]:
        source = self._known.source_order
        if source is None or another_card_of(source, self._known.card) is None:
            return ()
        return ("its card is another one than its source order's: it is set on the order before that is placed",)
