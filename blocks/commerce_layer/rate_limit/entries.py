"""What a history notes of requests: those in the windows, those of others, those that wait, and what answers told."""

from __future__ import annotations

from dataclasses import dataclass

LEASE_SECONDS = 60.0
"""A request without an answer is given up by then (its sender may have died); it counts from there."""


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
        """When its time in the windows begins, at the latest."""
        return self.taken + LEASE_SECONDS if self.answered is None else self.answered


@dataclass(slots=True)
class Foreign:
    """Requests from this address that are not ours, seen through the headers."""

    at: float
    method: str
    count: int


@dataclass(frozen=True, slots=True)
class Ask:
    """Someone who wants to send: `owner` is one client, `kind` decides its share."""

    owner: str
    kind: str
    method: str
    endpoint: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What an answer told about the limits; None where its headers were silent."""

    status: int
    limit: int | None = None
    interval: float | None = None
    remaining: int | None = None
