"""The preflight: what the coming sweeps will do, before they do it, and how true the last such prediction was."""

from __future__ import annotations

from typing import Any
from zoneinfo import ZoneInfo

from prefect import flow
from prefect.client.schemas.objects import State

from flows.rules.preflight import end_of_preflight
from flows.run.context import open_run
from flows.run.parameters import Instant
from flows.run.states import completed, failed, run_task
from flows.tasks.preflight import compare_with_what_happened, look_at_the_coming_renewals, publish_preflight


@flow(name="preflight-renewals", flow_run_name="preflight")
async def preflight_renewals(
    until: Instant | None = None, credentials: str = "commerce-layer", policy: str = "default"
) -> State[Any]:
    """
    Predict who will be renewed, for how much, who will fail and why, how long it takes, and whether caps stop it.

    It reads and changes nothing. The prediction is kept as an artifact. The first run after its span has passed
    compares it with what happened, in an artifact of its own. The run ends as Failed if renewals are not made until a
    person acts.

    Args:
        until: Look at what comes due before this instant (UTC). Leave it empty for the end of the next day.
        credentials: Name of the Commerce Layer Credentials block of the shop.
        policy: Name of the Renewal Policy block.
    """
    async with open_run(credentials, policy, as_of=None) as run:
        end = end_of_preflight(until, run.as_of, ZoneInfo(run.policy.time_zone))
        happened = await run_task(compare_with_what_happened, run)
        preflight = await run_task(look_at_the_coming_renewals, run, end)
        await run_task(publish_preflight, run, preflight, happened)
    facts = {**preflight.counts, "compared": happened.facts if happened else None}
    return (failed if preflight.needs_person else completed)(preflight.sentence, facts)
