"""When a subscription with a given frequency runs next."""

from __future__ import annotations

from calendar import monthrange
from datetime import MAXYEAR, UTC, datetime, timedelta

from croniter import croniter

MONTHS = {"monthly": 1, "two-month": 2, "three-month": 3, "four-month": 4, "six-month": 6, "yearly": 12}
_CRONTAB_FIELDS = 5
STEPS = {"hourly": timedelta(hours=1), "daily": timedelta(days=1), "weekly": timedelta(days=7)}


def is_frequency(text: str) -> bool:
    """Whether this is a named frequency or a crontab expression whose smallest unit is the hour."""
    if text in STEPS or text.removesuffix("s") in MONTHS:
        return True
    fields = text.split()
    # A star or a list of minutes would run more often than hourly, which the API does not offer.
    if len(fields) != _CRONTAB_FIELDS or not fields[0].isdigit() or not croniter.is_valid(text):
        return False
    try:
        _next_by_crontab(text, datetime(2026, 1, 1, tzinfo=UTC))
    except ValueError:  # valid, but never: 30 February
        return False
    return True


def first_after(now: datetime, frequency: str, run: datetime, anchor_day: int) -> datetime | None:
    """
    The first run after `now` of a subscription with a run at `run`, UTC; None when there is none.

    A run is on the anchor's day, or on the last day of a shorter month. An invalid frequency has no runs.
    """
    if not is_frequency(frequency):
        return None
    try:
        if frequency in STEPS:
            step = STEPS[frequency]
            return run + step * ((now - run) // step + 1)
        if frequency.removesuffix("s") not in MONTHS:
            return _next_by_crontab(frequency, max(now, run))
    except (OverflowError, ValueError):
        return None
    months, count = MONTHS[frequency.removesuffix("s")], run.year * 12 + run.month - 1
    while run <= now:
        count += months
        year, month = divmod(count, 12)
        if year >= MAXYEAR:
            return None
        run = run.replace(year=year, month=month + 1, day=min(anchor_day, monthrange(year, month + 1)[1]))
    return run


def _next_by_crontab(frequency: str, instant: datetime) -> datetime:
    found: datetime = croniter(frequency, instant).get_next(datetime)
    return found
