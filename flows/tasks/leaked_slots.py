"""
Slots that nobody holds any more, and how a waiter frees them without ever freeing a living holder's.

A server that keeps its leases in memory (Prefect's default) forgets them at a restart, but not the occupied slots:
nobody would ever renew those shards again. Each holder therefore publishes its lease's id, and a waiter who is
refused for long asks the server for that very lease. If it is gone, and stays gone, the slot is freed.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from uuid import UUID

import httpx
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import GlobalConcurrencyLimitUpdate
from prefect.exceptions import ObjectNotFound
from prefect.logging import get_logger

from flows.tasks.other_holders import OtherHolders
from flows.tasks.prompt_client import passed, promptly
from flows.tasks.published_leases import Board, PublishedLease, publish, read_board
from flows.tasks.writer_limits import REPAIR_LIMIT, limit_name, occupy, release, what_is_wrong

REPAIR_WITHIN = 20.0
"""Seconds that a repair may take; it is under a lease of three times as long, so that no other can begin meanwhile."""

LOOK_EVERY = 3.0
"""Seconds between two looks of a waiter: one small request each."""

_logger = get_logger("perennial.leases")


class Suspicion:
    """
    When a waiter may conclude that a slot is occupied by nobody.

    A living holder confirms its lease, or the server frees the slot by itself within the lease's time and a
    little. So: the same leases published all that time -> ask for them once (asking prolongs them, so not more
    often) -> all are gone, and nobody publishes another for three times as long as a new holder may take.

    Args:
        patience: seconds longer than any lease lives without its holder.
        publish_within: seconds within which a new holder publishes its lease, or gives it up.
    """

    def __init__(self, patience: float, publish_within: float) -> None:
        self._patience, self._grace = patience, 3 * publish_within
        self._published: frozenset[UUID] | None = None
        self._unchanged_since: float | None = None
        self._gone_since: float | None = None

    def worth_asking(self, leases: frozenset[UUID] | None, now: float) -> bool:
        """Whether `leases` have stood unchanged for longer than a lease without its holder can live."""
        if self._unchanged_since is None or leases is None or leases != self._published:
            self._published, self._unchanged_since, self._gone_since = leases, now, None
            return False
        return self._gone_since is None and now - self._unchanged_since >= self._patience

    def answered(self, alive: bool, now: float) -> None:  # noqa: FBT001 - the answer is a yes or a no
        """Take in what the server said of the published leases."""
        self._unchanged_since, self._gone_since = now, None if alive else now

    def is_certain(self, now: float) -> bool:
        """Whether the slot may be freed."""
        return self._gone_since is not None and now - self._gone_since >= self._grace


class Waiter:
    """What a waiter does between two tries to get the lease of `shards`."""

    def __init__(
        self, api: PrefectClient, others: OtherHolders, shards: Iterable[int], patience: float, publish_within: float
    ) -> None:
        self._api, self._others, self._shards = api, others, tuple(shards)
        self._times = patience, publish_within
        self._suspicion = Suspicion(patience, publish_within)
        self._next_look = 0.0

    async def look(self) -> None:
        """Look who holds the shards, now and then; when it is certain that nobody does, free their slots."""
        if passed() < self._next_look:
            return
        self._next_look = passed() + LOOK_EVERY
        board = await self._read()
        leases = None if board is None else _ids(board.of(self._shards))
        if self._suspicion.worth_asking(leases, passed()) and board is not None:
            await self._ask_for_those_on(board)
        if leases is not None and self._suspicion.is_certain(passed()):
            with suppress(httpx.HTTPError, ObjectNotFound):  # the next look finds it as it is then
                await self._repair(leases)
            self._suspicion = Suspicion(*self._times)

    async def _read(self) -> Board | None:
        """What is published; `None` when it cannot be read: that is no evidence of anything."""
        with suppress(httpx.HTTPError):
            board = await read_board(self._api)
            return board if board.is_whole else None
        return None

    async def _ask_for_those_on(self, board: Board) -> None:
        leases = board.of(self._shards)
        if any(self._others.was_asked_for(lease, board.asked.get(lease.lease_id)) for lease in leases):
            return  # later: a lease that every waiter asks for never ends
        alive = False
        for lease in leases:
            try:
                if await self._others.lives(lease):
                    await self._others.write_down(lease, though_free=False)
                    alive = True
            except httpx.HTTPError:
                alive = True  # not known to be gone
        self._suspicion.answered(alive, passed())

    async def _repair(self, known: frozenset[UUID]) -> None:
        """Free them, one waiter at a time, so that two cannot do it one after the other and let two writers in."""
        began_at = passed()
        repair_lease, limit_ids = await promptly(occupy, self._api, [REPAIR_LIMIT], 3 * REPAIR_WITHIN)
        wrong = await what_is_wrong(self._api, [REPAIR_LIMIT], limit_ids)
        if wrong:  # then others may be repairing, too
            _logger.warning("slots that seem to be nobody's are left occupied: %s", wrong)
            return
        for shard in self._shards:
            await self._free(shard, known, began_at)
        # Not given back when something went wrong: a writer may have taken the slot and not have published its lease
        # yet. By the time the repair's lease expires, it has.
        await release(self._api, repair_lease)

    async def _free(self, shard: int, known: frozenset[UUID], began_at: float) -> None:
        name = limit_name(shard)
        if (await promptly(self._api.read_global_concurrency_limit_by_name, name)).active_slots == 0:
            return
        board = await self._read()
        if board is None or not _ids(board.of([shard])) <= known or passed() - began_at > REPAIR_WITHIN:
            return  # somebody has taken it since, or may have
        # Sent once, whatever the answer: by the time of a second one, the slot may be a new holder's.
        await self._api.update_global_concurrency_limit(name, GlobalConcurrencyLimitUpdate(active_slots=0))
        _logger.warning("%s was occupied by a lease that no longer exists; it is free again", name)
        await self._leave_a_mark(shard)

    async def _leave_a_mark(self, shard: int) -> None:
        """Take the freed slot and publish that, before the repair ends: the next waiter must see that it was freed."""
        mark, _ = await promptly(occupy, self._api, [limit_name(shard)], 3 * REPAIR_WITHIN)
        await publish(self._api, PublishedLease(mark, (shard,), 3 * REPAIR_WITHIN))
        await release(self._api, mark)


def _ids(leases: Iterable[PublishedLease]) -> frozenset[UUID]:
    return frozenset(lease.lease_id for lease in leases)
