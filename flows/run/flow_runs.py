"""What Prefect knows about a run that a person names: its id, state and times, and the runs that it started."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterId,
    FlowRunFilterName,
    FlowRunFilterParentFlowRunId,
)
from prefect.client.schemas.objects import FlowRun

FLOWS = frozenset({"renew-subscriptions", "renew-batch", "reorder"})
"""The names of the flows whose runs copy and place orders, or have found nothing to copy."""

PAGE = 200
"""Runs in one answer; Prefect gives no more."""


class UnknownRun(LookupError):  # noqa: N818 - the name says what happened
    """What a person named means no run, several runs, or one that did nothing in this shop. The message says which."""


@dataclass(frozen=True)
class KnownRun:
    """A run as Prefect has it. `started` and `ended` are UTC; `parts` are the ids of the runs that it started."""

    flow_run_id: str
    name: str
    flow: str
    state: str
    started: datetime | None
    ended: datetime | None
    parts: tuple[str, ...]
    credentials: str | None
    """The credentials block that it was given; None if it took the default."""

    @property
    def is_over(self) -> bool:
        """Whether it has ended."""
        return self.ended is not None

    @property
    def facts(self) -> dict[str, Any]:
        """What a person wants to know, as plain data that JSON can hold."""
        return {
            "flow_run_id": self.flow_run_id, "name": self.name, "flow": self.flow, "state": self.state,
            "started": self.started.isoformat() if self.started else None,
            "ended": self.ended.isoformat() if self.ended else None, "runs_that_it_started": list(self.parts),
        }  # fmt: skip


async def find_flow_run(named: str) -> KnownRun | None:
    """
    The run with this id or name; None if Prefect has none, or has it no more.

    Raises:
        UnknownRun: several runs have this name.
        httpx.HTTPError: Prefect's API cannot be used.
    """
    async with get_client() as api:
        wanted = _by_id(named) or FlowRunFilter(name=FlowRunFilterName(any_=[named]))
        found = await api.read_flow_runs(flow_run_filter=wanted, limit=PAGE)
        if not found:
            return None
        if len(found) > 1:
            raise UnknownRun(f"{len(found)} runs are named {named!r}; give the id of one: {_listed(found)}")
        (run,) = found
        return _known(run, (await api.read_flow(run.flow_id)).name, await _started_by(api, run.id))


def run_id_of(named: str) -> str | None:
    """The id in the form in which metadata have it; None if it is no UUID."""
    try:
        return str(UUID(named))
    except ValueError:
        return None


def _by_id(named: str) -> FlowRunFilter | None:
    run_id = run_id_of(named)
    return FlowRunFilter(id=FlowRunFilterId(any_=[UUID(run_id)])) if run_id else None


async def _started_by(api: PrefectClient, flow_run_id: UUID) -> tuple[str, ...]:
    wanted = FlowRunFilter(parent_flow_run_id=FlowRunFilterParentFlowRunId(any_=[flow_run_id]))
    found: list[str] = []
    while True:
        page = await api.read_flow_runs(flow_run_filter=wanted, limit=PAGE, offset=len(found))
        found += [str(each.id) for each in page]
        if len(page) < PAGE:
            return tuple(found)


def _known(run: FlowRun, flow: str, parts: tuple[str, ...]) -> KnownRun:
    state = f"{run.state.name}: {run.state.message}" if run.state and run.state.message else run.state_name
    given = run.parameters.get("credentials")
    return KnownRun(
        str(run.id), run.name, flow, state or "unknown", run.start_time, run.end_time, parts,
        given if isinstance(given, str) else None,
    )  # fmt: skip


def _listed(runs: list[FlowRun]) -> str:
    by_start = sorted(runs, key=lambda each: str(each.start_time or each.expected_start_time), reverse=True)
    return ", ".join(
        f"{each.id} ({each.start_time or each.expected_start_time:%Y-%m-%d %H:%M} UTC)" for each in by_start
    )
