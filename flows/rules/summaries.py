"""What a sweep did: in numbers, in one sentence, and as lines, the worst first."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Self

from pydantic import BaseModel, ConfigDict, Field

from flows.rules.preparing import PreparedAhead
from flows.rules.references import period_text, reference_of
from flows.rules.renewal import Skipped, SkipReason
from flows.rules.results import RenewalResult
from flows.rules.state import RENEWED, Outcome

ROWS_KEPT = 200
"""How many rows a summary keeps: enough for a person to act on, few enough to be stored with the run."""

_QUOTED = 200
"""How many characters of an unexpected error are shown."""

_WORST_FIRST = (
    Outcome.NEEDS_ATTENTION, Outcome.EXHAUSTED, Outcome.UNCONFIRMED, Outcome.RETRY_SCHEDULED, Outcome.SKIPPED,
    Outcome.IN_PROGRESS, Outcome.RENEWED, Outcome.ALREADY_RENEWED,
)  # fmt: skip


class RenewalLine(BaseModel):
    """One renewal, or one subscription left alone, in a summary."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    subscription_id: str
    """The subscription's id."""
    reference: str | None = None
    """The renewal's reference; None when there is no period."""
    outcome: Outcome
    """How it stands."""
    sentence: str
    """Why, in plain words."""
    failure_class: str | None = None
    """Failure class, when something failed."""
    skip_reason: SkipReason | None = None
    """Why it was left alone, when it was."""
    next_attempt_at: datetime | None = None
    """When it is tried again, UTC."""
    customer_email: str | None = None
    """The customer's email address."""
    order_number: str | None = None
    """The number of the order that the copy made."""
    amount_cents: int | None = None
    """What the order costs with taxes, in the smallest unit of `currency_code`."""
    currency_code: str | None = None
    """ISO 4217."""
    order_copy_id: str | None = None
    """The order copy."""
    target_order_id: str | None = None
    """The order that the copy made."""
    needs_person: bool = False
    """Whether a person must act."""
    open_since: datetime | None = None
    """When the period was due (UTC), while it is open; null once it is renewed or given up."""

    @classmethod
    def of(cls, result: RenewalResult | Skipped) -> Self:
        """The line for a result, or for a subscription that was left alone."""
        if isinstance(result, Skipped):
            return cls(
                subscription_id=result.subscription_id, outcome=Outcome.SKIPPED, sentence=result.sentence,
                reference=reference_of(result.subscription_id, result.due) if result.due else None,
                skip_reason=result.reason, needs_person=result.reason.needs_person,
                open_since=result.due if result.reason.leaves_it_open else None,
            )  # fmt: skip
        state = result.state
        return cls(
            subscription_id=result.renewal.subscription_id, reference=result.renewal.reference,
            outcome=result.outcome, sentence=result.sentence, next_attempt_at=state.next_attempt_at,
            failure_class=result.failure.cls.value if result.failure else None, order_copy_id=state.order_copy_id,
            target_order_id=state.target_order_id, needs_person=result.needs_person,
            open_since=None if result.is_settled or result.cancel else result.renewal.due,
        )  # fmt: skip

    @classmethod
    def unexpected_error(cls, subscription_id: str, reference: str | None, error: Exception) -> Self:
        """The line for a renewal that ended in an unexpected error: a person must act."""
        said = f"{type(error).__name__}: {error}".removesuffix(": ")
        said = said if len(said) <= _QUOTED else f"{said[: _QUOTED - 1]}…"
        return cls(
            subscription_id=subscription_id, reference=reference, outcome=Outcome.NEEDS_ATTENTION, needs_person=True,
            sentence=f"unexpected error ({said}); the next sweep looks at what was done, and goes on from there",
        )  # fmt: skip

    @classmethod
    def charged_twice(cls, subscription_id: str, reference: str, sentence: str) -> Self:
        """The line for a period with two placed orders."""
        return cls(
            subscription_id=subscription_id, reference=reference, outcome=Outcome.NEEDS_ATTENTION, needs_person=True,
            sentence=sentence,
        )  # fmt: skip

    @classmethod
    def unpaid(cls, subscription_id: str, reference: str, order_id: str, sentence: str) -> Self:
        """The line for a renewal of an earlier sweep whose order is not paid in the end."""
        return cls(
            subscription_id=subscription_id, reference=reference, outcome=Outcome.NEEDS_ATTENTION, needs_person=True,
            target_order_id=order_id, sentence=sentence,
        )  # fmt: skip

    @classmethod
    def cancelled_after_placing(cls, order_id: str) -> Self:
        """The line for an order that one run cancelled just as another run placed it."""
        return cls(
            subscription_id=f"order {order_id}", outcome=Outcome.NEEDS_ATTENTION, needs_person=True,
            target_order_id=order_id,
            sentence="it was placed by another run in the moment in which it was cancelled: its payment is voided",
        )  # fmt: skip

    @property
    def told(self) -> str:
        """The outcome and the sentence: `retry scheduled: card declined; next attempt ...`."""
        return self.sentence if self.outcome in RENEWED else f"{outcome_in_words(self.outcome)}: {self.sentence}"

    @property
    def badness(self) -> tuple[bool, int, str]:
        """Sorts the worst first: what needs a person, then by outcome, then by name."""
        # A subscription that waits for a known date needs no person: it comes after this sweep's renewals.
        waits = self.skip_reason is SkipReason.RETRY_NOT_DUE
        rank = len(_WORST_FIRST) if waits else _WORST_FIRST.index(self.outcome)
        return not self.needs_person, rank, self.reference or self.subscription_id


