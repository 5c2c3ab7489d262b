from __future__ import annotations

import gc
import logging
from dataclasses import dataclass

import pytest
from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.context import FlowRunContext

from flows.cli.prefect_server import PrefectServer, drain
from flows.run import states
from flows.run.states import green, run_task


@dataclass
class Result:
    number: int


@task(cache_policy=NO_CACHE)
async def make(number: int) -> State[Result]:
    return green("Made", "", Result(number))


async def test_results_that_are_no_more_are_not_remembered(
    server: PrefectServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(states, "FORGET_EVERY", 20)

    @flow
    async def long_sweep() -> tuple[int, int]:
        kept = [await run_task(make, number) for number in range(5)]
        for number in range(100):
            await run_task(make, number)
            if number % 10 == 0:
                await drain()  # the events that wait to be sent hold results, and how many wait is the server's affair
            gc.collect()  # Prefect leaves them in cycles, and when those are collected is Python's affair
        context = FlowRunContext.get()
        assert context is not None
        return len(context.run_results), sum(id(each) in context.run_results for each in kept)

    noted, of_the_kept = await long_sweep()

    assert noted <= 3 * (20 + 5)
    assert of_the_kept == 5


@pytest.mark.parametrize(
    ("task_name", "level", "said", "kept"),
    [
        ("record_outcome", logging.INFO, "Finished in state Renewed('order #1')", False),
        ("record_outcome", logging.ERROR, "Finished in state NeedsAttention('card lost')", True),
        ("record_outcome", logging.INFO, "the look is repeated", True),
        ("publish_summary", logging.INFO, "Finished in state Published('3 renewals')", True),
    ],
)
def test_a_renewal_that_went_well_logs_nothing_that_its_states_say_already(
    task_name: str, level: int, said: str, *, kept: bool
) -> None:
    record = logging.LogRecord("prefect.task_runs", level, "", 0, said, None, None)
    record.task_name = task_name

    assert bool(logging.getLogger("prefect.task_runs").filter(record)) is kept
