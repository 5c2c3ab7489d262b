"""The tasks of a rescue that it does not share with the sweep: find the failed runs, and record what came of each."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import chain, repeat
from typing import TypeVar
from uuid import NAMESPACE_URL, uuid5

from prefect import task
from prefect.artifacts import acreate_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.events import emit_event
from prefect.logging import get_run_logger

from blocks.commerce_layer.errors import CommerceLayerError
from blocks.commerce_layer.listings import copies_with_their_runs, iter_failed_natively
from blocks.commerce_layer.resources import OrderCopy, OrderSubscription
from blocks.commerce_layer.splitting import read_in_parts
from flows.rules.findings import Finding, LeftAlone
from flows.rules.outside_text import markdown
from flows.rules.records import Record
from flows.rules.renewal import Skipped
from flows.rules.rescue import RUN_AND_COPY, Rescue, record_of_rescue, refusal_of_rescue, rescue_of, result_of_rescue
from flows.rules.rescue_plans import (
    RescueHandling,
    RescueReport,
    RescueRow,
    ended_row,
    no_such_row,
    not_carried_out,
    planned_row,
    unreadable_row,
)
from flows.rules.results import RenewalResult
from flows.rules.state import RENEWED
from flows.run.context import Run
from flows.run.reads import look_at_subscriptions
from flows.run.states import completed, failed
from flows.sweep.overwritten_states import with_counts_of_the_shop
from flows.tasks.record import write_record

T = TypeVar("T")

ROWS_SHOWN = 500
"""How many lines the table has; the counts cover all of them."""

AT_ONCE = 200
"""Rescues under way at the same time, once the policy's two first waves are over."""

HOPELESS = 3
"""When so many rescues in one wave all end in an error, the next wave is not begun: then the shop is in trouble."""


@dataclass(frozen=True)
class RescueEnd:
    """How one rescue ended; `problem` says why that could not be recorded."""

    result: RenewalResult | Skipped = field(repr=False)  # Prefect logs what a failed task returns
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class _Candidate:
    subscription_id: str
    source_order_id: str | None = None
    last_run_at: datetime | None = None


@task(task_run_name="plan the rescue", cache_policy=NO_CACHE)
async def plan_rescue(run: Run, named: Sequence[str], *, release: bool) -> State[list[RescueRow]]:
    """
    What to do about each failed run, in the order of the runs. It reads, and changes nothing.

    `named` are ids of subscriptions; if there is none, all are taken whose last native run failed. `release`: those
    that are held for a person are tried once more.

    Raises:
        CommerceLayerError: the failed runs could not be listed, or nothing at all could be read.
    """
    rows: list[RescueRow] = []
    candidates = [_Candidate(each) for each in dict.fromkeys(map(str.strip, named)) if each]
    if not candidates:
        async for page in iter_failed_natively(run.client):
            candidates += [_Candidate(each.id, each.source_order_id, each.last_run_at) for each in page.readable]
            rows += [unreadable_row(each, str(error)) for each, error in page.unreadable.items()]

    async def plan_some(some: Sequence[_Candidate]) -> list[RescueRow]:
        return await _plan_some(run, some, release=release)

    # One list call reads the copies of 25 source orders since the oldest of their runs.
    candidates.sort(key=lambda each: (each.last_run_at is None, each.last_run_at or run.as_of, each.subscription_id))
    for page_of_them in _split(candidates, repeat(25)):
        parts = await read_in_parts(page_of_them, plan_some)
        if parts.trouble is not None:
            raise parts.trouble
        rows += [row for part in parts.read for row in part]
        rows += [unreadable_row(each.subscription_id, str(error)) for each, error in parts.unreadable.items()]
    return completed(f"{len(rows)} failed renewals", rows)


async def _plan_some(run: Run, some: Sequence[_Candidate], *, release: bool) -> list[RescueRow]:
    wanted = {each.subscription_id: each.source_order_id for each in some}
    fresh, rivals = await look_at_subscriptions(run.client, wanted)
    copies = await _copies_of_runs(run, fresh.values())
    works = {each: _work_on(run, fresh[each], rivals, copies) for each in wanted if each in fresh}
    counted = await with_counts_of_the_shop(run, [each for each in works.values() if isinstance(each, Rescue)])
    works |= {each.subscription_id: each for each in counted if isinstance(each, Rescue)}
    return [
        _row(run, fresh[each], works[each], release=release) if each in works else no_such_row(each) for each in wanted
    ]


async def _copies_of_runs(run: Run, subscriptions: Iterable[OrderSubscription]) -> list[OrderCopy]:
    ran = {each.source_order_id: each.last_run_at for each in subscriptions if each.source_order_id}
    times = [moment for moment in ran.values() if moment is not None]
    return await copies_with_their_runs(run.client, sorted(ran), min(times) - RUN_AND_COPY) if times else []


def _work_on(
    run: Run, subscription: OrderSubscription, rivals: Sequence[OrderSubscription], copies: Sequence[OrderCopy]
) -> Rescue | Skipped | Exception:
    of_its_source = [copy for copy in copies if copy.source_order_id == subscription.source_order_id]
    try:
        work = rescue_of(subscription, of_its_source, run.policy, run.now())
        if isinstance(work, Skipped):
            return work
        since = [
            copy
            for copy in of_its_source
            if copy.created_at is None or copy.created_at >= (work.looked_back_to or work.due)
        ]
        return refusal_of_rescue(work, subscription, rivals, since, run.now()) or work
    except Exception as error:  # noqa: BLE001 - one odd subscription must not stop the others
        get_run_logger().exception("subscription %s cannot be decided on", subscription.id)
        return error


