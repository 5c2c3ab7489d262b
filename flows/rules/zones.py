"""
Wall clocks: the instant of a local date and time, also on the days when clocks change.

A time that a spring change leaves out moves forward by the width of the gap (02:30 becomes
03:30). A time that an autumn change repeats means its first occurrence.
"""

from datetime import datetime, time, timedelta
from zoneinfo import ZoneInfo

from flows.rules.references import whole_minute

WIDEST_GAP = timedelta(hours=24)
"""Samoa skipped a whole day in 2011; no time zone has skipped more."""


def instant_of(wall: datetime, zone: ZoneInfo) -> datetime:
    """The instant (UTC, whole minutes) at which clocks in `zone` first show the naive time `wall`, or would show it."""
    # PEP 495: with fold=0 a missing time takes the offset before the gap, which moves it forward
    # by the gap, and a repeated one takes its first occurrence. Exactly the two rules above.
    return whole_minute(wall.replace(tzinfo=zone, fold=0))


def wall_of(instant: datetime, zone: ZoneInfo) -> datetime:
    """What clocks in `zone` show at an instant, as a naive datetime."""
    return _there(instant, zone).replace(tzinfo=None, fold=0)


def next_time_of_day(not_before: datetime, at: time, zone: ZoneInfo) -> datetime:
    """The first instant at or after `not_before` at which clocks in `zone` show `at`."""
    day = wall_of(not_before, zone).date() - timedelta(days=2)  # two: a whole day may be missing
    while (candidate := instant_of(datetime.combine(day, at), zone)) < not_before:
        day += timedelta(days=1)
    return candidate


def in_words(instant: datetime, zone: ZoneInfo) -> str:
    """An instant for people, in their zone, such as `Thu 26 Nov 08:00 UTC`."""
    local = _there(instant, zone)
    name = local.tzname() or ""
    # The name of a zone without an abbreviation is such as "+0530": put "UTC" before it.
    return f"{local:%a} {local.day} {local:%b %H:%M} {name if name[:1].isalpha() else f'UTC{name}'}"


def with_year(instant: datetime, zone: ZoneInfo) -> str:
    """`in_words` with the year, such as `Thu 26 Nov 08:00 UTC 2026`."""
    return f"{in_words(instant, zone)} {wall_of(instant, zone).year}"


def _there(instant: datetime, zone: ZoneInfo) -> datetime:
    try:
        return instant.astimezone(zone)
    except OverflowError:  # `9999-12-31`, which some write for "never", is already year 10000 further east
        return instant
