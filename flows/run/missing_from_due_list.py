"""
Adopted subscriptions that no due list can show: another status, no date, or metadata that something has overwritten.

A due list has inactive subscriptions with a past date and `metadata.perennial`. A sweep would not notice a subscription
that lacks one of the three, so each sweep looks for them: one call for each kind, in a shop of any size.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import timedelta

from blocks.commerce_layer import listings
from blocks.commerce_layer.errors import CommerceLayerError
from blocks.commerce_layer.resources import OrderSubscription
from flows.rules.skips import Skipped, SkipReason, status_refusal
from flows.rules.state import TAG
from flows.rules.watching import WatchLimits, lost_metadata
from flows.run.context import Run
from flows.run.report import Report

_AT_ONCE = WatchLimits(overdue_after=timedelta(0))


async def find_missing_from_due_list(
    run: Run, report: Report, not_adopted: Sequence[OrderSubscription]
) -> list[Skipped]:
    """
    The shop's adopted subscriptions that no sweep can renew, at most 25 of each kind.

    `not_adopted` are the due ones without `metadata.perennial`: their order copies show whether they have lost it. What
    cannot be read is left to the next sweep.
    """
    try:
        found = [*await _with_another_status(run), *await _without_a_date(run)]
        return [*found, *await _without_metadata(run, not_adopted)]
    except CommerceLayerError as error:
        report.not_checked("adopted subscriptions that no due list shows", error)
        return []


def latest(not_adopted: Iterable[OrderSubscription]) -> list[OrderSubscription]:
    """As many as fit in one call, those that became due last: most subscriptions that customers paused are older."""
    by_date = sorted(not_adopted, key=lambda each: str(each.next_run_at), reverse=True)
    return by_date[: listings.SOURCES_AT_ONCE]


async def _with_another_status(run: Run) -> list[Skipped]:
    found = await listings.adopted_with_another_status(run.client)
    return [Skipped(each.id, None, *refusal) for each in found if (refusal := status_refusal(each)) is not None]


async def _without_a_date(run: Run) -> list[Skipped]:
    sentence = "it has no next_run_at, so it is never due; set one to have it renewed"
    found = await listings.adopted_without_a_date(run.client)
    return [Skipped(each.id, None, SkipReason.NO_NEXT_RUN, sentence) for each in found]


async def _without_metadata(run: Run, not_adopted: Iterable[OrderSubscription]) -> list[Skipped]:
    # A tagged one already has a line from the due list.
    recent = latest(each for each in not_adopted if TAG not in each.tags)
    sources = [each.source_order_id for each in recent if each.source_order_id]
    if not sources:
        return []
    copies = await listings.our_copies_of(run.client, sources, only_first_page=True)
    lost = [lost_metadata(each, copies, run.as_of, _AT_ONCE) for each in recent]
    return [Skipped(each.subscription_id, None, SkipReason.STATE_LOST, each.sentence) for each in lost if each]
