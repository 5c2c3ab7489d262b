"""
What the owners of a budget may send while they cannot see each other's requests.

Each counts its own requests as if every other owner had sent as many. If n owners were seen last, none then sends more
than one n-th of what was left, so all together send no more than the limit allows.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from blocks.commerce_layer.rate_limit.entries import Entry


@dataclass(frozen=True, slots=True)
class Division:
    """Among how many owners the limits are divided, and from when until when (seconds on the history's clock)."""

    among: int
    since: float
    until: float = math.inf

    def merged(self, other: Division | None) -> Division:
        """Both at once: the more careful of each figure."""
        if other is None:
            return self
        return Division(max(self.among, other.among), min(self.since, other.since), max(self.until, other.until))

    def unseen(self, entries: Iterable[Entry], owner: str) -> Iterator[float]:
        """From when those requests count that the others may have sent unseen, as `owner` must assume."""
        recent = [entry for entry in entries if entry.taken >= self.since]
        own = [entry.counts_from for entry in recent if entry.owner == owner]
        missing = (self.among - 1) * len(own) - (len(recent) - len(own))
        if missing > 0:
            yield from sorted(own * (self.among - 1))[-missing:]

    def limit(self, limit: int, ahead: int) -> int:
        """Below which count one more request of an owner fits, after `ahead` others; one fits into an empty window."""
        return max(1, limit - self.among + 1) - self.among * ahead

    def waits_for_the_first_answer(self, entries: Iterable[Entry], owner: str) -> bool:
        """Whether the owner's first request is under way: its answer tells how much the others have sent."""
        own = [entry.answered for entry in entries if entry.owner == owner and entry.taken >= self.since]
        return own == [None]
