"""What the commands about a span share: reading its renewals with progress, and what may go wrong."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import date
from zoneinfo import ZoneInfo

from rich.console import Console

from flows.cli.refusals import CANNOT_ANSWER
from flows.rules.dashboard_links import Dashboard
from flows.rules.spans import EmptySpan, Span, span_of
from flows.run.context import Run, open_run
from flows.run.history import History, read_history

PROBLEMS = (*CANNOT_ANSWER, EmptySpan)
"""Why the renewals of a span could not be read. The message of each says what to do."""


@dataclass(frozen=True)
class SpanRead:
    """The renewals of a span, with the run that has read them."""

    run: Run
    span: Span
    dashboard: Dashboard
    history: History


@asynccontextmanager
async def reading(first: date, last: date, credentials: str, policy: str) -> AsyncIterator[SpanRead]:
    """
    Read the renewals of a span, and say on standard error how far it is.

    Raises one of `PROBLEMS`.
    """
    async with open_run(credentials, policy, as_of=None) as run:
        span = span_of(first, last, ZoneInfo(run.policy.time_zone))
        dashboard = Dashboard(run.organization, (await run.client.claims()).mode)
        with Console(stderr=True).status("reading the renewals") as status:
            history = await read_history(run, span, lambda done: status.update(f"reading the renewals: {done}"))
        yield SpanRead(run, span, dashboard, history)
