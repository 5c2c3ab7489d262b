"""Repairs the renewals that Commerce Layer's own engine has failed: its orders are placed, each exactly once."""

from __future__ import annotations

from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State

from flows.rules.findings import CopyEnded, Finding, HeldBack, LeftAlone, NotCreated, StillRunning
from flows.rules.next_action import Place
from flows.rules.rescue import Rescue
from flows.rules.rescue_plans import RescueReport
from flows.run.context import Run, open_run
from flows.run.states import completed, failed, run_task
from flows.tasks.create import create_order_copy
from flows.tasks.place import place_target_order
from flows.tasks.poll import poll_order_copy
from flows.tasks.rescuing import RescueEnd, carry_out, plan_rescue, publish_rescue, record_rescue, why_to_stop


@flow(name="rescue-failed-renewals", flow_run_name="rescue, dry run: {dry_run}")
async def rescue_failed_renewals(
    subscriptions: list[str] | None = None,
    release: bool = False,  # noqa: FBT001 - a form has checkboxes
    dry_run: bool = True,  # noqa: FBT001
    credentials: str = "commerce-layer",
    policy: str = "default",
) -> State[Any]:
    """
    Repair renewals that Commerce Layer's own engine has failed, by the policy's retries.

    It only shows what it would do, unless dry_run is switched off. The order that the failed run left is placed once
    the policy's wait is over; only if it left none, the source order is copied again. It is safe to run at any time,
    twice, or again after a run that died. Schedule it to have retries carried out.

    Args:
        subscriptions: Ids of subscriptions. Leave it empty for all whose last run by Commerce Layer failed.
        release: Try those that are held for a person once more. Only with ids.
        dry_run: Only show what would be done.
        credentials: Name of the Commerce Layer Credentials block of the shop.
        policy: Name of the Renewal Policy block whose retries, caps and price tolerance apply.

    Raises:
        ValueError: release is on, and no subscription is named.
    """
    if release and not subscriptions:
        raise ValueError("release is on, and subscriptions is empty: name the subscriptions to release by their ids.")
    async with open_run(credentials, policy, as_of=None) as run:
        rows = await run_task(plan_rescue, run, subscriptions or [], release=release)
        if dry_run:
            report = RescueReport(rows, dry_run=True, stopped=why_to_stop(run, rows))
        else:
            report = await carry_out(run, rows, rescue)
        await publish_rescue(report)
    facts = {"sentence": report.sentence, "rows": report.as_rows, "dry_run": dry_run, "stopped": report.stopped}
    if report.needs_person and not dry_run:
        return failed(report.sentence, facts)
    return completed(f"dry run: {report.sentence}" if dry_run else report.sentence, facts)


async def rescue(run: Run, work: Rescue) -> RescueEnd:
    """One rescue: a new copy if the failed run left no order, then as any renewal. The date stays Commerce Layer's."""
    creation = await run_task(create_order_copy, run, work)
    polled = await run_task(poll_order_copy, run, work, creation)
    finding: Finding | LeftAlone
    match polled:
        case Place():
            finding = await run_task(place_target_order, run, work, creation, polled)
        case CopyEnded() | StillRunning() | NotCreated() | HeldBack():
            finding = polled
    return await run_task(record_rescue, run, work, finding)
