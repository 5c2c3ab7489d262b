"""
What Perennial remembers about a subscription, under `metadata.perennial` on the subscription itself.

Nothing is stored anywhere else: a worker can die at any point, and the next one reads this.
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
RESCUE_KEY = "perennial_rescue"
"""The state of a rescue: the subscription is not adopted, and Commerce Layer's own engine goes on renewing it."""
TAG = "perennial"
"""The tag of adopted subscriptions: it shows that a subscription was adopted even if its state was removed."""
ERROR_LENGTH = 500
ATTEMPTS_KEPT_FOR = timedelta(days=30)
_QUOTED = 200
_NO_OBJECT = ": it must be an object; restore it, or set it to {} to begin anew with the period that is due"


def _text_only(value: object) -> object:
    # A number would be read as seconds since 1970, which is never meant.
    if value is not None and not isinstance(value, (str, datetime)):
        raise ValueError("an instant is written as text, such as 2026-03-01T06:00Z")
    return value


def _in_our_times(instant: datetime) -> datetime:
    # No dates can be calculated for such years; they are typing errors.
    if not FIRST_YEAR <= instant.year <= LAST_YEAR:
        raise ValueError(f"an instant lies between the years {FIRST_YEAR} and {LAST_YEAR}")
    return instant


def _texts_by_instant(value: object) -> object:
    # This only helps to count, so an unreadable entry does not make the whole state damaged.
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
    PLACING = "placing"  # only recorded: an attempt was begun, and its result is not known; it is not repeated


RENEWED = frozenset({Outcome.RENEWED, Outcome.ALREADY_RENEWED})

FAILED_BEFORE = frozenset({Outcome.RETRY_SCHEDULED, Outcome.NEEDS_ATTENTION, Outcome.EXHAUSTED})
"""Outcomes that are recorded only after a failed attempt."""


Instant = Annotated[
    AwareDatetime, BeforeValidator(_text_only), AfterValidator(_in_our_times), PlainSerializer(_iso, when_used="json")
]


