"""
Shares a sweep among the workers of a pool: each batch is a run of the `renew-batch` deployment.

The sweep itself renews a few first. Only if these go well does it start batches, a few at a time. Once the brake has
stopped one, it starts no more. A batch leaves its summary as an artifact of its run, because workers on several
machines share only the Prefect server.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import TypeVar
from uuid import UUID

import httpx
from prefect.artifacts import Artifact
from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId
from prefect.client.schemas.objects import Artifact as PrefectArtifact
from prefect.client.schemas.objects import FlowRun, State
from prefect.deployments import arun_deployment
from prefect.exceptions import ObjectNotFound
from prefect.logging import get_run_logger
from pydantic import ValidationError

from blocks.commerce_layer.clock import current_clock
from flows.rules.batches import batches
from flows.rules.outside_text import markdown
from flows.rules.summaries import RenewalSummary
from flows.run.context import NotSetUp, Run
from flows.run.report import SIGN_OF_LIFE_EVERY, Report
from flows.sweep.first_look import Due
from flows.sweep.pacing import Pacing, Renew

T = TypeVar("T")

DEPLOYMENT = "renew-batch/renew-batch"

BATCHES_AT_ONCE = 4
"""How many batches run at the same time. When the brake stops one, those not started need no stopping."""

ASK_EVERY = 2.0
"""Seconds between two reads of the state of a batch's run."""

SERVER_AWAY_SECONDS = 600.0
"""Seconds for which the Prefect server may be away, as for an upgrade, before the sweep fails."""

SECONDS_PER_RENEWAL = 10.0
"""Seconds that a batch may take per renewal. Four batches at the test environment's limit need seven."""

SILENT_SECONDS = 10 * SIGN_OF_LIFE_EVERY
"""Seconds without a sign of life from a running batch after which its worker is taken for dead."""

_SUMMARY = "perennial-summary"


class _BatchLost(RuntimeError):  # noqa: N818 - the name says what happened
    """A batch ended without a summary, or did not end. The message names its run and how it stands."""


class _BatchCancelled(_BatchLost):
    """A person has cancelled the batch, so it is not started again."""


async def hand_in(summary: RenewalSummary) -> None:
    """Store the summary on the server for the sweep that waits for it."""
    await Artifact(
        type=_SUMMARY, description=markdown(summary.sentence), data=summary.model_dump(mode="json")
    ).acreate()


async def in_batches(run: Run, report: Report, due: Sequence[Due], renew: Renew) -> None:
    """
    Renew the subscriptions in `due`: the first few here, the others in batches on the pool's workers. Add up the
    summaries. The report says why batches could not be started, or did not end as they should; what they left is due
    in the next sweep.
    """
    first = run.policy.first_wave + run.policy.second_wave
    here = Pacing(run, report, renew)
    await here.work_through(due[:first])
    if here.is_stopped:
        return
    ids = [each.subscription_id for each in due[first:]]
    async with get_client() as api:
        await Batches(run, report, api).renew(batches(ids, run.policy.batch_size))


