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
from prefect.client.schemas.objects import State

from blocks.commerce_layer.credentials import CommerceLayerCredentials
from blocks.commerce_layer.rate_limit import RateLimits
from blocks.policy import Policy
from flows.cli.installation import credentials_for, install
from flows.cli.prefect_server import drain
from flows.renew import renew_subscriptions

SEEN_WITHIN = 120.0
"""Seconds after the sweep within which the server must show all its task runs."""


def credentials_of(ticket: Ticket) -> CommerceLayerCredentials:
    """What a run needs to renew in the ticket's shop."""
    limits = RateLimits(window_scale=ticket.window_scale) if ticket.limited else RateLimits(unlimited=True)
    return credentials_for(
        ticket.organization, ticket.client_id, ticket.client_secret, "test", ticket.api_url, ticket.auth_url, limits
    )


async def opened() -> None:
    """Store the blocks that the flow loads."""
    policy: dict[str, Any] = json.loads(os.environ.get("BENCH_POLICY", "{}"))
    await install(credentials_of(Ticket.given()), Policy(**policy))


async def tell(watch: Stopwatch, state: State[Any]) -> None:
    """Print what the sweep did, once the server shows all its task runs."""
    ended = time.monotonic()
    facts: Any = await state.aresult(raise_on_failure=False)
    if isinstance(facts, BaseException):
        raise facts
    await drain()
    task_runs = await _visible_task_runs(
        UUID(str(state.state_details.flow_run_id)), facts["outcomes"].get("renewed", 0)
    )
    watch.tell(outcomes=facts["outcomes"], said=state.message, task_runs=task_runs, ended_at=ended)


async def main() -> None:
    await opened()
    with Stopwatch() as watch:
        state = await renew_subscriptions(return_state=True)
    await tell(watch, state)


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
