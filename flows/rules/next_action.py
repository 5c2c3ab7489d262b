"""
What to do next about a renewal, given the order copies that exist for its period.

Creating a copy charges nothing, so a copy may be created again when there is none. Placing an order charges the
customer. Only the canonical copy's order is placed, no matter which run created that copy.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from blocks.commerce_layer.resources import Order, OrderCopy
from flows.rules.cards import charges_on, is_to_be_placed_now
from flows.rules.copy_periods import period_of
from flows.rules.order_copies import FAILED_STATUSES, CopiesOfPeriod, is_moving, is_withdrawn
from flows.rules.prepared_copies import has_failed_ahead
from flows.rules.price import Price
from flows.rules.references import numbered_reference
from flows.rules.renewal import Renewal
from flows.rules.retries import earliest_allowed
from flows.rules.state import Outcome, RenewalState
from flows.rules.zones import in_words


class HoldReason(StrEnum):
    """Why nothing is written about a renewal, although it is due."""

    DUPLICATE = "duplicate"  # two orders of one period are placed
    TARGET_CANCELLED = "target_cancelled"  # the customer or staff cancelled an order of the period
    COPY_MISSING = "copy_missing"  # a recorded copy is no longer found
    FAILED_BEFORE = "failed_before"  # attempts failed that are not in the state
    ATTEMPT_LIMIT = "attempt_limit"  # one more charge would break a card network's limit
    PRICE = "price"  # the order does not cost what the last renewal cost
    CAP = "cap"  # the day's cap is used up


@dataclass(frozen=True, slots=True)
class Create:
    """Create an order copy of the period with this `reference`. It charges nothing."""

    reference: str


@dataclass(frozen=True, slots=True)
class Wait:
    """The canonical copy, or its order, is under way: look again later."""

    copy: OrderCopy


@dataclass(frozen=True, slots=True)
class Place:
    """
    Place the canonical copy's order, which charges the customer; it is attempt number `attempt` of the period.

    `card` is what the customer was charged with (a `customer_payment_sources`), once that is known.
    """

    copy: OrderCopy
    order: Order
    attempt: int
    card: str | None = None


@dataclass(frozen=True, slots=True)
class Conclude:
    """This copy has ended: record how."""

    copy: OrderCopy


@dataclass(frozen=True, slots=True)
class Hold:
    """
    Write nothing. `until` is when the renewal may go on by itself; None when a person must act.

    `copy` and its order's `price` are set when a person has to decide about that price.
    """

    reason: HoldReason
    sentence: str
    until: datetime | None = None
    copy: OrderCopy | None = None
    price: Price | None = None


NextAction = Create | Wait | Place | Conclude | Hold

_NOT_CONCLUDED = frozenset({None, Outcome.IN_PROGRESS, Outcome.UNCONFIRMED, Outcome.PLACING})
"""Recorded outcomes that do not say how the recorded copy ended."""

_RELEASED = frozenset({Outcome.NEEDS_ATTENTION, Outcome.EXHAUSTED})
"""Recorded outcomes of a held subscription. It is planned again only after a person has released it."""


def references_to_look_up(renewal: Renewal) -> list[str]:
    """The references that copies of this period can have: the period's own, and those that version 0.1 numbered."""
    # Version 0.1 created copy n + 1 only after copy n was recorded, so one beyond its record is enough.
    last = renewal.state.copies + 1
    numbered = (numbered_reference(renewal.subscription_id, renewal.due, number) for number in range(2, last + 1))
    return [renewal.reference, *numbered]


def copies_of(renewal: Renewal, found: Iterable[OrderCopy]) -> CopiesOfPeriod:
    """The found copies that belong to the renewal's period."""
    return CopiesOfPeriod.of(copy for copy in found if is_of_period(renewal, copy))


def is_of_period(renewal: Renewal, copy: OrderCopy) -> bool:
    """Whether a copy belongs to the renewal's period."""
    return period_of(copy) == (renewal.subscription_id, renewal.due)


def next_action(renewal: Renewal, found: Iterable[OrderCopy], as_of: datetime) -> NextAction:
    """
    What to do next. `found` are the copies as just read.

    A placed order is recorded. Else the canonical copy is waited for until its order exists, and the order is placed.
    When there is no live copy, one is created, unless the newest one failed and no run has recorded that yet. Once the
    period is due, a copy that failed when it was made ahead does not count.
    """
    if as_of >= renewal.due:
        found = [copy for copy in found if not has_failed_ahead(copy, renewal.due, renewal.state)]
    copies = copies_of(renewal, found)
    if (decided := decided_already(copies)) is not None:
        return decided
    if (hold := _missing(renewal, copies) or _refused(renewal, copies)) is not None:
        return hold
    if copies.live:
        return _go_on_with(renewal, copies.live[0], as_of)
    return _without_a_live_copy(renewal, copies, as_of)


