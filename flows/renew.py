"""The scheduled sweep: find the subscriptions that are due, renew each exactly once, and report."""

from __future__ import annotations

from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State

from flows.rules.findings import CopyEnded, Finding, HeldBack, LeftAlone, NotCreated, StillRunning
from flows.rules.next_action import Place
from flows.rules.preparing import Preparation
from flows.rules.renewal import Renewal
from flows.run.context import Run, open_run, sweep_name
from flows.run.parameters import Instant
from flows.run.report import final_state, open_report
from flows.run.states import run_task
from flows.sweep.batching import in_batches
from flows.sweep.pacing import in_waves
from flows.sweep.preparing import prepare_ahead
from flows.tasks.clean_up import reviewing
from flows.tasks.create import create_order_copy
from flows.tasks.find_due import find_due_subscriptions
from flows.tasks.place import place_target_order
from flows.tasks.poll import poll_order_copy
from flows.tasks.prepare import check_prepared_order, publish_preparations
from flows.tasks.publish import publish_summary
from flows.tasks.record import Recorded, record_outcome


@flow(name="renew-subscriptions", flow_run_name=sweep_name)
async def renew_subscriptions(
    as_of: Instant | None = None,
    subscriptions: list[str] | None = None,
    credentials: str = "commerce-layer",
    policy: str = "default",
    distribute: bool = False,  # noqa: FBT001 - a form has checkboxes
) -> State[Any]:
    """
    Renew every subscription that is due, exactly once, and report how it went.

    It is safe to run at any time, late, twice, or several times at once: every run finds the order copies of a period
    by their reference, and places the same order. If a run is killed, the next one finishes its work.

    Args:
        as_of: Renew what is due up to this instant (UTC). Leave it empty to renew what is due now.
        subscriptions: Renew only these, by id, if they are due. Leave it empty to renew everything that is due.
        credentials: Name of the Commerce Layer Credentials block of the shop.
        policy: Name of the Renewal Policy block to renew by.
        distribute: Share a sweep larger than the policy's batch size among the workers of the pool.
    """
    async with open_run(credentials, policy, as_of) as run, open_report(run) as report:
        due = await run_task(find_due_subscriptions, run, report, subscriptions)
        pace = in_batches if distribute and len(due) > run.policy.batch_size else in_waves
        async with reviewing(run, report):
            await pace(run, report, due, renew)
            if subscriptions is None and run.policy.prepare_ahead is not None:
                await prepare_ahead(run, report, prepare)
                await run_task(publish_preparations, run, report)
        summary = await run_task(publish_summary, run, report)
    return final_state(summary)


async def renew(run: Run, renewal: Renewal) -> Recorded:
    """One renewal: create the order copy, poll it, place its order, and record the outcome."""
    creation = await run_task(create_order_copy, run, renewal)
    polled = await run_task(poll_order_copy, run, renewal, creation)
    finding: Finding | LeftAlone
    match polled:
        case Place():
            finding = await run_task(place_target_order, run, renewal, creation, polled)
        case CopyEnded() | StillRunning() | NotCreated() | HeldBack():
            finding = polled
    return await run_task(record_outcome, run, renewal, finding)


async def prepare(run: Run, renewal: Renewal) -> Preparation:
    """One renewal that is not due yet: create the order copy, poll it, and check its order. Nothing is charged."""
    creation = await run_task(create_order_copy, run, renewal)
    polled = await run_task(poll_order_copy, run, renewal, creation)
    return await run_task(check_prepared_order, run, renewal, polled)
