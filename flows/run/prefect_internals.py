"""
The five places where we reach past Prefect's public interface. `tests/flows/test_prefect_internals.py` notices when
Prefect changes there.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import Context, ContextVar, copy_context
from functools import partial
from types import SimpleNamespace
from typing import Any, cast

from prefect import Task, task_engine
from prefect.client.schemas.objects import State, StateType, TaskRun
from prefect.context import FlowRunContext
from prefect.events.schemas.events import Event
from prefect.task_engine import run_task_async
from prefect.utilities.callables import get_call_parameters
from prefect.utilities.engine import emit_task_run_state_change_event as _tell

FORGET_EVERY = 500
"""Task runs after which to drop Prefect's notes on results that no longer exist."""

TOLD_BY_THEIR_STATES = frozenset({"create_order_copy", "poll_order_copy", "place_target_order", "record_outcome"})
"""Tasks that run once for each renewal. Their page in the UI shows their sentence; a failed one logs it itself."""

TASK_RUN_LOGGER = "prefect.task_runs"

SHOWN_AFTER = 10.0
"""
Seconds after which a task run that has not ended appears as Running. Ones that end sooner appear when they have ended.
"""

_task_runs = itertools.count(1)


class _OnlyWhatIsNew(logging.Filter):
    """
    Drops what Prefect logs about the end of a renewal's task runs, such as "Finished in state Failed('...')".

    These lines only repeat the state's sentence, with its type and quotes, for four task runs a renewal. Storing them
    takes a sixth of the server's time. Prefect has no setting for it.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the line is kept."""
        if getattr(record, "task_name", "") not in TOLD_BY_THEIR_STATES:
            return True
        return not record.getMessage().startswith(("Finished in state", "Task run failed with state:"))


_only_what_is_new = _OnlyWhatIsNew()


def quieten_task_runs() -> None:
    """Log a renewal's sentence only once. A run calls this when it is opened. A second call changes nothing."""
    logging.getLogger(TASK_RUN_LOGGER).addFilter(_only_what_is_new)


async def run_telling_its_end(step: Task[..., Any], *args: Any, **kwargs: Any) -> State[Any]:
    """
    Run a task as calling it with `return_state` does, but tell the server only what its pages show.

    A task run that is called is Pending for no time at all, and is Running for a moment. Prefect tells both to the
    server nevertheless: two thirds of all events of a sweep, and of what they take in its database. Pending is told
    only of task runs that Prefect has made itself, so the task run is made here. For Running see `_Beginning`.
    """
    parameters = get_call_parameters(step.fn, args, kwargs)
    made = await step.create_local_run(parameters=parameters)
    beginning = _Beginning(made)
    token = _beginning.set(beginning)
    try:
        state = await run_task_async(step, task_run=made, parameters=parameters, return_type="state")
    finally:
        beginning.is_over()
        _beginning.reset(token)
    return cast("State[Any]", state)


class _Beginning:
    """
    The state Running of one task run, which the server is told if it lasts for `SHOWN_AFTER`.

    The end of a task run tells the server its start as well. No page of Prefect shows the states that it had before.
    """

    def __init__(self, task_run: TaskRun) -> None:
        self.task_run_id = task_run.id
        self._timer: asyncio.TimerHandle | None = None
        self._told: Event | None = None

    def wait(self, task_run: TaskRun, before: State[Any] | None, state: State[Any]) -> None:
        """Tell it later."""
        tell, loop = partial(copy_context().run, self._tell, task_run, before, state), asyncio.get_running_loop()
        # A cancelled timer keeps its context until its time has come, and this one has all that the task works with.
        self._timer = loop.call_later(SHOWN_AFTER, tell, context=Context())

    def is_over(self) -> Event | None:
        """Tell it no more; returns the event if it was told."""
        if self._timer is not None:
            self._timer.cancel()
        return self._told

    def _tell(self, task_run: TaskRun, before: State[Any] | None, state: State[Any]) -> None:
        self._told = _tell_with_its_run_only(task_run, before, state, None)


_beginning: ContextVar[_Beginning | None] = ContextVar("beginning", default=None)


def _tell_what_is_shown(
    task_run: TaskRun, initial_state: State[Any] | None, validated_state: State[Any], follows: Event | None = None
) -> Event | None:
    """Stands in for the function by which Prefect's engine tells the server each state of a task run."""
    beginning = _beginning.get()
    if beginning is None or beginning.task_run_id != task_run.id:
        return _tell(task_run, initial_state, validated_state, follows)
    if validated_state.type == StateType.RUNNING and task_run.run_count == 1:
        beginning.wait(task_run, initial_state, validated_state)
        return None
    told = beginning.is_over()
    tell = _tell_with_its_run_only if validated_state.type == StateType.COMPLETED else _tell
    return tell(task_run, initial_state, validated_state, follows or told)


vars(task_engine)[_tell.__name__] = _tell_what_is_shown


def _tell_with_its_run_only(
    task_run: TaskRun, before: State[Any] | None, state: State[Any], follows: Event | None
) -> Event | None:
    """
    Tell a state, and name only the flow run in its event, not what is the same for all of the run's events.

    Flow, deployment and tags are rows and entries in indexes like the work pool. Prefect looks them up for a `FlowRun`,
    so it is given an object with the run's id and name alone. Events of failed task runs name all: alarms may ask.
    """
    context = FlowRunContext.get()
    if context is None or context.flow_run is None:
        return _tell(task_run, before, state, follows)
    run = SimpleNamespace(id=context.flow_run.id, name=context.flow_run.name)
    with context.model_copy(update={"flow_run": run}):
        return _tell(task_run, before, state, follows)


@contextmanager
def events_name_no_pool() -> Iterator[None]:
    """
    Leave work pool and work queue out of the events of this run and its task runs, until the block ends.

    Prefect names in each event all that the run has to do with. Each takes a row of the server's database and entries
    in five indexes, and the pool is the same for each run. The run's own state changes, which the server tells, still
    name it.
    """
    context = FlowRunContext.get()
    if context is None or context.flow_run is None:
        yield
        return
    fewer = {"work_pool_name": None, "work_queue_id": None}
    with context.model_copy(update={"flow_run": context.flow_run.model_copy(update=fewer)}):
        yield


def keep_memory_constant() -> None:
    """
    Drop notes on results that no longer exist, so that a long sweep needs no more memory. Call it after each task run.

    For the arrows of the run graph Prefect notes which task run every result came from, and drops no note: a gigabyte
    for 100,000 renewals. A result that no longer exists cannot be passed to another task, so its note is useless.
    """
    context = FlowRunContext.get()
    if context is None or next(_task_runs) % FORGET_EVERY:
        return
    noted = context.run_results
    for key in [key for key, (_, _, result) in noted.items() if result is None or result() is None]:
        del noted[key]
