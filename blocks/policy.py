"""What a merchant decides about renewals: when, how often, with which limits, and what happens in the end.

Plain data with bounds, independent of Prefect and of Commerce Layer's API. The block
`RenewalPolicy` shows the same fields to people, and the rules read them from here.

Sources of the figures; each field names its own:
    Stripe      docs.stripe.com/billing/revenue-recovery/smart-retries (8 tries in 2 weeks)
    Shopify     Shopify/subscriptions-reference-app, SettingsDefinitions.ts (stock: 5 attempts, daily)
    Kill Bill   killbill PaymentConfig.java (gateway trouble: 300 s, doubling)
    Recurly     docs.recurly.com, static retries (gateway trouble: 4 h apart, then daily; 60 days at most)
    card rules  support.checkout.com 25482040901394, paypal.com/us/brc avoid-excessive-retries-penalties
"""

import re
from collections.abc import Mapping
from datetime import time, timedelta
from enum import StrEnum
from typing import Annotated, Any, Literal, Self
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic_core import ErrorDetails

from blocks.failure_patterns import FailureClass as FailureClass  # noqa: PLC0414 - offered from here as well
from blocks.failure_patterns import Pattern, TaughtMeaning


class FinalAction(StrEnum):
    """What happens to a subscription when its retries are used up."""

    HOLD = "hold"
    SKIP_PERIOD = "skip_period"
    CANCEL = "cancel"


THE_CUSTOMERS = frozenset({FailureClass.PAYMENT})
"""Failures that the customer causes. No other failure cancels a subscription: a gateway may be down."""


class PolicyOverrideInvalid(ValueError):  # noqa: N818 - the name says what happened
    """A subscription's own policy (`metadata.perennial.policy`) cannot be read; `problems` names each field."""

    def __init__(self, problems: tuple[str, ...]) -> None:
        super().__init__(problems)
        self.problems = problems

    def __str__(self) -> str:
        return "metadata.perennial.policy: " + "; ".join(self.problems)


