from __future__ import annotations

import gc
from dataclasses import dataclass

import pytest
from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State
from prefect.context import FlowRunContext
from prefect.logging import get_run_logger

from flows.cli.prefect_checks import SERVICES
from flows.cli.prefect_server import PrefectServer, drain
from flows.run import prefect_internals
from flows.run.prefect_internals import TASK_RUN_LOGGER, quieten_task_runs
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
