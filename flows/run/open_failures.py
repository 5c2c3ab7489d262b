"""
Collects the open failures of a shop, and what their orders cost. It reads, and changes nothing.

The date of a subscription moves last, so every open failure is on the due list, except those that cannot be due.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime

from blocks.commerce_layer import listings
from blocks.commerce_layer.client import CommerceLayer
from blocks.commerce_layer.errors import CommerceLayerError
from blocks.commerce_layer.jsonapi import pages_of
from blocks.commerce_layer.pages import Page
from blocks.commerce_layer.resources import Order, OrderSubscription
from blocks.policy import Policy
from flows.rules.dashboard_links import Dashboard
from flows.rules.open_failure_reports import OpenFailureReport
from flows.rules.open_failures import OpenFailure, open_failure, unreadable_failure, worst_first
from flows.run.context import Run


@dataclass
class OpenFailures:
    """Those found so far among the subscriptions of some lists, at `as_of` (UTC), by subscription id."""

    policy: Policy
    as_of: datetime
    found: dict[str, OpenFailure] = field(default_factory=dict)

    def take_in(self, page: Page[OrderSubscription]) -> None:
        """Look at the subscriptions of one page. One that cannot be planned does not hide the others."""
        self.found |= {each: unreadable_failure(each, error) for each, error in page.unreadable.items()}
        for subscription in page.readable:
            try:
                failure = open_failure(subscription, self.policy, self.as_of)
            except Exception as error:  # noqa: BLE001 - one odd subscription must not hide the others
                failure = unreadable_failure(subscription.id, error)
            if failure is not None:
                self.found[subscription.id] = failure


async def find_open_failures(run: Run, seen: Callable[[int], None]) -> OpenFailureReport:
    """
    All open failures of the run's shop. `seen` is told how many subscriptions each read showed.

    Reads the due list of a sweep, the adopted subscriptions that it cannot show, and the orders of the failures, 25 in
    a call.

    Raises:
        CommerceLayerError: the subscriptions cannot be read.
    """
    failures = OpenFailures(run.policy, run.as_of)
    for pages in (listings.iter_due(run.client, run.as_of), listings.iter_adopted_beside_due_list(run.client)):
        async for page in pages:
            failures.take_in(page)
            seen(len(page.readable) + len(page.unreadable))
    return await report_of(run, failures.found.values())


async def report_of(run: Run, failures: Iterable[OpenFailure]) -> OpenFailureReport:
    """The failures in their order, each with what its order costs."""
    dashboard = Dashboard(run.organization, (await run.client.claims()).mode)
    return OpenFailureReport(run.as_of, dashboard, worst_first(await _priced(run.client, list(failures))))


async def _priced(client: CommerceLayer, failures: list[OpenFailure]) -> list[OpenFailure]:
    """The failures with what their orders cost, as far as these can be read: a missing amount hides no failure."""
    orders: dict[str, Order] = {}
    for ids in pages_of(sorted({each.priced_by for each in failures if each.priced_by})):
        try:
            orders |= await client.get_orders(ids)
        except CommerceLayerError:
            continue
    return [
        each.with_order(orders[each.priced_by]) if each.priced_by is not None and each.priced_by in orders else each
        for each in failures
    ]
