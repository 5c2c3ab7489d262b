"""What a contestant gets at the start, and what it prints at the end. Each runs in a process of its own."""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from dataclasses import asdict, dataclass
from types import TracebackType
from typing import Any

VARIABLE = "BENCH_TICKET"


@dataclass(frozen=True)
class Ticket:
    """The shop to renew in, and the rules of the round. Seconds are real ones."""

    api_url: str
    auth_url: str
    organization: str
    client_id: str
    client_secret: str
    window_scale: float
    """Length of the rate windows relative to the documented ones."""
    limited: bool
    copy_seconds: float
    """How long the shop takes for a copy."""
    at_once: int
    """Renewals that a contestant without a limiter works on at the same time."""

    @property
    def poll_seconds(self) -> float:
        """How often a contestant that polls copy by copy asks: about three times per copy."""
        return max(0.1, self.copy_seconds / 3)

    @property
    def window_seconds(self) -> float:
        """The long rate window."""
        return 60 * self.window_scale

    @classmethod
    def given(cls) -> Ticket:
        """The ticket of this process."""
        return cls(**json.loads(os.environ[VARIABLE]))

    def as_environment(self) -> dict[str, str]:
        """How it is handed to a process."""
        return {VARIABLE: json.dumps(asdict(self))}


class Stopwatch:
    """Measures the work between its start and its end; starting Python and importing does not count."""

    def __enter__(self) -> Stopwatch:
        self._began = time.monotonic(), _cpu_seconds()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        began, cpu = self._began
        self.seconds, self.cpu_seconds = time.monotonic() - began, _cpu_seconds() - cpu

    def tell(self, **more: Any) -> None:
        """Print the result as the last line of standard output."""
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        megabytes = peak / (1024 * 1024 if sys.platform == "darwin" else 1024)
        told = {"seconds": self.seconds, "cpu_seconds": self.cpu_seconds, "peak_megabytes": megabytes, **more}
        print(json.dumps(told), flush=True)


def _cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime
