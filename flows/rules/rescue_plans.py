"""
What a rescue would do about each failed run, and what it did: the dry run and the apply decide by the same function.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

from blocks.commerce_layer.resources import OrderSubscription
from blocks.policy import FailureClass
from flows.rules.cards import failed_with_another, is_to_be_placed_now
from flows.rules.failure_summaries import in_short
from flows.rules.next_action import Conclude, Create, Hold, NextAction, Place, Wait, next_action
from flows.rules.order_copies import CopiesOfPeriod
from flows.rules.price import Price
from flows.rules.renewal import Skipped, SkipReason
from flows.rules.rescue import Rescue, in_words_of_a_rescue
from flows.rules.results import RenewalResult
from flows.rules.state import RENEWED, Outcome
from flows.rules.still_wanted import price_hold
from flows.rules.zones import in_words


class RescueHandling(StrEnum):
    """What is to be done about one failed run, or what came of it."""

    CHARGE = "charge"  # its order is placed, which charges the customer
    COPY = "copy"  # its run left no order: the source order is copied again, and the new order is placed
    RECORD = "record"  # an attempt was begun by a run that died: it is recorded as failed
    HOLD = "hold"  # its price is held for a person; no one is charged
    RENEWED = "renewed"
    WAITS = "waits"  # for its next attempt, for Commerce Layer, or for an answer
    LEFT_ALONE = "left_alone"  # nothing is to be done
    NEEDS_PERSON = "needs_person"
    FAILED = "failed"  # something could not be read or written


TO_CARRY_OUT = frozenset(
    {RescueHandling.CHARGE, RescueHandling.COPY, RescueHandling.RECORD, RescueHandling.HOLD}
)  # fmt: skip

FOR_A_PERSON = frozenset({RescueHandling.HOLD, RescueHandling.NEEDS_PERSON, RescueHandling.FAILED})

_WAITING = frozenset(
    {SkipReason.TOO_SOON, SkipReason.CHANGED, SkipReason.CHARGING_STOPPED, SkipReason.CAP_REACHED}
    | {SkipReason.NOT_READABLE}
)

_WORDS = {
    RescueHandling.CHARGE: "would be charged",
    RescueHandling.COPY: "would be copied again and charged",
    RescueHandling.RECORD: "would be recorded as failed",
    RescueHandling.HOLD: "would be held for their price",
    RescueHandling.RENEWED: "renewed",
    RescueHandling.WAITS: "wait",
    RescueHandling.LEFT_ALONE: "left alone",
    RescueHandling.NEEDS_PERSON: "need a person",
    RescueHandling.FAILED: "failed",
}
"""In the order in which a sentence tells them, after the gravest ones."""

_GRAVEST_FIRST = (RescueHandling.FAILED, RescueHandling.NEEDS_PERSON, RescueHandling.HOLD)


@dataclass(frozen=True, slots=True)
class RescueRow:
    """
    One subscription of a rescue, for people and machines.

    `planned` is what the plan says, `handling` what came of it; they are equal in a dry run. `work` is set while it is
    to be carried out. `is_duplicate`: two orders of the run are placed, which must never happen.
    """

    subscription_id: str
    handling: RescueHandling
    sentence: str
    planned: RescueHandling
    customer: str | None = None
    order_id: str | None = None
    work: Rescue | None = None
    is_duplicate: bool = False

    def ended(self, handling: RescueHandling, sentence: str, order_id: str | None = None) -> "RescueRow":
        """What came of it."""
        return replace(self, handling=handling, sentence=sentence, order_id=order_id or self.order_id, work=None)

    def as_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "subscription": self.subscription_id,
            "customer": self.customer,
            "planned": self.planned.value,
            "handling": self.handling.value,
            "order": self.order_id,
            "what": self.sentence,
        }


def planned_row(
    subscription: OrderSubscription, work: Rescue | Skipped, *, release: bool, as_of: datetime
) -> RescueRow:
    """
    What to do about the failed run of a subscription.

    `release`: a person named it to try a held one once more; if it was held for its price, they accept that price.
    """
    if isinstance(work, Skipped):
        return _row(subscription, *_of_skipped(work))
    work = _freed(work, release=release)
    handling, sentence, order_id = _decide(work, as_of)
    row = _row(subscription, handling, sentence, order_id)
    is_carried_out = handling in TO_CARRY_OUT
    is_duplicate = len(CopiesOfPeriod.of(work.found).placed) > 1
    return replace(row, work=work if is_carried_out else None, is_duplicate=is_duplicate)


def unreadable_row(subscription_id: str, why: str) -> RescueRow:
    """A subscription about which nothing can be said."""
    return RescueRow(subscription_id, RescueHandling.FAILED, f"nothing was done: {why}", RescueHandling.FAILED)


def no_such_row(subscription_id: str) -> RescueRow:
    """A subscription that was named, and is not there."""
    sentence = (
        "there is no such subscription in this organization and mode; an id is the ten letters in its address in the "
        "dashboard, not its number"
    )
    return RescueRow(subscription_id, RescueHandling.NEEDS_PERSON, sentence, RescueHandling.NEEDS_PERSON)


def _row(
    subscription: OrderSubscription, handling: RescueHandling, sentence: str, order_id: str | None = None
) -> RescueRow:
    return RescueRow(subscription.id, handling, sentence, handling, subscription.customer_email, order_id)


def _of_skipped(skipped: Skipped) -> tuple[RescueHandling, str]:
    if skipped.reason in _WAITING:
        return RescueHandling.WAITS, skipped.sentence
    needs_person = skipped.reason.needs_person
    return RescueHandling.NEEDS_PERSON if needs_person else RescueHandling.LEFT_ALONE, skipped.sentence


def _freed(work: Rescue, *, release: bool) -> Rescue:
    """The rescue without its wait or hold, if a person, a new card, or the customer at the checkout has ended them."""
    state, order = work.state, work.native.target_order
    is_confirmed = order is not None and is_to_be_placed_now(state, order)
    if not (is_confirmed or failed_with_another(work.payment_source_id, state) or (release and state.held)):
        return work
    freed = state.model_copy(update={"held": False, "held_since": None, "next_attempt_at": None})
    return replace(work, state=freed)


def _decide(work: Rescue, as_of: datetime) -> tuple[RescueHandling, str, str | None]:
    copies, state = CopiesOfPeriod.of(work.found), work.state
    canonical = copies.canonical
    order_id = canonical.target_order_id if canonical is not None else None
    if len(copies.placed) == 1 and (placed := copies.placed[0].target_order) is not None and placed.is_placed:
        said = f"its order {placed.shown_number} is placed, so the customer is charged already"
        return RescueHandling.LEFT_ALONE, said, placed.id
    if copies.refused and not copies.placed:
        cancelled = copies.refused[-1].target_order_id
        said = f"its order {cancelled} was cancelled, so this renewal is not wanted any more"
        return RescueHandling.LEFT_ALONE, said, cancelled
    if not copies.placed and state.done_through is not None and state.done_through >= work.due:
        return RescueHandling.LEFT_ALONE, f"its run is settled: {state.outcome or 'skipped'}", order_id
    waiting = None if copies.placed else _waiting(work, as_of)
    return (*(waiting or _next(work, next_action(work, work.found, as_of))), order_id)


def _waiting(work: Rescue, as_of: datetime) -> tuple[RescueHandling, str] | None:
    state, failed = work.state, _failure_of(work)
    if state.outcome is Outcome.PLACING:
        return None
    if state.held:
        sentence = f"{failed}: held for a person; `perennial rescue --release --apply ID` tries it once more"
        return RescueHandling.NEEDS_PERSON, sentence
    if state.next_attempt_at is None or state.next_attempt_at <= as_of:
        return None
    when, following = state.next_attempt_at, work.next_run_at
    if as_of < following <= when:
        return RescueHandling.WAITS, f"{failed}: Commerce Layer runs it before its next attempt would be due"
    return RescueHandling.WAITS, f"{failed}: next attempt {in_words(when, work.zone)}"


def _next(work: Rescue, action: NextAction) -> tuple[RescueHandling, str]:
    match action:
        case Place(_, order, attempt):
            if (hold := price_hold(work, action)) is not None:
                return RescueHandling.HOLD, hold.sentence
            return RescueHandling.CHARGE, f"order {order.shown_number} ({Price.of(order)}): attempt {attempt}"
        case Create():
            sentence = f"{_failure_of(work)}: its run left no order, so the source order is copied again"
            return RescueHandling.COPY, sentence
        case Conclude(copy):
            return RescueHandling.RECORD, f"a rescue of order copy {copy.id} has ended without a record"
        case Wait(copy):
            return RescueHandling.WAITS, f"order copy {copy.id}, or its order, is under way"
        case Hold(_, sentence, until):
            handling = RescueHandling.NEEDS_PERSON if until is None else RescueHandling.WAITS
            return handling, in_words_of_a_rescue(sentence)


def _failure_of(work: Rescue) -> str:
    """In a few words: `card declined`."""
    cls = work.state.error_class
    known = FailureClass(cls) if cls in set(FailureClass) else FailureClass.UNKNOWN
    return in_short(known, work.state.error or "")


def ended_row(row: RescueRow, result: RenewalResult | Skipped, problem: str | None = None) -> RescueRow:
    """The row of a rescue that was carried out. `problem`: why the result could not be recorded."""
    if isinstance(result, Skipped):
        handling, sentence = _of_skipped(result)
        return row.ended(handling, in_words_of_a_rescue(sentence))
    handling = RescueHandling.WAITS
    if result.outcome in RENEWED:
        handling = RescueHandling.RENEWED
    elif result.needs_person or result.state.held:
        handling = RescueHandling.NEEDS_PERSON
    elif result.is_settled:
        handling = RescueHandling.LEFT_ALONE
    sentence = result.sentence
    if problem is not None:
        handling, sentence = RescueHandling.FAILED, result.unrecorded(problem)
    ended = row.ended(handling, sentence, result.state.target_order_id)
    return replace(ended, is_duplicate=result.is_duplicate)


@dataclass(frozen=True)
class RescueReport:
    """All rows of a rescue, and whether it was a dry run. `stopped`: why not all of it was carried out."""

    rows: Sequence[RescueRow]
    dry_run: bool
    stopped: str | None = None

    @property
    def sentence(self) -> str:
        """The counts in plain words, the gravest first."""
        counts = Counter(row.handling for row in self.rows)
        order = sorted(_WORDS, key=lambda each: each not in _GRAVEST_FIRST)
        parts = [f"{counts[each]} {_WORDS[each]}" for each in order if counts[each]]
        told = ", ".join(parts) or "no renewal that Commerce Layer has failed"
        return f"{told}; stopped: {self.stopped}" if self.stopped else told

    @property
    def needs_person(self) -> bool:
        """Whether a person must act, or run it again."""
        return self.stopped is not None or any(row.handling in FOR_A_PERSON for row in self.rows)

    @property
    def as_rows(self) -> list[dict[str, Any]]:
        """The rows as plain data, those for a person first."""
        return [row.as_dict() for row in sorted(self.rows, key=lambda row: row.handling not in FOR_A_PERSON)]


def not_carried_out(rows: Iterable[RescueRow], why: str) -> list[RescueRow]:
    """The rows that were not reached, because the rescue was stopped."""
    return [row.ended(RescueHandling.WAITS, f"not tried: {why}") for row in rows]
