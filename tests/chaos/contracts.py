"""
The auditor's own calendar: when a subscription is due, from its frequency and from what its customer did.

It imports nothing of Perennial, so the two cannot share a mistake.
"""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

STEPS = {"hourly": timedelta(hours=1), "daily": timedelta(days=1), "weekly": timedelta(days=7)}
MONTHS = {"monthly": 1, "two-month": 2, "three-month": 3, "four-month": 4, "six-month": 6, "yearly": 12}


@dataclass
class Contract:
    """One subscription: its frequency and dates when the audit began, and what its customer did since."""

    subscription_id: str
    source_order_id: str
    frequency: str
    starts_at: datetime
    first_due: datetime
    cancelled_at: datetime | None = None
    pauses: list[tuple[datetime, datetime]] = field(default_factory=list)
    """Begin and end by the shop's clock. A date within a pause is renewed after it."""
    moves: list[tuple[datetime, datetime]] = field(default_factory=list)
    """When a customer moved the next date, and to which date."""
    postponed: dict[datetime, tuple[datetime, datetime]] = field(default_factory=dict)
    """Dates that a customer moved when they were already due: when, and to which date. Both share one order."""

    def dates(self, until: datetime) -> Iterator[datetime]:
        """Every date on which it is due, up to `until`, in whole minutes."""
        begins = (datetime.min.replace(tzinfo=UTC), self.first_due)
        starts = sorted([begins, *self.moves, *self.postponed.values()])
        stand_for_another = {to for _, to in self.postponed.values()}
        anchor = self.starts_at
        for index, (_, first) in enumerate(starts):
            anchor = self._counts_from(anchor, first)
            moved_at = starts[index + 1][0] if index + 1 < len(starts) else datetime.max.replace(tzinfo=UTC)
            for date in self._from(anchor, first, until):
                if date <= moved_at and not self._ended_before(date) and date not in stand_for_another:
                    yield date

    def stands_for(self, date: datetime) -> datetime:
        """The date from which a customer postponed to this one, or else this date."""
        return next((due for due, (_, to) in self.postponed.items() if to == date), date)

    def owed_from(self, date: datetime) -> datetime:
        """The date to which a customer postponed this one, or else this date."""
        return self.postponed[date][1] if date in self.postponed else date

    def _ended_before(self, date: datetime) -> bool:
        return self.cancelled_at is not None and date > self.cancelled_at

    def _counts_from(self, anchor: datetime, first: datetime) -> datetime:
        """A move by more than two hours moves all later dates, except those of a crontab."""
        if " " in self.frequency or abs(self._nearest(anchor, first) - first) <= timedelta(hours=2):
            return anchor
        return minute(first)

    def _from(self, anchor: datetime, first: datetime, until: datetime) -> Iterator[datetime]:
        """The first date as it is set, then the regular ones. A moved date replaces the nearest regular date."""
        if first <= until:
            yield minute(first)
        stands_for = max(first, self._nearest(anchor, first))
        for date in self._rhythm(anchor):
            if date > until:
                return
            if date > stands_for:
                yield minute(date)

    def _nearest(self, anchor: datetime, instant: datetime) -> datetime:
        earlier = None
        for date in self._rhythm(anchor):
            if date >= instant:
                return date if earlier is None or date - instant < instant - earlier else earlier
            earlier = date
        raise AssertionError("regular dates have no end")

    def _rhythm(self, anchor: datetime) -> Iterator[datetime]:
        if " " in self.frequency:
            yield from self._by_crontab()
        number = 0
        while True:
            yield self._date(anchor, number)
            number += 1

    def _date(self, anchor: datetime, number: int) -> datetime:
        if self.frequency in STEPS:
            return anchor + number * STEPS[self.frequency]
        years, month = divmod(anchor.month - 1 + number * MONTHS[self.frequency], 12)
        year = anchor.year + years
        day = min(anchor.day, monthrange(year, month + 1)[1])
        return anchor.replace(year=year, month=month + 1, day=day)

    def _by_crontab(self) -> Iterator[datetime]:
        """`30 6 * * 1` and `0 5 10 * *`: one time of day, daily, on a weekday (0: Sunday) or on a day of the month."""
        at_minute, at_hour, day, _, weekday = self.frequency.split()
        moment = self.starts_at.replace(hour=int(at_hour), minute=int(at_minute), second=0, microsecond=0)
        while True:
            on_day = day in {"*", str(moment.day)} and weekday in {"*", str(moment.isoweekday() % 7)}
            if on_day and moment >= self.starts_at:
                yield moment
            moment += timedelta(days=1)

    def waits_from(self, date: datetime, renewed_at: datetime) -> datetime:
        """The instant from which the delay of a renewal of `date` counts. Pauses do not count."""
        moved_to = self.owed_from(date)
        start = moved_to if moved_to <= renewed_at else date
        return max([start, *(until for _, until in self.pauses if until <= renewed_at)])

    def was_left_alone_at(self, instant: datetime, grace: timedelta, date: datetime) -> bool:
        """
        Whether at `instant` the customer had cancelled, paused or postponed `date` more than `grace` ago.

        Once the new date has come, the order for the old date may be placed.
        """
        if self.cancelled_at is not None and instant > self.cancelled_at + grace:
            return True
        if date in self.postponed:
            since, to = self.postponed[date]
            if since + grace < instant < to:
                return True
        return any(since + grace < instant < until for since, until in self.pauses)


def minute(instant: datetime) -> datetime:
    """Periods are whole minutes."""
    return instant.replace(second=0, microsecond=0)
