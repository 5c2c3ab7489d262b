"""What people see of a sweep while it runs and when it is over: progress, table, and a last sentence."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from datetime import datetime
from typing import Any
from uuid import UUID

from prefect.artifacts import acreate_progress_artifact, aupdate_progress_artifact
from prefect.client.schemas.objects import State
from prefect.events import emit_event
from prefect.logging import get_run_logger

from blocks.commerce_layer.errors import CommerceLayerError
from flows.rules.preparing import Preparation, PreparedAhead
from flows.rules.summaries import ROWS_KEPT, RenewalLine, RenewalSummary
from flows.rules.unrecorded_results import is_refusal
from flows.rules.waves import BrakePulled
from flows.run.context import Run
from flows.run.states import completed, failed

SIGN_OF_LIFE_EVERY = 30.0
"""Seconds of real time between two updates of the progress artifact while nothing ends."""

PROGRESS_EVERY = 2.0
"""Seconds between two updates of the progress artifact: often enough to watch, too rarely to cost much."""

LINES_BEFORE_FOLDING = 1000
"""So many lines are kept before they are folded into the summary, so that a long sweep needs little memory."""

Watcher = Callable[["Report"], None]
_watcher: ContextVar[Watcher | None] = ContextVar("perennial_report_watcher", default=None)


@contextmanager
def watched_by(watcher: Watcher) -> Iterator[None]:
    """Call `watcher` after every line of the reports opened in this context, e.g. to draw a progress bar."""
    token = _watcher.set(watcher)
    try:
        yield
    finally:
        _watcher.reset(token)


class Report:
    """Collects the lines of one sweep in bounded memory, and shows how far it is."""

    def __init__(self, run: Run, progress_artifact: UUID) -> None:
        self.due = 0
        self.done = 0
        self.charged_twice: set[str] = set()
        """References with two placed orders. Each is reported once."""
        self._run = run
        self._progress_artifact = progress_artifact
        self._shown_at = 0.0
        self._began_at = time.monotonic()
        self._folded = RenewalSummary(as_of=run.as_of)
        self._lines: list[RenewalLine] = []
        self._overdue: list[datetime] = []
        self._brake: BrakePulled | None = None
        self._gave_up: str | None = None
        self._refused_checks: list[str] = []
        self.ahead: PreparedAhead | None = None
        self.failing_ahead: list[Preparation] = []
        """What will fail when it is due, at most as much as a table shows."""

    def expect(self, due: int) -> None:
        """Add to the number of subscriptions that the sweep will work on."""
        self.due += due

    def add(self, line: RenewalLine, *, was_due: bool = True) -> None:
        """Add one line. `was_due`: whether it is one of those that were expected."""
        self._lines.append(line)
        self._count_overdue(line)
        self.done += was_due
        if len(self._lines) >= LINES_BEFORE_FOLDING:
            self._fold()
        self._tell_watcher()

    def add_summary(self, batch: RenewalSummary) -> None:
        """Add the summary of a batch that another run did."""
        self._folded = RenewalSummary.together([self._folded, batch], self._run.as_of)
        self.done += batch.total
        self._tell_watcher()

    @property
    def brake(self) -> BrakePulled | None:
        """Why the sweep stops; None as long as it goes on."""
        return self._brake

    def brake_pulled(self, pulled: BrakePulled) -> None:
        """Note that the sweep stops, and tell automations at once."""
        if self._brake is not None:
            return
        self._brake = pulled
        emit_event(
            event="perennial.sweep.stopped",
            resource={
                "prefect.resource.id": f"perennial.shop.{self._run.organization}",
                "prefect.resource.name": self._run.organization,
                "perennial.failure-class": pulled.cls.value if pulled.cls else "",
            },
            payload={"sentence": pulled.sentence, "flow_run_id": self._run.identity.flow_run_id},
        )

    def give_up(self, error: Exception) -> None:
        """Note that the sweep cannot go on, and why."""
        self._gave_up = str(error)

    @property
    def is_stopped(self) -> bool:
        """Whether the sweep stopped before its end: then the shop or a person has a reason not to go on."""
        return self._brake is not None or self._gave_up is not None

    def add_preparation(self, found: Preparation) -> None:
        """Count one renewal that is prepared ahead. It has no line among the renewals."""
        before = self.ahead or PreparedAhead()
        which = "ready" if found.is_ready else "will_fail" if found.will_fail else "not_known"
        self.ahead = before.model_copy(update={which: getattr(before, which) + 1})
        if found.will_fail and len(self.failing_ahead) < ROWS_KEPT:
            self.failing_ahead.append(found)

    def not_checked(self, what: str, error: CommerceLayerError) -> None:
        """
        Note that a check of the whole shop could not be made; `what` completes "... could not be checked".

        The next sweep makes it, unless Commerce Layer refuses it: it will again, so a person must act.
        """
        get_run_logger().warning("%s could not be checked: %s", what, error)
        if is_refusal(error):
            said = f"{what} cannot be checked ({error}): let the API client read order copies, orders and subscriptions"
            self._refused_checks.append(said)

    def summary(self) -> RenewalSummary:
        """The summary of all lines so far."""
        while self._run.withdrawals.cancelled_after_placing:
            order_id = self._run.withdrawals.cancelled_after_placing.pop()
            self.add(RenewalLine.cancelled_after_placing(order_id), was_due=False)
        self._fold()
        requests = Counter(self._folded.requests)
        for (method, _), count in self._run.client.requests_made.items():
            requests[method] += count
        return self._folded.model_copy(
            update={
                "seconds": round(time.monotonic() - self._began_at, 1),
                "requests": dict(requests),
                "brake": self._brake.sentence if self._brake else self._folded.brake,
                "gave_up": self._gave_up or self._folded.gave_up,
                "unchecked": "; ".join(dict.fromkeys(self._refused_checks)) or self._folded.unchecked,
                "charging_stopped": self._charging_stopped() or self._folded.charging_stopped,
                "left": max(0, self.due - self.done),
                "overdue": self._folded.overdue + len(self._overdue),
                "overdue_since": min([*self._overdue, *filter(None, [self._folded.overdue_since])], default=None),
                "ahead": self.ahead,
                "surplus": self._folded.surplus + self._run.withdrawals.surplus,
            }
        )

    def _charging_stopped(self) -> str | None:
        found = self._run.stop_switch.found_stopped
        return found.sentence if found else None

    async def show(self, *, at_once: bool = False) -> None:
        """Update the progress artifact, unless it was updated a moment ago."""
        if at_once or time.monotonic() - self._shown_at >= PROGRESS_EVERY:
            self._shown_at = time.monotonic()
            share = 100.0 if self.due == 0 else 100.0 * min(self.done, self.due) / self.due
            said = f"{self.done} of {self.due} renewals"
            try:
                await aupdate_progress_artifact(self._progress_artifact, progress=share, description=said)
            except Exception as error:  # noqa: BLE001 - a progress bar must not fail a renewal
                get_run_logger().warning("the progress could not be shown: %s", type(error).__name__)

    def _count_overdue(self, line: RenewalLine) -> None:
        since = line.open_since
        if since is not None and self._run.as_of - since >= self._run.policy.stuck_after_delay:
            self._overdue.append(since)

    def _tell_watcher(self) -> None:
        watcher = _watcher.get()
        if watcher is not None:
            watcher(self)

    def _fold(self) -> None:
        new = RenewalSummary.of(self._lines, self._run.as_of)
        self._folded = RenewalSummary.together([self._folded, new], self._run.as_of)
        self._lines = []


@asynccontextmanager
async def open_report(run: Run) -> AsyncIterator[Report]:
    """A report with its progress artifact in the UI."""
    artifact_id = await acreate_progress_artifact(progress=0.0, description="looking for due subscriptions")
    report = Report(run, artifact_id)
    alive = asyncio.create_task(_show_signs_of_life(report))
    try:
        yield report
    finally:
        alive.cancel()
        await report.show(at_once=True)


async def _show_signs_of_life(report: Report) -> None:
    """Update the progress artifact also while nothing ends, so that others see that the run's process is alive."""
    while True:
        await asyncio.sleep(SIGN_OF_LIFE_EVERY)  # real time, also under a test's clock: other processes wait for it
        await report.show(at_once=True)


def final_state(summary: RenewalSummary) -> State[Any]:
    """Completed if no renewal needs a person; else Failed, with the reason."""
    facts = summary.model_dump(mode="json", exclude={"rows"})
    tell = failed if summary.needs_attention else completed
    return tell(summary.headline, facts)
