"""
The sandbox's own clock: it can be set, frozen, advanced and run at another speed.

Instants are datetimes in UTC with millisecond precision; on the wire and in the database they are
texts such as `2026-03-01T06:00:00.000Z`, which sort like the instants they name.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta


class Clock:
    """A clock that runs `rate` sandbox seconds per real second (0 = frozen), starting at any instant."""

    def __init__(self, start: datetime | None = None, rate: float = 1.0) -> None:
        self._base = start or datetime.now(UTC)
        self._mark = time.monotonic()
        self.rate = rate

    def now(self) -> datetime:
        """The sandbox's present instant, UTC."""
        if self.rate == 0:
            return self._base
        return self._base + timedelta(seconds=(time.monotonic() - self._mark) * self.rate)

    def set(self, instant: datetime) -> None:
        """Set the clock to `instant`."""
        self._base, self._mark = instant, time.monotonic()

    def run_at(self, rate: float) -> None:
        """Change the speed from now on; 0 freezes."""
        self.set(self.now())
        self.rate = rate

    def real_seconds_until(self, instant: datetime) -> float | None:
        """Real seconds until the clock shows `instant`: 0 when it is past, None when the clock is frozen."""
        seconds = (instant - self.now()).total_seconds()
        if seconds <= 0:
            return 0.0
        return None if self.rate == 0 else seconds / self.rate


def text_of(instant: datetime) -> str:
    """`2026-03-01T06:00:00.000Z` for an aware datetime."""
    return f"{instant.astimezone(UTC).isoformat(timespec='milliseconds')[:-6]}Z"


def instant_of(text: str) -> datetime:
    """
    Parse ISO 8601 from a client or the database into an aware datetime in UTC; without a zone it is UTC.

    Raises:
        ValueError: not a time, or outside the years that a datetime can hold.
    """
    try:
        instant = datetime.fromisoformat(text)
        return (instant if instant.tzinfo else instant.replace(tzinfo=UTC)).astimezone(UTC)
    except OverflowError as overflow:
        raise ValueError(text) from overflow
