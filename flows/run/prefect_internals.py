"""
The two places where we reach past Prefect's public interface. `tests/flows/test_prefect_internals.py` notices when
Prefect changes there.
"""

from __future__ import annotations

import itertools
import logging

from prefect.context import FlowRunContext

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
