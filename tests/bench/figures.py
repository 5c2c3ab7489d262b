"""What one contestant did in one round, and what follows from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Round:
    """The rules of a round. Seconds are real ones."""

    name: str
    renewals: int
    limited: bool
    window_scale: float
    copy_seconds: float

    @property
    def writes_per_window(self) -> int:
        """The documented limit of the test environment, writes in any window."""
        return 100

    @property
    def window_seconds(self) -> float:
        """The long window."""
        return 60 * self.window_scale


@dataclass(frozen=True)
class Figures:
    """One contestant in one round. CPU and memory are `None` where the system cannot tell."""

    contestant: str
    renewals: int
    seconds: float
    writes: int
    reads: int
    throttled: int
    cpu_seconds: float
    server_cpu_seconds: float | None
    sandbox_cpu_seconds: float | None
    peak_megabytes: float
    share_of_limit: float | None
    """Of the writes that the limit allows while work is waiting, those that were made; between 0 and 1."""
    task_runs: int = 0
    duplicates: int = 0

    @property
    def per_second(self) -> float:
        """Renewals per second of the work."""
        return self.renewals / self.seconds

    @property
    def writes_each(self) -> float:
        """Writes per renewal."""
        return self.writes / self.renewals

    @property
    def reads_each(self) -> float:
        """Reads per renewal."""
        return self.reads / self.renewals

    @property
    def cpu_each(self) -> float:
        """CPU seconds per renewal of the contestant's own process."""
        return self.cpu_seconds / self.renewals

    @property
    def server_cpu_each(self) -> float | None:
        """CPU seconds per renewal of the Prefect server."""
        return None if self.server_cpu_seconds is None else self.server_cpu_seconds / self.renewals


def share_of_limit(writes: Sequence[float], last_create: float, window_seconds: float, limit: int) -> float | None:
    """
    The share of the limit that was used while work was waiting.

    Counted over as many whole windows as fit between the first write and the last creation: in that time a
    sliding window lets exactly `limit` through per window, so 1.0 is reached by nobody who is not perfect.

    Args:
        writes: instants of all accepted writes, seconds.
        last_create: instant at which the last copy was created; from then on too little work is left.
        window_seconds, limit: the limit.

    Returns:
        A share, or `None` when the round was shorter than one window.
    """
    if not writes:
        return None
    first = min(writes)
    windows = int((last_create - first) / window_seconds)
    if windows < 1:
        return None
    end = first + windows * window_seconds
    return sum(first <= at < end for at in writes) / (windows * limit)