def decided_already(copies: CopiesOfPeriod) -> Hold | Conclude | Wait | None:
    """
    What to do if an order is placed, or may be placed without a request of ours; None when there is no such order.
    """
    if len(copies.placed) > 1:
        return duplicate(copies.placed)
    if copies.placed:
        placed = copies.placed[0]
        return Conclude(placed) if placed.target_order and placed.target_order.is_placed else Wait(placed)
    return None if copies.awaited is None else Wait(copies.awaited)


def duplicate(copies: Iterable[OrderCopy]) -> Hold:
    """Two placed orders of one period: the customer is charged twice, and a person must act."""
    orders = [copy.target_order for copy in copies]
    names = ", ".join(order.shown_number for order in orders if order)
    return Hold(
        HoldReason.DUPLICATE, f"{len(orders)} orders of one period are placed ({names}): cancel all but one of them"
    )


def _missing(renewal: Renewal, copies: CopiesOfPeriod) -> Hold | None:
    """Hold if a recorded copy is not found: its order may be placed."""
    recorded = renewal.state.order_copy_id
    if recorded is None or any(copy.id == recorded for copy in copies.live + copies.ended):
        return None
    return Hold(
        HoldReason.COPY_MISSING,
        f"order copy {recorded} was made for this period but is not found: nothing is created until it is, "
        "or until metadata.perennial.order_copy_id is set to null",
    )


def _refused(renewal: Renewal, copies: CopiesOfPeriod) -> Hold | None:
    """Hold if the customer or staff cancelled an order of the period, and no person has released the renewal since."""
    recorded = renewal.state.order_copy_id
    if renewal.state.outcome in _RELEASED or any(copy.id == recorded for copy in copies.live):
        return None
    ended = [copy.id for copy in copies.ended]
    # Copies before the one that was recorded last are dealt with already.
    since = ended.index(recorded) if recorded in ended else 0
    refused = next((copy for copy in copies.refused if copy.id in ended[since:]), None)
    if refused is None or refused.target_order is None:
        return None
    return Hold(
        HoldReason.TARGET_CANCELLED,
        f"order {refused.target_order.id} of this period was cancelled: release the subscription to have it copied "
        "again",
    )


def _go_on_with(renewal: Renewal, copy: OrderCopy, as_of: datetime) -> NextAction:
    order, state = copy.target_order, renewal.state
    if not copy.is_final or order is None or is_moving(order):
        return Wait(copy)
    if state.outcome is Outcome.PLACING and state.order_copy_id in {None, copy.id}:
        # A run began to place it and did not record the result. The order is not placed, so the attempt failed.
        return Conclude(copy)
    if copy.place_target_order and not _is_concluded(renewal, copy):
        return Conclude(copy)  # of version 0.1: it could not place its order, and no run has recorded that
    place = Place(copy, order, state.attempt + 1)
    return place if is_to_be_placed_now(state, order) else _if_allowed(renewal, place, as_of)


def _without_a_live_copy(renewal: Renewal, copies: CopiesOfPeriod, as_of: datetime) -> NextAction:
    newest = copies.ended[-1] if copies.ended else None
    if newest is None or newest in copies.refused or _was_withdrawn(newest) or _is_concluded(renewal, newest):
        return _if_allowed(renewal, Create(renewal.reference), as_of)
    return Conclude(newest)


def _was_withdrawn(copy: OrderCopy) -> bool:
    """Whether we cancelled its complete order: then nothing failed."""
    order = copy.target_order
    return order is not None and is_withdrawn(order) and copy.status not in FAILED_STATUSES


def _is_concluded(renewal: Renewal, copy: OrderCopy) -> bool:
    """Whether the subscription's state already has the end of this copy."""
    return renewal.state.order_copy_id == copy.id and renewal.state.outcome not in _NOT_CONCLUDED


def _failed_before(renewal: Renewal, as_of: datetime) -> Hold | None:
    """Hold because of failed attempts that no run has recorded, see `overwritten`."""
    state, stored = renewal.state, RenewalState.read(renewal.metadata)
    if not state.held and (state.next_attempt_at is None or state.next_attempt_at <= as_of):
        return None
    known = stored.for_period(renewal.due).attempt if stored is not None else 0
    sentence = (
        f"the shop tells of {state.attempt} failed attempt{'' if state.attempt == 1 else 's'} in this period, "
        f"metadata.perennial of {known}: a record was lost, or old metadata was written back"
    )
    return Hold(HoldReason.FAILED_BEFORE, sentence, None if state.held else state.next_attempt_at)


def _if_allowed(renewal: Renewal, action: Create | Place, as_of: datetime) -> NextAction:
    if (hold := _failed_before(renewal, as_of)) is not None:
        return hold
    charges = charges_on(renewal.state, renewal.payment_source_id, as_of)
    allowed = earliest_allowed(renewal.policy, charges, as_of)
    if allowed <= as_of:
        return action
    when = in_words(allowed, renewal.zone)
    return Hold(
        HoldReason.ATTEMPT_LIMIT, f"the card networks' limit on failed charges is reached; next attempt {when}", allowed
    )
