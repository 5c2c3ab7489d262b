"""A lease while it is held: its times, when it was last confirmed, and the fence that stands on that."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from uuid import UUID

from blocks.commerce_layer.errors import Fenced
from flows.tasks.prompt_client import passed
from flows.tasks.published_leases import PublishedLease
from flows.tasks.writer_limits import limit_name


@dataclass(frozen=True)
class LeaseTimes:
    """Seconds that decide who may write when."""

    lease: float = 105.0
    """How long the server keeps a lease that is no longer confirmed; 60 at least, as Prefect wants it."""
    wait: float = 300.0
    """How long to wait for a shard that somebody else holds."""
    confirm_every: float = 10.0
    """Between two confirmations of a lease that is held."""
    fence_after: float = 25.0
    """Since the last confirmation, after which nothing may be sent."""
    publish_within: float = 20.0
    """In which a new holder must have published its lease; a slower one gives up."""
    margin: float = 10.0
    """By which the server may be early: a lease that is this close to its end counts as lost."""
    repossession: float = 25.0
    """After its end in which the server frees an expired lease's slots, at the latest."""

    @classmethod
    def settling(cls, settle_seconds: float) -> LeaseTimes:
        """Times for a lease that, wherever its holder stops, ends later than `settle_seconds` after the last POST."""
        fence_after, margin = cls.fence_after, cls.margin
        lease = max(60.0, settle_seconds + fence_after + 2 * margin)
        # Long enough for a waiter to become certain that a slot is leaked, and to free it.
        wait = lease + cls.repossession + 4 * cls.publish_within + 60.0
        return cls(lease=lease, wait=wait)


class NoLease(Exception):  # noqa: N818 - says what happened, as the errors of the client do
    """The shard's lease could not be had: nothing was looked up and nothing was created."""

    def __init__(self, shards: tuple[int, ...], reason: str) -> None:
        super().__init__(shards, reason)
        self.shards, self.reason = shards, reason

    def __str__(self) -> str:
        return f"no writer lease for {', '.join(map(limit_name, self.shards))}: {self.reason}"


@dataclass
class Lease:
    """The lease of one or several shards while it is held by this process."""

    shards: tuple[int, ...]
    lease_id: UUID
    limit_ids: Mapping[str, UUID]
    confirmed_at: float
    times: LeaseTimes = field(repr=False)
    lost: str = ""
    on_their_way: int = 0
    holders: int = 0
    keeper: asyncio.Task[None] | None = field(default=None, repr=False)
    talk: asyncio.Lock = field(default_factory=asyncio.Lock, repr=False)

    @property
    def name(self) -> str:
        """Which limits it is on, as the Prefect UI lists them."""
        return ", ".join(map(limit_name, self.shards))

    @property
    def as_published(self) -> PublishedLease:
        """What others can read of it."""
        return PublishedLease(self.lease_id, self.shards, self.times.lease)

    @property
    def age(self) -> float:
        """Seconds since it was last confirmed."""
        return passed() - self.confirmed_at

    @property
    def may_be_over(self) -> bool:
        """Whether the server may have given it to somebody else, as far as this process can tell."""
        return bool(self.lost) or self.age > self.times.lease - self.times.margin

    def fence(self) -> None:
        """
        Say no when the lease may have passed to somebody else.

        Raises:
            Fenced: the lease is lost, or was last confirmed too long ago.
        """
        if self.lost:
            raise Fenced(f"the writer lease {self.name} is lost: {self.lost}")
        if self.age > self.times.fence_after:
            raise Fenced(f"the writer lease {self.name} was last confirmed {self.age:.0f} s ago")

    @contextmanager
    def request_on_its_way(self) -> Iterator[Callable[[], None]]:
        """
        Around a request that must not be overtaken by another writer's look.

        Yields what to call once its fate is known. Left without that call (an error, a cancelled run),
        the lease is not given back: it expires by itself, later than the request can still arrive.
        """
        self.on_their_way += 1
        known = False

        def fate_is_known() -> None:
            nonlocal known
            if not known:
                known = True
                self.on_their_way -= 1

        yield fate_is_known
