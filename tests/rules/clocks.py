"""
A second implementation of wall clocks: it tries every offset that a zone uses around a date.

Two different implementations that agree on every zone are unlikely to share a mistake.
"""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from functools import cache
from zoneinfo import ZoneInfo

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


def offset_at(instant: datetime, zone: ZoneInfo) -> timedelta:
    offset = instant.astimezone(zone).utcoffset()
    assert offset is not None
    return offset


def first_showing(wall: datetime, zone: ZoneInfo) -> datetime:
    """The first instant at which clocks show `wall`. If they skip it, the instant that an unchanged clock gives."""
    as_utc = wall.replace(tzinfo=UTC)
    probes = [as_utc + hours * HOUR for hours in range(-50, 51, 2)]
    offsets = sorted({offset_at(probe, zone) for probe in probes}, reverse=True)
    for offset in offsets:  # the largest offset gives the earliest instant
        if offset_at(as_utc - offset, zone) == offset:
            return as_utc - offset
    before = offset_at(transition_in(as_utc - 2 * DAY, as_utc + 2 * DAY, zone) - timedelta(seconds=1), zone)
    return as_utc - before


def transition_in(start: datetime, end: datetime, zone: ZoneInfo) -> datetime:
    """The instant at which the offset in force at `start` ends, to the second, by bisection."""
    was = offset_at(start, zone)
    while end - start > timedelta(seconds=1):
        middle = start + timedelta(seconds=(end - start) // timedelta(seconds=1) // 2)
        start, end = (middle, end) if offset_at(middle, zone) == was else (start, middle)
    return end


@cache
def transitions(name: str, year: int) -> tuple[datetime, ...]:
    """The clock changes of a zone in a year, UTC."""
    zone, day = ZoneInfo(name), datetime(year, 1, 1, tzinfo=UTC)
    found = []
    while day.year == year:
        if offset_at(day, zone) != offset_at(day + DAY, zone):
            found.append(transition_in(day, day + DAY, zone))
        day += DAY
    return tuple(found)


def last_day_of(year: int, month: int) -> int:
    following = date(year + month // 12, month % 12 + 1, 1)
    return (following - DAY).day


def months_from(wall: datetime, step: int) -> Iterator[datetime]:
    """`wall` and every `step` months after it, one month at a time, as a person counts on a calendar."""
    year, month = wall.year, wall.month
    while True:
        yield wall.replace(year=year, month=month, day=min(wall.day, last_day_of(year, month)))
        for _ in range(step):
            year, month = (year + 1, 1) if month == 12 else (year, month + 1)
