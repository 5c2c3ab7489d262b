"""
The calendar of a subscription: at which instants it is due.

Occurrence k is the anchor plus k times the frequency. It is always counted from the anchor, never from the date before:
31 January is followed by 28 February and then by 31 March. Days and longer keep the wall-clock time of the anchor in
the policy's zone; hours are counted in elapsed time. All instants are aware, in UTC and in whole minutes.
"""

import calendar
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from zoneinfo import ZoneInfo

from croniter import CroniterBadDateError, croniter

from flows.rules.frequencies import Crontab, Frequency, UnknownFrequency, frequency_of
from flows.rules.references import whole_minute
from flows.rules.zones import WIDEST_GAP, instant_of, wall_of

__all__ = ["Schedule", "UnknownFrequency"]


class Schedule:
    """The due instants of a subscription with a frequency, an anchor and a time zone."""

    def __init__(self, frequency: str, anchor: datetime, time_zone: str = "UTC") -> None:
        """Raises UnknownFrequency, and ValueError when the anchor is naive."""
        self.frequency: Frequency = frequency_of(frequency)
        self.anchor = whole_minute(anchor)
        self.zone = ZoneInfo(time_zone)
        self._grid: _Grid = self._choose_grid()
        if isinstance(self.frequency, Crontab):
            self._must_happen(frequency)

    def _choose_grid(self) -> "_Grid":
        if isinstance(self.frequency, Crontab):
            return _CrontabGrid(self.frequency.expression, self.anchor, self.zone)
        if self.frequency.unit == "hour":
            return _HourGrid(self.frequency.count, self.anchor)
        wall = wall_of(self.anchor, self.zone)
        if self.frequency.unit == "day":
            return _DayGrid(self.frequency.count, wall, self.zone)
        return _MonthGrid(self.frequency.count, wall, self.zone)

    def _must_happen(self, frequency: str) -> None:
        try:
            self.next_after(self.anchor)
        except CroniterBadDateError:
            raise UnknownFrequency(frequency, "such a date never comes") from None

    def next_after(self, instant: datetime) -> datetime:
        """The first occurrence later than `instant`; never one before the anchor."""
        floor = max(instant.astimezone(UTC), self.anchor - timedelta(minutes=1))
        return next(moment for moment in self._grid.ascending_from(floor) if moment > floor)

    def latest_until(self, instant: datetime) -> datetime | None:
        """The last occurrence at or before `instant`; None before the first."""
        ceiling = instant.astimezone(UTC)
        if ceiling < self.anchor:
            return None
        found = next((moment for moment in self._grid.descending_from(ceiling) if moment <= ceiling), None)
        return found if found is not None and found >= self.anchor else None

    def nearest(self, instant: datetime) -> datetime | None:
        """The occurrence nearest to `instant`; None when `instant` is half an interval or more before the first."""
        earlier, later = self.latest_until(instant), self.next_after(instant)
        if earlier is not None:
            return later if later - instant < instant - earlier else earlier
        return later if later - instant < (self.next_after(later) - later) / 2 else None

    def upcoming(self, instant: datetime, count: int) -> list[datetime]:
        """The next `count` occurrences later than `instant`."""
        return list(islice(self._later_than(instant), count))

    def between(self, after: datetime, until: datetime) -> Iterator[datetime]:
        """The occurrences in (after, until], one at a time, oldest first."""
        for moment in self._later_than(after):
            if moment > until:
                return
            yield moment

    def _later_than(self, instant: datetime) -> Iterator[datetime]:
        while True:
            instant = self.next_after(instant)
            yield instant


class _Grid(ABC):
    """Occurrences near an instant, in order; one may be repeated at a clock change."""

    @abstractmethod
    def ascending_from(self, instant: datetime) -> Iterator[datetime]:
        """Occurrences in ascending order, beginning at or before the first that is later than `instant`."""

    @abstractmethod
    def descending_from(self, instant: datetime) -> Iterator[datetime]:
        """Occurrences in descending order, beginning at or after the last that is not later than `instant`."""


class _NumberedGrid(_Grid):
    """A grid that computes occurrence k directly, so that distant dates need no loop."""

    @abstractmethod
    def at(self, k: int) -> datetime:
        """Occurrence k, k >= 0."""

    @abstractmethod
    def number_near(self, instant: datetime) -> int:
        """A number whose occurrence is at most two away from `instant`; may be negative."""

    def ascending_from(self, instant: datetime) -> Iterator[datetime]:
        k = max(self.number_near(instant) - 3, 0)
        while True:
            yield self.at(k)
            k += 1

    def descending_from(self, instant: datetime) -> Iterator[datetime]:
        for k in range(self.number_near(instant) + 3, -1, -1):
            yield self.at(k)


class _HourGrid(_NumberedGrid):
    """Every so many hours of elapsed time, independent of clock changes."""

    def __init__(self, hours: int, anchor: datetime) -> None:
        self._step, self._anchor = timedelta(hours=hours), anchor

    def at(self, k: int) -> datetime:
        return self._anchor + k * self._step

    def number_near(self, instant: datetime) -> int:
        return (instant - self._anchor) // self._step


class _DayGrid(_NumberedGrid):
    """Every so many days at the anchor's wall-clock time."""

    def __init__(self, days: int, wall: datetime, zone: ZoneInfo) -> None:
        self._step, self._wall, self._zone = timedelta(days=days), wall, zone

    def at(self, k: int) -> datetime:
        return instant_of(self._wall + k * self._step, self._zone)

    def number_near(self, instant: datetime) -> int:
        return (wall_of(instant, self._zone) - self._wall) // self._step


class _MonthGrid(_NumberedGrid):
    """Every so many months on the anchor's day, or on the month's last day when it has no such day."""

    def __init__(self, months: int, wall: datetime, zone: ZoneInfo) -> None:
        self._months, self._wall, self._zone = months, wall, zone

    def at(self, k: int) -> datetime:
        years, month = divmod(self._wall.month - 1 + k * self._months, 12)
        year, month = self._wall.year + years, month + 1
        day = min(self._wall.day, calendar.monthrange(year, month)[1])
        return instant_of(self._wall.replace(year=year, month=month, day=day), self._zone)

    def number_near(self, instant: datetime) -> int:
        wall = wall_of(instant, self._zone)
        return ((wall.year - self._wall.year) * 12 + wall.month - self._wall.month) // self._months


class _CrontabGrid(_Grid):
    """A crontab expression read on the wall clock of the zone, beginning at the anchor."""

    def __init__(self, expression: str, anchor: datetime, zone: ZoneInfo) -> None:
        self._expression, self._anchor, self._zone = expression, anchor, zone

    def ascending_from(self, instant: datetime) -> Iterator[datetime]:
        return (moment for moment in self._walk(croniter.get_next, instant, -WIDEST_GAP) if moment >= self._anchor)

    def descending_from(self, instant: datetime) -> Iterator[datetime]:
        return self._walk(croniter.get_prev, instant, WIDEST_GAP)

    def _walk(self, step: Callable[..., datetime], instant: datetime, margin: timedelta) -> Iterator[datetime]:
        # The margin: a time in a gap moves past wall times that look later than it. croniter leaves out the start
        # itself, which may: if that is in a gap, it moves to `instant` at most, and only later ones are wanted.
        walk = croniter(self._expression, wall_of(instant, self._zone) + margin)
        while True:
            yield instant_of(step(walk, datetime), self._zone)
