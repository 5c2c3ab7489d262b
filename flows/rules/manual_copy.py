"""
One order copy that a person asks for. It has no subscription, no calendar and no retries, but is charged only once.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from blocks.commerce_layer.errors import WriteFateUnknown
from blocks.commerce_layer.resources import Order, OrderCopy
from blocks.commerce_layer.statuses import OrderCopyStatus, OrderStatus
from blocks.policy import Policy
from flows.rules.failures import Failure, classify_copy, classify_error, classify_order
from flows.rules.findings import (
    CopyEnded,
    Finding,
    HeldBack,
    LeftAlone,
    NotCreated,
    NotPlaced,
    OrderAnswered,
    PlacementRefused,
    StillRunning,
)
from flows.rules.next_action import Conclude, Create, Hold, Place, Wait, decided_already
from flows.rules.order_copies import FAILED_STATUSES, CopiesOfPeriod, is_moving
from flows.rules.references import parse_reference


class ReferenceTaken(ValueError):  # noqa: N818 - the name says what happened
    """The requested reference cannot be used for this order."""


@dataclass(frozen=True, slots=True)
class ManualCopy:
    """
    What a person asked for: the order to copy, the reference, and whether to place the new order.

    `options` are those of the order copy, such as `reuse_wallet`.
    """

    source_order_id: str
    reference: str
    place: bool = True
    options: Mapping[str, bool] = field(default_factory=dict)
    found: tuple[OrderCopy, ...] = ()
    """The order copies with this reference at the first look."""
    besides_renewal: bool = False
    """Whether a person wants it in addition to the renewal of the same period: then no sweep waits because of it."""

    def __post_init__(self) -> None:
        renewal = parse_reference(self.reference)
        if renewal is not None:
            raise ReferenceTaken(
                f"{self.reference!r} is the reference of a renewal. To renew subscription {renewal.subscription_id} by "
                "hand, run renew-subscriptions with that subscription in its field `subscriptions`."
            )

    def refuse_if_taken(self, found: Sequence[OrderCopy]) -> None:
        """Raises ReferenceTaken when a copy of another order has this reference."""
        others = [copy for copy in found if copy.source_order_id not in {None, self.source_order_id}]
        if others:
            raise ReferenceTaken(
                f"reference {self.reference!r} belongs to order copy {others[0].id} of order "
                f"{others[0].source_order_id}; choose another one for order {self.source_order_id}"
            )

    def next_action(self, found: Sequence[OrderCopy]) -> Create | Wait | Place | Conclude | Hold:
        """What to do next, given the copies with this reference as just read."""
        copies = CopiesOfPeriod.of(found)
        if (decided := decided_already(copies)) is not None:
            return decided
        if not copies.live:
            return self._after(copies.ended)
        return Conclude(copies.refused[-1]) if copies.refused else self._go_on_with(copies.live[0])

    def _go_on_with(self, copy: OrderCopy) -> Wait | Place | Conclude:
        order = copy.target_order
        if not copy.is_final or order is None or is_moving(order):
            return Wait(copy)
        return Place(copy, order, 1) if self.place else Conclude(copy)

    def _after(self, ended: Sequence[OrderCopy]) -> Create | Conclude:
        """A failed copy is made again when a person asks again. A cancelled order stays cancelled."""
        known = {copy.id for copy in self.found if copy.status in FAILED_STATUSES}
        return next((Conclude(copy) for copy in reversed(ended) if copy.id not in known), Create(self.reference))


class ManualOutcome(StrEnum):
    """How a copy made by hand ended."""

    COMPLETED = "completed"
    FAILED = "failed"
    IN_PROGRESS = "in_progress"
    UNCONFIRMED = "unconfirmed"
    NOT_CHARGED = "not_charged"


@dataclass(frozen=True, slots=True)
class ManualResult:
    """The result of a copy made by hand, in words and as data for the caller of the flow."""

    outcome: ManualOutcome
    sentence: str
    reference: str
    source_order_id: str
    order_copy_id: str | None = None
    target_order_id: str | None = None
    order_number: str | None = None
    failure: Failure | None = None

    def as_dict(self) -> dict[str, Any]:
        """Plain data, e.g. for a table."""
        return {
            "outcome": self.outcome.value,
            "reference": self.reference,
            "source order": self.source_order_id,
            "order copy": self.order_copy_id,
            "target order": self.target_order_id,
            "order number": self.order_number,
            "failure": self.failure.cls.value if self.failure else None,
            "what happened": self.sentence,
            "Commerce Layer said": self.failure.text if self.failure else None,
        }


def manual_result(  # noqa: PLR0911 - one line for each kind of finding
    work: ManualCopy, finding: Finding | LeftAlone, policy: Policy
) -> ManualResult:
    """The result. `policy` has the merchant's own patterns for failures."""
    match finding:
        case NotCreated(error):
            failure = classify_error(error, policy)
            return _result(work, ManualOutcome.FAILED, f"no order copy was created: {error}", failure=failure)
        case StillRunning(copy):
            sentence = f"order copy {copy.id} is still {copy.raw_status or copy.status}; {_run_again(work)}"
            return _result(work, ManualOutcome.IN_PROGRESS, sentence, copy)
        case CopyEnded(copy):
            return _copy_ended(work, copy, policy)
        case OrderAnswered(attempt, order):
            return _placed_or_not(work, attempt.copy, order, classify_order(order, policy))
        case PlacementRefused(attempt, error, order):
            if isinstance(error, WriteFateUnknown) and (order is None or not order.is_placed):
                sentence = f"the answer to placing order {attempt.order.id} was lost; {_run_again(work)}"
                return _result(work, ManualOutcome.UNCONFIRMED, sentence, attempt.copy)
            return _placed_or_not(work, attempt.copy, order or attempt.order, classify_error(error, policy))
        case NotPlaced(attempt, error):
            failure = classify_error(error, policy)
            sentence = f"order {attempt.order.shown_number} was copied but not placed: {error}; {_run_again(work)}"
            return _result(work, ManualOutcome.FAILED, sentence, attempt.copy, failure)
        case HeldBack(hold):
            return _result(work, ManualOutcome.FAILED, hold.sentence)
        case LeftAlone(skipped):  # only the stop switch leaves a manual copy alone
            return _result(work, ManualOutcome.NOT_CHARGED, skipped.sentence)


