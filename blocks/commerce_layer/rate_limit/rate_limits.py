"""How many requests Commerce Layer allows, and how to correct these figures."""

from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

REQUEST_CLASSES = Literal["write", "read", "token"]

AVERAGE_SECONDS = 60.0
BURST_SECONDS = 10.0


class RateLimits(BaseModel):
    """
    Corrections to the documented rate limits. Leave everything empty for Commerce Layer itself.

    The documented figures (per source address, sliding windows): 200 writes and 200 reads in any
    60 s in live mode, 100 and 100 in test mode; a quarter of that to one endpoint in any 10 s;
    30 token requests in any 60 s. Source: Commerce Layer docs, "Rate limits".
    """

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    writes_per_minute: int | None = Field(default=None, ge=1)
    """Writes allowed in any 60 s. Empty: the documented figure, corrected by the headers of answers."""
    reads_per_minute: int | None = Field(default=None, ge=1)
    """Uncacheable reads allowed in any 60 s. Empty: as above."""
    window_scale: float = Field(default=1.0, gt=0, le=1)
    """Length of both windows relative to the documented 60 s and 10 s; for a sandbox with faster ones."""
    guard_seconds: float = Field(default=0.01, ge=0, le=10)
    """Seconds to wait beyond a window before its place is used again: a margin for drifting clocks."""
    unlimited: bool = False
    """Do not limit at all; for a sandbox without limits. Never against Commerce Layer."""

    def window_of(self, request_class: REQUEST_CLASSES, mode: Literal["test", "live"]) -> "Windows":
        """The two windows of a class of requests, in seconds and requests."""
        documented = 200 if mode == "live" else 100
        own = {"write": self.writes_per_minute, "read": self.reads_per_minute, "token": 30}[request_class]
        return Windows(
            average=documented if own is None else own,
            seconds=AVERAGE_SECONDS * self.window_scale,
            guard=self.guard_seconds,
            learns_average=own is None or request_class == "token",
            # The header has whole seconds only, so the length of a scaled window is configured, not learned.
            learns_seconds=self.window_scale == 1,
        )


@dataclass(frozen=True, slots=True)
class Windows:
    """The limits of one class: `average` requests in `seconds`, a quarter of them to one endpoint in a sixth of it."""

    average: int
    seconds: float
    guard: float = 0.0
    learns_average: bool = True
    """Whether the headers of answers may correct `average`."""
    learns_seconds: bool = True
    """Whether the headers of answers may correct `seconds`."""

    @property
    def burst(self) -> int:
        """Requests to a single endpoint within `burst_seconds`; every documented figure is a quarter."""
        return max(1, self.average // 4)

    @property
    def burst_seconds(self) -> float:
        """Seconds of the short window."""
        return self.seconds * BURST_SECONDS / AVERAGE_SECONDS
