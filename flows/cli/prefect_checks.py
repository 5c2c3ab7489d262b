"""What `perennial setup --check` looks at in Prefect: server, deployments, schedule, worker, alarms, stop switch."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from prefect.client.base import ServerType
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import (
    DeploymentFilter,
    DeploymentFilterId,
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import StateType, WorkerStatus, WorkQueue
from prefect.client.schemas.responses import DeploymentResponse
from prefect.exceptions import ObjectNotFound

from flows.cli import places
from flows.cli.alarms import POOL, SWEEP, WATCH, alarms, is_as, times_of
from flows.cli.checked import Checked
from flows.cli.notification import CannotNotify, Recipient, reach
from flows.cli.server_sharing import check_sharing
from flows.cli.server_version import too_old_or_new, version_of
from flows.rules.stop_switch import WAY_OUT
from flows.run.stop_switch import switch_now

ENTRYPOINTS = {
    SWEEP: "flows.renew.renew_subscriptions",
    "renew-batch/renew-batch": "flows.renew_batch.renew_batch",
    "reorder/reorder": "flows.reorder.reorder",
    "adopt-subscriptions/adopt-subscriptions": "flows.adopt.adopt_subscriptions",
    "preflight-renewals/preflight-renewals": "flows.preflight.preflight_renewals",
    "rescue-failed-renewals/rescue-failed-renewals": "flows.rescue.rescue_failed_renewals",
    WATCH: "flows.watch.watch_renewals",
}
"""The deployments of `prefect.yaml`."""

SCHEDULED = {SWEEP: ("sweep", "sweeps"), WATCH: ("watch", "watches")}
"""Those that run by themselves, with the words for one run and for several."""

SERVICES = {
    "scheduler": "no schedule fires",
    "triggers": "no alarm fires",
    "foreman": "no one is told that a worker is gone",
}
"""Services of the server that Perennial needs, and what happens without them."""

BY_HAND = "by-hand"
"""The work queue of what a person starts and waits for."""

PLANS_WITHIN = timedelta(minutes=3)
"""How long the scheduler may take to plan the runs of a deployment or schedule that was changed."""

_DEPLOY = places.deploy_command()
_NOTIFY = "perennial setup --notify URL-or-block"


async def check_server(prefect: PrefectClient) -> AsyncIterator[Checked]:
    """The version of the server, and its services."""
    version = await version_of(prefect)
    wrong = too_old_or_new(version) if version else None
    if wrong is not None:
        yield Checked("Prefect server", wrong.found, wrong.way_out)
    else:
        yield Checked("Prefect server", f"{version or 'Prefect Cloud'} at {prefect.api_url}")
    if prefect.server_type == ServerType.CLOUD:
        return
    settings: Mapping[str, Any] = (await prefect.request("GET", "/admin/settings")).json().get("server", {})
    services: Mapping[str, Any] = settings.get("services", {})
    for name, without in SERVICES.items():
        if not services.get(name, {}).get("enabled", True):
            variable = f"PREFECT_SERVER_SERVICES_{name.upper()}_ENABLED"
            yield Checked(f"service {name}", f"it is off: {without}", f"remove {variable}=false from the server")
    async for each in check_sharing(prefect, settings):
        yield each


async def check_deployments(prefect: PrefectClient) -> AsyncIterator[Checked]:
    """All deployments, and what may prevent the sweep and the watch from running."""
    for name, entrypoint in ENTRYPOINTS.items():
        try:
            deployment = await prefect.read_deployment_by_name(name)
        except ObjectNotFound:
            yield Checked(name, "it is not deployed", _DEPLOY)
            continue
        wrong = list(_wrong_with(deployment, entrypoint))
        for found, way_out in wrong:
            yield Checked(name, found, way_out)
        if not wrong:
            yield Checked(name, "deployed")
        if name in SCHEDULED:
            yield await _schedule(prefect, deployment, *SCHEDULED[name])


def _wrong_with(deployment: DeploymentResponse, entrypoint: str) -> list[tuple[str, str]]:
    wrong = []
    if deployment.entrypoint != entrypoint:
        wrong.append((f"its entrypoint is {deployment.entrypoint}, not {entrypoint}", _DEPLOY))
    if deployment.paused:
        wrong.append(("it is paused", "resume it in the UI, or deploy it anew"))
    if deployment.global_concurrency_limit is not None:
        limit = deployment.global_concurrency_limit.limit
        found = f"it has a concurrency limit of {limit}: a run whose process died keeps the next ones from running"
        wrong.append((found, f"remove the limit in the UI; {_DEPLOY} does not bring it back"))
    if deployment.work_pool_name != POOL:
        wrong.append((f"its work pool is {deployment.work_pool_name}, not {POOL}", _DEPLOY))
    fixed = [field for field in ("as_of", "subscriptions") if deployment.parameters.get(field)]
    if fixed:
        found = f"every run is given the same {' and '.join(fixed)}"
        wrong.append((f"{found}: what is due now is not renewed", f"empty these parameters in the UI, or {_DEPLOY}"))
    return wrong


async def _schedule(prefect: PrefectClient, deployment: DeploymentResponse, run: str, runs: str) -> Checked:
    what = f"schedule of {deployment.name}"
    if not deployment.schedules:
        return Checked(what, f"there is none: no {run} starts by itself", _DEPLOY)
    if not any(each.active for each in deployment.schedules):
        found = f"it is paused: no {run} starts by itself"
        return Checked(what, found, f"switch it on in the UI, on the page of {deployment.name}")
    planned = await prefect.read_flow_runs(
        deployment_filter=DeploymentFilter(id=DeploymentFilterId(any_=[deployment.id])),
        flow_run_filter=FlowRunFilter(
            state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.SCHEDULED]))
        ),
    )
    late = sum(each.state_name == "Late" for each in planned)
    if late:
        many = f"1 {run} is late" if late == 1 else f"{late} {runs} are late"
        return Checked(what, f"{many}: no worker has begun with it", _worker_command())
    if not planned and not deployment.paused and not _is_new(deployment):
        found = "it is on, but the server's scheduler plans no runs"
        way_out = "read the server's log; with whenever 0.10, Prefect 3.9 plans none on Python 3.11 and 3.12"
        return Checked(what, found, way_out)
    return Checked(what, "on" if planned else "on; its first runs are about to be planned")


def _is_new(deployment: DeploymentResponse) -> bool:
    """Whether it, or one of its schedules, was changed just now."""
    times = [each.updated or each.created for each in (deployment, *deployment.schedules)]
    return any(changed is not None and datetime.now(UTC) - changed < PLANS_WITHIN for changed in times)


async def check_pool(prefect: PrefectClient) -> AsyncIterator[Checked]:
    """The work pool, and whether a worker polls it."""
    what = f"work pool {POOL}"
    try:
        pool = await prefect.read_work_pool(POOL)
    except ObjectNotFound:
        yield Checked(what, "there is none", f"prefect work-pool create {POOL} --type process")
        return
    if pool.is_paused:
        yield Checked(what, "it is paused", f"prefect work-pool resume {POOL}")
    if pool.concurrency_limit == 0:
        yield Checked(
            what, "its concurrency limit is 0: nothing runs", f"prefect work-pool clear-concurrency-limit {POOL}"
        )
    for found, way_out in _wrong_with_queues(await prefect.read_work_queues(work_pool_name=POOL)):
        yield Checked(what, found, way_out)
    if pool.is_push_pool or pool.is_managed_pool:
        yield Checked("worker", f"none is needed for a pool of type {pool.type}")
        return
    workers = await prefect.read_workers_for_work_pool(POOL)
    online = [worker.name for worker in workers if worker.status == WorkerStatus.ONLINE]
    if online:
        yield Checked("worker", f"{', '.join(sorted(online))} polls the pool")
    else:
        yield Checked("worker", "none polls the pool: nothing runs", _worker_command())


def _wrong_with_queues(queues: Sequence[WorkQueue]) -> Iterator[tuple[str, str]]:
    ours = {queue.name: queue for queue in queues if queue.name in {"default", BY_HAND}}
    for name, queue in ours.items():
        if queue.is_paused:
            yield f"its queue {name!r} is paused", f"prefect work-queue resume {name} --pool {POOL}"
    if BY_HAND not in ours or "default" not in ours:
        return
    if ours[BY_HAND].priority > ours["default"].priority:
        found = f"its queue {BY_HAND!r} comes after 'default': what a person starts waits behind batches"
        yield found, f"give {BY_HAND} priority 1 in the UI, on the page of the work pool"


def _worker_command() -> str:
    return f"prefect worker start --pool {POOL}"


async def check_alarms(prefect: PrefectClient) -> AsyncIterator[Checked]:
    """The automations, and where they send their notifications."""
    for alarm in alarms(await times_of(prefect)):
        found = await prefect.read_automations_by_name(alarm.name)
        what = f"alarm {alarm.name.removeprefix('perennial: ')!r}"
        if not found:
            yield Checked(what, "there is no such automation: no one is told", _NOTIFY)
            continue
        if len(found) > 1:
            yield Checked(what, f"there are {len(found)} automations of this name", "delete all but one in the UI")
        (one, *_) = found
        if not one.enabled:
            yield Checked(what, "it is switched off", "switch it on in the UI (Automations)")
            continue
        blocks = [action.block_document_id for action in one.actions if hasattr(action, "block_document_id")]
        if not blocks:
            yield Checked(what, "it notifies no one", _NOTIFY)
            continue
        try:
            recipient: Recipient = await reach(prefect, blocks[0])
        except CannotNotify as error:
            yield Checked(what, str(error), _NOTIFY)
            continue
        if not is_as(one, alarm.automation(recipient)):
            yield Checked(what, "it is not as this version makes it, or does not fit the schedule", _NOTIFY)
            continue
        yield Checked(what, f"through {recipient.label}")


async def check_switch(prefect: PrefectClient) -> AsyncIterator[Checked]:
    """The stop switch."""
    switch = await switch_now(prefect)
    yield Checked("stop switch", switch.sentence, WAY_OUT if switch.is_stopped else None)
