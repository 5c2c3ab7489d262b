"""
A read replica that lags: committed writes reach it some seconds later, in the order of their commits.

Commerce Layer may answer lists from such a replica; that is not documented.
"""

from __future__ import annotations

import sqlite3
from collections import deque
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Any

from blocks.sandbox.shop.scheduler import Scheduler


class Replica:
    """
    A second database that shows the first as it was `seconds` of the sandbox's clock ago.

    If the clock is set back, writes that are now in the future are shown at once.
    """

    def __init__(
        self, connection: sqlite3.Connection, scheduler: Scheduler, seconds: float, resource_types: Collection[str]
    ) -> None:
        self._connection = connection
        self._scheduler = scheduler
        self._open: list[tuple[datetime | None, str, Sequence[Any]]] = []
        self._committed: deque[tuple[datetime, str, Sequence[Any]]] = deque()
        self.seconds = seconds
        self.resource_types = resource_types

    def execute(self, sql: str, values: Sequence[Any] = ()) -> sqlite3.Cursor:
        """Run one SELECT."""
        return self._connection.execute(sql, values)

    def write(self, sql: str, values: Sequence[Any]) -> None:
        """Note a write of the open transaction."""
        self._open.append((self._scheduler.moment, sql, values))

    def position(self) -> int:
        """The number of writes in the open transaction."""
        return len(self._open)

    def undo(self, position: int) -> None:
        """Drop the open transaction's writes after `position`."""
        del self._open[position:]

    def commit(self) -> None:
        """
        Note that the open transaction was committed.

        Writes of a scheduled action count from the instant at which it was due, all others from now.
        """
        now = self._scheduler.now()
        self._committed.extend((moment or now, sql, values) for moment, sql, values in self._open)
        self._open.clear()
        self.catch_up()

    def catch_up(self) -> None:
        """Apply the writes that are old enough by now."""
        now = self._scheduler.now()
        visible = now - timedelta(seconds=self.seconds)
        while self._committed and not visible < self._committed[0][0] <= now:
            _, sql, values = self._committed.popleft()
            self._connection.execute(sql, values)

    def close(self) -> None:
        """Drop the data."""
        self._connection.close()
