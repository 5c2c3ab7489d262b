"""
What to do next about a renewal, given the order copies that exist for its period.

At most one write follows from a decision, and never a second copy while another one may
become an order.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from blocks.commerce_layer.resources import Order, OrderCopy, OrderCopyStatus, OrderStatus, OrderSubscription
from flows.rules.references import REFERENCE_ORIGIN, parse_reference, whole_minute
from flows.rules.renewal import Renewal
from flows.rules.retries import earliest_allowed
from flows.rules.skips import NATIVE_STATUSES, Refusal, Skipped, SkipReason, status_refusal
from flows.rules.state import PLACING, RenewalState
from flows.rules.zones import in_words

FAILED_STATUSES = frozenset({OrderCopyStatus.FAILED, OrderCopyStatus.ABORTED})
MOVING_STATUSES = frozenset({OrderStatus.PLACING, OrderStatus.UNKNOWN})
"""Orders that may be placed in a moment, without anybody asking again."""


class HoldReason(StrEnum):
    """Why nothing is written about a renewal, although it is due."""

    DUPLICATE = "duplicate"  # two copies of one period may both become, or are, orders
    TARGET_CANCELLED = "target_cancelled"  # somebody cancelled the order that the copy made
    COPY_MISSING = "copy_missing"  # a copy that was recorded is not found any more
    ATTEMPT_LIMIT = "attempt_limit"  # one more charge would break a card network's limit


@dataclass(frozen=True, slots=True)
class Create:
    """Create copy number `copy` of the period under `reference`; it is attempt number `attempt`."""

    reference: str
    copy: int
    attempt: int


@dataclass(frozen=True, slots=True)
class Adopt:
    """The copy exists: wait for it and judge it. No write."""

    copy: OrderCopy


@dataclass(frozen=True, slots=True)
class Place:
    """Place the order that a copy left unplaced; it is attempt number `attempt`."""

    copy: OrderCopy
    target_order_id: str
    attempt: int


@dataclass(frozen=True, slots=True)
class Hold:
    """Write nothing. `until` is when it may go on by itself; None when a person must look."""

    reason: HoldReason
    sentence: str
    until: datetime | None = None


Act = Create | Adopt | Place | Hold


def references_to_look_up(renewal: Renewal) -> list[str]:
    """Every reference under which a copy of this period can exist: those recorded, and the next one."""
    # Copy n + 1 is only ever created after copy n was recorded, so one beyond the record is enough.
    return [renewal.reference_for(copy) for copy in range(1, renewal.state.copies + 2)]


def next_act(renewal: Renewal, found: Sequence[OrderCopy], as_of: datetime) -> Act:
    """
    What to do next. `found` are all copies of the period, whatever their number.

    Nothing found: create. A copy that is running, done, or not recorded yet: adopt it. A recorded
    failure: place its order if there is one, else create the next copy.
    """
    copies = _of_this_period(renewal, found)
    alive = [copy for copy in copies if _is_alive(copy)]
    payable = [copy for copy in copies if copy not in alive and _may_be_placed(copy)]
    if len(alive) > 1 or len(payable) > 1:
        return duplicate(alive or payable)
    if alive:
        return _continue(renewal, alive[0], as_of)
    if not copies:
        return _first_or_missing(renewal, as_of)
    return _after_failures(renewal, copies, payable, as_of)


def _of_this_period(renewal: Renewal, found: Sequence[OrderCopy]) -> list[OrderCopy]:
    unique = {copy.id: copy for copy in found if copy_number(renewal, copy) > 0}
    return sorted(unique.values(), key=lambda copy: (copy_number(renewal, copy), copy.id))


def copy_number(renewal: Renewal, copy: OrderCopy) -> int:
    """Which copy of the renewal's period it is, from 1; 0 when it belongs to something else."""
    reference = parse_reference(copy.reference) if copy.reference_origin == REFERENCE_ORIGIN else None
    if reference is None or reference[:2] != (renewal.subscription_id, renewal.due):
        return 0
    return reference.copy


