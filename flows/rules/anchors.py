"""
What a calendar counts from: the one rule by which sweeps, adoptions and explanations know a subscription's dates.

The anchor is what the state remembers, else `starts_at`, else the first date seen. Two things move it, and both mean
that the customer is to be charged from that date on:

* **The date was moved**: `next_run_at` lies off the calendar. It counts from there for good, as Commerce Layer's own
  engine does: moved from the 15th to the 20th, it stays on the 20th until somebody moves it again. A shift of up to two
  hours is no move, since clocks and time zones change; nor can a crontab be moved, whose dates are written in it.
* **The frequency was changed** since the last period was settled, to another one and not only to another spelling:
  who went from monthly in August to yearly in March has paid for a year from March on.
"""

from datetime import datetime, timedelta

from flows.rules.frequencies import Crontab, frequency_of, same_frequency
from flows.rules.periods import Schedule
from flows.rules.references import whole_minute
from flows.rules.state import RenewalState

CLOCK_CHANGE = timedelta(hours=2)
"""How far a date may be off the calendar for no other reason than summer time or another time zone."""


def anchor_of(
    state: RenewalState | None, frequency: str, starts_at: datetime | None, next_run_at: datetime, time_zone: str
) -> datetime:
    """
    What the calendar counts from at present. Raises UnknownFrequency.

    `next_run_at` is the date that the subscription shows now, `time_zone` the policy's.
    """
    if not isinstance(frequency_of(frequency), Crontab) and was_moved(
        state, frequency, starts_at, next_run_at, time_zone
    ):
        return whole_minute(next_run_at)
    return _remembered(state, frequency, starts_at, next_run_at)


def was_moved(
    state: RenewalState | None, frequency: str, starts_at: datetime | None, next_run_at: datetime, time_zone: str
) -> bool:
    """Whether `next_run_at` lies off the calendar that is remembered. Raises UnknownFrequency."""
    due = whole_minute(next_run_at)
    before = whole_minute(_remembered(state, frequency, starts_at, next_run_at))
    if due == before:
        return False
    nearest = Schedule(frequency, before, time_zone).nearest(due)
    return nearest is None or abs(nearest - due) > CLOCK_CHANGE


def _remembered(
    state: RenewalState | None, frequency: str, starts_at: datetime | None, next_run_at: datetime
) -> datetime:
    """What the calendar counts from as long as nobody moves the date."""
    if state is not None and state.frequency is not None and not same_frequency(state.frequency, frequency):
        return whole_minute(next_run_at)
    return (state.anchor if state else None) or starts_at or next_run_at
