"""
Reads what the shop has about the periods of a span, in as few calls as possible, and compares.

Most periods are as they should be, and one list shows that: the order copies of the span with their orders and
subscriptions. Only what does not match is read once more, afresh and by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta

from blocks.commerce_layer import jsonapi, span_lists
from blocks.commerce_layer.client import CommerceLayer
from blocks.commerce_layer.errors import CommerceLayerError
from blocks.commerce_layer.order_search import find_placed_orders
from blocks.commerce_layer.resources import Order, OrderCopy, OrderSubscription
from blocks.commerce_layer.splitting import read_in_parts
from blocks.policy import Policy
from flows.rules.copy_periods import period_of, period_of_order
from flows.rules.dashboard_links import Dashboard
from flows.rules.reconciliation_reports import Reconciliation
from flows.rules.reconciling import Match, ReconciledPeriod, Reconciler
from flows.rules.references import reference_of
from flows.rules.span_periods import ShopRecords, SpanPeriods, interval_of, periods_in
from flows.rules.spans import Span

DAYS_BY_NAME = 62
"""A longer span is listed month by month: then the filter stays short, and some days too many are read."""

_PREPARED_AT_MOST = timedelta(days=8)
"""How long before its period an order may have been made."""

Progress = Callable[[str, int], None]
"""Called with what is being read, and how many of them are known by now."""


async def reconcile(
    client: CommerceLayer,
    dashboard: Dashboard,
    policy: Policy,
    span: Span,
    as_of: datetime,
    progress: Progress = lambda _what, _count: None,
) -> Reconciliation:
    """
    Every period from `span.start` until before `span.end`, or `as_of` if that is earlier, with what the shop says.

    It reads and changes nothing.

    Raises:
        CommerceLayerError: the shop cannot be read.
    """
    reading = _Reading(client, policy, Span(span.start, min(span.end, as_of)), as_of, progress)
    before = _reads(client)
    await reading.copies()
    await reading.subscriptions()
    await reading.copies_of_others()
    periods = await reading.compared()
    return Reconciliation(reading.span, as_of, dashboard, periods, reading.unreadable, _reads(client) - before)


def _reads(client: CommerceLayer) -> int:
    return sum(count for (method, _), count in client.requests_made.items() if method == "GET")


class _Reading:
    """What is known of the shop so far."""

    def __init__(self, client: CommerceLayer, policy: Policy, span: Span, as_of: datetime, progress: Progress) -> None:
        self._client, self._policy, self._as_of, self._progress = client, policy, as_of, progress
        self._subscriptions: dict[str, OrderSubscription | None] = {}
        self._copies: dict[str, dict[str, OrderCopy]] = {}
        self._others: dict[str, list[OrderCopy]] = {}
        self._orders: dict[str, list[Order]] = {}
        self._activity: list[datetime] = []
        self._periods: dict[str, SpanPeriods] = {}
        self.span = span
        self.unreadable: dict[str, str] = {}

    async def copies(self) -> None:
        async for page in span_lists.iter_renewals(self._client, _reference_parts(self.span)):
            self._add(page.copies)
            self._subscriptions |= {each.id: each for each in page.subscriptions}
            self._progress("order copies", len(self._activity))

    async def subscriptions(self) -> None:
        created = {each.id: each.created_at for each in self._subscriptions.values() if each is not None}
        lists = span_lists.iter_subscriptions_besides(self._client, created, self.span.start, self.span.end)
        async for page in lists:
            self._note_unreadable(page.unreadable)
            self._subscriptions |= {each.id: each for each in page.readable}
            self._progress("subscriptions", len(self._subscriptions))

    async def copies_of_others(self) -> None:
        found = (each.source_order_id for each in self._subscriptions.values() if each is not None)
        sources = [each for each in found if each is not None]
        for pages in (
            span_lists.iter_copies_of_others(self._client, sources, self.span.start),
            span_lists.iter_manual_copies(self._client, self.span.start),
        ):
            async for page in pages:
                self._add(page)
                for copy in page:
                    if period_of(copy) is None and copy.source_order_id is not None:
                        self._others.setdefault(copy.source_order_id, []).append(copy)

    async def compared(self) -> list[ReconciledPeriod]:
        """Each period; those that do not match, after a second look."""
        periods = self._compare(self._subscriptions)
        odd = [key for key, found in periods.items() if self._is_odd(key, found)]
        self._progress("second looks", len(odd))
        await self._look_again(odd, [each for key in odd for each in periods[key]])
        again = self._compare(odd)
        await self._look_for_orders([each for found in again.values() for each in found])
        periods |= self._compare(odd)
        return sorted((each for found in periods.values() for each in found), key=lambda each: each.place)

    def _compare(self, keys: Iterable[str]) -> dict[str, list[ReconciledPeriod]]:
        reconciler = Reconciler(self.span, self._policy, self._as_of, sorted(self._activity))
        found = {}
        for key in keys:
            try:
                records = self._of(key)
                self._periods[key] = periods_in(self.span, records, self._policy)
                found[key] = reconciler.compare(records, self._periods[key].dates)
            except Exception as error:  # noqa: BLE001 - one odd subscription must not hide the others
                self.unreadable[key] = f"it cannot be compared: {type(error).__name__}: {error}"
        return found

    def _note_unreadable(self, unreadable: Mapping[str, CommerceLayerError]) -> None:
        self.unreadable |= {key: str(error) for key, error in unreadable.items()}

    def _of(self, key: str) -> ShopRecords:
        one = self._subscriptions.get(key)
        others = self._others.get(one.source_order_id or "", []) if one else []
        copies = tuple(self._copies.get(key, {}).values())
        return ShopRecords(key, one, copies, others, self._orders.get(key, []))

    def _is_odd(self, key: str, found: Sequence[ReconciledPeriod]) -> bool:
        """Whether a subscription must be looked at again: the first list does not show all of it."""
        if self._subscriptions[key] is None or any(each.match is not Match.ONCE for each in found):
            return True
        return bool(self._periods[key].unproven)

    async def _look_again(self, odd: Sequence[str], periods: Sequence[ReconciledPeriod]) -> None:
        for some in jsonapi.pages_of(odd):
            parts = await read_in_parts(some, self._client.get_subscriptions)
            if parts.trouble is not None:
                raise parts.trouble
            self._note_unreadable(parts.unreadable)
            fresh = {key: each for part in parts.read for key, each in part.items()}
            self._subscriptions |= {key: fresh.get(key) for key in some if key not in parts.unreadable}
        references = [reference_of(each.subscription_id, each.due) for each in periods if each.match is not Match.ONCE]
        for same in (await self._client.find_order_copies(references)).values():
            self._add(same)
        await self._look_around(odd)

    async def _look_around(self, odd: Iterable[str]) -> None:
        """Read the copies from before and after the dates of which nothing is known: was it renewed then, or moved?"""
        wanted: dict[timedelta, dict[str, datetime]] = {}
        for key in odd:
            one, unknown = self._subscriptions[key], self._dates_without_copy(key)
            if one is not None and one.source_order_id is not None and unknown:
                interval = interval_of(self._of(key), unknown[0], self._policy)
                wanted.setdefault(interval, {})[one.source_order_id] = unknown[0]
        for interval, sources in wanted.items():
            since, until = min(sources.values()) - 2 * interval, self.span.end + 2 * interval
            self._add(await span_lists.our_copies_made(self._client, sources, since, until))

    def _dates_without_copy(self, key: str) -> list[datetime]:
        records = self._of(key)
        periods = periods_in(self.span, records, self._policy)
        return sorted(date for date in periods.unproven + periods.dates if date not in records.copies_by_period)

    async def _look_for_orders(self, periods: Iterable[ReconciledPeriod]) -> None:
        """Look for the placed orders of periods without a copy: it may have been deleted."""
        missing = [each for each in periods if each.due not in self._of(each.subscription_id).copies_by_period]
        wanted = {reference_of(each.subscription_id, each.due): each.email for each in missing}
        since = min((each.due for each in missing), default=self._as_of) - _PREPARED_AT_MOST
        for order in await find_placed_orders(self._client, wanted, since):
            period = period_of_order(order)
            if period is not None:
                self._orders.setdefault(period.subscription_id, []).append(order)

    def _add(self, copies: Iterable[OrderCopy]) -> None:
        """Take in the copies of renewals; of one that was read before, the newer reading counts."""
        for copy in copies:
            period = period_of(copy)
            if period is None:
                continue
            self._copies.setdefault(period.subscription_id, {})[copy.id] = copy
            self._subscriptions.setdefault(period.subscription_id, None)
            if copy.created_at is not None:
                self._activity.append(copy.created_at)


def _reference_parts(span: Span) -> list[str]:
    """What the references of the span's periods contain: `@2026-03-01T` for each day, or `@2026-03-` for each month."""
    days = [span.start.date() + timedelta(days=n) for n in range((span.end.date() - span.start.date()).days + 1)]
    if len(days) <= DAYS_BY_NAME:
        return [f"@{day:%Y-%m-%d}T" for day in days]
    return sorted({f"@{day:%Y-%m}-" for day in days})
