"""The states in which runs and tasks end: Prefect's own two, with a sentence that begins with what matters."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, ParamSpec, TypeVar, cast

from prefect import Task
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed
from prefect.utilities.annotations import opaque

from flows.run.prefect_internals import keep_memory_constant, run_telling_its_end

P = ParamSpec("P")
R = TypeVar("R")


def completed(sentence: str, result: R) -> State[R]:
    """The state of work that succeeded, or that needs no person."""
    return Completed(message=sentence, data=result)


def failed(sentence: str, result: R) -> State[R]:
    """The state of work that needs a person. Prefect's pages, filters and automations know it as `Failed`."""
    return Failed(message=sentence, data=result)


async def run_task(step: Task[P, Coroutine[Any, Any, State[R]]], *args: P.args, **kwargs: P.kwargs) -> R:
    """
    Run a task that returns one of these states, and return its data, whichever state it is.

    Raises:
        Exception: what the task raised instead of returning.
    """
    # Opaque, because otherwise Prefect would search everything that the run works with for results of other
    # tasks, three times per task. That took more time than everything else together.
    state = await run_telling_its_end(
        step, *map(opaque, args), **{name: opaque(value) for name, value in kwargs.items()}
    )
    keep_memory_constant()
    result = await state.aresult(raise_on_failure=False)
    if isinstance(result, BaseException):
        raise result
    return cast("R", result)
