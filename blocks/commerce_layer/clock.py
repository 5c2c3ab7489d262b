"""The clock of all code that waits. Tests replace it by one that they advance."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """The time, for code that waits. Durations are in seconds."""

    def monotonic(self) -> float:
        """Seconds from an arbitrary start; never goes back. For deadlines and spacing."""
        ...

    def now(self) -> datetime:
        """The time of day in UTC, only for the expiry of tokens: `as_of` decides what is due."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Return once `seconds` have passed on this clock."""
        ...


class SystemClock:
    """The machine's own clock."""

    def monotonic(self) -> float:
        """`time.monotonic()`."""
        return time.monotonic()

    def now(self) -> datetime:
        """The machine's time of day, in UTC."""
        return datetime.now(UTC)

    async def sleep(self, seconds: float) -> None:
        """`asyncio.sleep`."""
        await asyncio.sleep(seconds)


system_clock: Clock = SystemClock()

_clock: ContextVar[Clock] = ContextVar("perennial_clock", default=system_clock)


def current_clock() -> Clock:
    """The clock of this context: the machine's, unless `use_clock` has set another one."""
    return _clock.get()


@contextmanager
def use_clock(clock: Clock) -> Iterator[Clock]:
    """Make everything in this context, and in the tasks that it starts, wait on `clock`."""
    token = _clock.set(clock)
    try:
        yield clock
    finally:
        _clock.reset(token)
