"""
The four places where we reach past Prefect's public interface. `tests/flows/test_prefect_internals.py` notices when
Prefect changes there.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

from prefect import Task
from prefect.client.schemas.objects import State
from prefect.context import FlowRunContext
from prefect.task_engine import run_task_async
from prefect.utilities.callables import get_call_parameters

FORGET_EVERY = 500
"""Task runs after which to drop Prefect's notes on results that no longer exist."""

TOLD_BY_THEIR_STATES = frozenset({"create_order_copy", "poll_order_copy", "place_target_order", "record_outcome"})
"""Tasks that run once for each renewal. Their page in the UI shows their sentence; a failed one logs it itself."""

TASK_RUN_LOGGER = "prefect.task_runs"

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


async def run_without_pending(step: Task[..., Any], *args: Any, **kwargs: Any) -> State[Any]:
    """
    Run a task as calling it with `return_state` does, but let its task run begin as Running.

    A task run that is called is Pending for no time at all. Prefect tells this to the server nevertheless, which is a
    third of all events of a sweep, and of what they take in its database. Prefect tells it only of task runs that it
    has made itself, so the task run is made here.
    """
    parameters = get_call_parameters(step.fn, args, kwargs)
    made = await step.create_local_run(parameters=parameters)
    state = await run_task_async(step, task_run=made, parameters=parameters, return_type="state")
    return cast("State[Any]", state)


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
