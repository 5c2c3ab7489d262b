"""The scheduler: runs actions at instants of the sandbox's clock, in order."""

from __future__ import annotations

import heapq
import itertools
import logging
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime

from blocks.sandbox.shop.virtual_clock import Clock

_LOG = logging.getLogger(__name__)


class Scheduler:
    """
    Holds actions and the instants at which they are due.

    An action checks the shop when it runs and does nothing if it is no longer wanted, so actions are never removed.
    Each runs within `attempt`, which rolls back a failing action. The failure is logged, and the others run.
    """

    def __init__(self, clock: Clock, attempt: Callable[[], AbstractContextManager[None]] = nullcontext) -> None:
        self._clock = clock
        self._attempt = attempt
        self._heap: list[tuple[datetime, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self.moment: datetime | None = None
        """While an action runs: the instant it was due at."""
        self.on_change: Callable[[], None] = lambda: None

    def now(self) -> datetime:
        """The present; while an action runs, the instant it was due at."""
        return self.moment or self._clock.now()

    def at(self, instant: datetime, action: Callable[[], None]) -> None:
        """Run `action` when the clock reaches `instant`; at once if it is past."""
        instant = max(instant, self.now())
        heapq.heappush(self._heap, (instant, next(self._order), action))
        if self._heap[0][0] == instant:
            self.on_change()

    def next_instant(self) -> datetime | None:
        """When the next action is due."""
        return self._heap[0][0] if self._heap else None

    def is_due(self) -> bool:
        """Whether an action is due."""
        return bool(self._heap) and self._heap[0][0] <= self._clock.now()

    def run_until(self, instant: datetime) -> int:
        """Run what is due up to `instant`, including what these actions schedule; returns how many ran."""
        ran = 0
        while self._heap and self._heap[0][0] <= instant:
            self.moment, _, action = heapq.heappop(self._heap)
            try:
                with self._attempt():
                    action()
            except Exception:  # noqa: BLE001  a mistake of ours must not stop the clock
                _LOG.exception("an action that was due at %s failed; the others go on", self.moment)
            finally:
                ran += 1
                self.moment = None
        return ran

    def clear(self) -> None:
        """Forget everything."""
        self._heap.clear()
