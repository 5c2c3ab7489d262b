"""
No two renewals of a subscription are closer than half an interval, no matter how the date was written.

A customer may move a date on a page that is a minute old, after a record has moved the date on. Then the customer's
date looks like one more period. Or a period is paid so late that the next one is due minutes later. So the state keeps
when the last order was placed, and a period that follows it too closely is not charged:

* It **waits for a person** if the date was moved, or if the last renewal failed and was paid late. The subscription is
  held. A person releases it to charge the period all the same; moving `next_run_at` also releases it.
* It **waits by itself** if nothing failed and we were late, as after an outage: until half an interval is over.

The dates that were missed, and that `catch_up: all` makes up, are charged one after the other, as the merchant chose. A
date that comes only after the last order was placed is not one of them.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from blocks.commerce_layer.resources import OrderSubscription
from blocks.policy import FailureClass, Policy
from flows.rules.anchors import was_moved
from flows.rules.far_dates import FIRST_YEAR, LAST_YEAR
from flows.rules.frequencies import Crontab, UnknownFrequency, frequency_of
from flows.rules.periods import Schedule
from flows.rules.references import whole_minute
from flows.rules.state import RENEWED, Outcome, RenewalState

_LONG_BEFORE = timedelta(days=3653)
"""A crontab names its dates: they are the same from any anchor."""

_HOUR = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class LastRenewal:
    """The previous renewal: its period, when its order was placed (both UTC), and the order. `is_native`: not ours."""

    period: datetime
    placed_at: datetime
    order_id: str | None
    is_native: bool = False


@dataclass(frozen=True, slots=True)
class TooClose:
    """A period that must not be charged yet: `until` is when it may be charged; None when a person must decide."""

    last: LastRenewal
    half: timedelta
    until: datetime | None = None


def last_renewal(subscription: OrderSubscription, state: RenewalState) -> LastRenewal | None:
    """The previous renewal: ours or, shortly before the adoption, one of Commerce Layer's own engine."""
    ours, native_at = _last_of_ours(state), subscription.last_run_at
    if native_at is None or not subscription.succeeded_on_last_run or not FIRST_YEAR <= native_at.year <= LAST_YEAR:
        return ours
    is_later = ours is None or native_at > ours.placed_at
    return LastRenewal(native_at, native_at, None, is_native=True) if is_later else ours


def _last_of_ours(state: RenewalState) -> LastRenewal | None:
    if state.last_period is not None and state.last_placed_at is not None:
        return LastRenewal(state.last_period, state.last_placed_at, state.last_order_id)
    if state.period is not None and not state.is_unsettled and state.outcome in RENEWED:
        return LastRenewal(state.period, state.period, state.target_order_id)  # recorded by an earlier version
    return None


def interval_at(frequency: str, period: datetime, time_zone: str) -> timedelta:
    """How long the renewal of a period lasts: from its date on the calendar to the next one."""
    since = whole_minute(period)
    if not isinstance(frequency_of(frequency), Crontab):
        return Schedule(frequency, since, time_zone).next_after(since) - since
    schedule = Schedule(frequency, since - _LONG_BEFORE, time_zone)
    since = schedule.nearest(since) or since
    return schedule.next_after(since) - since


def too_close(
    subscription: OrderSubscription, state: RenewalState, policy: Policy, due: datetime, as_of: datetime
) -> TooClose | None:
    """
    Why the period `due`, which no run has begun, must not be charged at `as_of`; None when it may.

    `state` is the stored one. Raises UnknownFrequency.
    """
    last = last_renewal(subscription, state)
    if last is None or whole_minute(last.period) == due:
        return None
    half = _half_interval(subscription.frequency, state, last, policy.time_zone)
    is_moved = _is_moved(subscription, state, policy, due)
    if abs(due - last.period) < half:
        return TooClose(last, half)
    if as_of - last.placed_at >= half:
        return None
    was_missed = due <= last.placed_at and not is_moved  # it was due already when the last one was placed
    if was_missed and policy.catch_up == "all":
        return None
    paid_late = state.period == last.period and (bool(state.failures) or state.attempt > 1)
    return TooClose(last, half, None if is_moved or paid_late else last.placed_at + half)


def _is_moved(subscription: OrderSubscription, state: RenewalState, policy: Policy, due: datetime) -> bool:
    date = subscription.next_run_at
    assert date is not None
    is_this = whole_minute(date) == due
    return is_this and was_moved(state, subscription.frequency, subscription.starts_at, date, policy.time_zone)


def _half_interval(frequency: str, state: RenewalState, last: LastRenewal, time_zone: str) -> timedelta:
    """Half of the last renewal's interval; if the frequency was changed since, half of the shorter interval."""
    shortest = interval_at(frequency, last.period, time_zone)
    if state.frequency is not None:
        try:
            shortest = min(shortest, interval_at(state.frequency, last.period, time_zone))
        except UnknownFrequency:
            return shortest / 2
    return shortest / 2


def held_for(
    found: TooClose, subscription: OrderSubscription, state: RenewalState, due: datetime, why: str, as_of: datetime
) -> RenewalState:
    """The state that holds the period `due` for a person, since `as_of`."""
    assert subscription.next_run_at is not None
    news = {
        "held": True, "held_since": as_of, "outcome": Outcome.NEEDS_ATTENTION,
        "error_class": FailureClass.UNKNOWN.value, "error": why,
        "too_close_to": found.last.order_id, "too_close_on": whole_minute(subscription.next_run_at),
        "last_period": found.last.period, "last_placed_at": found.last.placed_at, "last_order_id": found.last.order_id,
    }  # fmt: skip
    return state.for_period(due).model_copy(update=news)


def once_moved_on(subscription: OrderSubscription, state: RenewalState) -> RenewalState:
    """The state without a period that was too close, once the subscription has another date."""
    date = subscription.next_run_at
    if state.too_close_on is None or date is None or whole_minute(date) == state.too_close_on:
        return state
    if not state.is_unsettled or state.attempt or state.order_copy_id is not None:
        return state
    return state.for_period(whole_minute(date)).model_copy(update={"period": None})


def duration_in_words(duration: timedelta) -> str:
    """`15 days 12 hours`, `3 days 12 hours`, `30 minutes`."""
    days, rest = divmod(duration, timedelta(days=1))
    hours, minutes = rest // _HOUR, (rest % _HOUR) // timedelta(minutes=1)
    parts = [(days, "day"), (hours, "hour"), (0 if days else minutes, "minute")]
    said = [f"{count} {unit}{'s' if count != 1 else ''}" for count, unit in parts if count]
    return " ".join(said) or "less than a minute"
