"""An earlier prediction, as it is kept, and what became of it: the error in amount, failures and time."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import pairwise
from typing import Any, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict

from blocks.commerce_layer.resources import Order, OrderCopy, OrderSubscription
from flows.rules.amounts import amount_cell
from flows.rules.copy_periods import period_of
from flows.rules.order_copies import is_placed
from flows.rules.outside_text import markdown
from flows.rules.predictions import Expected, Prediction, recorded_failure
from flows.rules.preflight import ROWS_SHOWN, Preflight, cents_of, in_words
from flows.rules.preflight_limits import range_in_words
from flows.rules.references import reference_of
from flows.rules.skips import pause_refusal, status_refusal
from flows.rules.state import RenewalState

KEPT = 10_000
"""How many renewals of a prediction are kept and compared: about a megabyte, and 400 list calls at the most."""

AT_WORK = timedelta(minutes=5)
"""Two orders that were placed no further apart than this were placed by sweeps at work; longer gaps are pauses."""


class Kept(BaseModel):
    """One renewal of a prediction that was kept."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    reference: str
    """The renewal's reference."""
    expected: Expected
    """How it was expected to end."""
    cents: int | None = None
    """What it was expected to cost."""
    currency: str | None = None
    """ISO 4217."""


class KeptPrediction(BaseModel):
    """What a preflight predicted, as it is kept until its span has passed."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    as_of: AwareDatetime
    """When it was made, UTC."""
    until: AwareDatetime
    """It is about the renewals before this instant, UTC."""
    seconds: tuple[int, int] | None = None
    """The shortest and the longest time that sweeps were expected to be at work; None without a rate limit."""
    renewals: tuple[Kept, ...]
    """At most 10,000 renewals."""
    left_out: int = 0
    """How many more there were."""
    compared: str | None = None
    """The flow run whose prediction was compared in the same run; None when none was."""
    flow_run_id: str = ""
    """The flow run that made it."""

    @classmethod
    def of(cls, preflight: Preflight, flow_run_id: str, compared: str | None) -> Self:
        """The prediction to keep."""
        renewals = [_kept(each, each.reference) for each in preflight.predictions if each.reference is not None]
        return cls(
            as_of=preflight.as_of, until=preflight.until, seconds=preflight.time.seconds,
            renewals=tuple(renewals[:KEPT]), left_out=max(0, len(renewals) - KEPT), compared=compared,
            flow_run_id=flow_run_id,
        )  # fmt: skip

    @property
    def references(self) -> list[str]:
        """The references of its renewals."""
        return [each.reference for each in self.renewals]


def _kept(prediction: Prediction, reference: str) -> Kept:
    return Kept(reference=reference, expected=prediction.expected, cents=prediction.cents, currency=prediction.currency)


@dataclass(frozen=True, slots=True)
class Difference:
    """One renewal that ended otherwise than predicted."""

    reference: str
    predicted: str
    happened: str
    why: str = ""


@dataclass(frozen=True, slots=True)
class Happened:
    """
    What became of an earlier prediction.

    `placed` are the orders of its renewals by reference, and `unforeseen` the orders that were placed in its span for
    other renewals. `why` says, by reference, why renewals were not made, as far as it is known.
    """

    prediction: KeptPrediction
    placed: Mapping[str, Order]
    unforeseen: Mapping[str, Order]
    why: Mapping[str, str] = field(default_factory=dict)

    @property
    def missed(self) -> list[Kept]:
        """Renewals that were expected to succeed and have no placed order."""
        return [
            each
            for each in self.prediction.renewals
            if each.expected is Expected.RENEWED and each.reference not in self.placed
        ]

    @property
    def sentence(self) -> str:
        """`predicted 9 renewed and 1 not, 90.00 EUR in 5 to 95 s; happened: 8 renewed and 2 not, 80.00 EUR in 12 s`."""
        expected = [each for each in self.prediction.renewals if each.expected is Expected.RENEWED]
        failed = sum(each.expected is not Expected.RENEWED for each in self.prediction.renewals)
        before = f"predicted {_counted(len(expected), failed)}, {in_words(cents_of(map(_price, expected)))}"
        orders = [*self.placed.values(), *self.unforeseen.values()]
        not_made = len(self.prediction.renewals) - len(self.placed)
        after = f"happened: {_counted(len(orders), not_made)}, {in_words(self.cents)}"
        if self.prediction.seconds is not None:
            before += f" in {range_in_words(self.prediction.seconds)}"
            after += f" in {self.seconds} s"
        if self.prediction.left_out:
            before += f" (and {self.prediction.left_out} more, which were not kept)"
        return f"{before}; {after}{self._error()}"

    def _error(self) -> str:
        error = Counter(self.cents)
        error.subtract(cents_of(_price(each) for each in self.prediction.renewals if each.expected is Expected.RENEWED))
        wrong = {currency: cents for currency, cents in error.items() if cents}
        if not (wrong or self.differences):
            return "; all as predicted"
        amounts = " and ".join(
            f"{'+' if cents > 0 else ''}{amount_cell(cents, name)}" for name, cents in sorted(wrong.items())
        )
        return f"; {len(self.differences)} otherwise than predicted, {amounts or 'for the same amount'}"

    @property
    def cents(self) -> Counter[str]:
        """What was charged: cents by currency."""
        orders = (*self.placed.values(), *self.unforeseen.values())
        return cents_of((each.total_amount_with_taxes_cents, each.currency_code) for each in orders)

    @property
    def seconds(self) -> int:
        """How long orders were being placed in all, without the pauses between sweeps."""
        orders = (*self.placed.values(), *self.unforeseen.values())
        moments = sorted(each.placed_at for each in orders if each.placed_at is not None)
        gaps = (later - earlier for earlier, later in pairwise(moments))
        return round(sum((gap for gap in gaps if gap <= AT_WORK), timedelta()).total_seconds())

    @property
    def differences(self) -> list[Difference]:
        """The renewals that ended otherwise than predicted: what was missed first."""
        missed = [
            Difference(each.reference, _said(each), "not renewed", self.why.get(each.reference, ""))
            for each in self.missed
        ]
        renewed = [
            Difference(each.reference, _said(each), _paid(self.placed[each.reference]))
            for each in self.prediction.renewals
            if each.reference in self.placed and not self._is_as_predicted(each)
        ]
        new = [Difference(reference, "", _paid(order)) for reference, order in self.unforeseen.items()]
        return [*missed, *renewed, *new]

    def _is_as_predicted(self, kept: Kept) -> bool:
        order = self.placed[kept.reference]
        charged = (order.total_amount_with_taxes_cents, order.currency_code)
        return kept.expected is Expected.RENEWED and charged == (kept.cents, kept.currency)

    @property
    def facts(self) -> dict[str, Any]:
        """What happened, as plain data that JSON can hold."""
        return {
            "as_of": self.prediction.as_of.isoformat(),
            "until": self.prediction.until.isoformat(),
            "sentence": self.sentence,
            "renewed": len(self.placed) + len(self.unforeseen),
            "cents": dict(self.cents),
            "seconds": self.seconds,
            "missed": len(self.missed),
            "differences": len(self.differences),
        }

    @property
    def table_rows(self) -> list[dict[str, str]]:
        """Rows for an artifact; texts from outside are escaped."""
        return [
            {
                "renewal": markdown(each.reference),
                "predicted": markdown(each.predicted),
                "happened": markdown(each.happened),
                "why": markdown(each.why),
            }
            for each in self.differences[:ROWS_SHOWN]
        ]


def orders_by_reference(copies: Iterable[OrderCopy]) -> dict[str, Order]:
    """The placed orders of these copies, by the reference of their renewals."""
    placed = ((period_of(copy), copy.target_order) for copy in copies if is_placed(copy))
    return {reference_of(*period): order for period, order in placed if period is not None and order is not None}


def why_not_renewed(subscription: OrderSubscription | None) -> str:
    """Why a renewal that was expected to succeed was not made, as its subscription says now."""
    if subscription is None:
        return "the subscription does not exist any more"
    state = RenewalState.read(subscription.metadata)
    if (refusal := status_refusal(subscription) or pause_refusal(state or RenewalState())) is not None:
        return refusal[1]
    if state is not None and state.is_unsettled and state.error:
        return recorded_failure(state)[1]
    return "no attempt is recorded"


def was_foreseeable(order: Order, prediction: KeptPrediction) -> bool:
    """
    Whether an order was placed in the span of the prediction, which therefore should have known it.

    Where renewals were left out, nobody can tell.
    """
    return (
        not prediction.left_out
        and order.placed_at is not None
        and prediction.as_of <= order.placed_at < prediction.until
    )


def _counted(renewed: int, others: int) -> str:
    return f"{renewed:,} renewed and {others:,} not"


def _price(kept: Kept) -> tuple[int | None, str | None]:
    return kept.cents, kept.currency


def _said(kept: Kept) -> str:
    return f"{kept.expected.value} {amount_cell(kept.cents, kept.currency)}".strip()


def _paid(order: Order) -> str:
    return f"renewed {amount_cell(order.total_amount_with_taxes_cents, order.currency_code)}".strip()
