"""What will happen when: everything that waits in the sandbox waits here, in order of its instant."""

from __future__ import annotations

import heapq
import itertools
import logging
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime

from blocks.sandbox.shop.clock import Clock

_LOG = logging.getLogger(__name__)


class Scheduler:
    """
    Actions at instants of the sandbox's clock.

    An action looks at the shop when its turn comes and does nothing when it is no longer wanted, so
    nothing ever has to be taken off the list. Each runs within `attempt`, which undoes what a failing one did; it
    is logged, and the others go on.
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
        """Run `action` when the clock reaches `instant`; at once when that is past."""
        instant = max(instant, self.now())
        heapq.heappush(self._heap, (instant, next(self._order), action))
        if self._heap[0][0] == instant:
            self.on_change()

    def next_instant(self) -> datetime | None:
        """When the next action is due."""
        return self._heap[0][0] if self._heap else None

    def is_due(self) -> bool:
        """Whether an action waits whose time has come."""
        return bool(self._heap) and self._heap[0][0] <= self._clock.now()

    def run_until(self, instant: datetime) -> int:
        """Run what is due up to `instant`, also what these actions add; returns how many ran."""
        ran = 0
        while self._heap and self._heap[0][0] <= instant:
            self.moment, _, action = heapq.heappop(self._heap)
            try:
                with self._attempt():
                    action()
            except Exception:  # noqa: BLE001  a mistake of ours must not stop the clock
                _LOG.exception("what was due at %s failed; what else is due goes on", self.moment)
            finally:
                ran += 1
                self.moment = None
        return ran

    def clear(self) -> None:
        """Forget everything."""
        self._heap.clear()
