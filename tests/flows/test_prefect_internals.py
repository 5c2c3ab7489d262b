from __future__ import annotations

import asyncio
import gc
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

import pytest
from prefect import flow, runtime, tags, task
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.client.schemas.objects import State, TaskRun
from prefect.context import FlowRunContext
from prefect.logging import get_run_logger

from flows.cli.prefect_checks import SERVICES
from flows.cli.prefect_server import PrefectServer, drain
from flows.run import prefect_internals
from flows.run.prefect_internals import TASK_RUN_LOGGER, events_name_no_pool, quieten_task_runs
from flows.run.states import completed, failed, run_task


@dataclass
class Result:
    number: int


@task(cache_policy=NO_CACHE)
async def make(number: int) -> State[Result]:
    return completed("made", Result(number))


async def test_results_that_nothing_refers_to_any_more_are_forgotten(
    server: PrefectServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prefect_internals, "FORGET_EVERY", 20)

    @flow
    async def long_sweep() -> tuple[int, int]:
        kept = [await run_task(make, number) for number in range(5)]
        for number in range(100):
            await run_task(make, number)
            if number % 10 == 0:
                await drain()  # queued events hold results, and how many are queued depends on the server
            gc.collect()  # Prefect leaves them in reference cycles, which Python collects at a time of its own
        context = FlowRunContext.get()
        assert context is not None
        return len(context.run_results), sum(id(each) in context.run_results for each in kept)

    remembered, kept_and_remembered = await long_sweep()

    assert remembered <= 3 * (20 + 5)
    assert kept_and_remembered == 5


@task(cache_policy=NO_CACHE)
async def record_outcome(*, red: bool) -> State[None]:
    get_run_logger().warning("the look is repeated")
    return failed("card lost", None) if red else completed("order #1", None)


@task(cache_policy=NO_CACHE)
async def publish_summary() -> State[None]:
    return completed("3 renewals", None)


async def test_prefect_does_not_log_what_the_states_of_a_renewal_already_say(
    server: PrefectServer, caplog: pytest.LogCaptureFixture
) -> None:
    """The messages are Prefect's own: if Prefect changes them, or its logger, this test fails."""

    @flow
    async def sweep() -> None:
        await run_task(record_outcome, red=False)
        await run_task(record_outcome, red=True)
        await run_task(publish_summary)

    quieten_task_runs()
    caplog.set_level("INFO", TASK_RUN_LOGGER)
    await sweep()

    said = [record.getMessage() for record in caplog.records if record.name == TASK_RUN_LOGGER]
    assert [each for each in said if each != "the look is repeated"] == ["Finished in state Completed('3 renewals')"]
    assert said.count("the look is repeated") == 2


async def test_the_settings_of_the_server_say_of_each_service_that_we_need_whether_it_is_on(
    server: PrefectServer,
) -> None:
    """`perennial setup --check` reads them. A service that Prefect renames would count as on."""
    async with get_client() as prefect:
        settings = (await prefect.request("GET", "/admin/settings")).json()

    services = settings["server"]["services"]
    assert {name: services.get(name, {}).get("enabled") for name in SERVICES} == dict.fromkeys(SERVICES, True)


async def test_a_task_run_that_ends_at_once_is_told_by_its_end_alone_and_the_server_shows_all_of_it(
    server: PrefectServer,
) -> None:
    """Prefect tells the server of Pending and Running as well, whose events and states no page shows."""

    @flow
    async def sweep() -> UUID:
        with tags("a-tag"):
            await run_task(make, 1)
        return UUID(str(runtime.flow_run.id))

    flow_run_id = await sweep()
    await drain()
    async with get_client() as prefect:
        run = await _stored_task_run(prefect, flow_run_id)
        (event,) = await _stored(prefect, run.id, 1)
        (state,) = await prefect.read_task_run_states(run.id)

    assert (run.name[:5], run.state_name, run.tags, run.run_count) == ("make-", "Completed", ["a-tag"], 1)
    assert run.start_time is not None
    assert run.end_time is not None
    assert run.total_run_time == run.end_time - run.start_time
    assert run.state is not None
    assert (run.state.message, run.state.timestamp) == ("made", run.end_time)
    assert (state.name, state.message) == ("Completed", "made")
    assert (event["event"], event["follows"]) == ("prefect.task-run.Completed", None)