def _run_again(work: ManualCopy) -> str:
    return f"run this again with reference {work.reference} to see how it ends: nothing is charged twice"


def _copy_ended(work: ManualCopy, copy: OrderCopy, policy: Policy) -> ManualResult:
    order = copy.target_order
    if order is not None and copy.status is OrderCopyStatus.COMPLETED and not work.place and not order.is_placed:
        sentence = f"order {order.shown_number} was copied and left unplaced, as asked"
        return _result(work, ManualOutcome.COMPLETED, sentence, copy)
    if order is not None and copy.status is OrderCopyStatus.COMPLETED:
        return _placed_or_not(work, copy, order, classify_order(order, policy))
    failure = classify_copy(copy, policy)
    sentence = f"order copy {copy.id} is {copy.raw_status or copy.status}: {failure.in_short}"
    return _result(work, ManualOutcome.FAILED, sentence, copy, failure)


def _placed_or_not(work: ManualCopy, copy: OrderCopy, order: Order, failure: Failure) -> ManualResult:
    if order.is_placed:
        return _result(work, ManualOutcome.COMPLETED, f"order {order.shown_number} was copied and placed", copy)
    if is_moving(order):
        sentence = f"order {order.shown_number} is {order.raw_status or order.status}; {_run_again(work)}"
        return _result(work, ManualOutcome.IN_PROGRESS, sentence, copy)
    sentence = f"order {order.shown_number} was copied but could not be placed: {failure.in_short}"
    if order.status is not OrderStatus.CANCELLED:
        sentence += ". Repair it and place that one, or run this again with the same reference"
    return _result(work, ManualOutcome.FAILED, sentence, copy, failure)


def _result(
    work: ManualCopy,
    outcome: ManualOutcome,
    sentence: str,
    copy: OrderCopy | None = None,
    failure: Failure | None = None,
) -> ManualResult:
    order = copy.target_order if copy else None
    return ManualResult(
        outcome=outcome,
        sentence=sentence,
        reference=work.reference,
        source_order_id=work.source_order_id,
        order_copy_id=copy.id if copy else None,
        target_order_id=copy.target_order_id if copy else None,
        order_number=order.number if order else None,
        failure=failure,
    )
