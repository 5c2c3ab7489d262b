"""
When a failed renewal is tried again: the merchant's delays, their time of day, the card networks' limits.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from blocks.policy import FailureClass, Policy
from flows.rules.references import whole_minute
from flows.rules.zones import next_time_of_day

DAY = timedelta(hours=24)
MONTH = timedelta(days=30)
ON_THE_CARD = frozenset({FailureClass.PAYMENT, FailureClass.TRANSIENT, FailureClass.UNKNOWN})
"""Failures that may have reached the card. Others happen before that, and card networks do not count them."""


def earliest_allowed(policy: Policy, charges: Sequence[datetime], wanted: datetime) -> datetime:
    """The first instant at or after `wanted` at which one more charge exceeds no card network's limit."""
    allowed = wanted
    for window, limit in ((DAY, policy.max_attempts_per_day), (MONTH, policy.max_attempts_per_month)):
        # There is room again when the limit-th newest charge leaves the window.
        if len(charges) >= limit:
            allowed = max(allowed, sorted(charges)[-limit] + window)
    return allowed


def next_attempt(
    policy: Policy, cls: FailureClass, attempt: int, charges: Sequence[datetime], as_of: datetime
) -> datetime | None:
    """
    When the next attempt follows attempt number `attempt` (from 1), which just failed; None when that was the last.

    `charges` are the failed charges of the last 30 days, this one included.
    """
    delays = policy.retry_delays(cls)
    if not 1 <= attempt <= len(delays):
        return None
    delay = delays[attempt - 1]
    wanted = earliest_allowed(policy, charges, as_of + delay)
    # A retry within a day is for a passing fault, so it does not wait for the next morning.
    if policy.retry_at is not None and delay >= DAY:
        return next_time_of_day(wanted, policy.retry_at, ZoneInfo(policy.time_zone))
    minute = whole_minute(wanted)
    return minute if minute == wanted else minute + timedelta(minutes=1)


def calendar_of_retries(
    policy: Policy, cls: FailureClass, first: datetime, made: int = 0, charges: Sequence[datetime] = ()
) -> list[datetime]:
    """
    All coming attempts, from the one at `first` on, of a renewal that keeps failing for one reason.

    `made` attempts were made before it; `charges` are the failed charges of the last 30 days.
    """
    moments = [first]
    while True:
        counted = [*charges, *(moment for moment in moments if cls in ON_THE_CARD)]
        following = next_attempt(policy, cls, made + len(moments), counted, moments[-1])
        if following is None:
            return moments
        moments.append(following)
