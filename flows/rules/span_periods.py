"""
The periods of a subscription in a span of time: those that have order copies, and those that its calendar names.

The calendar is the sweep's. What a shop does not keep is respected: when a subscription was adopted, and which calendar
it had before its date was moved. So a date of the calendar counts only from the first period on of which something of
ours is known, and if no other period stands for it.
"""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property

from blocks.commerce_layer.resources import Order, OrderCopy, OrderSubscription
from blocks.commerce_layer.statuses import SubscriptionStatus
from blocks.policy import Policy, PolicyOverrideInvalid
from flows.rules.anchors import anchor_of
from flows.rules.copy_periods import period_of, period_of_order
from flows.rules.far_dates import end_of, never_due, unusable_date
from flows.rules.frequencies import UnknownFrequency
from flows.rules.periods import Schedule
from flows.rules.references import whole_minute
from flows.rules.skips import NATIVE_STATUSES
from flows.rules.spacing import interval_at
from flows.rules.spans import Span
from flows.rules.state import RenewalState

_INSTANT = timedelta.resolution
_LONGEST = timedelta(days=366)


@dataclass(frozen=True)
class ShopRecords:
    """
    What the shop has about the renewals of one subscription.

    `subscription` is None if it is deleted. `copies` are ours, of any of its periods; `others` those of its source
    order that are not renewals; `orders` those whose copies do not exist any more.
    """

    subscription_id: str
    subscription: OrderSubscription | None
    copies: Sequence[OrderCopy] = ()
    others: Sequence[OrderCopy] = ()
    orders: Sequence[Order] = ()

    @cached_property
    def state(self) -> RenewalState | None:
        """The renewal state; None without a subscription, and when it is not adopted."""
        return RenewalState.read(self.subscription.metadata) if self.subscription else None

    @cached_property
    def copies_by_period(self) -> dict[datetime, list[OrderCopy]]:
        """The copies of each period."""
        found: dict[datetime, list[OrderCopy]] = {}
        for copy in self.copies:
            period = period_of(copy)
            if period is not None and period.subscription_id == self.subscription_id:
                found.setdefault(period.due, []).append(copy)
        return found

    @cached_property
    def orders_by_period(self) -> dict[datetime, list[Order]]:
        """The orders without a copy of each period."""
        with_copy = {copy.target_order_id for copy in self.copies}
        found: dict[datetime, list[Order]] = {}
        for order in self.orders:
            period = period_of_order(order)
            if period is not None and period.subscription_id == self.subscription_id and order.id not in with_copy:
                found.setdefault(period.due, []).append(order)
        return found

    def policy(self, merchants: Policy) -> Policy:
        """The policy of this subscription; the merchant's where its own cannot be read."""
        try:
            return merchants.overridden_by(self.state.policy if self.state else None)
        except PolicyOverrideInvalid:
            return merchants


@dataclass(frozen=True, slots=True)
class SpanPeriods:
    """
    The `dates` in a span on which a subscription was to be renewed, in order.

    `unproven`: dates of its calendar before the first one of which anything is known; only older copies can tell
    whether Perennial renewed it then.
    """

    dates: tuple[datetime, ...]
    unproven: tuple[datetime, ...]


def periods_in(span: Span, records: ShopRecords, policy: Policy) -> SpanPeriods:
    """
    The periods of a subscription in a span that is over. `policy` is the merchant's.

    A subscription whose calendar cannot be read has the periods that are known otherwise.
    """
    known = _known_dates(records)
    fixed = sorted(known)
    calendar = sorted(set(_calendar(span, records, policy)) - known)
    if fixed:
        calendar = [date for date in calendar if not _is_stood_for(date, fixed, records, policy)]
    first = fixed[0] if fixed else span.end
    dates = {date for date in known if date in span and _has_come(date, records)}
    dates |= {date for date in calendar if date >= first}
    return SpanPeriods(tuple(sorted(dates)), tuple(date for date in calendar if date < first))


def _known_dates(records: ShopRecords) -> set[datetime]:
    """Periods of which something is known: a copy, an order, or what the subscription says about it."""
    dates = {*records.copies_by_period, *records.orders_by_period}
    one, state = records.subscription, records.state
    if one is None or state is None or state.damaged is not None:
        return dates
    dates |= {whole_minute(date) for date in (state.period, state.last_period) if date is not None}
    if one.next_run_at is not None and never_due(one) is None:
        dates.add(whole_minute(one.next_run_at))
    return dates


def _has_come(date: datetime, records: ShopRecords) -> bool:
    """Whether a known date was a period: not if the subscription had ended by then, and nothing was copied."""
    one = records.subscription
    if one is None or date in records.copies_by_period or date in records.orders_by_period:
        return True
    state, end = records.state, _end(one)
    was_last = state is not None and date in {state.period, state.last_period}
    return was_last or end is None or date < end


def _end(one: OrderSubscription) -> datetime | None:
    """When a subscription ended at the latest; nothing tells when it was cancelled but its last update."""
    ends = end_of(one)
    if one.status is not SubscriptionStatus.CANCELLED or one.updated_at is None:
        return ends
    return min(ends, one.updated_at) if ends else one.updated_at


def _calendar(span: Span, records: ShopRecords, policy: Policy) -> Iterator[datetime]:
    one, state = records.subscription, records.state
    if one is None or unusable_date(one) is not None or (state is None and one.status in NATIVE_STATUSES):
        return
    start = max(span.start, one.created_at or span.start)
    end = min(span.end, _end(one) or span.end)
    own = records.policy(policy)
    known = state if state is not None and state.damaged is None else RenewalState()
    try:
        yield from _dates(one, known, own.time_zone, start - _INSTANT, end - _INSTANT)
    except UnknownFrequency:
        return


def _dates(
    one: OrderSubscription, state: RenewalState, zone: str, after: datetime, until: datetime
) -> Iterator[datetime]:
    """Up to `next_run_at` by the calendar of the last settled period, later by the one that counts now."""
    turn = None if one.next_run_at is None or never_due(one) else whole_minute(one.next_run_at)
    anchor = state.anchor or one.starts_at or turn
    if anchor is None:
        return
    before = Schedule(state.frequency or one.frequency, anchor, zone)
    for date in before.between(after, until if turn is None else min(until, turn - _INSTANT)):
        # With nothing else known, `starts_at` is the source order's own date: the first renewal follows it.
        if date != anchor or state.anchor is not None or turn == date:
            yield date
    if turn is not None and turn <= until:
        now = anchor_of(state, one.frequency, one.starts_at, turn, zone)
        yield from Schedule(one.frequency, now, zone).between(max(after, turn - _INSTANT), until)


def _is_stood_for(date: datetime, fixed: Sequence[datetime], records: ShopRecords, policy: Policy) -> bool:
    """Whether a known period is within half an interval: it is this one, at a date that was moved."""
    half = interval_of(records, date, policy) / 2
    place = bisect_left(fixed, date)
    return any(abs(other - date) < half for other in fixed[max(place - 1, 0) : place + 1])


def interval_of(records: ShopRecords, date: datetime, policy: Policy) -> timedelta:
    """How long the renewal of a period lasts; a year where the frequency is not known."""
    one, state = records.subscription, records.state
    if one is None:
        return _LONGEST
    try:
        return interval_at(
            (state.frequency if state else None) or one.frequency, date, records.policy(policy).time_zone
        )
    except UnknownFrequency:
        return _LONGEST
