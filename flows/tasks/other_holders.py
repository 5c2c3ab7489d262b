"""
Whether a shard whose slot is free, or occupied for long, has a living holder all the same.

A free slot is no proof: people reset limits, and a server that dies while it takes a lease back has freed the slot and
keeps the lease. The holder goes on writing until its next confirmation. So a slot counts only together with the leases
that are published for it: who finds a living one among them gives the slot back, and the holder, seeing it free, stops.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from uuid import UUID

import httpx
from prefect.client.orchestration import PrefectClient
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound

from flows.tasks.prompt_client import passed, promptly
from flows.tasks.published_leases import Asked, PublishedLease, read_board, write_down_that_asked
from flows.tasks.writer_limits import renew

ASK_AGAIN_AFTER = 3.0
"""Seconds after which the first yes is asked for again: the server frees the slots of a lease, then forgets it."""


CLOCK_TOLERANCE = 60.0
"""Seconds in the future that a note may be of; a clock that was set back by hours must not close a shard for hours."""


class OtherHolders:
    """
    What one run knows of the leases that are published.

    Args:
        api: the server.
        rests: seconds, added to those of a lease that lives, in which it is not asked for again: by then the server
            has taken it back if nobody else confirmed it, and once more if its holder did, just before it stopped.
    """

    def __init__(self, api: PrefectClient, rests: float) -> None:
        self._api, self._rests = api, rests
        self._over: set[UUID] = set()
        self._doubtful: set[UUID] = set()
        self._in_the_way: dict[PublishedLease, float] = {}

    def is_over(self, lease_id: UUID) -> None:
        """Take in that a lease has ended; that is for ever."""
        self._over.add(lease_id)

    def may_live(self, lease: PublishedLease) -> bool:
        """Whether a lease is not known to be over."""
        return lease.lease_id not in self._over

    def are_in_the_way(self, shards: Iterable[int]) -> bool:
        """
        Whether a holder of any of `shards` was found alive a while ago, without asking anybody.

        Whoever waits for it leaves the slot alone: the holder must see it free to know that it has to stop.
        """
        wanted, now = set(shards), passed()
        self._in_the_way = {lease: until for lease, until in self._in_the_way.items() if until > now}
        return any(wanted & set(lease.shards) for lease in self._in_the_way)

    async def hold(self, shards: Iterable[int]) -> bool:
        """
        Whether somebody holds `shards`, the slots of which are ours.

        Raises:
            HTTPError: that cannot be known.
        """
        board = await read_board(self._api)
        for lease in board.of(shards):  # what cannot be read does not count: a living holder soon writes it again
            if await self._holds(lease, board.asked.get(lease.lease_id)):
                return True
        return False

    async def _holds(self, lease: PublishedLease, asked: Asked | None) -> bool:
        until = passed() + self._rest(lease)
        if asked is not None and asked.though_free and self.was_asked_for(lease, asked):
            self._in_the_way[lease] = until - asked.ago
        elif not await self.lives(lease):
            return False
        elif lease.lease_id in self._doubtful:
            self._in_the_way[lease] = until
            await self.write_down(lease, though_free=True)
        else:
            self._doubtful.add(lease.lease_id)
            self._in_the_way[lease] = passed() + ASK_AGAIN_AFTER
        return True

    async def lives(self, lease: PublishedLease) -> bool:
        """
        Ask the server, which prolongs the lease; not for one that is known to be over.

        Raises:
            HTTPError: that cannot be known.
        """
        if self.may_live(lease) and not await promptly(renew, self._api, lease.lease_id, lease.seconds):
            self.is_over(lease.lease_id)
        return self.may_live(lease)

    def was_asked_for(self, lease: PublishedLease, asked: Asked | None) -> bool:
        """Whether it may live only because somebody asked."""
        if asked is None or not self.may_live(lease):
            return False
        return -CLOCK_TOLERANCE < asked.ago < self._rest(lease)

    async def write_down(self, lease: PublishedLease, *, though_free: bool) -> None:
        """Tell the other waiters that the lease was asked for, and lives."""
        with suppress(httpx.HTTPError, ObjectNotFound, ObjectAlreadyExists):  # then they ask once more
            await write_down_that_asked(self._api, lease, though_free=though_free)

    def _rest(self, lease: PublishedLease) -> float:
        return lease.seconds + self._rests
