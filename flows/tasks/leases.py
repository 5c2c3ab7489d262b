"""
One writer at a time per shard: leases on Prefect's concurrency limits, and the fence that they carry.

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
  slot that stays occupied for ever after a restart of the server (`leaked_slots.py`).
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from uuid import UUID

import httpx
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import ConcurrencyLeaseHolder
from prefect.logging import get_logger

from blocks.commerce_layer.errors import Fenced
from flows.tasks.leaked_slots import Waiter
from flows.tasks.prompt_client import passed, promptly
from flows.tasks.writer_limits import limit_name, occupy, publish, release, what_is_wrong


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
        waiter = Waiter(self._api, shards, times.lease + times.repossession, times.publish_within)
        while (lease := await self._try_to_take(shards)) is None:
            if passed() >= deadline:
                raise NoLease(shards, f"another run has been writing there for {times.wait:.0f} s")
            await waiter.look()
            await asyncio.sleep(random.uniform(0.5, 1.5))  # noqa: S311 - so that waiters take turns
        await self._publish(lease)
        lease.keeper = asyncio.create_task(self._keep(lease), name=f"keep {lease.name}")
        return lease

    async def _try_to_take(self, shards: tuple[int, ...]) -> Lease | None:
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
        """Publish a new lease, after making sure that its limits let nobody else in."""
        try:
            wrong = await self._what_is_wrong(lease)
            if not wrong:
                await publish(self._api, lease.lease_id, lease.shards)
        except Exception as error:
            await self._give_back(lease)
            raise NoLease(lease.shards, f"the lease could not be published ({type(error).__name__})") from error
        if not wrong and lease.age > self.times.publish_within:
            wrong = "publishing the lease took too long"
        if wrong:
            await self._give_back(lease)
            raise NoLease(lease.shards, wrong)

    async def _what_is_wrong(self, lease: Lease) -> str:
        # A limit that is missing is passed over by the server without a word.
        missing = [name for name in map(limit_name, lease.shards) if name not in lease.limit_ids]
        if missing:
            return f"there is no concurrency limit {', '.join(missing)}: the next run makes it"
        return await what_is_wrong(self._api, lease.limit_ids)

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
        try:
            await self._api.renew_concurrency_lease(lease.lease_id, self.times.lease)
        except httpx.HTTPStatusError as error:
            if error.response.status_code == HTTPStatus.GONE:
                lease.lost = "Prefect gave it away"
                return
            raise
        if lease.may_be_over:
            # The server prolongs an expired lease too, and may be freeing its slot at this very moment.
            lease.lost = f"it was not confirmed for {lease.age:.0f} s"
            return
        lease.confirmed_at = asked_at
        # Should these two fail, the lease is confirmed all the same: a busy server is no sign of meddling.
        lease.lost = await self._what_is_wrong(lease)
        if not lease.lost:
            await publish(self._api, lease.lease_id, lease.shards)  # should somebody have deleted it

    async def _give_back(self, lease: Lease) -> None:
        async with lease.talk:  # a confirmation that arrives after the release would bring the lease back to life
            if lease.keeper is not None:
                lease.keeper.cancel()
        if lease.on_their_way:
            self._logger.warning("%s is left to expire: a request may be on its way", lease.name)
        elif not lease.may_be_over:  # else its slot may be another writer's by now, and would be freed under their feet
            with suppress(httpx.HTTPError):  # the server takes it back by itself a little later
                await release(self._api, lease.lease_id)


def _distinct(held: Mapping[int, Lease]) -> list[Lease]:
    return list({lease.lease_id: lease for lease in held.values()}.values())
