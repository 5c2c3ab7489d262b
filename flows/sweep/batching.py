"""
Shares a sweep among the workers of a pool: each batch is a run of the `renew-batch` deployment.

The sweep itself renews a few first. Only if these go well does it start batches, a few at a time. Once the brake has
stopped one, it starts no more. A batch leaves its summary as an artifact of its run, because workers on several
machines share only the Prefect server.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Sequence
from uuid import UUID

from prefect.artifacts import Artifact
from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId
from prefect.client.schemas.objects import FlowRun, State
from prefect.deployments import arun_deployment
from prefect.exceptions import ObjectNotFound
from prefect.logging import get_run_logger

from flows.rules.batches import batches
from flows.rules.outside_text import markdown
from flows.rules.summaries import RenewalSummary
from flows.run.context import NotSetUp, Run
from flows.run.report import Report
from flows.sweep.first_look import Due
from flows.sweep.pacing import Pacing, Renew

DEPLOYMENT = "renew-batch/renew-batch"

BATCHES_AT_ONCE = 4
"""How many batches run at the same time. When the brake stops one, those not started need no stopping."""

ASK_EVERY = 2.0
"""Seconds between two reads of the state of a batch's run."""

SECONDS_PER_RENEWAL = 10.0
"""Seconds that a batch may take per renewal. Four batches at the test environment's limit need seven."""

_SUMMARY = "perennial-summary"


class BatchesLost(RuntimeError):  # noqa: N818 - the name says what happened
    """Batches that ended without a summary, or did not end. Subscriptions that they did not renew are still due."""


async def hand_in(summary: RenewalSummary) -> None:
    """Store the summary on the server for the sweep that waits for it."""
    await Artifact(
        type=_SUMMARY, description=markdown(summary.sentence), data=summary.model_dump(mode="json")
    ).acreate()


async def in_batches(run: Run, report: Report, due: Sequence[Due], renew: Renew) -> None:
    """
    Renew the subscriptions in `due`: the first few here, the others in batches on the pool's workers. Add up the
    summaries.

    Raises:
        NotSetUp: the deployment of the batches does not exist. The first few are renewed by then.
        BatchesLost: some batches did not end as they should; all others have ended.
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
        self._lost: list[str] = []

    async def renew(self, parts: Sequence[Sequence[str]]) -> None:
        """
        Run a batch for each of `parts` (ids of subscriptions), until one is stopped.

        Raises:
            NotSetUp, BatchesLost: as `in_batches`.
        """
        not_set_up: NotSetUp | None = None
        async with asyncio.TaskGroup() as group:
            for number, part in enumerate(parts, 1):
                await self._places.acquire()
                if self._stopped:
                    break
                try:
                    flow_run = await self.start(number, len(parts), part)
                except NotSetUp as error:  # raised below: inside the group it would become an ExceptionGroup
                    not_set_up = error
                    break
                group.create_task(self._wait_for(flow_run, len(part)))
        if not_set_up is not None:
            raise not_set_up
        if self._lost:
            raise BatchesLost("; ".join(self._lost) + ". What they left is still due, and the next sweep renews it.")

    async def start(self, number: int, of: int, part: Sequence[str]) -> FlowRun:
        """
        Start the run of a batch. If the same batch was started before, return the existing run.

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
            return await arun_deployment(
                DEPLOYMENT,
                parameters=parameters,
                flow_run_name=f"{self._run.identity.flow_run_name}, batch {number} of {of}",
                idempotency_key=f"{self._run.identity.flow_run_id}/{number}/{members}",
                timeout=0,
            )
        except ObjectNotFound:
            raise NotSetUp(
                f"There is no deployment {DEPLOYMENT!r}: make it with `prefect deploy --all`, or do not distribute."
            ) from None

    async def _wait_for(self, flow_run: FlowRun, size: int) -> None:
        try:
            state = await self._final_state(flow_run.id, size)
            summary = await self._summary_of(flow_run.id)
            if summary is None or summary.brake:
                self._stop(flow_run, state, summary)
        finally:
            self._places.release()  # only when it is known whether others may start
        if summary is not None:
            self._report.add_summary(summary)
            await self._report.show()

    def _stop(self, flow_run: FlowRun, state: State | None, summary: RenewalSummary | None) -> None:
        self._stopped = True
        if summary is None:
            ended = f"ended as {state.name} ({state.message})" if state else "has not ended in time"
            self._lost.append(f"{flow_run.name} {ended}")
        get_run_logger().warning("no further batches are started: %s", summary.brake if summary else self._lost[-1])

    async def _final_state(self, flow_run_id: UUID, size: int) -> State | None:
        """The batch's final state; None if it did not end in time, perhaps because its worker died."""
        allowed = self._run.policy.copy_deadline_seconds + SECONDS_PER_RENEWAL * size
        deadline = time.monotonic() + allowed
        while time.monotonic() < deadline:
            state = (await self._api.read_flow_run(flow_run_id)).state
            if state is not None and state.is_final():
                return state
            await asyncio.sleep(ASK_EVERY)
        return None

    async def _summary_of(self, flow_run_id: UUID) -> RenewalSummary | None:
        mine = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[flow_run_id]))
        for artifact in await self._api.read_artifacts(artifact_filter=mine):
            if artifact.type == _SUMMARY:
                return RenewalSummary.model_validate_json(str(artifact.data))
        return None