_UNITS = {"m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}
SHORTEST_DELAY = timedelta(minutes=5)
LONGEST_DELAY = timedelta(days=60)
SHORTEST_AHEAD, LONGEST_AHEAD = timedelta(hours=1), timedelta(days=7)


def duration_of(text: str) -> timedelta:
    """`12h`, `3d`, `30m` or `2w` as a timedelta. Raises ValueError, which says what to write."""
    found = re.fullmatch(r"\s*([0-9]{1,5})\s*([mhdw])\s*", text)
    if not found:
        raise ValueError(f"{text!r} is not a duration: write a whole number and m, h, d or w, such as 12h or 3d")
    return int(found[1]) * _UNITS[found[2]]


def _a_sensible_delay(text: str) -> str:
    if not SHORTEST_DELAY <= duration_of(text) <= LONGEST_DELAY:
        raise ValueError(f"{text!r} is out of bounds: a delay is between 5m and 60d")
    return text.strip()


def _a_time_ahead(text: str) -> str:
    if not SHORTEST_AHEAD <= duration_of(text) <= LONGEST_AHEAD:
        raise ValueError(f"{text!r} is out of bounds: it is between 1h and 7d, such as 24h; leave it empty for off")
    return text.strip()


def _a_currency(text: str) -> str:
    if not re.fullmatch("[A-Z]{3}", text):
        raise ValueError(f"{text!r} is not a currency code: write three capital letters such as EUR")
    return text


Delay = Annotated[str, AfterValidator(_a_sensible_delay)]
TimeAhead = Annotated[str, AfterValidator(_a_time_ahead)]
Delays = Annotated[list[Delay], Field(max_length=19)]
Currency = Annotated[str, AfterValidator(_a_currency)]

SWEEP_FIELDS = frozenset(
    {"first_wave", "second_wave", "brake_share", "max_unconfirmed", "batch_size", "settle_seconds"}
    | {"copy_deadline_seconds", "max_renewals_per_day", "max_amount_per_day", "prepare_ahead"}
)
"""Fields about a whole sweep: one subscription cannot override them."""

RETIRED_FIELDS = frozenset({"tag_target_orders"})
"""Fields of earlier versions, which may be stored in blocks and on subscriptions. Every target order is tagged now."""


class Policy(BaseModel):
    """
    A merchant's policy, complete and checked.

    The options `skip_errors` and `cancel_source_order` of order copies are not offered. The first would charge
    customers for orders without the failed lines; the second would cancel the order that the next renewal copies.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    time_zone: str = "UTC"
    """Time zone (IANA, such as Europe/Rome) in which renewals keep their time of day across daylight saving."""
    catch_up: Literal["latest", "all", "skip"] = "latest"
    """After downtime: renew only the latest missed period, all of them one after the other, or skip what is late."""
    catch_up_limit: int = Field(default=3, ge=1, le=24)
    """With catch-up "all": how many of the newest missed periods are made up; older ones are skipped."""
    late_after: Delay = "1d"
    """With catch-up "skip": a period is renewed if it is no later than this, such as 12h or 3d."""

    payment_retries: Delays = ["1d", "3d", "5d", "5d"]
    """Wait before each retry of a declined payment, counted from the failure before it (Stripe: within two weeks)."""
    stock_retries: Delays = ["1d", "1d", "1d", "1d"]
    """Wait before each retry when a line is out of stock (Shopify's reference app: five attempts, daily)."""
    coupon_retries: Delays = []
    """Wait before each retry of an invalid coupon or gift card; none by default, since it stays invalid."""
    catalogue_retries: Delays = ["1d", "3d"]
    """Wait before each retry when a price, a market setting or a shipping method is missing and staff may fix it."""
    transient_retries: Delays = ["10m", "1h", "4h", "1d"]
    """Wait before each retry of a passing fault (between Kill Bill's doubling 5 minutes and Recurly's 4 hours)."""
    unknown_retries: Delays = ["1d", "3d"]
    """Wait before each retry of an unrecognised failure."""
    retry_at: time | None = None
    """Local time of day for retries that wait a day or more, after the wait. Empty: right when the wait ends."""
    stuck_after: Delay = "1d"
    """How long a renewal may stay open (under way, unread, unconfirmed, unrecorded) before a person is told."""
    final_action: FinalAction = FinalAction.HOLD
    """
    When retries are used up: hold the subscription for a person, skip the period, or cancel the subscription.

    Only failed payments cancel it; after another failure, such as stock or a gateway, it is held instead.
    """
    final_actions: dict[FailureClass, FinalAction] = {}
    """Final action for single failure classes, if it differs from the one above."""
    failure_patterns: dict[Pattern, TaughtMeaning] = {}
    """Your own words for failures: a regular expression on the error text, and its class, such as "stock". Add ", hard"
    if only a person can help ("payment, hard"), or ", soft" if a retry may succeed ("payment, soft")."""

    price_tolerance: float = Field(default=0, ge=0, le=1000)
    """Percent by which an order may cost more than the last renewal; above it a person must accept the price."""

    max_attempts_per_month: int = Field(default=15, ge=1, le=20)
    """Failed charges of one card (per subscription) in 30 days (Visa allows 20, 15 before May 2025; Mastercard 35)."""
    max_attempts_per_day: int = Field(default=5, ge=1, le=10)
    """Failed charges of one card (per subscription) in 24 hours (Mastercard allows 10)."""

    max_renewals_per_day: int | None = Field(default=None, ge=1)
    """Orders that all sweeps together may place in a day of the time zone; then all charging stops."""
    max_amount_per_day: dict[Currency, Annotated[int, Field(ge=1)]] = {}
    """The same for amounts, by currency, in Commerce Layer's cents: {"EUR": 100000} is 1,000.00 EUR."""

    first_wave: int = Field(default=10, ge=1, le=10_000)
    """Renewals in the first wave of a sweep, before their results are checked."""
    second_wave: int = Field(default=100, ge=1, le=100_000)
    """Renewals in the second wave; all others follow it."""
    brake_share: float = Field(default=0.2, gt=0, le=1)
    """Share of finished renewals failing for one reason above which the sweep stops creating; 1 switches it off."""
    max_unconfirmed: int = Field(default=3, ge=1, le=1000)
    """The sweep stops after this many placements in a row whose answers were lost."""
    batch_size: int = Field(default=500, ge=1, le=10_000)
    """Renewals in one batch of a sweep."""
    settle_seconds: int = Field(default=5, ge=1, le=900)
    """How old an order copy must be before its order is placed: longer than Commerce Layer's list reads may lag."""
    copy_deadline_seconds: int = Field(default=900, ge=30, le=86_400)
    """Seconds that a sweep waits for order copies to finish before it leaves them to the next sweep."""
    prepare_ahead: TimeAhead | None = None
    """Make the order copies of what comes due within this time ahead, such as 24h. Empty: off."""

    apply_promotions: bool = False
    """Compute promotions anew for each renewal instead of copying the discounts of the source order."""
    ignore_invalid_coupon: bool = False
    """Drop an expired or used-up coupon instead of failing the renewal."""
    reuse_wallet: bool = True
    """Charge the payment source that the customer saved in their wallet."""
    follow_checkout_card: bool = True
    """
    When a customer pays a renewal at the checkout with another card of their wallet, charge later ones to that card.
    """
    shared_source_orders: bool = False
    """Renew several adopted subscriptions of one source order, although each renewal copies the whole order."""

    @field_validator("time_zone")
    @classmethod
    def _a_known_zone(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (OSError, ValueError, KeyError):  # not found, a folder, or not even a relative path
            message = f"{name!r} is not a time zone: use an IANA name such as UTC or Europe/Rome"
            raise ValueError(message) from None
        return name

    @field_validator("retry_at")
    @classmethod
    def _local_minutes(cls, value: time | None) -> time | None:
        if value is not None and value.tzinfo is not None:
            raise ValueError(
                f"{value} has an offset of its own: write a local time such as 08:00; time_zone says where"
            )
        return value.replace(second=0, microsecond=0) if value else value

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        for sentence in self._contradictions():
            raise ValueError(sentence)
        return self

    def _contradictions(self) -> list[str]:
        found = []
        if self.second_wave < self.first_wave:
            found.append(
                f"second_wave is {self.second_wave}, smaller than first_wave ({self.first_wave}): "
                "make it at least as large"
            )
        if self.copy_deadline_seconds < self.settle_seconds:
            found.append(
                f"copy_deadline_seconds is {self.copy_deadline_seconds}, shorter than settle_seconds "
                f"({self.settle_seconds}): a sweep would stop waiting before it knows"
            )
        if self.max_attempts_per_day > self.max_attempts_per_month:
            found.append(
                f"max_attempts_per_day is {self.max_attempts_per_day}, more than max_attempts_per_month "
                f"({self.max_attempts_per_month}): lower it"
            )
        found += [
            f"final_actions.{cls} is cancel, but that failure is not the customer's: choose hold or skip_period"
            for cls, action in self.final_actions.items()
            if action is FinalAction.CANCEL and cls not in THE_CUSTOMERS
        ]
        found += [self._too_many(cls) for cls in FailureClass if self._needs_more_than_allowed(cls)]
        return found

    def _needs_more_than_allowed(self, cls: FailureClass) -> bool:
        return len(self.retry_delays(cls)) + 1 > self.max_attempts_per_month

    def _too_many(self, cls: FailureClass) -> str:
        return (
            f"{cls}_retries has {len(self.retry_delays(cls))} entries, which makes one attempt more than that, "
            f"but max_attempts_per_month is {self.max_attempts_per_month}: shorten the list or raise the limit"
        )

    def retry_delays(self, cls: FailureClass) -> tuple[timedelta, ...]:
        """Wait before each retry of this class; the length is the number of retries."""
        texts: list[str] = getattr(self, f"{cls}_retries")
        return tuple(duration_of(text) for text in texts)

    @property
    def late_after_delay(self) -> timedelta:
        """`late_after` as a timedelta."""
        return duration_of(self.late_after)

    @property
    def stuck_after_delay(self) -> timedelta:
        """`stuck_after` as a timedelta."""
        return duration_of(self.stuck_after)

    @property
    def prepare_ahead_delay(self) -> timedelta | None:
        """`prepare_ahead` as a timedelta; None when it is off."""
        return None if self.prepare_ahead is None else duration_of(self.prepare_ahead)

    def final_action_for(self, cls: FailureClass) -> FinalAction:
        """The final action when the retries of this class are used up."""
        action = self.final_actions.get(cls, self.final_action)
        return FinalAction.HOLD if action is FinalAction.CANCEL and cls not in THE_CUSTOMERS else action

    def overridden_by(self, policy: Mapping[str, Any] | None) -> "Policy":
        """
        This policy, with the fields of a subscription's own (`metadata.perennial.policy`) in place of its fields.

        Retired fields are ignored: a subscription must not wait for a person because of an upgrade.

        Raises PolicyOverrideInvalid naming every field that is unknown, out of bounds or about whole sweeps.
        """
        if not policy:
            return self
        problems = tuple(
            f"{name} = {policy[name]!r} speaks of a whole sweep; set it in the policy block instead"
            for name in sorted(SWEEP_FIELDS & set(policy))
        )
        if problems:
            raise PolicyOverrideInvalid(problems)
        try:
            own = {name: value for name, value in policy.items() if name not in RETIRED_FIELDS}
            return Policy.model_validate({**self.model_dump(), **own})
        except ValidationError as error:
            raise PolicyOverrideInvalid(tuple(_sentence(item) for item in error.errors())) from None


def _sentence(item: ErrorDetails) -> str:
    where = ".".join(str(part) for part in item["loc"])
    if item["type"] == "extra_forbidden":
        return f"{where} is not a field of a renewal policy; check its spelling or remove it"
    value = f" = {item['input']!r}" if where else ""
    return f"{where}{value}: {item['msg']}".removeprefix(": ")
