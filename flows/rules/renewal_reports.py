"""
What the renewals of a span came to: how many, what failed and why, what was recovered, and what the retries brought.

Everything counts by what happened inside the span, so the report of a past month stays the same. Only how the renewals
stand that it did not recover, and which orders were refunded, is as of the moment of reading.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum
from zoneinfo import ZoneInfo

from blocks.commerce_layer.resources import OrderSubscription
from blocks.commerce_layer.statuses import SubscriptionStatus
from blocks.policy import FailureClass, Policy
from flows.rules.caps import Charged
from flows.rules.failed_attempts import FailedAttempt
from flows.rules.history import PastRenewal
from flows.rules.spans import Span
from flows.rules.state import RenewalState
from flows.rules.zones import wall_of


class Standing(StrEnum):
    """How a renewal stands that failed in the span, or was recovered in it."""

    RECOVERED = "recovered"
    RECOVERED_SINCE = "recovered since"  # after the span
    RETRY_SCHEDULED = "waits for a retry"
    HELD = "waits for a person"
    GIVEN_UP = "given up"  # its period is skipped, or its subscription is cancelled or not adopted any more
    UNDER_WAY = "under way"


@dataclass(frozen=True, slots=True)
class RenewalAtRisk:
    """A renewal that failed at least once. `failed` are its failed attempts until the end of the span, oldest first."""

    renewal: PastRenewal
    failed: Sequence[FailedAttempt]
    cls: FailureClass
    """Why it failed last."""
    standing: Standing

    @property
    def attempt(self) -> int | None:
        """The number of the attempt that renewed it, from 1; None if it is not renewed, or the customer paid it."""
        is_ours = self.standing is Standing.RECOVERED and not self.renewal.is_paid_by_customer
        return self.renewal.attempt_that_renewed(self.failed) if is_ours else None


@dataclass(frozen=True, slots=True)
class ClassRow:
    """The renewals at risk whose last failure was of one class."""

    cls: FailureClass
    at_risk: Charged
    recovered: Charged
    by_attempt: Counter[int]
    """How many were renewed by the attempt of this number."""
    by_customer: int
    """How many the customer paid at the checkout."""
    standings: Counter[Standing]


@dataclass(frozen=True, slots=True)
class AttemptRow:
    """All attempts of one number (1: the first one) that were made in the span, and what they renewed."""

    number: int
    made: int
    renewed: Charged


@dataclass(frozen=True, slots=True)
class DayRow:
    """One day where the merchant is. A renewal comes at risk on the day of its first failed attempt in the span."""

    day: date
    first: int
    """Renewed by the first attempt."""
    recovered: Charged
    failed: int
    """Failed attempts."""
    at_risk: Charged


@dataclass(frozen=True, slots=True)
class RenewalReport:
    """The renewals of a span, `read_at` (UTC) from the shop."""

    span: Span
    zone: ZoneInfo
    read_at: datetime
    renewed_at_once: Sequence[PastRenewal]
    at_risk: Sequence[RenewalAtRisk]

    def those(self, *standings: Standing) -> list[RenewalAtRisk]:
        """The renewals at risk that stand so, those with the highest amounts first."""
        found = [each for each in self.at_risk if each.standing in standings]
        return sorted(found, key=lambda each: (-(each.renewal.price.cents or 0), each.renewal.of))

    @property
    def recovered(self) -> list[RenewalAtRisk]:
        """The renewals that failed first, and were renewed in the span."""
        return self.those(Standing.RECOVERED)

    @property
    def not_recovered(self) -> list[RenewalAtRisk]:
        """The renewals that failed in the span, and were not renewed by its end."""
        return self.those(*(each for each in Standing if each is not Standing.RECOVERED))

    @property
    def renewed(self) -> list[PastRenewal]:
        """All that were renewed in the span."""
        return [*self.renewed_at_once, *(each.renewal for each in self.recovered)]

    @property
    def lost(self) -> list[PastRenewal]:
        """The orders placed in the span that are cancelled, refunded or not paid now."""
        return [each for each in self.renewed if each.is_lost]

    @property
    def by_retries(self) -> Charged:
        """What our own later attempts renewed."""
        return total(each.renewal for each in self.recovered if not each.renewal.is_paid_by_customer)

    @property
    def by_customers(self) -> Charged:
        """What customers paid at the checkout after an attempt had failed."""
        return total(each.renewal for each in self.recovered if each.renewal.is_paid_by_customer)

    @property
    def classes(self) -> list[ClassRow]:
        """The classes of failure that occurred, the most frequent first."""
        rows = [_class_row(cls, [each for each in self.at_risk if each.cls is cls]) for cls in FailureClass]
        return sorted((row for row in rows if row.at_risk.orders), key=lambda row: -row.at_risk.orders)

    @property
    def attempts(self) -> list[AttemptRow]:
        """The attempts by their number, the first ones first."""
        at_once = [each for each in self.renewed_at_once if not each.is_paid_by_customer]
        renewed: dict[int, list[PastRenewal]] = {1: at_once} if at_once else {}
        for each in self.recovered:
            if each.attempt is not None:
                renewed.setdefault(each.attempt, []).append(each.renewal)
        failed = Counter(
            number for each in self.at_risk for number, one in enumerate(each.failed, 1) if one.at in self.span
        )
        return [
            AttemptRow(number, failed[number] + len(renewed.get(number, ())), total(renewed.get(number, ())))
            for number in sorted({*failed, *renewed})
        ]

    @property
    def days(self) -> list[DayRow]:
        """Every day of the span until now."""
        first = Counter(self._day(each.placed_at) for each in self.renewed_at_once if each.placed_at)
        failed = Counter(self._day(one.at) for each in self.at_risk for one in each.failed if one.at in self.span)
        recovered: dict[date, list[PastRenewal]] = {}
        at_risk: dict[date, list[PastRenewal]] = {}
        for each in self.at_risk:
            if each.standing is Standing.RECOVERED and each.renewal.placed_at:
                recovered.setdefault(self._day(each.renewal.placed_at), []).append(each.renewal)
            if (begun := next((one.at for one in each.failed if one.at in self.span), None)) is not None:
                at_risk.setdefault(self._day(begun), []).append(each.renewal)
        return [
            DayRow(day, first[day], total(recovered.get(day, ())), failed[day], total(at_risk.get(day, ())))
            for day in self._all_days()
        ]

    def _day(self, instant: datetime) -> date:
        return wall_of(instant, self.zone).date()

    def _all_days(self) -> Iterator[date]:
        day, last = self._day(self.span.start), self._day(min(self.span.end - timedelta(minutes=1), self.read_at))
        while day <= last:
            yield day
            day += timedelta(days=1)


def report_of(
    renewals: Iterable[PastRenewal], subscriptions: Mapping[str, OrderSubscription], span: Span, policy: Policy,
    read_at: datetime,
) -> RenewalReport:  # fmt: skip
    """The report. `subscriptions` are those of the renewals that failed, by id; `policy` classes the failures."""
    at_once, at_risk = [], []
    for renewal in renewals:
        failed = [each for each in renewal.failed(policy) if each.at < span.end]
        is_renewed_here = renewal.placed_at is not None and renewal.placed_at in span
        if is_renewed_here and renewal.attempt_that_renewed(failed) == 1:
            at_once.append(renewal)
        elif is_renewed_here or any(each.at in span for each in failed):
            standing = Standing.RECOVERED if is_renewed_here else _standing(renewal, subscriptions)
            at_risk.append(RenewalAtRisk(renewal, failed, renewal.class_before(failed), standing))
    return RenewalReport(span, ZoneInfo(policy.time_zone), read_at, at_once, at_risk)


def total(renewals: Iterable[PastRenewal]) -> Charged:
    """How many they are, and what they cost by currency."""
    return Charged.of(each.price for each in renewals)


def _standing(renewal: PastRenewal, subscriptions: Mapping[str, OrderSubscription]) -> Standing:
    """How a renewal that was not recovered in the span stands now."""
    if renewal.placed_at is not None:
        return Standing.RECOVERED_SINCE
    subscription = subscriptions.get(renewal.of.subscription_id)
    state = RenewalState.read(subscription.metadata) if subscription is not None else None
    if subscription is None or state is None or subscription.status is SubscriptionStatus.CANCELLED:
        return Standing.GIVEN_UP
    if state.done_through is not None and state.done_through >= renewal.of.due:
        return Standing.GIVEN_UP
    if state.held or state.damaged is not None:
        return Standing.HELD
    return Standing.RETRY_SCHEDULED if state.next_attempt_at is not None else Standing.UNDER_WAY


def _class_row(cls: FailureClass, at_risk: Sequence[RenewalAtRisk]) -> ClassRow:
    recovered = [each for each in at_risk if each.standing is Standing.RECOVERED]
    return ClassRow(
        cls, total(each.renewal for each in at_risk), total(each.renewal for each in recovered),
        Counter(each.attempt for each in recovered if each.attempt is not None),
        sum(each.renewal.is_paid_by_customer for each in recovered), Counter(each.standing for each in at_risk),
    )  # fmt: skip
