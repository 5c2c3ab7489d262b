"""
One writer at a time per shard: leases on Prefect's concurrency limits.

A subscription belongs to one of `SHARDS` shards. Whoever looks for an order copy and then creates it
holds the shard's lease from before the look until the answer. The server takes a lease back when its
holder stops confirming it, so a killed worker blocks nobody for long.

Why not `prefect.concurrency.asyncio.concurrency`, which stands on the same endpoints:

* it gives the slot back on every exit. When we leave while a POST may still be on its way (Ctrl-C, a
  cancelled run), the next writer would look too early and create a second copy. Such a lease is left to
  expire: the server's own time-out is longer than the settle time;
* it does not tell when the lease was last confirmed, and the fence needs to know: a process that was
  paused longer than its lease must find out before it sends, not after;
* it notices neither a limit that was disabled, deleted or widened under its feet (`writer_limits.py`), nor a
  slot that was freed while its holder lives (`other_holders.py`), nor one that stays occupied for ever after a
  restart of the server (`leaked_slots.py`).
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from http import HTTPStatus
from uuid import UUID

import httpx
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import ConcurrencyLeaseHolder
from prefect.logging import get_logger

from flows.tasks.leaked_slots import Waiter
from flows.tasks.lease import Lease, LeaseTimes, NoLease
from flows.tasks.other_holders import OtherHolders
from flows.tasks.prompt_client import passed, promptly
from flows.tasks.published_leases import publish, read_board
from flows.tasks.writer_limits import limit_name, occupy, release, renew, what_is_wrong

__all__ = ["Lease", "LeaseTimes", "NoLease", "WriterLeases"]


class _StillHeld(Exception):  # noqa: N818 - says what is the matter
    """The slot was free, but its holder lives."""


class WriterLeases:
    """
    The leases that one flow run holds.

    Args:
        api: a client that tells at once when the server is busy; it must stay open.
        times: how long everything takes.
        flow_run_id: shown as the holder in Prefect.
    """

    def __init__(self, api: PrefectClient, times: LeaseTimes | None = None, flow_run_id: UUID | None = None) -> None:
        self._api = api
        self.times = times or LeaseTimes()
        self._holder = None if flow_run_id is None else ConcurrencyLeaseHolder(type="flow_run", id=flow_run_id)
        self._others = OtherHolders(api, self.times.repossession + self.times.confirm_every)
        self._held: dict[int, Lease] = {}
        self._turns: dict[int, asyncio.Lock] = {}
        self._logger = get_logger("perennial.leases")

    @asynccontextmanager
    async def holding(self, shards: Iterable[int]) -> AsyncIterator[dict[int, Lease]]:
        """
        Hold the leases of `shards`. Those that this run does not hold yet are taken in one request, all or none.

        Two chunks of one run may work in a shard side by side: a run's due list names a subscription once, so
        they never write for the same one. The last of them gives the lease back.

        Raises:
            NoLease: they could not be had within the time to wait.
        """
        wanted = sorted(set(shards))
        held = self._join(wanted)
        if held is None:
            async with AsyncExitStack() as turns:
                for shard in wanted:  # in ascending order, so that two chunks cannot wait for each other
                    await turns.enter_async_context(self._turns.setdefault(shard, asyncio.Lock()))
                held = self._join(wanted) or await self._take_missing(wanted)
        try:
            yield held
        finally:
            for lease in _distinct(held):
                await asyncio.shield(self._let_go(lease))

    def _join(self, wanted: Sequence[int]) -> dict[int, Lease] | None:
        """
        Share leases that this run holds already; `None` when one is missing.

        Never waits: a chunk that has its leases must not queue behind one that waits for others, or two runs could
        wait for each other.
        """
        held = {shard: lease for shard in wanted if (lease := self._held.get(shard)) and not lease.may_be_over}
        if len(held) < len(wanted):
            return None
        for lease in _distinct(held):
            lease.holders += 1
        return held

    async def _take_missing(self, wanted: Sequence[int]) -> dict[int, Lease]:
        missing = tuple(shard for shard in wanted if (lease := self._held.get(shard)) is None or lease.may_be_over)
        new = await self._take(missing)
        self._held |= dict.fromkeys(missing, new)
        held = self._join(wanted)
        if held is None:  # one that was held has been given back, or lost, while we waited
            self._held = {shard: lease for shard, lease in self._held.items() if lease is not new}
            await self._give_back(new)
            return await self._take_missing(wanted)
        return held

    async def _let_go(self, lease: Lease) -> None:
        lease.holders -= 1
        if lease.holders == 0:
            self._held = {shard: other for shard, other in self._held.items() if other is not lease}
            await self._give_back(lease)

    async def _take(self, shards: tuple[int, ...]) -> Lease:
        times = self.times
        deadline = passed() + times.wait
        patience = times.lease + times.repossession
        waiter = Waiter(self._api, self._others, shards, patience, times.publish_within)
        while (lease := await self._try_to_take(shards)) is None:
            if passed() >= deadline:
                raise NoLease(shards, f"another run has been writing there for {times.wait:.0f} s")
            await waiter.look()
            await asyncio.sleep(random.uniform(0.5, 1.5))  # noqa: S311 - so that waiters take turns
        lease.keeper = asyncio.create_task(self._keep(lease), name=f"keep {lease.name}")
        return lease

    async def _try_to_take(self, shards: tuple[int, ...]) -> Lease | None:
        if self._others.are_in_the_way(shards):
            return None
        lease = await self._occupy(shards)
        if lease is None:
            return None
        try:
            await self._publish(lease)
        except _StillHeld:
            return None
        return lease

    async def _occupy(self, shards: tuple[int, ...]) -> Lease | None:
        asked_at = passed()
        names = [limit_name(shard) for shard in shards]

        async def ask() -> tuple[UUID, dict[str, UUID]]:
            nonlocal asked_at
            asked_at = passed()  # of the request that was answered
            return await occupy(self._api, names, self.times.lease, self._holder)

        try:
            lease_id, limit_ids = await promptly(ask)
        except httpx.HTTPStatusError as error:
            if error.response.status_code == HTTPStatus.LOCKED:
                return None
            raise NoLease(shards, f"Prefect answered {error.response.status_code}") from error
        except httpx.HTTPError as error:
            raise NoLease(shards, f"Prefect's API cannot be reached ({type(error).__name__})") from error
        return Lease(shards, lease_id, limit_ids, asked_at, self.times)

    async def _publish(self, lease: Lease) -> None:
        """Publish a new lease, after making sure that nobody else is in, and that its limits let nobody in."""
        try:
            await self._make_sure(lease)
            await publish(self._api, lease.as_published)
            if lease.age > self.times.publish_within:
                raise NoLease(lease.shards, "publishing the lease took too long")
        except (NoLease, _StillHeld):
            await self._give_back(lease)
            raise
        except Exception as error:
            await self._give_back(lease)
            raise NoLease(lease.shards, f"the lease could not be published ({type(error).__name__})") from error

    async def _make_sure(self, lease: Lease) -> None:
        if wrong := await what_is_wrong(self._api, map(limit_name, lease.shards), lease.limit_ids):
            raise NoLease(lease.shards, wrong)
        if await self._others.hold(lease.shards):
            self._logger.warning("%s had a free slot, but its holder lives: the slot is given back", lease.name)
            raise _StillHeld

    async def _keep(self, lease: Lease) -> None:
        pause = self.times.confirm_every
        while not lease.lost:
            await asyncio.sleep(pause)
            try:
                async with lease.talk:
                    await self._confirm(lease)
                pause = self.times.confirm_every
            except Exception as error:  # noqa: BLE001 - whatever it is, the fence falls when nothing is confirmed
                pause = min(1.0, self.times.confirm_every)
                self._logger.warning("%s could not be confirmed: %s", lease.name, type(error).__name__)

    async def _confirm(self, lease: Lease) -> None:
        asked_at = passed()
        if not await renew(self._api, lease.lease_id, self.times.lease):
            lease.lost = "Prefect gave it away"
            return
        if lease.may_be_over:
            # The server prolongs an expired lease too, and may be freeing its slot at this very moment.
            lease.lost = f"it was not confirmed for {lease.age:.0f} s"
            return
        lease.confirmed_at = asked_at
        # Should what follows fail, the lease is confirmed all the same: a busy server is no sign of meddling.
        lease.lost = await what_is_wrong(self._api, map(limit_name, lease.shards), lease.limit_ids)
        if not lease.lost:
            await self._stay_published(lease)

    async def _stay_published(self, lease: Lease) -> None:
        ours = lease.as_published
        board = await read_board(self._api)
        # Those that were there when this lease was taken are known to be over, else it would not have been taken.
        if any(other.lease_id != ours.lease_id and self._others.may_live(other) for other in board.of(lease.shards)):
            lease.lost = "another writer has published its lease"
        elif ours not in board.leases:  # somebody has deleted or edited it
            await publish(self._api, ours)

    async def _give_back(self, lease: Lease) -> None:
        async with lease.talk:  # a confirmation that arrives after the release would bring the lease back to life
            if lease.keeper is not None:
                lease.keeper.cancel()
        if lease.on_their_way:
            self._logger.warning("%s is left to expire: a request may be on its way", lease.name)
        elif not lease.may_be_over:  # else its slot may be another writer's by now, and would be freed under their feet
            with suppress(httpx.HTTPError):  # the server takes it back by itself a little later
                await release(self._api, lease.lease_id)
                self._others.is_over(lease.lease_id)


def _distinct(held: Mapping[int, Lease]) -> list[Lease]:
    return list({lease.lease_id: lease for lease in held.values()}.values())
