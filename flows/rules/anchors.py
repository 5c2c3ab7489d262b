"""
What a calendar counts from. Sweeps, adoptions and explanations all use this one rule.

The anchor is the one in the state, else `starts_at`, else the first date seen. Two things move it, and both mean that
the customer is charged from that date on:

* **The date was moved**: `next_run_at` is not on the calendar. The calendar then counts from it, as in Commerce Layer's
  own engine: a date that was moved from the 15th to the 20th stays on the 20th until it is moved again. A shift of up
  to two hours is not a move, because clocks and time zones change. A crontab cannot be moved, because it names its
  dates.
* **The frequency was changed** since the last period was settled, and not only its spelling: a customer who changes
  from monthly to yearly in March pays for a year from March on.
"""

from datetime import datetime, timedelta

from flows.rules.frequencies import Crontab, frequency_of, same_frequency
from flows.rules.periods import Schedule
from flows.rules.references import whole_minute
from flows.rules.state import RenewalState

CLOCK_CHANGE = timedelta(hours=2)
"""How far summer time or another time zone may shift a date from the calendar."""


def anchor_of(
    state: RenewalState | None, frequency: str, starts_at: datetime | None, next_run_at: datetime, time_zone: str
) -> datetime:
    """
    What the calendar counts from now. Raises UnknownFrequency.

    `next_run_at` is the subscription's current date, `time_zone` the policy's.
    """
    if not isinstance(frequency_of(frequency), Crontab) and was_moved(
        state, frequency, starts_at, next_run_at, time_zone
    ):
        return whole_minute(next_run_at)
    return _remembered(state, frequency, starts_at, next_run_at)


def was_moved(
    state: RenewalState | None, frequency: str, starts_at: datetime | None, next_run_at: datetime, time_zone: str
) -> bool:
    """Whether `next_run_at` is not on the calendar of the stored anchor. Raises UnknownFrequency."""
    due = whole_minute(next_run_at)
    before = whole_minute(_remembered(state, frequency, starts_at, next_run_at))
    if due == before:
        return False
    nearest = Schedule(frequency, before, time_zone).nearest(due)
    return nearest is None or abs(nearest - due) > CLOCK_CHANGE


def _remembered(
    state: RenewalState | None, frequency: str, starts_at: datetime | None, next_run_at: datetime
) -> datetime:
    """What the calendar counts from until the date is moved."""
    if state is not None and state.frequency is not None and not same_frequency(state.frequency, frequency):
        return whole_minute(next_run_at)
    return (state.anchor if state else None) or starts_at or next_run_at
