"""Perennial: one sweep, as a merchant runs it."""

from __future__ import annotations

import asyncio
import json
import os
import time
from typing import Any
from uuid import UUID

from bench.contestants.ticket import Stopwatch, Ticket
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId

from blocks.commerce_layer.rate_limit import RateLimits
from blocks.policy import Policy
from flows.cli.installation import credentials_for, install
from flows.cli.prefect_server import drain
from flows.renew import renew_subscriptions

SEEN_WITHIN = 120.0
"""Seconds after the sweep within which the server must show all its task runs."""


async def main() -> None:
    ticket = Ticket.given()
    policy: dict[str, Any] = json.loads(os.environ.get("BENCH_POLICY", "{}"))
    limits = RateLimits(window_scale=ticket.window_scale) if ticket.limited else RateLimits(unlimited=True)
    credentials = credentials_for(
        ticket.organization, ticket.client_id, ticket.client_secret, "test", ticket.api_url, ticket.auth_url, limits
    )
    await install(credentials, Policy(**policy))
    with Stopwatch() as watch:
        state = await renew_subscriptions(return_state=True)
    facts: Any = await state.aresult(raise_on_failure=False)
    if isinstance(facts, BaseException):
        raise facts
    ended = time.monotonic()
    await drain()
    task_runs = await _visible_task_runs(
        UUID(str(state.state_details.flow_run_id)), facts["outcomes"].get("renewed", 0)
    )
    late = time.monotonic() - ended
    watch.tell(outcomes=facts["outcomes"], said=state.message, task_runs=task_runs, visible_after_seconds=late)


async def _visible_task_runs(flow_run_id: UUID, renewals: int) -> int:
    """Task runs of the sweep that the server shows, once it shows four per renewal or a while has passed."""
    deadline = time.monotonic() + SEEN_WITHIN
    async with get_client() as api:
        while True:
            body = {"flow_runs": FlowRunFilter(id=FlowRunFilterId(any_=[flow_run_id])).model_dump(mode="json")}
            answer = await api._client.post("/task_runs/count", json=body)
            count = int(answer.json())
            if count >= 4 * renewals or time.monotonic() > deadline:
                return count
            await asyncio.sleep(0.1)


if __name__ == "__main__":
    asyncio.run(main())
