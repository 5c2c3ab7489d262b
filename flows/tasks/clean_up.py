"""Reviews what was created recently: cancels the orders that no run will place, and finds double charges."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.events import emit_event

from blocks.commerce_layer import listings
from blocks.commerce_layer.errors import CommerceLayerError
from blocks.commerce_layer.jsonapi import pages_of
from blocks.commerce_layer.pages import Page
from blocks.commerce_layer.resources import OrderCopy
from blocks.commerce_layer.splitting import read_in_parts
from flows.rules.copy_periods import first_reference, period_of
from flows.rules.next_action import duplicate
from flows.rules.order_copies import CopiesOfPeriod, is_open
from flows.rules.preparing import no_longer_prepared_for
from flows.rules.references import parse_reference
from flows.rules.still_wanted import no_longer_wanted
from flows.rules.summaries import RenewalLine
from flows.rules.waves import BrakePulled
from flows.run.context import Run
from flows.run.report import Report
from flows.run.states import completed, run_task
from flows.tasks.unpaid import report_unpaid_renewals

REVIEWED = timedelta(hours=1)
"""How far back a sweep looks for double charges at its beginning. Earlier sweeps have reviewed older ones."""

LEFT_BEHIND = timedelta(days=31)
"""How far back it looks for unplaced orders, which are few. Older ones are found when the next period is due."""


@asynccontextmanager
async def reviewing(run: Run, report: Report) -> AsyncIterator[None]:
    """
    Review what was created before while the sweep works, and the sweep's own copies at the end.

    A creation may be lost and carried out late, when its period is settled and no run looks at it any more. A run may
    die before it cancels the order of a subscription that was cancelled. And two orders of one period can be placed if
    a read lags by more than the policy's `settle_seconds`.
    """
    began_at = run.now()
    reviewing_those = asyncio.create_task(_review_what_was_before(run, report, began_at))
    try:
        yield
    finally:
        prepared = await reviewing_those
        await run_task(clean_up_surplus_copies, run, report, began_at, began_at, prepared)


Suspects = dict[str, list[str]]
"""References to review, each with the ids of those of its copies whose references another system may have changed."""


async def _review_what_was_before(run: Run, report: Report, began_at: datetime) -> Suspects:
    # First, because the orders that this sweep places may need a moment until they are paid.
    await run_task(report_unpaid_renewals, run, report)
    return await run_task(clean_up_surplus_copies, run, report, began_at - REVIEWED, began_at - LEFT_BEHIND)


@task(task_run_name="clean up surplus copies", cache_policy=NO_CACHE, retries=0)
async def clean_up_surplus_copies(
    run: Run, report: Report, since: datetime, unplaced_since: datetime, prepared: Suspects | None = None
) -> State[Suspects]:
    """
    Cancel unplaced orders that no run will place, and stop the sweep if a period is charged twice.

    These are the orders of surplus copies, and of subscriptions that are no longer renewed. `since` and
    `unplaced_since` say how far back to look for double charges and for unplaced orders. What cannot be read or
    cancelled is left to the next sweep.

    What was prepared for periods that are not due yet may be much, and waits until the sweep has renewed what is due:
    it is not reviewed but returned, unless `prepared` is what an earlier call has returned.
    """
    before = run.withdrawals.surplus
    waiting: Suspects = {}
    try:
        suspects = await _suspects(run, report, since, unplaced_since)
        if prepared is None:
            waiting = {each: its for each, its in suspects.items() if _is_ahead(run, each)}
        suspects = {each: its for each, its in {**(prepared or {}), **suspects}.items() if each not in waiting}
        for references in pages_of(sorted(suspects)):
            found = await _copies_of(run, report, {reference: suspects[reference] for reference in references})
            for copies in found:
                await _review(run, report, copies)
            await _withdraw_unwanted_orders(run, found)
    except CommerceLayerError as error:
        report.not_checked("recent order copies", error)
        return completed(f"the recent order copies could not be read: {error}", waiting)
    count = run.withdrawals.surplus - before
    return completed(f"{count} surplus order copies found, their orders are cancelled", waiting)


def _is_ahead(run: Run, reference: str) -> bool:
    parsed = parse_reference(reference)
    return parsed is not None and parsed.due > run.now()


async def _suspects(run: Run, report: Report, since: datetime, unplaced_since: datetime) -> Suspects:
    """
    References with several copies, or with an unplaced order: an older copy may have been placed.

    What this run has placed is not listed again: it is among several copies if another one is listed.
    """
    ids: defaultdict[str, set[str]] = defaultdict(set)
    unplaced: set[str] = set()
    changed: defaultdict[str, set[str]] = defaultdict(set)

    def note(copy: OrderCopy) -> str | None:
        reference = first_reference(copy)
        if reference is not None and copy.reference != reference:
            changed[reference].add(copy.id)
        return reference

    placed_here = run.placements.created_since(since)
    async for page in listings.iter_our_copies(run.client, created_since=since, besides=placed_here):
        for copy in page.readable:
            if (reference := note(copy)) is not None:
                ids[reference].add(copy.id)
                unplaced |= {reference} if is_open(copy) else set()
        _say_what_is_unreadable(report, page)
    if unplaced_since < since:
        async for page in listings.iter_our_copies(run.client, created_since=unplaced_since, only_unplaced=True):
            unplaced |= {reference for copy in page.readable if (reference := note(copy)) is not None}
            _say_what_is_unreadable(report, page)
    for reference, its in ids.items():
        if (placed := run.placements.id_for(reference)) is not None:
            its.add(placed)
            changed[reference].add(placed)  # its reference may have been changed: it is read by its id, too
    suspects = unplaced | {reference for reference, its in ids.items() if len(its) > 1}
    return {each: sorted(changed[each]) for each in suspects}


def _say_what_is_unreadable(report: Report, page: Page[OrderCopy]) -> None:
    for copy_id, error in page.unreadable.items():
        report.not_checked(f"order copy {copy_id}", error)


async def _copies_of(run: Run, report: Report, suspects: Mapping[str, Sequence[str]]) -> list[CopiesOfPeriod]:
    """The copies with these references, and those with these ids, as just read."""

    async def read(references: Sequence[str]) -> list[CopiesOfPeriod]:
        found = await run.client.find_order_copies(references)
        changed = await run.client.get_order_copies(copy_id for each in references for copy_id in suspects[each])
        return [
            CopiesOfPeriod.of([*copies, *(changed[each] for each in suspects[reference] if each in changed)])
            for reference, copies in found.items()
        ]

    parts = await read_in_parts(list(suspects), read)
    if parts.trouble is not None:
        raise parts.trouble
    for reference, error in parts.unreadable.items():
        report.not_checked(f"the order copies of {reference}", error)
    return [copies for part in parts.read for copies in part]


async def _review(run: Run, report: Report, copies: CopiesOfPeriod) -> None:
    if len(copies.placed) > 1 and first_reference(copies.placed[0]) not in report.charged_twice:
        _report_double_charge(run, report, copies.placed)
    await run.withdrawals.cancel_surplus(copies)


async def _withdraw_unwanted_orders(run: Run, found: Iterable[CopiesOfPeriod]) -> None:
    """
    Withdraw the orders of subscriptions that have been cancelled, paused or given back, and of skipped periods.

    No sweep finds them due again, and the customer could still pay at the checkout.
    """
    unplaced = [
        (copies.canonical, *reference)
        for copies in found
        if copies.canonical is not None
        and is_open(copies.canonical)
        and (reference := period_of(copies.canonical)) is not None
    ]
    fresh = await run.client.get_subscriptions(subscription_id for _, subscription_id, _ in unplaced)
    async with asyncio.TaskGroup() as withdrawing:
        for copy, subscription_id, due in unplaced:
            there = fresh.get(subscription_id)
            refusal = no_longer_wanted(there, due)
            if refusal is None and there is not None:
                refusal = no_longer_prepared_for(there, copy, due)
            if refusal is not None:
                withdrawing.create_task(run.withdrawals.withdraw(copy.target_order_id or "", refusal[1]))


def _report_double_charge(run: Run, report: Report, placed: Sequence[OrderCopy]) -> None:
    sentence, reference = duplicate(placed).sentence, first_reference(placed[0]) or ""
    report.charged_twice.add(reference)
    period = period_of(placed[0])
    subscription_id = period.subscription_id if period else reference
    report.add(RenewalLine.charged_twice(subscription_id, reference, sentence), was_due=False)
    report.brake_pulled(BrakePulled(f"one period is charged twice: {reference}: {sentence}"))
    emit_event(
        event="perennial.renewal.charged_twice",
        resource={
            "prefect.resource.id": f"perennial.subscription.{subscription_id}",
            "prefect.resource.name": reference,
            "perennial.organization": run.organization,
        },
        payload={"reference": reference, "sentence": sentence, "flow_run_id": run.identity.flow_run_id},
    )
