"""
One order copy that a person asks for: no subscription, no calendar, no retries, but exactly once all the same.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from blocks.commerce_layer.resources import OrderCopy, OrderCopyStatus
from blocks.policy_terms import PolicyTerms
from flows.rules.evidence import CopySettled, CreationRefused, Evidence, StillRunning
from flows.rules.failures import Failure, classify_copy, classify_error, classify_order
from flows.rules.references import parse_reference


class ReferenceTaken(ValueError):  # noqa: N818 - says what is the matter
    """The reference that was asked for cannot be used for this order."""


@dataclass(frozen=True, slots=True)
class ManualCopy:
    """What a person asked for: which order to copy, under which reference, with which options of the order copy."""

    source_order_id: str
    reference: str
    options: Mapping[str, bool] = field(default_factory=dict)

    def __post_init__(self) -> None:
        renewal = parse_reference(self.reference)
        if renewal is not None:
            raise ReferenceTaken(
                f"{self.reference!r} is the reference of a renewal. To renew subscription {renewal.subscription_id} by "
                "hand, run renew-subscriptions with that subscription in its field `subscriptions`."
            )

    def refuse_if_taken(self, found: Sequence[OrderCopy]) -> None:
        """Raises ReferenceTaken when a copy of another order has this reference, or several copies have it."""
        others = [copy for copy in found if copy.source_order_id not in {None, self.source_order_id}]
        if others:
            raise ReferenceTaken(
                f"reference {self.reference!r} belongs to order copy {others[0].id} of order "
                f"{others[0].source_order_id}; choose another one for order {self.source_order_id}"
            )
        if len(found) > 1:
            names = ", ".join(copy.id for copy in found)
            raise ReferenceTaken(
                f"{len(found)} order copies have the reference {self.reference!r} ({names}): look at them"
            )


class ManualOutcome(StrEnum):
    """How a copy made by hand ended."""

    COMPLETED = "completed"
    FAILED = "failed"
    IN_PROGRESS = "in_progress"
    UNCONFIRMED = "unconfirmed"


@dataclass(frozen=True, slots=True)
class ManualResult:
    """The verdict on a copy made by hand, in words and as data for whoever called the flow."""

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


def judge_by_hand(work: ManualCopy, evidence: Evidence, terms: PolicyTerms) -> ManualResult:
    """What came of it. `terms` carry the merchant's own words for failures."""
    match evidence:
        case CopySettled(copy):
            return _settled(work, copy, terms)
        case StillRunning(copy):
            sentence = (
                f"order copy {copy.id} is still {copy.raw_status or copy.status}; run this again with reference "
                f"{work.reference} to see how it ends: nothing is created twice"
            )
            return _result(work, ManualOutcome.IN_PROGRESS, sentence, copy)
        case CreationRefused(error):
            failure = classify_error(error, terms)
            return _result(work, ManualOutcome.FAILED, f"no order copy was created: {error}", failure=failure)
    sentence = (
        f"the answer to creating the order copy was lost and it is not found; run this again with reference "
        f"{work.reference}: it looks before it creates"
    )
    return _result(work, ManualOutcome.UNCONFIRMED, sentence)


def _settled(work: ManualCopy, copy: OrderCopy, terms: PolicyTerms) -> ManualResult:
    order = copy.target_order
    wants_placing = work.options.get("place_target_order", True)
    if copy.status is OrderCopyStatus.COMPLETED and (not wants_placing or (order is not None and order.is_placed)):
        what = "placed" if wants_placing else "left unplaced, as asked"
        number = f"#{order.number}" if order and order.number else copy.target_order_id
        return _result(work, ManualOutcome.COMPLETED, f"order {number} was copied and {what}", copy)
    completed = copy.status is OrderCopyStatus.COMPLETED and order is not None
    failure = classify_order(order, terms) if completed and order is not None else classify_copy(copy, terms)
    sentence = f"order copy {copy.id} is {copy.raw_status or copy.status}: {failure.in_short}"
    if copy.target_order_id is not None:
        sentence += f". Its order {copy.target_order_id} exists: repair and place that one instead of copying again"
    return _result(work, ManualOutcome.FAILED, sentence, copy, failure)


def _result(
    work: ManualCopy,
    outcome: ManualOutcome,
    sentence: str,
    copy: OrderCopy | None = None,
    failure: Failure | None = None,
) -> ManualResult:
    return ManualResult(
        outcome=outcome,
        sentence=sentence,
        reference=work.reference,
        source_order_id=work.source_order_id,
        order_copy_id=copy.id if copy else None,
        target_order_id=copy.target_order_id if copy else None,
        order_number=copy.target_order.number if copy and copy.target_order else None,
        failure=failure,
    )
