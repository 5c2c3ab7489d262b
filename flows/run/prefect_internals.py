"""
The two places where we reach past Prefect's public interface. `tests/flows/test_prefect_internals.py` notices when
Prefect changes there.
"""

from __future__ import annotations

import itertools
import logging

from prefect.context import FlowRunContext

FORGET_EVERY = 500
"""Task runs after which Prefect's notes on results that are no more are thrown away."""

TOLD_BY_THEIR_STATES = frozenset({"create_order_copy", "poll_order_copy", "place_target_order", "record_outcome"})
"""Tasks that run once for each renewal. Their page in the UI shows their sentence; a red one logs it once, itself."""

TASK_RUN_LOGGER = "prefect.task_runs"

_task_runs = itertools.count(1)


class _OnlyWhatIsNew(logging.Filter):
    """
    Drops what Prefect logs about the end of a renewal's task runs: "Finished in state Failed('...')" and its like.

    It repeats the state's own sentence, with its type and its quotes, for four task runs a renewal; storing that takes
    the server a sixth of its time. Prefect has no setting for it.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the line is kept."""
        if getattr(record, "task_name", "") not in TOLD_BY_THEIR_STATES:
            return True
        return not record.getMessage().startswith(("Finished in state", "Task run failed with state:"))


_only_what_is_new = _OnlyWhatIsNew()


def quieten_task_runs() -> None:
    """Log a renewal's sentence once. A run calls it when it is opened; calling it again changes nothing."""
    logging.getLogger(TASK_RUN_LOGGER).addFilter(_only_what_is_new)


def keep_memory_constant() -> None:
    """
    Forget results that are no more, so that a long sweep does not grow. Call it after each task run.

    For the arrows of the run graph Prefect notes which task run every result came from, and never forgets one: a
    gigabyte for 100,000 renewals. Results that are no more cannot be handed to another task.
    """
    context = FlowRunContext.get()
    if context is None or next(_task_runs) % FORGET_EVERY:
        return
    noted = context.run_results
    for key in [key for key, (_, _, result) in noted.items() if result is None or result() is None]:
        del noted[key]