def _row(run: Run, subscription: OrderSubscription, work: Rescue | Skipped | Exception, *, release: bool) -> RescueRow:
    if isinstance(work, Exception):
        return unreadable_row(subscription.id, f"it cannot be decided on ({type(work).__name__}: {work})")
    return planned_row(subscription, work, release=release, as_of=run.as_of)


async def carry_out(
    run: Run, rows: Sequence[RescueRow], rescue: Callable[[Run, Rescue], Awaitable[RescueEnd]]
) -> RescueReport:
    """
    Carry out what was planned: a few first, then more. One rescue's error never stops the others.

    It stops between two waves at any sign of a double charge, when a person or a cap of the day has stopped charging,
    or when nothing works. Failed payments do not stop it: these renewals have failed before.
    """
    to_do = [row for row in rows if row.work is not None]
    ended: dict[str, RescueRow] = {row.subscription_id: row for row in rows}
    policy, stopped = run.policy, why_to_stop(run, rows)
    sizes = chain((policy.first_wave, policy.second_wave), repeat(AT_ONCE))
    for wave in _split(to_do, sizes):
        if stopped is not None:
            ended |= {row.subscription_id: row for row in not_carried_out(wave, stopped)}
            continue
        done = await asyncio.gather(*(_one(run, row, rescue) for row in wave))
        ended |= {row.subscription_id: row for row in done}
        stopped = why_to_stop(run, done)
        get_run_logger().info("%d of %d", sum(ended[row.subscription_id].work is None for row in to_do), len(to_do))
    return RescueReport([ended[row.subscription_id] for row in rows], dry_run=False, stopped=stopped)


def why_to_stop(run: Run, rows: Sequence[RescueRow]) -> str | None:
    """Why nothing more may be charged, given the rows so far; None while it may."""
    for row in rows:
        if row.is_duplicate:
            return f"{row.subscription_id}: {row.sentence}"
    if run.stop_switch.found_stopped is not None:
        return run.stop_switch.found_stopped.sentence
    done = [row for row in rows if row.work is None]
    if len(done) >= HOPELESS and len(done) == len(rows) and all(row.handling is RescueHandling.FAILED for row in done):
        return f"nothing works: {done[-1].sentence}"
    return run.caps.reached


async def _one(run: Run, row: RescueRow, rescue: Callable[[Run, Rescue], Awaitable[RescueEnd]]) -> RescueRow:
    assert row.work is not None
    try:
        end = await rescue(run, row.work)
    except Exception as error:  # noqa: BLE001 - the others go on
        get_run_logger().exception("the rescue of %s failed", row.work.reference)
        sentence = f"{type(error).__name__}: {error}; run it again, nothing is charged twice"
        return row.ended(RescueHandling.FAILED, sentence)
    return ended_row(row, end.result, end.problem)


@task(task_run_name="record {work.reference}", cache_policy=NO_CACHE, retries=0)
async def record_rescue(run: Run, work: Rescue, finding: Finding | LeftAlone) -> State[RescueEnd]:
    """Decide what a finding means, record it on the subscription, and emit its event."""
    if isinstance(finding, LeftAlone):
        run.last_looks.forget(work.subscription_id)
        return completed(finding.skipped.sentence, RescueEnd(finding.skipped))
    result = result_of_rescue(work, finding, run.now(), run.identity.flow_run_id)
    problem: str | None = None

    async def fresh() -> OrderSubscription | None:
        return await run.last_looks.before_recording(work)

    def compose(subscription: OrderSubscription) -> Record | None:
        return record_of_rescue(result, subscription)

    try:
        with run.last_looks.waiting_to_record(work):
            await write_record(run, work.subscription_id, fresh, compose, with_tag=False)
    except CommerceLayerError as error:
        problem = str(error)
    finally:
        run.last_looks.forget(work.subscription_id)
    _announce(run, work, result)
    given_up = result.state.target_order_id if result.is_settled and result.outcome not in RENEWED else None
    if given_up is not None and given_up != work.native.target_order_id and problem is None:
        await run.withdrawals.withdraw(given_up, f"given up: {result.what}")
    end = RescueEnd(result, problem)
    return (failed if result.needs_person or problem else completed)(result.sentence, end)


def _announce(run: Run, work: Rescue, result: RenewalResult) -> None:
    """Emit `perennial.rescue.{outcome}`. A run that repeats the record after a crash emits the same event again."""
    name, state = f"perennial.rescue.{result.outcome.value}", result.state
    emit_event(
        event=name,
        resource={
            "prefect.resource.id": f"perennial.subscription.{work.subscription_id}",
            "prefect.resource.name": work.reference,
            "perennial.outcome": result.outcome.value,
            "perennial.failure-class": result.failure.cls.value if result.failure else "",
            "perennial.organization": run.organization,
        },
        payload={
            "subscription_id": work.subscription_id,
            "reference": work.reference,
            "order_copy_id": state.order_copy_id,
            "target_order_id": state.target_order_id,
            "attempt": state.attempt,
            "sentence": result.sentence,
            "flow_run_id": run.identity.flow_run_id,
        },
        id=uuid5(NAMESPACE_URL, f"{name}/{work.reference}/{state.attempt}/{state.next_attempt_at}"),
    )


async def publish_rescue(report: RescueReport) -> None:
    """Show the rows as a table artifact."""
    shown = [
        {name: markdown(str(cell)) for name, cell in row.items() if cell is not None}
        for row in report.as_rows[:ROWS_SHOWN]
    ]
    await acreate_table_artifact(shown, key="rescue", description=markdown(report.sentence))


def _split(items: Sequence[T], sizes: Iterable[int]) -> Iterator[Sequence[T]]:
    start = 0
    for size in sizes:
        if start >= len(items):
            return
        yield items[start : start + size]
        start += size
