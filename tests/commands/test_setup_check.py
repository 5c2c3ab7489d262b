"""`perennial setup --check`: succeeds when all is set up, and names each misconfiguration with its way out."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from deploying import deploy_all
from prefect.blocks.webhook import Webhook
from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.actions import DeploymentUpdate, WorkPoolUpdate
from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterId
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.schedules import IntervalSchedule
from prefect.events.schemas.automations import AutomationCore
from prefect.states import Completed, Late
from prefect.variables import Variable

from blocks.commerce_layer.credentials import CommerceLayerCredentials
from blocks.commerce_layer.rate_limit import RateLimits
from blocks.renewal_policy import RenewalPolicy
from blocks.sandbox.running import RunningSandbox
from flows.__main__ import main
from flows.cli import server_sharing
from flows.cli.alarm_listener import listening
from flows.cli.alarms import POOL, SWEEP, WATCH, alarms, make_alarms, times_of
from flows.cli.checked import Checked
from flows.cli.installation import CREDENTIALS, POLICY, credentials_for, install
from flows.cli.notification import WEBHOOK, recipient_of
from flows.cli.prefect_checks import BY_HAND
from flows.cli.prefect_server import PrefectServer, free_port
from flows.cli.server_version import too_old_or_new
from flows.cli.setup_check import check_setup
from flows.rules.stop_switch import VARIABLE

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("setup-check")]

WORKER = "a-worker"


@dataclass
class Installed:
    """All that `make up` sets up; `heard` has what the alarms posted."""

    box: RunningSandbox
    webhook: str
    heard: list[dict[str, Any]] = field(default_factory=list)

    def credentials(self, **changes: Any) -> CommerceLayerCredentials:
        box = self.box
        made = credentials_for(
            box.organization, box.client_id, box.client_secret, "test", box.api_url, box.auth_url,
            RateLimits(unlimited=True),
        )  # fmt: skip
        return made.model_copy(update=changes)


@pytest.fixture(scope="module")
def installed(server: PrefectServer) -> Iterator[Installed]:
    heard: list[dict[str, Any]] = []
    with RunningSandbox("--limits", "off") as box, listening(heard.append) as webhook:
        made = Installed(box, webhook, heard)
        asyncio.run(install(made.credentials()))
        deploy_all(server)
        asyncio.run(_schedules_that_do_not_fire())
        asyncio.run(_alarms_and_a_worker(webhook))
        yield made


def not_soon(interval: timedelta) -> IntervalSchedule:
    return IntervalSchedule(interval=interval, anchor_date=datetime.now(UTC) + timedelta(hours=6))


async def _schedules_that_do_not_fire() -> None:
    """The worker of these tests runs nothing, so a run that fell due while they work would be late."""
    async with get_client() as prefect:
        for name in (SWEEP, WATCH):
            deployment = await prefect.read_deployment_by_name(name)
            (schedule,) = deployment.schedules
            later = not_soon(timedelta(hours=12))
            await prefect.update_deployment_schedule(deployment.id, schedule.id, schedule=later, active=True)
            mine = DeploymentFilter(id=DeploymentFilterId(any_=[deployment.id]))
            for run in await prefect.read_flow_runs(deployment_filter=mine):
                await prefect.delete_flow_run(run.id)


async def _alarms_and_a_worker(webhook: str) -> None:
    async with get_client() as prefect:
        await make_alarms(prefect, await recipient_of(prefect, webhook), await times_of(prefect))
        # As a polling worker does, but for an hour, so that it never seems gone on a busy machine.
        await prefect.send_worker_heartbeat(POOL, WORKER, heartbeat_interval_seconds=3600)


async def wrong() -> list[Checked]:
    return [each for each in await check_setup() if not each.is_right]


# --- ways to break the setup, each of which repairs it at the end ---------------------------------


Break = Callable[[Installed, PrefectClient], AbstractAsyncContextManager[None]]


async def sweep(prefect: PrefectClient) -> DeploymentResponse:
    return await prefect.read_deployment_by_name(SWEEP)


def deployed_with(**changes: Any) -> Break:
    @asynccontextmanager
    async def broken(installed: Installed, prefect: PrefectClient) -> AsyncIterator[None]:
        before = await sweep(prefect)
        paused = changes.get("paused", before.paused)
        update = {"parameters": before.parameters, "paused": paused, **changes}
        await prefect.update_deployment(before.id, DeploymentUpdate(**update))
        yield
        kept = {
            "parameters": before.parameters, "entrypoint": before.entrypoint, "paused": False,
            "work_pool_name": before.work_pool_name, "concurrency_limit": None,
        }  # fmt: skip
        await prefect.update_deployment(before.id, DeploymentUpdate(**kept))

    return broken


def credentials_with(**changes: Any) -> Break:
    @asynccontextmanager
    async def broken(installed: Installed, prefect: PrefectClient) -> AsyncIterator[None]:
        given = {name: change() if callable(change) else change for name, change in changes.items()}
        await installed.credentials(**given).asave(CREDENTIALS, overwrite=True)
        yield
        await installed.credentials().asave(CREDENTIALS, overwrite=True)

    return broken


def nowhere(path: str) -> Callable[[], str]:
    return lambda: f"http://127.0.0.1:{free_port()}{path}"


def pool_with(**changes: Any) -> Break:
    @asynccontextmanager
    async def broken(installed: Installed, prefect: PrefectClient) -> AsyncIterator[None]:
        await prefect.update_work_pool(POOL, WorkPoolUpdate(**changes))
        yield
        await prefect.update_work_pool(POOL, WorkPoolUpdate(is_paused=False, concurrency_limit=None))

    return broken


def switched_to(value: Any) -> Break:
    @asynccontextmanager
    async def broken(installed: Installed, prefect: PrefectClient) -> AsyncIterator[None]:
        await Variable.aset(VARIABLE, value, overwrite=True)
        yield
        await Variable.aunset(VARIABLE)

    return broken


@asynccontextmanager
async def shop_of_another_hour(installed: Installed, prefect: PrefectClient) -> AsyncIterator[None]:
    with RunningSandbox("--limits", "off", "--frozen") as other:
        other.advance(3600)
        elsewhere = Installed(other, "").credentials()
        await elsewhere.asave(CREDENTIALS, overwrite=True)
        yield
    await installed.credentials().asave(CREDENTIALS, overwrite=True)


@asynccontextmanager
async def no_policy(installed: Installed, prefect: PrefectClient) -> AsyncIterator[None]:
    await RenewalPolicy.adelete(POLICY)
    yield
    await install(installed.credentials())


@asynccontextmanager
async def one_deployment_missing(installed: Installed, prefect: PrefectClient) -> AsyncIterator[None]:
    batch = await prefect.read_deployment_by_name("renew-batch/renew-batch")
    await prefect.delete_deployment(batch.id)
    yield
    await prefect.create_deployment(
        batch.flow_id, batch.name, entrypoint=batch.entrypoint, work_pool_name=POOL, parameters=batch.parameters
    )


def schedule_paused(name: str) -> Break:
    @asynccontextmanager
    async def broken(installed: Installed, prefect: PrefectClient) -> AsyncIterator[None]:
        deployment = await prefect.read_deployment_by_name(name)
        (schedule,) = deployment.schedules
        await prefect.update_deployment_schedule(deployment.id, schedule.id, active=False)
        yield
        await prefect.update_deployment_schedule(deployment.id, schedule.id, active=True)

    return broken


@asynccontextmanager
async def no_schedule_of_the_watch(installed: Installed, prefect: PrefectClient) -> AsyncIterator[None]:
    deployment = await prefect.read_deployment_by_name(WATCH)
    (schedule,) = deployment.schedules
    await prefect.delete_deployment_schedule(deployment.id, schedule.id)
    yield
    await prefect.create_deployment_schedules(deployment.id, [(schedule.schedule, True)])


@asynccontextmanager
async def schedule_once_a_day(installed: Installed, prefect: PrefectClient) -> AsyncIterator[None]:
    deployment = await sweep(prefect)
    (schedule,) = deployment.schedules
    await prefect.update_deployment_schedule(deployment.id, schedule.id, schedule=not_soon(timedelta(days=1)))
    yield
    await prefect.update_deployment_schedule(deployment.id, schedule.id, schedule=schedule.schedule)


def queue_paused(name: str) -> Break:
    @asynccontextmanager
    async def broken(installed: Installed, prefect: PrefectClient) -> AsyncIterator[None]:
        queue = await prefect.read_work_queue_by_name(name, POOL)
        await prefect.update_work_queue(queue.id, is_paused=True)
        yield
        await prefect.update_work_queue(queue.id, is_paused=False)

    return broken


@asynccontextmanager
async def batches_first(installed: Installed, prefect: PrefectClient) -> AsyncIterator[None]:
    await _set_priority(prefect, "default", 1)  # which moves the other one down
    yield
    await _set_priority(prefect, BY_HAND, 1)


async def _set_priority(prefect: PrefectClient, name: str, priority: int) -> None:
    await prefect._client.patch(f"/work_pools/{POOL}/queues/{name}", json={"priority": priority})


@asynccontextmanager
async def no_worker(installed: Installed, prefect: PrefectClient) -> AsyncIterator[None]:
    await prefect._client.delete(f"/work_pools/{POOL}/workers/{WORKER}")
    yield
    await prefect.send_worker_heartbeat(POOL, WORKER, heartbeat_interval_seconds=3600)


@asynccontextmanager
async def a_late_run(installed: Installed, prefect: PrefectClient) -> AsyncIterator[None]:
    run = await prefect.create_flow_run_from_deployment((await sweep(prefect)).id)
    late: Any = Late(scheduled_time=datetime.now(UTC) - timedelta(hours=1))
    await prefect.set_flow_run_state(run.id, late, force=True)
    yield
    await prefect.delete_flow_run(run.id)


@asynccontextmanager
async def alarm_deleted(installed: Installed, prefect: PrefectClient) -> AsyncIterator[None]:
    (found,) = await prefect.read_automations_by_name("perennial: a sweep failed")
    await prefect.delete_automation(found.id)
    yield
    await _alarms_and_a_worker(installed.webhook)


@asynccontextmanager
async def alarm_switched_off(installed: Installed, prefect: PrefectClient) -> AsyncIterator[None]:
    (found,) = await prefect.read_automations_by_name("perennial: a sweep failed")
    await prefect.pause_automation(found.id)
    yield
    await prefect.resume_automation(found.id)


@asynccontextmanager
async def alarm_twice(installed: Installed, prefect: PrefectClient) -> AsyncIterator[None]:
    (found,) = await prefect.read_automations_by_name("perennial: a sweep failed")
    copy = await prefect.create_automation(AutomationCore(**found.model_dump(exclude={"id"})))
    yield
    await prefect.delete_automation(copy)


@asynccontextmanager
async def webhook_gone(installed: Installed, prefect: PrefectClient) -> AsyncIterator[None]:
    block = Webhook(method="POST", url=nowhere("/alarms")())
    await block.asave(WEBHOOK, overwrite=True)
    yield
    await _alarms_and_a_worker(installed.webhook)


BROKEN: dict[str, tuple[Break, str, str]] = {
    "a credentials block that does not exist": (
        deployed_with(parameters={"credentials": "nowhere", "policy": POLICY}), "there is none named 'nowhere'", "setup"
    ),
    "a wrong client id": (credentials_with(client_id="wrong"), "client", f"block {CREDENTIALS!r}"),
    "another organization": (credentials_with(organization="other"), "the token's organization", "correct the block"),
    "the wrong environment": (credentials_with(mode="live"), "mode is 'test', not 'live'", "correct the block"),
    "a shop that cannot be reached": (
        credentials_with(auth_url=nowhere("/oauth/token")), "cannot be reached", "check the network"
    ),
    "a wrong address of the API": (
        credentials_with(api_url=nowhere("/api")), "cannot be read", "check the address"
    ),
    "clocks that differ": (shop_of_another_hour, "behind the shop's", "NTP"),
    "no policy": (no_policy, "there is none named 'default'", "perennial setup"),
    "a deployment that is missing": (one_deployment_missing, "it is not deployed", "prefect deploy --all"),
    "another entrypoint": (
        deployed_with(entrypoint="flows.reorder.reorder"), "its entrypoint is flows.reorder.reorder", "prefect deploy"
    ),
    "a paused deployment": (deployed_with(paused=True), "it is paused", "resume it"),
    "a concurrency limit": (deployed_with(concurrency_limit=1), "it has a concurrency limit of 1", "remove the limit"),
    "a fixed as_of": (
        deployed_with(parameters={"as_of": "2026-01-01T00:00:00Z"}), "every run is given the same as_of", "empty"
    ),
    "a paused schedule": (schedule_paused(SWEEP), "it is paused: no sweep starts by itself", "switch it on"),
    "a paused schedule of the watch": (
        schedule_paused(WATCH), "it is paused: no watch starts by itself", "page of watch-renewals"
    ),
    "no schedule of the watch": (
        no_schedule_of_the_watch, "there is none: no watch starts by itself", "prefect deploy --all"
    ),
    "an alarm that does not fit the schedule": (schedule_once_a_day, "does not fit the schedule", "setup --notify"),
    "a paused work pool": (pool_with(is_paused=True), "it is paused", "work-pool resume perennial"),
    "a work pool without slots": (pool_with(concurrency_limit=0), "concurrency limit is 0", "clear-concurrency-limit"),
    "a paused queue": (queue_paused("default"), "its queue 'default' is paused", "work-queue resume default"),
    "a paused queue of what a person starts": (queue_paused(BY_HAND), "'by-hand' is paused", "resume by-hand"),
    "batches that go first": (batches_first, "waits behind batches", "priority 1"),
    "no worker": (no_worker, "none polls the pool", "prefect worker start --pool perennial"),
    "a sweep that no worker took": (a_late_run, "1 sweep is late", "prefect worker start"),
    "an alarm that is missing": (alarm_deleted, "there is no such automation", "setup --notify"),
    "an alarm that is off": (alarm_switched_off, "it is switched off", "switch it on"),
    "an alarm that exists twice": (alarm_twice, "there are 2 automations of this name", "delete all but one"),
    "a webhook where nothing listens": (webhook_gone, "nothing listens at http://127.0.0.1", "setup --notify"),
    "charging that is stopped": (switched_to("stop: wrong prices"), "wrong prices", "perennial go"),
    "a stop switch with an unknown value": (switched_to("nonsense"), "'nonsense'", "perennial go"),
}  # fmt: skip


@pytest.mark.parametrize("case", BROKEN)
async def test_a_misconfiguration_is_named_with_its_way_out(installed: Installed, case: str) -> None:
    broken, found, way_out = BROKEN[case]

    async with get_client() as prefect, broken(installed, prefect):
        named = await wrong()

    assert [each for each in named if found in each.found and way_out in str(each.way_out)], named
    assert await wrong() == [], "after the repair, nothing else is wrong"


async def test_a_schedule_that_was_just_switched_on_may_have_no_runs_yet(
    installed: Installed, server: PrefectServer
) -> None:
    async with get_client() as prefect:
        deployment = await prefect.read_deployment_by_name(WATCH)
        (schedule,) = deployment.schedules
        await prefect.update_deployment_schedule(deployment.id, schedule.id, active=False)
        with closing(_database(server)) as connection, connection:
            connection.execute("UPDATE deployment SET updated = '2026-01-01 00:00:00', created = '2026-01-01 00:00:00'")
        await prefect.update_deployment_schedule(deployment.id, schedule.id, active=True)

        assert await wrong() == []


async def test_a_run_that_left_no_event_is_named(
    installed: Installed, server: PrefectServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So it is where what one server is told does not reach the process that stores events."""
    monkeypatch.setattr(server_sharing, "STORED_WITHIN", -timedelta(hours=1))
    async with get_client() as prefect:
        run = await prefect.create_flow_run_from_deployment((await sweep(prefect)).id)
        await prefect.set_flow_run_state(run.id, Completed(), force=True)
        while "prefect.flow-run.Completed" not in await _events_of(prefect, run.id):  # until the test's time limit
            pass
        before = await wrong()
        _remove_events(server, f"prefect.flow-run.{run.id}")

        (named,) = await wrong()

        await prefect.delete_flow_run(run.id)
    assert before == []
    assert named.found.startswith(f"the run {run.name!r} left no event")
    assert "deploy/server.env" in str(named.way_out)


