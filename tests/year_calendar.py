"""The calendar by which a simulated year is checked. It shares no code with the calendar that it checks."""

from __future__ import annotations

import calendar
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import count
from zoneinfo import ZoneInfo

from year_people import Member

MONTHS = {"monthly": 1, "two-month": 2, "three-month": 3, "four-month": 4, "six-month": 6, "yearly": 12}
STEPS = {"hourly": timedelta(hours=1), "daily": timedelta(days=1), "weekly": timedelta(weeks=1)}


def dates_of(member: Member, after: datetime, until: datetime | None, zone: ZoneInfo) -> Iterator[datetime]:
    """The calendar's dates later than `after`, up to `until`."""
    for date in _calendar(member, after, zone):
        if until is not None and date > until:
            return
        if date > after:
            yield date


def date_after(member: Member, date: datetime, zone: ZoneInfo) -> datetime:
    """The date after a renewal; a date that was moved off the calendar counts as the nearest one on it."""
    first = min(member.starts_at, date) - timedelta(days=1)
    later = dates_of(member, date - timedelta(seconds=1), None, zone)
    candidate, following = next(later), next(later)
    if candidate == date:
        return following
    earlier = max(dates_of(member, max(first, date - timedelta(days=400)), date, zone), default=None)
    if earlier is None:
        return following if candidate - date < (following - candidate) / 2 else candidate
    return following if candidate - date < date - earlier else candidate


def one_step_later(member: Member, date: datetime, zone: ZoneInfo) -> datetime:
    wall = date.astimezone(zone).replace(tzinfo=None)
    if member.frequency in MONTHS:
        return _instant(_months_later(wall, MONTHS[member.frequency]), zone)
    if member.frequency == "hourly":
        return date + STEPS["hourly"]
    return _instant(wall + STEPS.get(member.frequency, STEPS["weekly"]), zone)


def _calendar(member: Member, after: datetime, zone: ZoneInfo) -> Iterator[datetime]:
    anchor = member.starts_at
    wall = anchor.astimezone(zone).replace(tzinfo=None)
    if member.frequency == "hourly":
        first = max(0, (after - anchor) // STEPS["hourly"])
        yield from (anchor + k * STEPS["hourly"] for k in count(first))
    elif member.frequency in STEPS:
        first = max(0, (after - anchor) // STEPS[member.frequency] - 1)
        yield from (_instant(wall + k * STEPS[member.frequency], zone) for k in count(first))
    elif member.frequency in MONTHS:
        yield from (_instant(_months_later(wall, k * MONTHS[member.frequency]), zone) for k in count(0))
    else:
        minute, hour, _, _, weekday = member.frequency.split()
        day = after.astimezone(zone).replace(tzinfo=None, hour=int(hour), minute=int(minute), second=0, microsecond=0)
        days = (day + timedelta(days=k) for k in count(-1))
        yield from (_instant(each, zone) for each in days if each.isoweekday() % 7 == int(weekday))


def _months_later(wall: datetime, months: int) -> datetime:
    year, month = divmod(wall.year * 12 + wall.month - 1 + months, 12)
    return wall.replace(year=year, month=month + 1, day=min(wall.day, calendar.monthrange(year, month + 1)[1]))


def _instant(wall: datetime, zone: ZoneInfo) -> datetime:
    return wall.replace(tzinfo=zone).astimezone(UTC)
