"""
Whether several Prefect servers share what they must: messages, leases and tasks.

A server keeps each of these in its memory unless a setting says otherwise, which is right for a single server. With
several, or with services in a process of their own, what one of them is told the others never hear of. The sweeps go
well, but no task run, event or alarm exists. The server's settings hide the address of its database, and none tells how
many servers there are. So two things are looked at: settings that contradict each other, and runs that left no event.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterEndTime
from prefect.client.schemas.objects import FlowRun
from prefect.client.schemas.sorting import FlowRunSort

from flows.cli.checked import Checked

SHARED = {
    ("events", "messaging_broker"): ("PREFECT_MESSAGING_BROKER", "prefect_redis.messaging"),
    ("events", "messaging_cache"): ("PREFECT_MESSAGING_CACHE", "prefect_redis.messaging"),
    ("events", "causal_ordering"): ("PREFECT_SERVER_EVENTS_CAUSAL_ORDERING", "prefect_redis.ordering"),
    ("docket", "url"): ("PREFECT_SERVER_DOCKET_URL", "redis://..."),
    ("concurrency", "lease_storage"): ("PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE", "prefect_redis.lease_storage"),
    ("worker_channel", "cleanup_queue_storage"): (
        "PREFECT_SERVER_WORKER_CHANNEL_CLEANUP_QUEUE_STORAGE", "prefect_redis.cleanup_queue",
    ),
}  # fmt: skip
"""Where the server's settings have them: the variable that sets each, and the value for several servers."""

STORED_WITHIN = timedelta(minutes=5)
"""How long the server may take to store an event. It is a few seconds when the server keeps up."""

LOOKED_AT = timedelta(days=1)
"""How old a run may be whose events are looked for: the server removes events, after 7 days by default."""

_WHAT = "shared by servers"


async def check_sharing(prefect: PrefectClient, server: Mapping[str, Any]) -> AsyncIterator[Checked]:
    """What of the server's settings (`server`) cannot be right for several servers, and whether events arrive."""
    wrong = list(not_shared(server))
    for each in wrong:
        yield each
    run = await _a_recent_run(prefect)
    if run is not None and not await _has_events(prefect, run):
        found = f"the run {run.name!r} left no event: task runs and alarms are missing, too"
        yield Checked("events", found, f"{_way_out()}; is `prefect server services start` running?")
    elif not wrong:
        yield Checked(_WHAT, "nothing: right for a single server" if _in_memory(server) else "messages, leases, tasks")


def not_shared(server: Mapping[str, Any]) -> Iterator[Checked]:
    """What is in memory although other parts, or the database, are made for several servers."""
    in_memory = _in_memory(server)
    if not in_memory or (len(in_memory) == len(_known(server)) and not _is_on_postgres(server)):
        return
    for where in in_memory:
        variable, value = SHARED[where]
        found = f"{' '.join(where).replace('_', ' ')}: kept in the memory of each server, and not shared"
        yield Checked(_WHAT, found, f"set {variable}={value} for all servers and services: see deploy/server.env")


def _known(server: Mapping[str, Any]) -> dict[tuple[str, str], str]:
    """The settings that this server has: older ones have fewer."""
    found = {(part, name): server.get(part, {}).get(name) for part, name in SHARED}
    return {where: value for where, value in found.items() if value is not None}


def _in_memory(server: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [where for where, value in _known(server).items() if value.startswith("memory:") or ".memory" in value]


def _is_on_postgres(server: Mapping[str, Any]) -> bool:
    """Whether the settings say so. The address of the database would, but it is hidden."""
    database: Mapping[str, Any] = server.get("database", {})
    return bool(database.get("host")) or str(database.get("driver") or "").startswith("postgresql")


async def _a_recent_run(prefect: PrefectClient) -> FlowRun | None:
    now = datetime.now(UTC)
    ended = FlowRunFilterEndTime(after_=now - LOOKED_AT, before_=now - STORED_WITHIN)
    runs = await prefect.read_flow_runs(
        flow_run_filter=FlowRunFilter(end_time=ended), sort=FlowRunSort.END_TIME_DESC, limit=1
    )
    return runs[0] if runs else None


async def _has_events(prefect: PrefectClient, run: FlowRun) -> bool:
    body = {"filter": {"resource": {"id": [f"prefect.flow-run.{run.id}"]}}, "limit": 1}
    answer = await prefect.request("POST", "/events/filter", json=body)
    return bool(answer.json()["total"])


def _way_out() -> str:
    return "let all servers and services share messages in Redis: see deploy/server.env"
