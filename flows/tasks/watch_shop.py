"""The tasks of `watch-renewals`: look over the shop, and publish what was found, and which failures are open."""

from __future__ import annotations

from prefect import task
from prefect.artifacts import acreate_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.events import emit_event

from flows.rules.dashboard_links import Dashboard
from flows.rules.outside_text import markdown
from flows.rules.watch_reports import WatchReport
from flows.rules.watching import WatchLimits
from flows.run.context import Run
from flows.run.open_failures import report_of
from flows.run.oversight import look_over
from flows.run.states import completed, failed


@task(task_run_name="look over the shop", cache_policy=NO_CACHE)
async def look_over_the_shop(run: Run, limits: WatchLimits) -> State[WatchReport]:
    """Find what no run reports: overdue renewals that no run attempts, forgotten orders, and the like."""
    mode = (await run.client.claims()).mode
    dashboard, switch = Dashboard(run.organization, mode), await run.stop_switch.look()
    report = await look_over(run.client, dashboard, run.policy, run.as_of, limits, switch)
    return (failed if report.findings else completed)(report.sentence, report)


@task(task_run_name="publish findings", cache_policy=NO_CACHE)
async def publish_findings(run: Run, report: WatchReport) -> State[None]:
    """Publish the table, and the event `perennial.watch.found` when something was found."""
    description = f"**{markdown(report.sentence)}**"
    await acreate_table_artifact(report.table_rows, key="missed-renewals", description=description)
    if report.findings:
        emit_event(
            event="perennial.watch.found",
            resource={
                "prefect.resource.id": f"perennial.shop.{run.organization}",
                "prefect.resource.name": run.organization,
            },
            payload={"sentence": report.sentence, "flow_run_id": run.identity.flow_run_id},
        )
    return completed(report.sentence, None)


@task(task_run_name="publish open failures", cache_policy=NO_CACHE)
async def publish_open_failures(run: Run, report: WatchReport) -> State[None]:
    """Publish all open failures of the shop as a table, the worst and most valuable first."""
    failures = await report_of(run, report.open_failures)
    description = f"**{markdown(failures.sentence)}**\n\nas of {failures.as_of:%Y-%m-%d %H:%M} UTC"
    await acreate_table_artifact(failures.table_rows, key="open-failures", description=description)
    return completed(failures.sentence, None)
