"""How runs and tasks end: Prefect's own two states, with a sentence that begins with what matters."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, ParamSpec, TypeVar, cast

from prefect import Task
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed
from prefect.utilities.annotations import opaque

from flows.run.prefect_internals import keep_memory_constant

P = ParamSpec("P")
R = TypeVar("R")


def completed(sentence: str, result: R) -> State[R]:
    """A state for what went as it should, or takes care of itself."""
    return Completed(message=sentence, data=result)


def failed(sentence: str, result: R) -> State[R]:
    """A state for what needs a person: the pages, filters and automations of Prefect know it as `Failed`."""
    return Failed(message=sentence, data=result)


async def run_task(step: Task[P, Coroutine[Any, Any, State[R]]], *args: P.args, **kwargs: P.kwargs) -> R:
    """
    Run a task that returns one of these states, and hand on what it has found out, whichever state it is.

    Raises:
        Exception: whatever the task raised instead of returning.
    """
    # Opaque, because Prefect would walk through all that the run works with, three times per task,
    # in search of results of other tasks. That took more time than everything else together.
    closed: Any = step
    state: State[Any] = await closed(
        *map(opaque, args), **{name: opaque(value) for name, value in kwargs.items()}, return_state=True
    )
    keep_memory_constant()
    result = await state.aresult(raise_on_failure=False)
    if isinstance(result, BaseException):
        raise result
    return cast("R", result)
