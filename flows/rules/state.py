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
from flows.rules.price import Price
from flows.rules.references import whole_minute

VERSION = 1
KEY = "perennial"
TAG = "perennial"
"""The tag that an adopted subscription carries as well, so that a state that somebody removed is noticed."""
ERROR_LENGTH = 500
ATTEMPTS_KEPT_FOR = timedelta(days=30)
_QUOTED = 200
_NO_OBJECT = ": it must be an object; restore it, or set it to {} to begin anew with the period that is due"


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


def _texts_by_instant(value: object) -> object:
    # What others have made of it only helps to count: it is no reason to trust none of the state.
    items = value.items() if isinstance(value, Mapping) else ()
    return {key: text for key, text in items if isinstance(key, str) and isinstance(text, str)}


def _iso(instant: datetime) -> str:
    moment = instant.astimezone(UTC).replace(tzinfo=None)
    return moment.isoformat(timespec="seconds" if moment.second else "minutes") + "Z"


def _object_for_an_empty_list(value: object) -> object:
    # PHP knows one kind of array: an empty object that it reads comes back as an empty list.
    return {} if value == [] else value


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

FAILED_BEFORE = frozenset({Outcome.RETRY_SCHEDULED, Outcome.NEEDS_ATTENTION, Outcome.EXHAUSTED})
"""Outcomes that are recorded only after an attempt was seen to fail."""


Instant = Annotated[
    AwareDatetime, BeforeValidator(_text_only), AfterValidator(_in_our_times), PlainSerializer(_iso, when_used="json")
]


class RenewalState(BaseModel):
    """The renewal state of one subscription. Unknown keys are kept; a broken object is `damaged`, never an error."""

    model_config = ConfigDict(frozen=True, extra="allow", use_attribute_docstrings=True)

    v: int = Field(default=VERSION, ge=1, le=VERSION)
    """Version of this schema. A newer one is not understood, and so left alone."""
    policy: Annotated[dict[str, Any] | None, BeforeValidator(_object_for_an_empty_list)] = None
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
    failures: Annotated[dict[str, int], BeforeValidator(_object_for_an_empty_list)] = {}
    """Those of them that failed, by failure class: each class has retries of its own."""
    copies: int = Field(default=0, ge=0)
    """Order copies that version 0.1 made in this period: it numbered their references. 0 for any other period."""
    next_attempt_at: Instant | None = None
    """When the next attempt may be made; null when nothing has to wait."""
    under_way_since: Instant | None = None
    """Since when a copy, or its order, is neither done nor failed; null when none is under way."""
    unsettled_since: Instant | None = None
    """Since when every run has left the period as it was: lost answers, refusals. Null once it goes on."""
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
    confirmed_order_id: str | None = None
    """An order that could not be placed although its customer had confirmed the payment: it waits like any other."""
    price: Price | None = None
    """What the last renewal cost: the next one is compared with it."""
    price_to_accept: Price | None = None
    """The price for which this period was held. Whoever releases the subscription accepts it, for this period."""
    final_action: str | None = None
    """What the policy did when the retries of this period were used up."""
    flow_run_id: str | None = None
    """The run that wrote this."""
    attempts: list[Instant] = []
    """Charges of the last 30 days that failed, or may have: what the card networks' limits count."""
    attempt_cards: Annotated[dict[str, str], BeforeValidator(_texts_by_instant)] = {}
    """Which card (`customer_payment_sources`) each of them was made with; earlier versions did not note it."""
    paused: bool = False
    """Nothing is renewed while this is true. A storefront may set it, as `perennial pause` does."""
    held: bool = False
    """A person must look first; set it to false to go on."""

    damaged: str | None = Field(default=None, exclude=True)
    """Why the stored object cannot be trusted; null when it can. Never stored."""

    @classmethod
    def read(cls, metadata: Mapping[str, Any]) -> Self | None:
        """The state in a subscription's metadata; None when it is not adopted. Never raises."""
        if KEY not in metadata:
            return None
        stored = _object_for_an_empty_list(metadata[KEY])
        if not isinstance(stored, Mapping):
            # Somebody adopted it once: taken for "not adopted", its customer would be renewed by no engine.
            return cls(damaged=f"metadata.{KEY} = {stored!r}"[:_QUOTED] + _NO_OBJECT)
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

    @property
    def was_tried(self) -> bool:
        """Whether a run has worked on the period before, and has not settled it."""
        return self.attempt > 0 or self.unsettled_since is not None or self.under_way_since is not None

    def for_period(self, due: datetime) -> Self:
        """The state to work on `due` with: as it stands when that is the period, else a fresh start."""
        if self.period is not None and whole_minute(self.period) == due:
            return self
        fresh: dict[str, object] = {
            "period": due, "outcome": None, "attempt": 0, "failures": {}, "copies": 0, "next_attempt_at": None,
            "under_way_since": None, "unsettled_since": None, "error_class": None, "error": None,
            "order_copy_id": None, "target_order_id": None, "payment_source_id": None, "final_action": None,
            "held": False, "price_to_accept": None, "too_close_to": None, "too_close_on": None,
        }  # fmt: skip
        return self.model_copy(update=fresh)

    def announcing(
        self, attempt: int, order_copy_id: str, target_order_id: str, moment: datetime, flow_run_id: str | None,
        card: str | None = None,
    ) -> Self:  # fmt: skip
        """
        What is recorded before a run places an order whose copy it did not create.

        Whatever happens to us then, the attempt counts, for the retries and for the card networks' limits.
        """
        news = {
            "outcome": Outcome.PLACING, "attempt": attempt, **self.counting(moment, card),
            "order_copy_id": order_copy_id, "target_order_id": target_order_id, "flow_run_id": flow_run_id,
        }  # fmt: skip
        return self.model_copy(update=news)

    def without_announcement(self, before: Self) -> Self:
        """This state as if the attempt that it announces had not been announced upon `before`. Other changes stay."""
        announced = ("outcome", "attempt", "attempts", "attempt_cards", "order_copy_id", "target_order_id")
        return self.model_copy(update={name: getattr(before, name) for name in (*announced, "flow_run_id")})

    def attempts_until(self, as_of: datetime) -> list[datetime]:
        """The charges that still count at `as_of`: those of the last 30 days, oldest first."""
        return sorted(moment for moment in self.attempts if moment > as_of - ATTEMPTS_KEPT_FOR)

    def card_of(self, charge: datetime) -> str | None:
        """The card that a counted charge was made with: the one that failed last where it was not noted, if any is."""
        return self.attempt_cards.get(_iso(charge)) or self.payment_source_id

    def counting(self, charge: datetime, card: str | None) -> dict[str, object]:
        """The fields that change when one more charge is counted, which was made with `card`."""
        known = self.cards_until(charge)
        return {
            "attempts": [*self.attempts_until(charge), charge],
            "attempt_cards": known if card is None else {**known, _iso(charge): card},
        }

    def cards_until(self, as_of: datetime) -> dict[str, str]:
        """The cards of the charges that still count at `as_of`, as far as they are known."""
        return {_iso(moment): card for moment in self.attempts_until(as_of) if (card := self.card_of(moment))}


def _complaint(item: ErrorDetails) -> str:
    where = ".".join(str(part) for part in item["loc"])
    return f"metadata.{KEY}.{where} = {item['input']!r}: {item['msg']}"