async def _events_of(prefect: PrefectClient, run_id: UUID) -> list[str]:
    wanted = {"filter": {"resource": {"id": [f"prefect.flow-run.{run_id}"]}}}
    found = (await prefect.request("POST", "/events/filter", json=wanted)).json()["events"]
    return [each["event"] for each in found]


def _remove_events(server: PrefectServer, resource_id: str) -> None:
    with closing(_database(server)) as connection, connection:
        for table in ("events", "event_resources"):
            connection.execute(f"DELETE FROM {table} WHERE resource_id = ?", [resource_id])


def _database(server: PrefectServer) -> sqlite3.Connection:
    file = server.environment["PREFECT_SERVER_DATABASE_CONNECTION_URL"].partition("///")[2]
    return sqlite3.connect(file, timeout=60)


def test_the_exit_code_is_0_if_all_is_right_and_1_if_anything_is_wrong(
    installed: Installed, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main(["setup", "--check"])
    green = capsys.readouterr().out
    asyncio.run(_switch("stop: wrong prices"))
    stopped = main(["setup", "--check"])
    red = capsys.readouterr().out
    asyncio.run(_switch("go"))

    assert code == 0, green
    assert "all is as it should be" in green
    assert "test environment" in green
    assert stopped == 1
    assert "1 to be corrected" in red


async def _switch(value: str) -> None:
    await Variable.aset(VARIABLE, value, overwrite=True)


async def test_making_the_alarms_again_changes_nothing(installed: Installed) -> None:
    async with get_client() as prefect:
        times = await times_of(prefect)
        before = {each.name: each for each in await prefect.read_automations()}

        done = await make_alarms(prefect, await recipient_of(prefect, installed.webhook), times)

        after = {each.name: each for each in await prefect.read_automations()}
    assert set(done) == {each.name for each in alarms(times)}
    assert set(done.values()) == {"as it should be"}
    assert before == after


async def test_an_alarm_is_updated_by_its_name_and_stays_off_if_it_was_off(installed: Installed) -> None:
    async with get_client() as prefect:
        times, recipient = await times_of(prefect), await recipient_of(prefect, installed.webhook)
        name = "perennial: no sweep started"
        (before,) = await prefect.read_automations_by_name(name)
        await prefect.pause_automation(before.id)

        done = await make_alarms(prefect, recipient, type(times)(interval=timedelta(hours=1)))

        (after,) = await prefect.read_automations_by_name(name)
        await prefect.resume_automation(before.id)
        await make_alarms(prefect, recipient, times)
    assert done[name] == "updated"
    assert (after.id, after.enabled) == (before.id, False)
    assert after.trigger.within == timedelta(hours=2)  # type: ignore[union-attr] # an event trigger


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("no-such-block", "there is no block 'no-such-block'"),
        (f"{CommerceLayerCredentials.get_block_type_slug()}/{CREDENTIALS}", "cannot send notifications"),
        ("http://127.0.0.1:9/secret-path", "the webhook at http://127.0.0.1:9 cannot be reached"),
        ("http://", "cannot be reached"),
    ],
)
def test_alarms_that_cannot_be_sent_are_refused(
    installed: Installed, given: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["setup", "--notify", given]) == 2

    error = capsys.readouterr().err
    assert said in error
    assert "secret-path" not in error


def test_alarms_through_a_block_that_exists_need_no_credentials(
    installed: Installed, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["setup", "--notify", WEBHOOK]) == 0

    assert f"through the block webhook/{WEBHOOK}" in capsys.readouterr().out
    assert installed.heard[-1]["text"].startswith("Perennial's alarms will arrive here")


@pytest.mark.parametrize("version", ["3.4.1", "3.8.7", "2.20.0", "4.0.0"])
def test_a_server_of_the_wrong_version_is_named_with_the_way_out(version: str) -> None:
    said = too_old_or_new(version)

    assert said is not None
    assert version in said.found
    assert said.way_out == ("Upgrade Perennial" if version.startswith("4") else "Upgrade the server")


@pytest.mark.parametrize("version", ["3.8.8", "3.9.1", "3.10.0", "3.9.2.dev1+12.gabc"])
def test_a_server_of_a_supported_version_is_accepted(version: str) -> None:
    assert too_old_or_new(version) is None