async def test_a_task_run_that_lasts_is_shown_as_running_while_it_lasts(
    server: PrefectServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prefect_internals, "SHOWN_AFTER", 0.0)
    seen = asyncio.Event()

    @task(cache_policy=NO_CACHE)
    async def poll() -> State[None]:
        await run_task(make, 1)  # has a beginning and an end of its own
        await seen.wait()
        return completed("seen", None)

    @flow
    async def sweep() -> UUID:
        flow_run_id = UUID(str(runtime.flow_run.id))
        polling = asyncio.create_task(run_task(poll))
        async with get_client() as prefect:
            shown = await _stored_task_run(prefect, flow_run_id, "poll", "Running")
        assert shown.start_time is not None
        seen.set()
        await polling
        return flow_run_id

    flow_run_id = await sweep()
    await drain()
    async with get_client() as prefect:
        run = await _stored_task_run(prefect, flow_run_id, "poll")
        began, ended = await _stored(prefect, run.id, 2)
        states = await prefect.read_task_run_states(run.id)

    assert [each.name for each in states] == ["Running", "Completed"]
    assert [each["event"] for each in (began, ended)] == ["prefect.task-run.Running", "prefect.task-run.Completed"]
    assert ended["follows"] == began["id"]


@pytest.mark.parametrize("ends", ["by an error", "by a cancellation"])
async def test_a_task_run_that_breaks_off_is_never_shown_as_running_afterwards(
    server: PrefectServer, monkeypatch: pytest.MonkeyPatch, ends: str
) -> None:
    waiting: list[asyncio.TimerHandle] = []
    later = asyncio.BaseEventLoop.call_later

    def noted(loop: asyncio.BaseEventLoop, delay: float, *rest: Any, **more: Any) -> asyncio.TimerHandle:
        timer = later(loop, delay, *rest, **more)
        waiting.extend([timer] if delay == prefect_internals.SHOWN_AFTER else [])
        return timer

    monkeypatch.setattr(prefect_internals, "SHOWN_AFTER", 4321.0)
    monkeypatch.setattr(asyncio.BaseEventLoop, "call_later", noted)

    @task(cache_policy=NO_CACHE)
    async def break_off() -> State[None]:
        raise ValueError("no card") if ends == "by an error" else asyncio.CancelledError

    @flow
    async def sweep() -> UUID:
        with suppress(ValueError, asyncio.CancelledError):
            await run_task(break_off)
        return UUID(str(runtime.flow_run.id))

    flow_run_id = await sweep()
    await drain()
    async with get_client() as prefect:
        run = await _stored_task_run(prefect, flow_run_id)
        states = await prefect.read_task_run_states(run.id)

    assert [each.name for each in states] == ["Failed" if ends == "by an error" else "Crashed"]
    assert [timer.cancelled() for timer in waiting] == [True]


async def _stored_task_run(
    prefect: PrefectClient, flow_run_id: UUID, name: str = "", state: str | None = None
) -> TaskRun:
    """The flow run's task run of this name once it is stored in this state, or as ended; until the time limit."""
    mine = FlowRunFilter(id=FlowRunFilterId(any_=[flow_run_id]))
    while True:
        for run in await prefect.read_task_runs(flow_run_filter=mine):
            there = run.state is not None and (run.state.name == state if state else run.state.is_final())
            if there and run.name.startswith(name):
                return run


async def _stored(prefect: PrefectClient, task_run_id: UUID, at_least: int) -> list[dict[str, Any]]:
    """Its events, in order, once so many are stored."""
    wanted = {"filter": {"resource": {"id": [f"prefect.task-run.{task_run_id}"]}, "order": "ASC"}}
    while True:
        found: list[dict[str, Any]] = (await prefect.request("POST", "/events/filter", json=wanted)).json()["events"]
        if len(found) >= at_least:
            return found


@pytest.mark.parametrize(
    ("red", "named"), [(False, {"flow-run"}), (True, {"flow-run", "flow", "tag"})], ids=["a success", "a failure"]
)
async def test_the_event_of_a_success_names_its_run_only_and_that_of_a_failure_all_but_the_work_pool(
    server: PrefectServer,
    red: bool,  # noqa: FBT001 - a parameter of the test
    named: set[str],
) -> None:
    """What is the same in each event takes a row of the server's database in each. Alarms may ask for failures."""

    @flow
    async def sweep() -> UUID:
        context = FlowRunContext.get()
        assert context is not None
        assert context.flow_run is not None
        fields = {"work_pool_name": "no-such-pool", "work_queue_id": uuid4(), "tags": ["perennial"]}
        in_a_pool = context.flow_run.model_copy(update=fields)
        with context.model_copy(update={"flow_run": in_a_pool}), events_name_no_pool():
            await run_task(record_outcome, red=red)
        return context.flow_run.id

    flow_run_id = await sweep()
    await drain()
    async with get_client() as prefect:
        run = await _stored_task_run(prefect, flow_run_id)
        (event,) = await _stored(prefect, run.id, 1)

    assert {each["prefect.resource.role"] for each in event["related"]} == named
    (of_the_run,) = (each for each in event["related"] if each["prefect.resource.role"] == "flow-run")
    assert of_the_run["prefect.resource.id"] == f"prefect.flow-run.{flow_run_id}"
    assert run.flow_run_id == flow_run_id
