"""Looks at what was created recently: cancels the orders of surplus copies, and finds double charges."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.events import emit_event
from prefect.logging import get_run_logger

from blocks.commerce_layer.errors import CommerceLayerError
from blocks.commerce_layer.jsonapi import pages_of
from blocks.commerce_layer.resources import OrderCopy
from flows.rules.next_action import duplicate
from flows.rules.order_copies import CopiesOfPeriod, is_open
from flows.rules.references import parse_reference
from flows.rules.summaries import RenewalLine
from flows.rules.waves import BrakePulled
from flows.run.context import Run
from flows.run.report import Report
from flows.run.states import green, run_task

REVIEWED = timedelta(hours=1)
"""How far back a sweep looks at its beginning. The sweeps before it have looked at what is older."""


@asynccontextmanager
async def reviewing(run: Run, report: Report) -> AsyncIterator[None]:
    """
    Look at the copies of the last hour while the sweep works, and at its own ones at the end.

    A creation may be lost and carried out late, when its period is settled and nobody looks at it any more. And a read
    that is staler than the policy's `settle_seconds` is how two orders of one period can be placed.
    """
    began_at = run.now()
    of_before = asyncio.create_task(run_task(clean_up_surplus_copies, run, report, began_at - REVIEWED))
    try:
        yield
    finally:
        await of_before
        await run_task(clean_up_surplus_copies, run, report, began_at)


@task(task_run_name="clean up surplus copies", cache_policy=NO_CACHE, retries=0)
async def clean_up_surplus_copies(run: Run, report: Report, since: datetime) -> State[int]:
    """
    Cancel the orders of surplus copies created since then, and stop the sweep where a period is charged twice.

    What cannot be read or cancelled is left to the next sweep.
    """
    before = run.withdrawals.surplus
    try:
        for references in pages_of(await _suspects(run, since)):
            for copies in (await run.client.find_order_copies(references)).values():
                await _review(run, report, copies)
    except CommerceLayerError as error:
        get_run_logger().warning("the recent order copies could not be read: %s", error)
        return green("NotReadable", f"the recent order copies could not be read: {error}", 0)
    count = run.withdrawals.surplus - before
    return green("CleanedUp", f"{count} surplus order copies found, their orders are cancelled", count)


async def _suspects(run: Run, since: datetime) -> list[str]:
    """References with several copies, or with an unplaced order: an older copy may have been placed."""
    counts: Counter[str] = Counter()
    unplaced: set[str] = set()
    async for page in run.client.iter_our_copies(since):
        for copy in page:
            if copy.reference is not None:
                counts[copy.reference] += 1
                unplaced |= {copy.reference} if is_open(copy) else set()
    return sorted(reference for reference, count in counts.items() if count > 1 or reference in unplaced)


async def _review(run: Run, report: Report, copies: Sequence[OrderCopy]) -> None:
    of_period = CopiesOfPeriod.of(copies)
    if len(of_period.placed) > 1 and of_period.placed[0].reference not in report.charged_twice:
        _sound_the_alarm(run, report, of_period.placed)
    await run.withdrawals.cancel_surplus(of_period)


def _sound_the_alarm(run: Run, report: Report, placed: Sequence[OrderCopy]) -> None:
    sentence, reference = duplicate(placed).sentence, placed[0].reference or ""
    report.charged_twice.add(reference)
    parsed = parse_reference(reference)
    subscription_id = parsed.subscription_id if parsed else reference
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
