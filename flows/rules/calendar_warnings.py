"""Warnings about surprising dates of a calendar: short months, rules of crontab, days on which clocks change."""

import calendar
import re
from collections.abc import Iterator
from datetime import datetime, timedelta

from croniter import croniter

from flows.rules.frequencies import Crontab, Every, restricts_days_twice
from flows.rules.periods import Schedule
from flows.rules.zones import wall_of

LOOKED_AHEAD = timedelta(days=400)
"""How far ahead clock changes are looked for: a year, and the next one, in which they fall on other days."""

_DATES_OF_A_LEAP_CYCLE = 48
_SHORTEST_MONTH = 28
_DAY = timedelta(days=1)


def calendar_warnings(schedule: Schedule, as_of: datetime, end: datetime | None = None) -> list[str]:
    """What may surprise the customer or staff after `as_of`, and before the subscription's `end`."""
    until = as_of + LOOKED_AHEAD if end is None else min(as_of + LOOKED_AHEAD, end - timedelta(minutes=1))
    return [*_month_ends(schedule, as_of, end), *_crontab_pitfalls(schedule), *_clock_changes(schedule, as_of, until)]


def _month_ends(schedule: Schedule, as_of: datetime, end: datetime | None) -> list[str]:
    day = wall_of(schedule.anchor, schedule.zone).day
    if not (isinstance(schedule.frequency, Every) and schedule.frequency.unit == "month" and day > _SHORTEST_MONTH):
        return []
    walls = (
        wall_of(date, schedule.zone)
        for date in schedule.upcoming(as_of, _DATES_OF_A_LEAP_CYCLE)
        if end is None or date < end
    )
    first = next((wall for wall in walls if wall.day < day), None)
    if first is None:
        return []
    return [f"it counts from day {day}: in months without that day it is due on the last day, next on {first:%Y-%m-%d}"]


def _crontab_pitfalls(schedule: Schedule) -> list[str]:
    if not isinstance(schedule.frequency, Crontab):
        return []
    found = []
    _, hours, days, _, _ = schedule.frequency.expression.split(" ")
    if restricts_days_twice(schedule.frequency):
        found.append("crontab names days of the month and weekdays: it is due on either, not only on both")
    if _leaves_out_months(schedule.frequency):
        found.append(f"crontab day {days}: months without that day are skipped; use monthly for their last day")
    found += [
        f"crontab {name} {field}: the steps start again {often}, so that the last one is shorter"
        for name, field, often, whole in (("hours", hours, "every day", 24), ("days", days, "every month", 0))
        if any(not whole or whole % step for step in _steps(field))
    ]
    return found


def _steps(field: str) -> list[int]:
    return [int(step) for step in re.findall(r"/([0-9]+)", field) if int(step) > 1]


def _leaves_out_months(frequency: Crontab) -> bool:
    """Whether a month that the expression names lacks a day, or all days of a range such as 29-31."""
    days, months = (_numbers(frequency, place) for place in (2, 3))
    if "/" in frequency.expression.split(" ")[2]:
        return False  # steps have a warning of their own
    first_days = [day for day in days if day > _SHORTEST_MONTH and day - 1 not in days]
    # A range that begins earlier, such as 25-31, ends with the month, as intended.
    shortest = min((calendar.monthrange(2001, month)[1] for month in months or range(1, 13)), default=31)
    return any(day > shortest for day in first_days)


def _numbers(frequency: Crontab, place: int) -> set[int]:
    """The numbers in a field of the expression; none for all of them."""
    expanded = croniter.expand(frequency.expression)[0][place]
    return {number for number in expanded if isinstance(number, int)}


def _clock_changes(schedule: Schedule, as_of: datetime, until: datetime) -> list[str]:
    """The dates on which the usual time of day does not exist, or comes twice."""
    found = []
    for change in _changes(schedule, as_of, until):
        for date in schedule.between(max(as_of, change - _DAY), min(until, change + _DAY)):
            wall = wall_of(date, schedule.zone)
            if not _is_usual(schedule, wall):
                found.append(f"on {wall:%Y-%m-%d} clocks leave out its usual time: due at {wall:%H:%M} instead")
            elif _comes_twice(schedule, wall):
                found.append(f"on {wall:%Y-%m-%d} clocks show {wall:%H:%M} twice: due the first time")
    return list(dict.fromkeys(found))


def _changes(schedule: Schedule, as_of: datetime, until: datetime) -> Iterator[datetime]:
    """Instants within a day of a clock change. Only dates near them are checked: there may be thousands of dates."""
    moment = as_of
    while moment < until:
        offsets = {each.astimezone(schedule.zone).utcoffset() for each in (moment - _DAY / 2, moment + _DAY / 2)}
        if len(offsets) > 1:
            yield moment
        moment += _DAY


def _is_usual(schedule: Schedule, wall: datetime) -> bool:
    """Whether the date has the calendar's time of day; it has another one where a spring change skips that time."""
    if isinstance(schedule.frequency, Crontab):
        return schedule.frequency.fits(wall)
    return schedule.frequency.unit == "hour" or wall.time() == wall_of(schedule.anchor, schedule.zone).time()


def _comes_twice(schedule: Schedule, wall: datetime) -> bool:
    if isinstance(schedule.frequency, Every) and schedule.frequency.unit == "hour":
        return False
    first, second = (wall.replace(tzinfo=schedule.zone, fold=fold).utcoffset() for fold in (0, 1))
    return first != second
