"""
What to do next about a renewal, given the order copies that exist for its period.

Creating a copy charges nobody, so it may be done again whenever there is none. Placing an order charges the customer,
and always means the canonical copy's order, whichever run created that copy.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from blocks.commerce_layer.resources import Order, OrderCopy, OrderStatus
from flows.rules.order_copies import FAILED_STATUSES, MOVING_STATUSES, CopiesOfPeriod, is_withdrawn
from flows.rules.references import REFERENCE_ORIGIN, numbered_reference, parse_reference
from flows.rules.renewal import Renewal
from flows.rules.retries import earliest_allowed
from flows.rules.state import PLACING
from flows.rules.zones import in_words


class HoldReason(StrEnum):
    """Why nothing is written about a renewal, although it is due."""

    DUPLICATE = "duplicate"  # two orders of one period are placed
    TARGET_CANCELLED = "target_cancelled"  # somebody cancelled the order that the copy made
    COPY_MISSING = "copy_missing"  # a copy that was recorded is not found any more
    ATTEMPT_LIMIT = "attempt_limit"  # one more charge would break a card network's limit


@dataclass(frozen=True, slots=True)
class Create:
    """Create an order copy of the period under `reference`. It charges nobody."""

    reference: str


@dataclass(frozen=True, slots=True)
class Wait:
    """The canonical copy, or its order, is under way: look again later."""

    copy: OrderCopy


@dataclass(frozen=True, slots=True)
class Place:
    """Place the canonical copy's order, which charges the customer; it is attempt number `attempt` of the period."""

    copy: OrderCopy
    order: Order
    attempt: int


@dataclass(frozen=True, slots=True)
class Conclude:
    """How this copy ended is known: record it."""

    copy: OrderCopy


@dataclass(frozen=True, slots=True)
class Hold:
    """Write nothing. `until` is when it may go on by itself; None when a person must look."""

    reason: HoldReason
    sentence: str
    until: datetime | None = None


NextAction = Create | Wait | Place | Conclude | Hold

_NOT_CONCLUDED = frozenset({None, "in_progress", "unconfirmed", PLACING})
"""Recorded outcomes that do not tell how the recorded copy ended."""


def references_to_look_up(renewal: Renewal) -> list[str]:
    """The references under which copies of this period can exist: its own, and those that version 0.1 numbered."""
    # Version 0.1 created copy n + 1 only after copy n was recorded, so one beyond its record is enough.
    last = renewal.state.copies + 1 if renewal.state.copies else 0
    numbered = (numbered_reference(renewal.subscription_id, renewal.due, number) for number in range(2, last + 1))
    return [renewal.reference, *numbered]


def copies_of(renewal: Renewal, found: Iterable[OrderCopy]) -> CopiesOfPeriod:
    """Those of the copies found that belong to the renewal's period."""
    return CopiesOfPeriod.of(copy for copy in found if is_of_period(renewal, copy))


def is_of_period(renewal: Renewal, copy: OrderCopy) -> bool:
    """Whether a copy carries a reference of the renewal's period."""
    reference = parse_reference(copy.reference) if copy.reference_origin == REFERENCE_ORIGIN else None
    return reference == (renewal.subscription_id, renewal.due)


def next_action(renewal: Renewal, found: Iterable[OrderCopy], as_of: datetime) -> NextAction:
    """
    What to do next. `found` are the copies that one look showed.

    A placed order is recorded. Else the canonical copy is waited for until its order exists, and the order is placed.
    When there is no live copy, one is created, unless the newest one failed and nobody has recorded that yet.
    """
    copies = copies_of(renewal, found)
    if len(copies.placed) > 1:
        return duplicate(copies.placed)
    if copies.placed:
        placed = copies.placed[0]
        return Conclude(placed) if placed.target_order and placed.target_order.is_placed else Wait(placed)
    if copies.places_itself is not None:
        return Wait(copies.places_itself)
    if copies.live:
        return _go_on_with(renewal, copies.live[0], as_of)
    return _without_a_live_copy(renewal, copies, as_of)


def duplicate(copies: Iterable[OrderCopy]) -> Hold:
    """Two placed orders of one period: the customer is charged twice, and a person must act."""
    orders = [copy.target_order for copy in copies]
    names = ", ".join(f"#{order.number}" if order.number else order.id for order in orders if order)
    return Hold(
        HoldReason.DUPLICATE, f"{len(orders)} orders of one period are placed ({names}): cancel all but one of them"
    )


def _go_on_with(renewal: Renewal, copy: OrderCopy, as_of: datetime) -> NextAction:
    order = copy.target_order
    if not copy.is_final or order is None or order.status in MOVING_STATUSES:
        return Wait(copy)
    if renewal.state.outcome == PLACING:
        # Announced by a run that has not recorded how it went. The order is not placed, so the attempt failed.
        return Conclude(copy)
    if copy.status in FAILED_STATUSES and not _is_concluded(renewal, copy):
        return Conclude(copy)  # of version 0.1: its attempt to place its order failed, and nobody has recorded that
    return _if_allowed(renewal, Place(copy, order, renewal.state.attempt + 1), as_of)


def _without_a_live_copy(renewal: Renewal, copies: CopiesOfPeriod, as_of: datetime) -> NextAction:
    state = renewal.state
    known = {copy.id for copy in copies.ended}
    if state.order_copy_id is not None and state.order_copy_id not in known:
        return _missing(state.order_copy_id)
    if not copies.ended:
        return _if_allowed(renewal, Create(renewal.reference), as_of)
    newest = copies.ended[-1]
    order = newest.target_order
    if order is not None and order.status is OrderStatus.CANCELLED and newest.status not in FAILED_STATUSES:
        return _after_a_cancelled_order(renewal, order, as_of)
    if not _is_concluded(renewal, newest):
        return Conclude(newest)
    return _if_allowed(renewal, Create(renewal.reference), as_of)


def _after_a_cancelled_order(renewal: Renewal, order: Order, as_of: datetime) -> NextAction:
    released = renewal.state.outcome in {"needs_attention", "exhausted"}
    if is_withdrawn(order) or released:
        return _if_allowed(renewal, Create(renewal.reference), as_of)
    return Hold(
        HoldReason.TARGET_CANCELLED,
        f"order {order.id} of this period was cancelled: release the subscription to have it copied again",
    )


def _missing(order_copy_id: str) -> Hold:
    return Hold(
        HoldReason.COPY_MISSING,
        f"order copy {order_copy_id} was made for this period but is not found: nothing is created until it is, "
        "or until metadata.perennial.order_copy_id is set to null",
    )


def _is_concluded(renewal: Renewal, copy: OrderCopy) -> bool:
    """Whether the subscription's state already knows how this copy ended."""
    return renewal.state.order_copy_id == copy.id and renewal.state.outcome not in _NOT_CONCLUDED


def _if_allowed(renewal: Renewal, action: Create | Place, as_of: datetime) -> NextAction:
    allowed = earliest_allowed(renewal.terms, renewal.state.attempts_until(as_of), as_of)
    if allowed <= as_of:
        return action
    when = in_words(allowed, renewal.zone)
    return Hold(
        HoldReason.ATTEMPT_LIMIT, f"the card networks' limit on failed charges is reached; next attempt {when}", allowed
    )
