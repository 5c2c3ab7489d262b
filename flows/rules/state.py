"""
What Perennial remembers about a subscription, under `metadata.perennial` on the subscription itself.

There is no other memory: a worker can die anywhere, and the next one reads this.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Annotated, Any, Self

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    ValidationError,
)
from pydantic_core import ErrorDetails

from flows.rules.far_dates import FIRST_YEAR, LAST_YEAR
from flows.rules.references import whole_minute

VERSION = 1
KEY = "perennial"
ERROR_LENGTH = 500
ATTEMPTS_KEPT_FOR = timedelta(days=30)


def _text_only(value: object) -> object:
    # A number would be read as seconds since 1970, which is never what somebody meant.
    if value is not None and not isinstance(value, (str, datetime)):
        raise ValueError("an instant is written as text, such as 2026-03-01T06:00Z")
    return value


def _in_our_times(instant: datetime) -> datetime:
    # A calendar cannot be walked at the ends of time; such a date is a slip of somebody's pen.
    if not FIRST_YEAR <= instant.year <= LAST_YEAR:
        raise ValueError(f"an instant lies between the years {FIRST_YEAR} and {LAST_YEAR}")
    return instant


def _iso(instant: datetime) -> str:
    moment = instant.astimezone(UTC).replace(tzinfo=None)
    return moment.isoformat(timespec="seconds" if moment.second else "minutes") + "Z"


class Outcome(StrEnum):
    """How a renewal stands."""

    RENEWED = "renewed"
    ALREADY_RENEWED = "already_renewed"
    IN_PROGRESS = "in_progress"
    RETRY_SCHEDULED = "retry_scheduled"
    NEEDS_ATTENTION = "needs_attention"
    EXHAUSTED = "exhausted"
    UNCONFIRMED = "unconfirmed"
    SKIPPED = "skipped"
    PLACING = "placing"  # only recorded: an attempt was begun, and its end is not known; it is not made again


RENEWED = frozenset({Outcome.RENEWED, Outcome.ALREADY_RENEWED})


Instant = Annotated[
    AwareDatetime, BeforeValidator(_text_only), AfterValidator(_in_our_times), PlainSerializer(_iso, when_used="json")
]


class RenewalState(BaseModel):
    """The renewal state of one subscription. Unknown keys are kept; a broken object is `damaged`, never an error."""

    model_config = ConfigDict(frozen=True, extra="allow", use_attribute_docstrings=True)

    v: int = Field(default=VERSION, ge=1, le=VERSION)
    """Version of this schema. A newer one is not understood, and so left alone."""
    policy: dict[str, Any] | None = None
    """This subscription's own policy fields, laid over the merchant's."""
    anchor: Instant | None = None
    """Anchor of the calendar, where it is not `starts_at`: there is none, or it was adopted with dates off it."""

    period: Instant | None = None
    """Due instant of the period that was worked on last."""
    done_through: Instant | None = None
    """The last period that is settled: renewed, or skipped on purpose."""
    frequency: str | None = None
    """The frequency by which the last period was settled: a changed one counts from the date that came next."""
    last_period: Instant | None = None
    """The period that was renewed last. Unlike `period` it stays while the next one is worked on."""
    last_placed_at: Instant | None = None
    """When the order of that renewal was placed: nothing is charged within half an interval of it."""
    last_order_id: str | None = None
    """That order."""
    too_close_to: str | None = None
    """The order that `period` came too close to when it was held for that reason."""
    too_close_on: Instant | None = None
    """`next_run_at` when it was held for that reason: another date releases it."""
    outcome: Outcome | None = None
    """How the work on `period` stands."""
    attempt: int = Field(default=0, ge=0)
    """Attempts made in this period."""
    failures: dict[str, int] = {}
    """Those of them that failed, by failure class: each class has retries of its own."""
    copies: int = Field(default=0, ge=0)
    """Order copies that version 0.1 made in this period: it numbered their references. 0 for any other period."""
    next_attempt_at: Instant | None = None
    """When the next attempt may be made; null when nothing has to wait."""
    under_way_since: Instant | None = None
    """Since when a copy, or its order, is neither done nor failed; null when none is under way."""
    error_class: str | None = None
    """Failure class of the last attempt."""
    error: str | None = None
    """What Commerce Layer said about it, at most 500 characters."""
    order_copy_id: str | None = None
    """The last order copy of this period."""
    target_order_id: str | None = None
    """The order that the copy made."""
    payment_source_id: str | None = None
    """The subscription's payment source when the last attempt failed: another one is worth another attempt."""
    final_action: str | None = None
    """What the policy did when the retries of this period were used up."""
    flow_run_id: str | None = None
    """The run that wrote this."""
    attempts: list[Instant] = []
    """Charges of the last 30 days that failed, or may have: what the card networks' limits count."""
    held: bool = False
    """A person must look first; set it to false to go on."""

    damaged: str | None = Field(default=None, exclude=True)
    """Why the stored object cannot be trusted; null when it can. Never stored."""

    @classmethod
    def read(cls, metadata: Mapping[str, Any]) -> Self | None:
        """The state in a subscription's metadata; None when it is not adopted. Never raises."""
        stored = metadata.get(KEY)
        if not isinstance(stored, Mapping):
            return None
        try:
            return cls.model_validate({key: value for key, value in stored.items() if key != "damaged"})
        except ValidationError as error:
            return cls(damaged="; ".join(_complaint(item) for item in error.errors())[:ERROR_LENGTH])

    def written_into(self, metadata: Mapping[str, Any]) -> dict[str, Any]:
        """
        A copy of `metadata` with this state in it; all other keys, and unknown keys of the state, survive.

        Raises ValueError for a damaged state: writing it would destroy what a person must repair.
        """
        if self.damaged is not None:
            raise ValueError(f"a damaged state is not written back: {self.damaged}")
        stored = metadata.get(KEY)
        kept = dict(stored) if isinstance(stored, Mapping) else {}
        return {**metadata, KEY: {**kept, **self.model_dump(mode="json")}}

    @property
    def is_unsettled(self) -> bool:
        """Whether `period` was begun and is neither renewed nor skipped yet."""
        return self.period is not None and (self.done_through is None or self.period > self.done_through)

    def for_period(self, due: datetime) -> Self:
        """The state to work on `due` with: as it stands when that is the period, else a fresh start."""
        if self.period is not None and whole_minute(self.period) == due:
            return self
        fresh: dict[str, object] = {
            "period": due, "outcome": None, "attempt": 0, "failures": {}, "copies": 0, "next_attempt_at": None,
            "under_way_since": None, "error_class": None, "error": None, "order_copy_id": None,
            "target_order_id": None, "payment_source_id": None, "final_action": None, "held": False,
            "too_close_to": None, "too_close_on": None,
        }  # fmt: skip
        return self.model_copy(update=fresh)

    def announcing(
        self, attempt: int, order_copy_id: str, target_order_id: str, moment: datetime, flow_run_id: str | None
    ) -> Self:
        """
        What is recorded before a run places an order whose copy it did not create.

        Whatever happens to us then, the attempt counts, for the retries and for the card networks' limits.
        """
        news = {
            "outcome": Outcome.PLACING, "attempt": attempt, "attempts": [*self.attempts_until(moment), moment],
            "order_copy_id": order_copy_id, "target_order_id": target_order_id, "flow_run_id": flow_run_id,
        }  # fmt: skip
        return self.model_copy(update=news)

    def without_announcement(self, before: Self) -> Self:
        """This state as if the attempt that it announces had not been announced upon `before`. Other changes stay."""
        announced = ("outcome", "attempt", "attempts", "order_copy_id", "target_order_id", "flow_run_id")
        return self.model_copy(update={name: getattr(before, name) for name in announced})

    def attempts_until(self, as_of: datetime) -> list[datetime]:
        """The charges that still count at `as_of`: those of the last 30 days, oldest first."""
        return sorted(moment for moment in self.attempts if moment > as_of - ATTEMPTS_KEPT_FOR)


def _complaint(item: ErrorDetails) -> str:
    where = ".".join(str(part) for part in item["loc"])
    return f"metadata.{KEY}.{where} = {item['input']!r}: {item['msg']}"