def _placed_or_moving(order: Order | None) -> bool:
    return order is not None and (order.is_placed or order.status in MOVING_STATUSES)


def _is_alive(copy: OrderCopy) -> bool:
    """Whether the copy is an order that counts, or may become one by itself."""
    order = copy.target_order
    cancelled = order is not None and order.status is OrderStatus.CANCELLED
    return _placed_or_moving(order) or (copy.status not in FAILED_STATUSES and not cancelled)


def _may_be_placed(copy: OrderCopy) -> bool:
    """Whether there is an order that could still be placed, by us or by the customer."""
    if copy.target_order is None:
        return copy.target_order_id is not None
    return not _placed_or_moving(copy.target_order) and copy.target_order.status is not OrderStatus.CANCELLED


def duplicate(copies: Sequence[OrderCopy]) -> Hold:
    """Two copies of one period: nothing is done about it before a person has looked."""
    names = ", ".join(copy.id for copy in copies)
    return Hold(
        HoldReason.DUPLICATE,
        f"{len(copies)} order copies of one period may become orders ({names}): cancel all but one, then release it",
    )


def _continue(renewal: Renewal, copy: OrderCopy, as_of: datetime) -> Act:
    """One copy is running or done. A done one whose order is not placed was judged before: place it."""
    completed = copy.status is OrderCopyStatus.COMPLETED
    if completed and not _placed_or_moving(copy.target_order) and _is_judged(renewal, copy):
        return _go_on_after_failure(renewal, copy, as_of)
    return Adopt(copy)


def _is_judged(renewal: Renewal, copy: OrderCopy) -> bool:
    """Whether the state already knows how this copy failed."""
    state = renewal.state
    return copy_number(renewal, copy) <= state.copies and state.outcome not in {
        None,
        "in_progress",
        "unconfirmed",
        PLACING,
    }


def _first_or_missing(renewal: Renewal, as_of: datetime) -> Act:
    if renewal.state.copies == 0:
        return _if_allowed(renewal, _creation(renewal), as_of)
    return _missing(renewal)


def _missing(renewal: Renewal) -> Hold:
    known = renewal.state.order_copy_id or renewal.reference_for(renewal.state.copies)
    return Hold(
        HoldReason.COPY_MISSING,
        f"order copy {known} was made for this period but is not found: nothing is created until it is, "
        "or until metadata.perennial.copies says how many there are",
    )


def _after_failures(renewal: Renewal, copies: list[OrderCopy], payable: list[OrderCopy], as_of: datetime) -> Act:
    newest = copies[-1]
    if copy_number(renewal, newest) < renewal.state.copies:
        return _missing(renewal)
    if not _is_judged(renewal, newest):
        return Adopt(newest)
    return _go_on_after_failure(renewal, payable[0] if payable else newest, as_of)


def _go_on_after_failure(renewal: Renewal, copy: OrderCopy, as_of: datetime) -> Act:
    target = copy.target_order_id or (copy.target_order.id if copy.target_order else None)
    if target is not None and _may_be_placed(copy):
        return _if_allowed(renewal, Place(copy, target, renewal.state.attempt + 1), as_of)
    released = renewal.state.outcome in {"needs_attention", "exhausted"}
    if target is not None and not released:
        return Hold(
            HoldReason.TARGET_CANCELLED,
            f"order {target} of this period was cancelled: release the subscription to have it copied again",
        )
    return _if_allowed(renewal, _creation(renewal), as_of)


def _creation(renewal: Renewal) -> Create:
    copy = renewal.state.copies + 1
    return Create(renewal.reference_for(copy), copy, renewal.state.attempt + 1)


def _if_allowed(renewal: Renewal, act: Create | Place, as_of: datetime) -> Act:
    allowed = earliest_allowed(renewal.terms, renewal.state.attempts_until(as_of), as_of)
    if allowed <= as_of:
        return act
    when = in_words(allowed, renewal.zone)
    return Hold(
        HoldReason.ATTEMPT_LIMIT, f"the card networks' limit on failed charges is reached; next attempt {when}", allowed
    )


