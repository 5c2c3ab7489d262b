"""Publishing what a sweep did: the table, worst first, and an event with the counts."""

from __future__ import annotations

from prefect import task
from prefect.artifacts import acreate_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.events import emit_event

from flows.rules.dashboard_links import Dashboard
from flows.rules.outside_text import markdown
from flows.rules.summaries import RenewalSummary
from flows.rules.summary_tables import table_of
from flows.run.context import Run
from flows.run.report import Report
from flows.run.states import completed


@task(task_run_name="publish summary", cache_policy=NO_CACHE)
async def publish_summary(run: Run, report: Report) -> State[RenewalSummary]:
    """Publish the table of the sweep, worst first, and an event with the counts."""
    summary = report.summary()
    requests = ", ".join(f"{count} {method}" for method, count in sorted(summary.requests.items()))
    description = f"**{markdown(summary.headline)}**\n\n{summary.seconds:.0f} s, requests: {requests}"
    dashboard = Dashboard(run.organization, (await run.client.claims()).mode)
    await acreate_table_artifact(table_of(summary, dashboard), key="renewals", description=description)
    emit_event(
        event="perennial.sweep.finished",
        resource={
            "prefect.resource.id": f"perennial.shop.{run.organization}",
            "prefect.resource.name": run.organization,
            "perennial.needs-attention": str(summary.needs_attention).lower(),
        },
        payload=summary.model_dump(mode="json", exclude={"rows"}),
    )
    return completed(summary.headline, summary)