class RenewalState(BaseModel):
    """The renewal state of one subscription. Unknown keys are kept; a broken object is `damaged`, never an error."""

    model_config = ConfigDict(frozen=True, extra="allow", use_attribute_docstrings=True)

    v: int = Field(default=VERSION, ge=1, le=VERSION)
    """Version of this schema. A state of a newer version is left alone."""
    policy: Annotated[dict[str, Any] | None, BeforeValidator(_object_for_an_empty_list)] = None
    """This subscription's own policy fields, used in place of the merchant's."""
    anchor: Instant | None = None
    """Anchor of the calendar if it is not `starts_at`: that is missing, or `next_run_at` was not on its calendar."""

    period: Instant | None = None
    """Due instant of the period that was worked on last."""
    done_through: Instant | None = None
    """The last period that is settled: renewed, or skipped on purpose."""
    frequency: str | None = None
    """The frequency when the last period was settled: a new frequency counts from the date after that period."""
    last_period: Instant | None = None
    """The period that was renewed last. Unlike `period`, it stays the same while the next period is worked on."""
    last_placed_at: Instant | None = None
    """When the order of that renewal was placed: nothing is charged within half an interval of it."""
    last_order_id: str | None = None
    """The order of that renewal."""
    too_close_to: str | None = None
    """The order that `period` came too close to when it was held for that reason."""
    too_close_on: Instant | None = None
    """`next_run_at` when it was held for that reason: a new date releases it."""
    outcome: Outcome | None = None
    """How the work on `period` stands."""
    attempt: int = Field(default=0, ge=0)
    """Attempts made in this period."""
    failures: Annotated[dict[str, int], BeforeValidator(_object_for_an_empty_list)] = {}
    """Failed attempts in this period, by failure class: each class has its own retries."""
    copies: int = Field(default=0, ge=0)
    """Order copies that version 0.1 made in this period: it numbered their references. 0 for any other period."""
    next_attempt_at: Instant | None = None
    """When the next attempt may be made; null when it need not wait."""
    under_way_since: Instant | None = None
    """Since when a copy, or its order, has been under way; null when none is."""
    unsettled_since: Instant | None = None
    """Since when every run has left the period as it was, for lost answers or refusals; null once it goes on."""
    error_class: str | None = None
    """Failure class of the last attempt."""
    error: str | None = None
    """What Commerce Layer said about it, at most 500 characters."""
    order_copy_id: str | None = None
    """The last order copy of this period."""
    target_order_id: str | None = None
    """The order that this copy made."""
    payment_source_id: str | None = None
    """The subscription's payment source when the last attempt failed: a new one allows a new attempt."""
    confirmed_order_id: str | None = None
    """An order that could not be placed although the customer had confirmed its payment: it waits like any other."""
    price: Price | None = None
    """What the last renewal cost: the next one is compared with it."""
    price_to_accept: Price | None = None
    """The price for which this period was held. Releasing the subscription accepts it for this period."""
    final_action: str | None = None
    """What the policy did when the retries of this period were used up."""
    flow_run_id: str | None = None
    """The run that wrote this."""
    attempts: list[Instant] = []
    """Charges of the last 30 days that failed, or may have; the card networks' limits count them."""
    attempt_cards: Annotated[dict[str, str], BeforeValidator(_texts_by_instant)] = {}
    """The card (`customer_payment_sources`) of each of these charges; earlier versions did not record it."""
    paused: bool = False
    """Nothing is renewed while this is true. A storefront may set it, as `perennial pause` does."""
    held: bool = False
    """A person must act first; set it to false to go on."""
    held_since: Instant | None = None
    """Since when it is held; null when it is not, and when a person or an earlier version has held it."""

    damaged: str | None = Field(default=None, exclude=True)
    """Why the stored object cannot be trusted; null when it can. Never stored."""

    @classmethod
    def read(cls, metadata: Mapping[str, Any], key: str = KEY) -> Self | None:
        """The state in a subscription's metadata; None when it has none: it is not adopted. Never raises."""
        if key not in metadata:
            return None
        stored = _object_for_an_empty_list(metadata[key])
        if not isinstance(stored, Mapping):
            # It was adopted: if it counted as "not adopted", no engine would renew it.
            return cls(damaged=f"metadata.{key} = {stored!r}"[:_QUOTED] + _NO_OBJECT)
        try:
            return cls.model_validate({key: value for key, value in stored.items() if key != "damaged"})
        except ValidationError as error:
            return cls(damaged="; ".join(_complaint(key, item) for item in error.errors())[:ERROR_LENGTH])

    def written_into(self, metadata: Mapping[str, Any], key: str = KEY) -> dict[str, Any]:
        """
        A copy of `metadata` with this state in it; all other keys, and unknown keys of the state, are kept.

        Raises ValueError for a damaged state: writing it would destroy what a person must repair.
        """
        if self.damaged is not None:
            raise ValueError(f"a damaged state is not written back: {self.damaged}")
        stored = metadata.get(key)
        kept = dict(stored) if isinstance(stored, Mapping) else {}
        ours = self.model_dump(mode="json")
        if not self.held:
            ours["held_since"] = None
        return {**metadata, key: {**kept, **ours}}

    @property
    def is_unsettled(self) -> bool:
        """Whether `period` is open: begun, and neither renewed nor skipped yet."""
        return self.period is not None and (self.done_through is None or self.period > self.done_through)

    @property
    def was_tried(self) -> bool:
        """Whether an earlier run worked on the period and did not settle it."""
        return self.attempt > 0 or self.unsettled_since is not None or self.under_way_since is not None

    def for_period(self, due: datetime) -> Self:
        """The state for the period `due`: this one if that is its period, else a fresh one."""
        if self.period is not None and whole_minute(self.period) == due:
            return self
        fresh: dict[str, object] = {
            "period": due, "outcome": None, "attempt": 0, "failures": {}, "copies": 0, "next_attempt_at": None,
            "under_way_since": None, "unsettled_since": None, "error_class": None, "error": None,
            "order_copy_id": None, "target_order_id": None, "payment_source_id": None, "final_action": None,
            "held": False, "held_since": None, "price_to_accept": None, "too_close_to": None, "too_close_on": None,
        }  # fmt: skip
        return self.model_copy(update=fresh)

    def announcing(
        self, attempt: int, order_copy_id: str, target_order_id: str, moment: datetime, flow_run_id: str | None,
        card: str | None = None,
    ) -> Self:  # fmt: skip
        """
        What is recorded before a run places an order whose copy it did not create.

        Even if the run dies then, the attempt counts for the retries and for the card networks' limits.
        """
        news = {
            "outcome": Outcome.PLACING, "attempt": attempt, **self.counting(moment, card),
            "order_copy_id": order_copy_id, "target_order_id": target_order_id, "flow_run_id": flow_run_id,
        }  # fmt: skip
        return self.model_copy(update=news)

    def without_announcement(self, before: Self) -> Self:
        """This state without the attempt that was announced when the state was `before`. Other changes stay."""
        announced = ("outcome", "attempt", "attempts", "attempt_cards", "order_copy_id", "target_order_id")
        return self.model_copy(update={name: getattr(before, name) for name in (*announced, "flow_run_id")})

    def attempts_until(self, as_of: datetime) -> list[datetime]:
        """The charges that still count at `as_of`: those of the last 30 days, oldest first."""
        return sorted(moment for moment in self.attempts if moment > as_of - ATTEMPTS_KEPT_FOR)

    def card_of(self, charge: datetime) -> str | None:
        """The card of a counted charge; if it was not recorded, the card that failed last, if any."""
        return self.attempt_cards.get(_iso(charge)) or self.payment_source_id

    def counting(self, charge: datetime, card: str | None) -> dict[str, object]:
        """The fields that change when one more charge with `card` is counted."""
        known = self.cards_until(charge)
        return {
            "attempts": [*self.attempts_until(charge), charge],
            "attempt_cards": known if card is None else {**known, _iso(charge): card},
        }

    def cards_until(self, as_of: datetime) -> dict[str, str]:
        """The known cards of the charges that still count at `as_of`."""
        return {_iso(moment): card for moment in self.attempts_until(as_of) if (card := self.card_of(moment))}


def _complaint(key: str, item: ErrorDetails) -> str:
    where = ".".join(str(part) for part in item["loc"])
    return f"metadata.{key}.{where} = {item['input']!r}: {item['msg']}"