def guard(
    renewal: Renewal,
    fresh: OrderSubscription | None,
    rivals: Sequence[OrderSubscription],
    foreign: Sequence[OrderCopy],
    as_of: datetime,
) -> Skipped | None:
    """
    The last look before a write: whether the subscription is still as planned, and nobody else renews it.

    `fresh` is the subscription read a moment ago (None: gone), `rivals` the subscriptions of the same
    source order, `foreign` the copies of that order whatever their origin. None means: go on.
    """
    refusal = _changed_since(renewal, fresh, as_of) or _rival_engine(renewal, rivals) or _foreign_copy(renewal, foreign)
    return Skipped(renewal.subscription_id, renewal.due, *refusal) if refusal else None


def _changed_since(renewal: Renewal, fresh: OrderSubscription | None, as_of: datetime) -> Refusal | None:
    if fresh is None:
        return SkipReason.GONE, "the subscription does not exist any more"
    if refusal := status_refusal(fresh):
        return refusal
    if fresh.next_run_at is not None and whole_minute(fresh.next_run_at) > as_of:
        return SkipReason.NOT_DUE, f"it was postponed to {in_words(fresh.next_run_at, renewal.zone)} a moment ago"
    if fresh.expires_at is not None and fresh.expires_at <= renewal.due:
        return SkipReason.EXPIRED, f"it expired on {in_words(fresh.expires_at, renewal.zone)}"
    changes = ", ".join(_changes(renewal, fresh))
    return (SkipReason.CHANGED, f"changed a moment ago ({changes}); the next sweep decides anew") if changes else None


def _changes(renewal: Renewal, fresh: OrderSubscription) -> Iterable[str]:
    state = RenewalState.read(fresh.metadata)
    pairs = {
        "source order": (renewal.source_order_id, fresh.source_order_id),
        "next_run_at": (renewal.next_run_at, fresh.next_run_at),
        "frequency": (renewal.frequency, fresh.frequency),
        "starts_at": (renewal.starts_at, fresh.starts_at),
        "metadata.perennial": (RenewalState.read(renewal.metadata), state),
    }
    return (name for name, (before, now) in pairs.items() if before != now)


def _rival_engine(renewal: Renewal, rivals: Sequence[OrderSubscription]) -> Refusal | None:
    for rival in rivals:
        if rival.source_order_id in {None, renewal.source_order_id} and rival.status in NATIVE_STATUSES:
            return SkipReason.SECOND_ENGINE, (
                f"subscription {rival.id} of the same source order is {rival.raw_status or rival.status}: "
                "Commerce Layer's own engine may renew it; deactivate one of the two"
            )
    return None


def _foreign_copy(renewal: Renewal, copies: Sequence[OrderCopy]) -> Refusal | None:
    known = set(references_to_look_up(renewal))
    for copy in copies:
        if copy.source_order_id in {None, renewal.source_order_id} and _competes(renewal, copy, known):
            return SkipReason.FOREIGN_COPY, (
                f"order copy {copy.id} ({copy.reference_origin or 'no origin'}) of the same source order was made "
                "inside this period, and must not renew it twice: cancel its order to go on, or move next_run_at on"
            )
    return None


def _competes(renewal: Renewal, copy: OrderCopy, known: set[str]) -> bool:
    if copy.status in FAILED_STATUSES and copy.target_order_id is None:
        return False
    if copy.target_order is not None and copy.target_order.status is OrderStatus.CANCELLED:
        return False
    if copy.reference_origin == REFERENCE_ORIGIN:
        # Ours: those looked up are handled there; one beyond what the state says is a stranger too.
        return copy_number(renewal, copy) > 0 and copy.reference not in known
    return copy.created_at is None or whole_minute(copy.created_at) >= renewal.due