class RenewalSummary(BaseModel):
    """What a sweep, or a batch of it, did."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    as_of: datetime
    """Periods up to this instant (UTC) were due."""
    seconds: float = Field(default=0, ge=0)
    """How long it took."""
    outcomes: dict[Outcome, int] = {}
    """Renewals by outcome; outcomes that did not occur are absent."""
    failures: dict[str, int] = {}
    """Renewals by failure class."""
    skipped: dict[SkipReason, int] = {}
    """Subscriptions left alone, by reason."""
    requests: dict[str, int] = {}
    """Requests made to Commerce Layer, by HTTP method."""
    brake: str | None = None
    """Why the sweep stopped creating before its end; null when it did not."""
    gave_up: str | None = None
    """Why the sweep could not go on: Commerce Layer or Prefect did not answer; null when it could."""
    unchecked: str | None = None
    """A check of the whole shop that Commerce Layer refuses, so that no sweep makes it; null when there is none."""
    charging_stopped: str | None = None
    """Since when, and why, a person has stopped charging; null when charging was on."""
    left: int = Field(default=0, ge=0)
    """Subscriptions that were due and not reached; they stay due."""
    surplus: int = Field(default=0, ge=0)
    """Cancelled unplaced orders of surplus copies, which two runs or a lost answer had made."""
    overdue: int = Field(default=0, ge=0)
    """Subscriptions whose period has been due for longer than the policy's `stuck_after`, for any reason."""
    overdue_since: datetime | None = None
    """Since when the oldest of them has been due, UTC."""
    ahead: PreparedAhead | None = None
    """What is prepared for the time after `as_of`; null when nothing was. None of it counts as a renewal."""
    for_a_person: int = 0
    """Lines on which a person must act."""
    rows: tuple[RenewalLine, ...] = ()
    """The worst lines, at most 200."""

    @classmethod
    def of(
        cls, lines: Iterable[RenewalLine], as_of: datetime, seconds: float = 0,
        requests: Mapping[str, int] | None = None, brake: str | None = None,
    ) -> Self:  # fmt: skip
        """The summary of all lines of a sweep."""
        lines = list(lines)
        return cls(
            as_of=as_of, seconds=seconds, requests=dict(requests or {}), brake=brake,
            outcomes=Counter(line.outcome for line in lines),
            failures=Counter(line.failure_class for line in lines if line.failure_class),
            skipped=Counter(line.skip_reason for line in lines if line.skip_reason),
            for_a_person=sum(line.needs_person for line in lines), rows=_worst(lines),
        )  # fmt: skip

    @classmethod
    def together(cls, parts: Sequence["RenewalSummary"], as_of: datetime, seconds: float = 0) -> Self:
        """One summary of several batches; `seconds` is how long they took together."""
        brakes = dict.fromkeys(part.brake for part in parts if part.brake)
        return cls(
            as_of=as_of, seconds=seconds, brake="; ".join(brakes) or None,
            gave_up="; ".join(dict.fromkeys(part.gave_up for part in parts if part.gave_up)) or None,
            unchecked="; ".join(dict.fromkeys(part.unchecked for part in parts if part.unchecked)) or None,
            charging_stopped=next((part.charging_stopped for part in parts if part.charging_stopped), None),
            outcomes=sum((Counter(part.outcomes) for part in parts), Counter()),
            failures=sum((Counter(part.failures) for part in parts), Counter()),
            skipped=sum((Counter(part.skipped) for part in parts), Counter()),
            requests=sum((Counter(part.requests) for part in parts), Counter()),
            for_a_person=sum(part.for_a_person for part in parts), surplus=sum(part.surplus for part in parts),
            overdue=sum(part.overdue for part in parts),
            overdue_since=min((part.overdue_since for part in parts if part.overdue_since), default=None),
            rows=_worst([row for part in parts for row in part.rows]),
        )  # fmt: skip

    @property
    def total(self) -> int:
        """All lines, also those that are not kept as rows."""
        return sum(self.outcomes.values())

    @property
    def needs_attention(self) -> bool:
        """Whether a person must act: on at least one renewal, or because of the sweep as a whole."""
        return self.for_a_person > 0 or any((self.brake, self.gave_up, self.unchecked))

    @property
    def sentence(self) -> str:
        """`3 renewals: 1 renewed, 1 waits for a retry, 1 needs attention; failures: 2 payment`, in plain words."""
        stopped = self.brake or self.gave_up
        left = f"; {self.left} {_verb(self.left, 'stay')} due" if self.left else ""
        return f"{self._counts()}. Stopped: {stopped}{left}" if stopped else self._counts()

    @property
    def headline(self) -> str:
        """The sentence; if a person must act, after what matters most: `2 need a person: 100 renewals: ...`."""
        matters = [f"{self.for_a_person} {_verb(self.for_a_person, 'need')} a person"] if self.for_a_person else []
        matters += ["stopped"] if self.brake or self.gave_up else []
        matters += [self.unchecked] if self.unchecked else []
        if self.charging_stopped:
            return f"{', '.join((*matters, self.charging_stopped))}; {self.sentence}"
        return f"{', '.join(matters)}: {self.sentence}" if matters else self.sentence

    def _counts(self) -> str:
        worked_on = self.total - self.outcomes.get(Outcome.SKIPPED, 0)
        parts = [text for text in (self._done(), self._waiting(), self._bad(), self._left_alone()) if text]
        said = f"{worked_on} renewal{'' if worked_on == 1 else 's'}"
        if parts:
            said += ": " + ", ".join(parts)
        if self.failures:
            said += "; failures: " + ", ".join(f"{count} {cls}" for cls, count in sorted(self.failures.items()))
        if self.overdue and self.overdue_since:
            said += f"; {self.overdue} overdue, the oldest since {period_text(self.overdue_since)}"
        if self.surplus:
            said += f"; {self.surplus} surplus {'copy' if self.surplus == 1 else 'copies'} cancelled"
        return f"{said}; {self.ahead.sentence}" if self.ahead else said

    def _count(self, *outcomes: Outcome) -> int:
        return sum(self.outcomes.get(outcome, 0) for outcome in outcomes)

    def _done(self) -> str:
        return _list(
            (self._count(Outcome.RENEWED), "renewed"),
            (self._count(Outcome.ALREADY_RENEWED), "renewed by an earlier run"),
        )

    def _waiting(self) -> str:
        retries = self._count(Outcome.RETRY_SCHEDULED)
        return _list(
            (retries, f"{_verb(retries, 'wait')} for a retry"),
            (self._count(Outcome.IN_PROGRESS), "still copying"),
            (self._count(Outcome.UNCONFIRMED), "unconfirmed"),
        )

    def _bad(self) -> str:
        bad = self._count(Outcome.NEEDS_ATTENTION)
        return _list((bad, f"{_verb(bad, 'need')} attention"), (self._count(Outcome.EXHAUSTED), "out of retries"))

    def _left_alone(self) -> str:
        waiting, held = self.skipped.get(SkipReason.RETRY_NOT_DUE, 0), self.skipped.get(SkipReason.HELD, 0)
        urgent = sum(count for reason, count in self.skipped.items() if reason.needs_person)
        unplaced = self.skipped.get(SkipReason.CHARGING_STOPPED, 0)
        return _list(
            (unplaced, "not charged"),
            (waiting, f"{_verb(waiting, 'wait')} for the next attempt"),
            (held, "held for a person"),
            (sum(self.skipped.values()) - urgent - waiting - held - unplaced, "skipped"),
            (urgent, "skipped until a person acts"),
        )


def outcome_in_words(outcome: Outcome) -> str:
    """`retry scheduled`: an outcome as people read it."""
    return outcome.value.replace("_", " ")


def _worst(lines: Iterable[RenewalLine]) -> tuple[RenewalLine, ...]:
    return tuple(sorted(lines, key=lambda line: line.badness)[:ROWS_KEPT])


def _verb(count: int, word: str) -> str:
    return f"{word}s" if count == 1 else word


def _list(*counted: tuple[int, str]) -> str:
    return ", ".join(f"{count} {words}" for count, words in counted if count)
