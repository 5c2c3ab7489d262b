"""How tasks tell a person what happened: states with a name and a sentence, and a colour that means something."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Coroutine
from typing import Any, ParamSpec, TypeVar, cast

from prefect import Task
from prefect.client.schemas.objects import State
from prefect.context import FlowRunContext
from prefect.states import Completed, Failed
from prefect.utilities.annotations import opaque

FORGET_EVERY = 500
"""Task runs after which Prefect's notes on results that are no more are thrown away."""

_task_runs = itertools.count(1)

P = ParamSpec("P")
R = TypeVar("R")


TOLD_BY_THEIR_STATES = frozenset({"create_order_copy", "poll_order_copy", "place_target_order", "record_outcome"})
"""Tasks that run once for each renewal. Their page in the UI shows the state's name and its sentence."""


class _OnlyWhatIsNew(logging.Filter):
    """
    Drops two lines that Prefect logs about task runs, and that say nothing of their own.

    "Task run failed with state ..." comes for every red state that a task returns on purpose, over the words
    "NoneType: None", the traceback of no exception. The next line, "Finished in state ...", says the same and stays.
    Of a renewal that went well, "Finished in state ..." repeats the state's own words, three times; storing it takes
    the server a sixth of its time.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the line is kept."""
        said = record.getMessage()
        if said.startswith("Finished in state"):
            return record.levelno > logging.INFO or getattr(record, "task_name", "") not in TOLD_BY_THEIR_STATES
        return not said.startswith("Task run failed with state:")


logging.getLogger("prefect.task_runs").addFilter(_OnlyWhatIsNew())


def green(name: str, sentence: str, result: R) -> State[R]:
    """A state for what went as it should, or takes care of itself."""
    return Completed(name=name, message=sentence, data=result)


def red(name: str, sentence: str, result: R) -> State[R]:
    """A state for what needs a person."""
    return Failed(name=name, message=sentence, data=result)


async def run_task(step: Task[P, Coroutine[Any, Any, State[R]]], *args: P.args, **kwargs: P.kwargs) -> R:
    """
    Run a task that returns one of these states, and hand on what it has found out, whatever the colour.

    Raises:
        Exception: whatever the task raised instead of returning.
    """
    # Opaque, because Prefect would walk through all that the run works with, three times per task,
    # in search of results of other tasks. That took more time than everything else together.
    closed: Any = step
    state: State[Any] = await closed(
        *map(opaque, args), **{name: opaque(value) for name, value in kwargs.items()}, return_state=True
    )
    if next(_task_runs) % FORGET_EVERY == 0:
        _forget_dead_results()
    result = await state.aresult(raise_on_failure=False)
    if isinstance(result, BaseException):
        raise result
    return cast("R", result)


def _forget_dead_results() -> None:
    """
    Keep the memory of a long sweep constant.

    For the arrows of the run graph Prefect notes which task run every result came from, and never forgets one: a
    gigabyte for 100,000 renewals. Results that are no more cannot be handed to another task.
    """
    context = FlowRunContext.get()
    if context is None:
        return
    noted = context.run_results
    for key in [key for key, (_, _, result) in noted.items() if result is None or result() is None]:
        del noted[key]