class Batches:
    """The batches of one sweep: started a few at a time, waited for, and summed up."""

    def __init__(self, run: Run, report: Report, api: PrefectClient) -> None:
        self._run, self._report, self._api = run, report, api
        self._places = asyncio.Semaphore(BATCHES_AT_ONCE)
        self._stopped = False

    async def renew(self, parts: Sequence[Sequence[str]]) -> None:
        """Run a batch for each of `parts` (ids of subscriptions), until one is stopped or lost."""
        async with asyncio.TaskGroup() as group:
            for number, part in enumerate(parts, 1):
                await self._places.acquire()
                if self._stopped:
                    break
                name = f"{self._run.identity.flow_run_name}, batch {number} of {len(parts)}"
                group.create_task(self._see_through(name, part))

    async def start(self, name: str, part: Sequence[str]) -> FlowRun:
        """
        Start the run of a batch. If one of this name with the same subscriptions was started before, return that one.

        Raises:
            NotSetUp: there is no deployment for it.
        """
        parameters = {
            "subscription_ids": list(part),
            "as_of": self._run.as_of.isoformat(),
            "credentials": self._run.credentials_name,
            "policy": self._run.policy_name,
        }
        # The subscriptions are part of the key: a sweep that is run again may find others due.
        members = hashlib.sha256(",".join(part).encode()).hexdigest()[:16]
        try:
            return await _patiently(
                lambda: arun_deployment(
                    DEPLOYMENT,
                    parameters=parameters,
                    flow_run_name=name,
                    idempotency_key=f"{self._run.identity.flow_run_id}/{name}/{members}",
                    timeout=0,
                )
            )
        except ObjectNotFound:
            raise NotSetUp(
                f"There is no deployment {DEPLOYMENT!r}: make it with `prefect deploy --all`, or do not distribute."
            ) from None

    async def _see_through(self, name: str, part: Sequence[str]) -> None:
        """Start a batch, once more if its worker dies, and add its summary to the report."""
        summary: RenewalSummary | None = None
        try:
            summary = await self._carried_out(name, part)
        except (NotSetUp, _BatchLost, httpx.HTTPError) as error:
            self._report.give_up(error)
        finally:
            self._stopped = self._stopped or summary is None or bool(summary.brake)
            self._places.release()  # only when it is known whether others may start
        if summary is not None:
            self._report.add_summary(summary)
            await self._report.show()

    async def _carried_out(self, name: str, part: Sequence[str]) -> RenewalSummary:
        try:
            return await self._summary_of(await self.start(name, part), len(part))
        except _BatchCancelled:
            raise
        except _BatchLost as lost:
            get_run_logger().warning("%s; its renewals are started once more", lost)
        # If it is alive after all, both find the same order copies and place the same orders.
        return await self._summary_of(await self.start(f"{name}, started again", part), len(part))

    async def _summary_of(self, flow_run: FlowRun, size: int) -> RenewalSummary:
        """The summary that a batch hands in at its end. Raises _BatchLost."""
        state = await self._final_state(flow_run, size)
        for artifact in await self._artifacts_of(flow_run.id):
            if artifact.type == _SUMMARY:
                return _summary_in(str(artifact.data), flow_run)
        lost = _BatchCancelled if state.is_cancelled() else _BatchLost
        raise lost(f"{flow_run.name} ended as {state.name} ({state.message}) without a summary")

    async def _final_state(self, flow_run: FlowRun, size: int) -> State:
        """
        The batch's final state.

        Raises:
            _BatchLost: it runs, but has given no sign of life for `SILENT_SECONDS`; or no worker has taken it, or it
                has not ended, within the time for its size.
        """
        clock = current_clock()
        deadline = clock.monotonic() + self._run.policy.copy_deadline_seconds + SECONDS_PER_RENEWAL * size
        sign, heard_at = None, clock.monotonic()
        while clock.monotonic() < deadline:
            state = (await _patiently(lambda: self._api.read_flow_run(flow_run.id))).state
            if state is not None and state.is_final():
                return state
            seen = state.id if state else None, await self._last_sign_of(flow_run.id)
            if seen != sign or state is None or not state.is_running():
                sign, heard_at = seen, clock.monotonic()
            if clock.monotonic() - heard_at >= SILENT_SECONDS:
                raise _BatchLost(f"{flow_run.name} has given no sign of life for {SILENT_SECONDS:.0f} s")
            await clock.sleep(ASK_EVERY)
        raise _BatchLost(f"{flow_run.name} has not ended in time")

    async def _last_sign_of(self, flow_run_id: UUID) -> datetime | None:
        """When the batch last updated its progress."""
        updates = [each.updated for each in await self._artifacts_of(flow_run_id) if each.updated is not None]
        return max(updates, default=None)

    async def _artifacts_of(self, flow_run_id: UUID) -> list[PrefectArtifact]:
        mine = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[flow_run_id]))
        return await _patiently(lambda: self._api.read_artifacts(artifact_filter=mine))


def _summary_in(text: str, flow_run: FlowRun) -> RenewalSummary:
    try:
        return RenewalSummary.model_validate_json(text)
    except ValidationError:
        raise _BatchLost(
            f"{flow_run.name} handed in a summary that cannot be read: its worker may run another version of Perennial"
        ) from None


async def _patiently(ask: Callable[[], Awaitable[T]]) -> T:
    """Ask the Prefect server, and again for `SERVER_AWAY_SECONDS` as long as it does not answer."""
    clock = current_clock()
    give_up_at = clock.monotonic() + SERVER_AWAY_SECONDS
    while True:
        try:
            return await ask()
        except httpx.HTTPError as error:
            is_refusal = isinstance(error, httpx.HTTPStatusError) and error.response.is_client_error
            if is_refusal or clock.monotonic() >= give_up_at:
                raise
            get_run_logger().warning("the Prefect server does not answer (%s); asking again", type(error).__name__)
            await clock.sleep(ASK_EVERY)
