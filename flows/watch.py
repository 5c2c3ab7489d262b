"""The watch: find what no sweep reports, because no sweep ran, or because no sweep looks for it."""

from __future__ import annotations

from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State

from blocks.policy import duration_of
from flows.rules.watching import WatchLimits
from flows.run.context import open_run
from flows.run.states import completed, failed, run_task
from flows.tasks.watch_shop import look_over_the_shop, publish_findings, publish_open_failures


@flow(name="watch-renewals", flow_run_name="watch renewals")
async def watch_renewals(
    overdue: str = "6h",
    unplaced: str = "1d",
    held: str = "14d",
    stopped: str = "6h",
    credentials: str = "commerce-layer",
    policy: str = "default",
) -> State[Any]:
    """
    Look over the whole shop for what no run reports, and end as Failed with a table if something is found.

    Another table, `open-failures`, has every renewal that failed and is not settled yet.

    It reads and changes nothing. `perennial watch` does the same without a Prefect server, which may be what is down.

    Args:
        overdue: How long a renewal or a retry may be due without an attempt, such as 6h or 1d.
        unplaced: How old an unplaced order of ours may be that belongs to no waiting renewal.
        held: How long a subscription may be held for a person.
        stopped: How long all charging may be stopped.
        credentials: Name of the Commerce Layer Credentials block of the shop.
        policy: Name of the Renewal Policy block.
    """
    limits = WatchLimits(*map(duration_of, (overdue, unplaced, held, stopped)))
    async with open_run(credentials, policy, as_of=None) as run:
        report = await run_task(look_over_the_shop, run, limits)
        await run_task(publish_findings, run, report)
        await run_task(publish_open_failures, run, report)
    return (failed if report.findings else completed)(report.sentence, report.facts)
