"""
Deploys `prefect.yaml` to the tests' Prefect server, with the `prefect` commands that a person would type, and starts
workers that run what a test starts and nothing else.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from uuid import UUID

from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
    FlowRunFilterTags,
)
from prefect.client.schemas.objects import FlowRun, StateType

from flows.cli.prefect_server import PrefectServer
from flows.cli.processes import process

ROOT = Path(__file__).resolve().parents[1]


def prefect(server: PrefectServer, *arguments: str) -> str:
    """Run the `prefect` command against the server; returns what it printed."""
    done = subprocess.run(
        [sys.executable, "-m", "prefect", "--no-prompt", *arguments],
        cwd=ROOT, env={**os.environ, **server.environment}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def deploy_all(server: PrefectServer) -> str:
    """Create a process work pool with its queues and all deployments of `prefect.yaml`; returns what was printed."""
    prefect(server, "work-pool", "create", "perennial", "--type", "process", "--overwrite")
    if "by-hand" not in prefect(server, "work-queue", "ls", "--pool", "perennial"):
        prefect(server, "work-queue", "create", "by-hand", "--pool", "perennial", "--priority", "1")
    return prefect(server, "deploy", "--all")


@contextmanager
def at_work(server: PrefectServer, folder: Path, names: Sequence[str]) -> Iterator[None]:
    """
    Workers of the pool with these names, which take one run each at a time. Their output is appended to `folder`.

    A sweep that fell due at a quarter past would renew before the run that a test starts, so no schedule is active.
    """
    command = [sys.executable, "-m", "prefect", "worker", "start", "--pool", "perennial", "--type", "process"]
    environment = {**server.environment, "PYTHONPATH": str(ROOT), "PREFECT_WORKER_QUERY_SECONDS": "1"}
    with ExitStack() as opened:
        opened.enter_context(no_schedule_active())
        for name in names:
            one = [*command, "--name", name, "--limit", "1"]
            opened.enter_context(process(one, environment, folder / f"{name}.log"))
        yield


@contextmanager
def no_schedule_active() -> Iterator[None]:
    """Pauses the schedules of all deployments, and removes the runs that they have planned; resumes them at the end."""
    paused = asyncio.run(_pause())
    try:
        yield
    finally:
        asyncio.run(_resume(paused))


async def _pause() -> list[tuple[UUID, UUID]]:
    """Returns the ids of the deployments and of their schedules that were active."""
    async with get_client() as api:
        active = [
            (deployment.id, schedule.id)
            for deployment in await api.read_deployments()
            for schedule in deployment.schedules
            if schedule.active
        ]
        for deployment_id, schedule_id in active:
            await api.update_deployment_schedule(deployment_id, schedule_id, active=False)
        while planned := await _planned(api):  # a list has 200 runs at most
            for run in planned:
                await api.delete_flow_run(run.id)
    return active


async def planned_runs() -> list[FlowRun]:
    """Runs that the server has planned by schedules, 200 at most."""
    async with get_client() as api:
        return await _planned(api)


async def _planned(api: PrefectClient) -> list[FlowRun]:
    by_schedule = FlowRunFilter(
        state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.SCHEDULED])),
        tags=FlowRunFilterTags(all_=["auto-scheduled"]),
    )
    return await api.read_flow_runs(flow_run_filter=by_schedule)


async def _resume(paused: list[tuple[UUID, UUID]]) -> None:
    async with get_client() as api:
        for deployment_id, schedule_id in paused:
            await api.update_deployment_schedule(deployment_id, schedule_id, active=True)
