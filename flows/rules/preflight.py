"""The preflight: what is expected of the renewals until an instant, in one sentence, as a table, and as data."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from flows.rules.amounts import amount_cell, money
from flows.rules.dashboard_links import Dashboard
from flows.rules.outside_text import markdown
from flows.rules.predictions import Expected, Prediction
from flows.rules.preflight_limits import TimeNeeded
from flows.rules.zones import instant_of, wall_of, with_year

ROWS_SHOWN = 200
"""How many rows the table has; the counts cover all predictions."""

LONGEST = timedelta(days=62)
"""How far a preflight looks ahead: what is later depends on cards, prices and dates that change until then."""

_WORST_FIRST = (Expected.FAILED, Expected.NOT_CHARGED, Expected.RENEWED)


class NoSuchSpan(ValueError):  # noqa: N818 - the name says what is wrong
    """The end of a preflight is not after the present, or too far from it. The message names it and the way out."""


def end_of_preflight(until: date | None, now: datetime, zone: ZoneInfo) -> datetime:
    """
    The instant (UTC) up to which a preflight looks, not included.

    A day means all of it where the merchant is, and an instant (`datetime`, UTC unless it says otherwise) is itself.
    Without one, it is the end of the next day: then a preflight shows a whole day before the first date in it is due.

    Raises:
        NoSuchSpan: that is not after `now`, or more than 62 days later.
    """
    if isinstance(until, datetime):
        end = until if until.tzinfo else until.replace(tzinfo=UTC)
    else:
        day = until or wall_of(now, zone).date() + timedelta(days=1)
        end = instant_of(datetime.combine(day + timedelta(days=1), time.min), zone)
    shown = f"{until:%Y-%m-%d %H:%M} UTC" if isinstance(until, datetime) else f"{until:%Y-%m-%d}" if until else ""
    if end <= now:
        raise NoSuchSpan(f"until is {shown}, which is over (it is {with_year(now, zone)}): give a later one.")
    if end - now > LONGEST:
        raise NoSuchSpan(f"until is {shown}, more than {LONGEST.days} days ahead: give an earlier one.")
    return end


@dataclass(frozen=True, slots=True)
class Preflight:
    """All predictions from `as_of` until `until` (UTC), what limits them, and what nobody can say."""

    as_of: datetime
    until: datetime
    zone: ZoneInfo
    dashboard: Dashboard
    subscriptions: int
    predictions: Sequence[Prediction]
    time: TimeNeeded
    caps: Sequence[str] = ()
    """A sentence for each day on which a cap stops all charging."""
    brake: str | None = None
    """Why the brake is expected to stop a sweep; None when it is not."""
    stopped: str | None = None
    """Since when, and why, a person has stopped charging; None while charging is on."""
    unread: Sequence[str] = field(default=())
    """What could not be looked at, and so is missing in the predictions."""

    @property
    def is_fine(self) -> bool:
        """Whether every renewal is expected to succeed, and nothing stops them."""
        return self.count(Expected.RENEWED) == len(self.predictions) and not (self.needs_person or self.unread)

    @property
    def needs_person(self) -> bool:
        """Whether renewals are not made until a person acts: caps, brake, stop switch, or a subscription's trouble."""
        return bool(self.caps or self.brake or self.stopped) or any(each.needs_person for each in self.predictions)

    def count(self, expected: Expected) -> int:
        """How many renewals are expected to end like this."""
        return sum(each.expected is expected for each in self.predictions)

    def amounts(self, expected: Expected) -> Counter[str]:
        """What the renewals cost that are expected to end like this: cents by currency."""
        return _amounts(self.predictions, expected)

    @property
    def worst_first(self) -> list[Prediction]:
        """All predictions: what fails, what is not charged, then the others, each by date; caps come last of theirs."""
        return sorted(self.predictions, key=self._rank)

    @staticmethod
    def _rank(each: Prediction) -> tuple[int, bool, datetime, str]:
        return _WORST_FIRST.index(each.expected), each.is_beyond_caps, each.at, each.reference or ""

    @property
    def sentence(self) -> str:
        """`12 renewals until ...: 10 are expected to succeed for 120.00 EUR, 2 to fail; 15 to 80 s for 36 writes`."""
        total = len(self.predictions)
        said = f"{total} renewal{'' if total == 1 else 's'} until {with_year(self.until, self.zone)}"
        if total:
            counts = {each: self.count(each) for each in _WORST_FIRST}
            parts = [f"{counts[Expected.RENEWED]} expected to succeed for {in_words(self.amounts(Expected.RENEWED))}"]
            parts += [f"{counts[Expected.FAILED]} to fail"] if counts[Expected.FAILED] else []
            parts += [f"{counts[Expected.NOT_CHARGED]} not to be charged"] if counts[Expected.NOT_CHARGED] else []
            said = f"{said}: {', '.join(parts)}; {self.time.in_words}"
        matters = [*filter(None, (self.stopped, self.brake)), *self.caps, *self.unread]
        return "; ".join([*matters, said])

    @property
    def by_day(self) -> list[tuple[date, Counter[Expected], Counter[str]]]:
        """For each of the merchant's days: how many end how, and what those cost that succeed (cents by currency)."""
        days: dict[date, list[Prediction]] = {}
        for each in sorted(self.predictions, key=lambda each: each.at):
            days.setdefault(wall_of(each.at, self.zone).date(), []).append(each)
        return [(day, Counter(each.expected for each in some), _amounts(some)) for day, some in days.items()]

    @property
    def warnings(self) -> Counter[str]:
        """What may surprise about dates and cards, and how many renewals it concerns."""
        return Counter(warning for each in self.predictions for warning in each.warnings)

    @property
    def facts(self) -> dict[str, Any]:
        """Everything, as plain data that JSON can hold."""
        return {
            **self.counts,
            "warnings": dict(self.warnings),
            "renewals": [
                {**each.model_dump(mode="json"), "link": self.dashboard.subscription(each.subscription_id)}
                for each in self.worst_first
            ],
        }

    @property
    def counts(self) -> dict[str, Any]:
        """The facts without a line for each renewal."""
        return {
            "organization": self.dashboard.organization,
            "mode": self.dashboard.mode,
            "as_of": self.as_of.isoformat(),
            "until": self.until.isoformat(),
            "sentence": self.sentence,
            "subscriptions": self.subscriptions,
            "counts": {each.value: self.count(each) for each in Expected},
            "cents": {each.value: dict(self.amounts(each)) for each in Expected},
            "failures": dict(Counter(each.failure_class for each in self.predictions if each.failure_class)),
            "time": self.time.model_dump(mode="json"),
            "caps": list(self.caps),
            "brake": self.brake,
            "charging_stopped": self.stopped,
            "unread": list(self.unread),
        }

    @property
    def table_rows(self) -> list[dict[str, str]]:
        """Rows for an artifact, the worst first; texts from outside are escaped."""
        rows = [
            {
                "expected": each.expected.value,
                "subscription": markdown(each.subscription_id),
                "customer": markdown(each.customer_email or ""),
                "date": f"{wall_of(each.at, self.zone):%Y-%m-%d %H:%M}",
                "amount": markdown(amount_cell(each.cents, each.currency)),
                "why": markdown("; ".join(filter(None, (each.sentence, *each.warnings)))),
                "in Commerce Layer": self.dashboard.subscription(each.subscription_id),
            }
            for each in self.worst_first[:ROWS_SHOWN]
        ]
        if len(self.predictions) > ROWS_SHOWN:
            more = f"and {len(self.predictions) - ROWS_SHOWN} more, none worse than these"
            rows.append({**dict.fromkeys(rows[0], ""), "expected": "…", "why": more})
        return rows


def _amounts(predictions: Iterable[Prediction], expected: Expected = Expected.RENEWED) -> Counter[str]:
    """What those cost together that are expected to end like this: cents by currency. Unknown amounts are left out."""
    return cents_of((each.cents, each.currency) for each in predictions if each.expected is expected)


def cents_of(prices: Iterable[tuple[int | None, str | None]]) -> Counter[str]:
    """The sum of these prices: cents by currency. Unknown amounts are left out."""
    cents: Counter[str] = Counter()
    for amount, currency in prices:
        if amount is not None and currency is not None:
            cents[currency] += amount
    return cents


def in_words(cents: Counter[str]) -> str:
    """`4,210.00 EUR and 120.00 USD`; `nothing` if it is empty."""
    return " and ".join(money(amount, currency) for currency, amount in sorted(cents.items())) or "nothing"
