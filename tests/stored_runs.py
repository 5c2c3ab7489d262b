"""What a Prefect server has stored about a run, read as the UI reads it."""

from __future__ import annotations

import asyncio
import json
from typing import Any
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId, FlowRunFilter, FlowRunFilterId
from prefect.client.schemas.objects import Artifact, FlowRun, TaskRun

PATIENCE = 90.0
"""Seconds within which everything sent must be stored: the server writes events and task runs in batches."""


async def flow_run(flow_run_id: UUID) -> FlowRun:
    async with get_client() as prefect:
        return await prefect.read_flow_run(flow_run_id)


async def artifacts(flow_run_id: UUID) -> dict[str, Artifact]:
    """The artifacts of a run, by key; the progress artifact has none and is listed as `progress`."""
    async with get_client() as prefect:
        mine = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[flow_run_id]))
        return {each.key or str(each.type): each for each in await prefect.read_artifacts(artifact_filter=mine)}


async def table(flow_run_id: UUID, key: str = "renewals") -> list[dict[str, Any]]:
    """The rows of a table artifact."""
    rows: list[dict[str, Any]] = json.loads(str((await artifacts(flow_run_id))[key].data))
    return rows


async def task_runs(flow_run_id: UUID, at_least: int) -> list[TaskRun]:
    """The task runs of a run, once this many are stored as ended."""
    mine = FlowRunFilter(id=FlowRunFilterId(any_=[flow_run_id]))
    async with get_client() as prefect:
        for _ in _patiently():
            found = await prefect.read_task_runs(flow_run_filter=mine)
            if sum(run.state is not None and run.state.is_final() for run in found) >= at_least:
                return found
            await asyncio.sleep(0.1)
    raise AssertionError(f"only {len(found)} task runs on record: {sorted(run.name for run in found)}")


async def events(
    resource_prefix: str,
    at_least: int,
    name: str = "perennial.",
    flow_run_id: UUID | None = None,
    sentence: str | None = None,
) -> list[dict[str, Any]]:
    """
    The events about resources with this prefix, oldest first, once this many are stored.

    Of one run, or with one sentence, if these are given: all sandboxes have the same organization, on one server.
    """
    wanted = {"filter": {"event": {"prefix": [name]}, "resource": {"id_prefix": [resource_prefix]}, "order": "DESC"}}
    async with get_client() as prefect:
        for _ in _patiently():
            answer = await prefect._client.post("/events/filter", json=wanted)
            found: list[dict[str, Any]] = [
                event
                for event in reversed(answer.json()["events"])  # the newest page: ids repeat from sandbox to sandbox
                if flow_run_id is None or event["payload"].get("flow_run_id") == str(flow_run_id)
                if sentence is None or event["payload"].get("sentence") == sentence
            ]
            if len(found) >= at_least:
                return found
            await asyncio.sleep(0.1)
    raise AssertionError(f"only {len(found)} events on record: {[event['event'] for event in found]}")


def _patiently() -> range:
    return range(int(PATIENCE / 0.1))
