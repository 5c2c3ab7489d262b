"""
One look over the whole shop, for what no run reports: it reads, and changes nothing.

It shares as little as possible with a sweep: it lists every subscription that is not cancelled, 25 in a call, so that a
wrong filter of the due list cannot hide a subscription here as well.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from blocks.commerce_layer import listings
from blocks.commerce_layer.client import CommerceLayer
from blocks.commerce_layer.pages import Page
from blocks.commerce_layer.resources import OrderCopy, OrderSubscription
from blocks.commerce_layer.splitting import read_in_parts
from blocks.policy import Policy
from flows.rules import watching
from flows.rules.dashboard_links import Dashboard
from flows.rules.stop_switch import CHARGING_IS_ON, StopSwitch
from flows.rules.watch_orders import OpenWork, charged_twice, left_unplaced, placed_late
from flows.rules.watch_reports import WatchReport
from flows.rules.watching import Alarm, WatchFinding, WatchLimits
from flows.run.open_failures import OpenFailures


async def look_over(
    client: CommerceLayer,
    dashboard: Dashboard,
    policy: Policy,
    as_of: datetime,
    limits: WatchLimits,
    switch: StopSwitch = CHARGING_IS_ON,
) -> WatchReport:
    """
    Everything that is wrong at `as_of` (UTC), by these limits. `switch` is the stop switch, if it could be read.

    Reads all subscriptions, our unplaced orders, and the orders placed in the last days (to find several placed orders
    of one period), 25 in a call. For periods that were due before that, such as those of late retries, it also reads
    their older orders.

    Raises:
        CommerceLayerError: the shop cannot be read.
    """
    looking = _Looking(client, policy, as_of, limits)
    await looking.at_subscriptions()
    await looking.at_orders()
    await looking.at_lost_metadata()
    looking.at_the_switch(switch)
    findings = sorted(looking.findings, key=lambda each: each.rank)
    return WatchReport(as_of, dashboard, looking.seen, findings, list(looking.failures.found.values()))


class _Looking:
    """What one look has found so far."""

    def __init__(self, client: CommerceLayer, policy: Policy, as_of: datetime, limits: WatchLimits) -> None:
        self._client, self._policy, self._as_of, self._limits = client, policy, as_of, limits
        self._known: dict[str, OpenWork] = {}
        self._perhaps_lost: list[OrderSubscription] = []
        self.seen = 0
        self.failures = OpenFailures(policy, as_of)
        self.findings: list[WatchFinding] = []

    def at_the_switch(self, switch: StopSwitch) -> None:
        self._add([watching.charging_stopped(switch, self._as_of, self._limits)])

    async def at_subscriptions(self) -> None:
        async for page in listings.iter_not_cancelled(self._client):
            self.seen += len(page.readable) + len(page.unreadable)
            self.failures.take_in(page)
            self.findings += [watching.unreadable(each, error) for each, error in page.unreadable.items()]
            for subscription in page.readable:
                self._take_in(subscription)

    async def at_orders(self) -> None:
        until = self._as_of - self._limits.unplaced_after
        async for page in listings.iter_our_copies(self._client, created_until=until, only_unplaced=True):
            self._add(left_unplaced(copy, self._known) for copy in page.readable)
            self._unreadable_copies(page)
        self._add(charged_twice(await self._recently_placed()))

    async def at_lost_metadata(self) -> None:
        sources = [each.source_order_id for each in self._perhaps_lost if each.source_order_id]
        copies = await listings.our_copies_of(self._client, sources) if sources else []
        for each in self._perhaps_lost:
            self._add([watching.lost_metadata(each, copies, self._as_of, self._limits)])

    async def _recently_placed(self) -> list[OrderCopy]:
        """The copies placed recently, and those of their periods that may have been placed before."""
        since = self._as_of - self._limits.placed_within
        copies: list[OrderCopy] = []
        async for page in listings.iter_placed_copies(self._client, since):
            copies += page.readable
            self._unreadable_copies(page)
        others = await read_in_parts(sorted(placed_late(copies, since)), self._client.find_order_copies)
        if others.trouble is not None:
            raise others.trouble
        self.findings += [watching.unreadable_copies(each, error) for each, error in others.unreadable.items()]
        return [*copies, *(copy for part in others.read for same in part.values() for copy in same)]

    def _unreadable_copies(self, page: Page[OrderCopy]) -> None:
        self.findings += [watching.unreadable_copies(each, error) for each, error in page.unreadable.items()]

    def _take_in(self, subscription: OrderSubscription) -> None:
        if watching.was_adopted(subscription, self._as_of):
            self._perhaps_lost.append(subscription)
        try:
            if (work := OpenWork.of(subscription, self._policy, self._as_of)) is not None:
                self._known[subscription.id] = work
            self._add([watching.finding_about(subscription, self._policy, self._as_of, self._limits)])
        except Exception as error:  # noqa: BLE001 - one odd subscription must not hide the others
            said = f"it cannot be looked at: {type(error).__name__}: {error}"
            self.findings.append(WatchFinding(Alarm.CANNOT_BE_RENEWED, subscription.id, said))

    def _add(self, found: Iterable[WatchFinding | None]) -> None:
        self.findings += [each for each in found if each is not None]
