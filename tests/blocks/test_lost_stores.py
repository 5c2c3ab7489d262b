"""When the shared store is lost, all processes together stay within the limits; when it is back, they share again."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import uuid
from contextlib import closing

import asyncpg
import pytest
from odd_shop import HandClock
from strict_server import StrictServer, run_for

from blocks.commerce_layer.clock import use_clock
from blocks.commerce_layer.rate_limit import RateBudget, RateLimits
from blocks.commerce_layer.rate_limit.remote_stores import PostgresStore, RedisStore
from blocks.commerce_layer.rate_limit.sharing import RETRY_SECONDS, FallbackStore
from blocks.commerce_layer.rate_limit.stores import Change, MemoryStore, T

POSTGRES = "postgresql://postgres@127.0.0.1:5432"


class LosableStore(MemoryStore):
    """A shared store that refuses while it is lost, and forgets everything when it is started anew."""

    troubles = (ConnectionError,)
    lost = False

    async def change(self, name: str, change: Change[T]) -> T:
        if self.lost:
            raise ConnectionError
        return await super().change(name, change)

    def start_anew(self) -> None:
        self._histories.clear()
        self.lost = False


def process(shared: LosableStore) -> RateBudget:
    """The budget of a process of its own: it shares nothing with the others but the store."""
    return RateBudget("host", "test", RateLimits(), FallbackStore(shared, MemoryStore(), fewest=2))


@pytest.fixture
def shared() -> LosableStore:
    return LosableStore()


@pytest.mark.parametrize(
    ("processes", "lost_after", "headers"), [(2, 3, True), (2, 47, False), (3, 95, True), (5, 20, False)]
)
async def test_no_request_is_refused_when_the_store_is_lost_and_when_it_is_back(
    clock, shared, processes, lost_after, headers
):
    server = StrictServer(clock, headers=headers)
    budgets = [process(shared) for _ in range(processes)]
    busy = asyncio.gather(*(server.keep_busy(budget, "create", "order_copies", workers=8) for budget in budgets))

    await clock.sleep(lost_after)
    shared.lost, before = True, server.taken.total()
    await clock.sleep(200)
    meanwhile = server.taken.total() - before
    shared.start_anew()
    await clock.sleep(RETRY_SECONDS + 60)
    before = server.taken.total()
    await clock.sleep(120)
    afterwards = server.taken.total() - before
    busy.cancel()
    await asyncio.gather(busy, return_exceptions=True)

    assert server.refused.total() == 0
    assert meanwhile >= 0.75 * 200 / 60 * 100, "renewals go on meanwhile"
    assert afterwards >= 0.97 * 2 * 100, "all of the limit is used again"


@pytest.mark.parametrize("second", ["was idle", "begins only now"])
async def test_a_process_that_knows_nothing_of_the_others_when_the_store_is_lost_sends_one_request_to_find_out(
    clock, shared, second
):
    server = StrictServer(clock)
    first, other = process(shared), process(shared)
    if second == "was idle":
        await server.request(other, "create", "endpoint0")
    busy = [server.keep_busy(first, "create", f"endpoint{number}", workers=5) for number in range(4)]
    joined = asyncio.gather(*busy)
    await clock.sleep(55)

    shared.lost = True
    theirs = (server.keep_busy(other, "create", f"endpoint{number}", workers=5) for number in range(4))
    await run_for(clock, 200, *theirs)
    joined.cancel()
    await asyncio.gather(joined, return_exceptions=True)

    assert server.refused.total() <= 1, "the request that finds out how much was sent already"
    assert server.taken.total() >= 300


async def test_one_process_that_shares_a_file_and_cannot_open_it_has_the_limits_for_itself(clock):
    server, shared = StrictServer(clock), LosableStore()
    shared.lost = True
    budget = RateBudget("host", "test", RateLimits(), FallbackStore(shared, MemoryStore()))

    await run_for(clock, 120, server.keep_busy(budget, "create", "order_copies"))

    assert server.refused.total() == 0
    assert server.taken.total() >= 0.97 * 200


async def test_requests_are_counted_on_although_the_store_was_started_anew_unnoticed(clock, shared):
    server = StrictServer(clock)
    budgets = [process(shared), process(shared)]
    busy = asyncio.gather(*(server.keep_busy(budget, "create", "order_copies") for budget in budgets))
    await clock.sleep(30)

    shared.start_anew()
    await clock.sleep(120)
    busy.cancel()
    await asyncio.gather(busy, return_exceptions=True)

    assert server.refused.total() == 0


class OwnRedis:
    """A Redis of the test's own, which it can kill."""

    def __init__(self, folder: str) -> None:
        with closing(socket.socket()) as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"redis://127.0.0.1:{self.port}"
        self._folder = folder
        self.start()

    def start(self) -> None:
        command = ["redis-server", "--port", str(self.port), "--save", "", "--dir", self._folder]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout
        while "Ready to accept" not in self._process.stdout.readline():
            assert self._process.poll() is None

    def kill(self) -> None:
        self._process.kill()
        self._process.communicate()


class OwnDatabase:
    """A PostgreSQL database of the test's own, which it can drop."""

    def __init__(self) -> None:
        self.name = f"perennial_test_{os.getpid()}_{uuid.uuid4().hex[:8]}"
        self.url = f"{POSTGRES}/{self.name}"

    async def ask(self, statement: str) -> None:
        connection = await asyncpg.connect(f"{POSTGRES}/postgres")
        try:
            await connection.execute(statement)
        finally:
            await connection.close()

    async def end_connections(self) -> None:
        await self.ask(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{self.name}'")

    async def start(self) -> None:
        await self.ask(f"CREATE DATABASE {self.name}")

    async def kill(self) -> None:
        await self.ask(f"DROP DATABASE IF EXISTS {self.name} WITH (FORCE)")


@pytest.fixture
def own_redis(tmp_path):
    try:
        redis = OwnRedis(str(tmp_path))
    except FileNotFoundError:
        pytest.skip("no redis-server on this machine")
    yield redis
    redis.kill()


@pytest.fixture
async def own_database():
    database = OwnDatabase()
    try:
        await database.start()
    except (OSError, asyncpg.PostgresError):
        pytest.skip(f"no PostgreSQL at {POSTGRES}")
    yield database
    await database.kill()


async def send(budget: RateBudget, endpoint: str, times: int) -> None:
    for _ in range(times):
        async with budget.take("create", endpoint) as slot:
            slot.sent()


def waiting_seconds(clock: HandClock) -> float:
    waited = sum(clock.slept)
    clock.slept.clear()
    return waited


async def shown(store: FallbackStore) -> list[str]:
    """What is counted now, by endpoint."""
    entries = await store.change("host|test|write", lambda history, _: list(history.entries))
    return sorted(entry.endpoint for entry in entries)


async def lose_and_find_again(clock, open_store, kill, start):
    """Two processes: what both have sent counts for both, before, while and after the store is lost."""
    stores = [FallbackStore(open_store(), MemoryStore(), fewest=2) for _ in range(2)]
    one, other = (RateBudget("host", "test", RateLimits(), store) for store in stores)
    await send(one, "a", 5)
    await send(other, "a", 4)
    await send(one, "b", 1)

    await kill()
    await send(one, "a", 7)  # nine of 25 are known, so each has eight
    await send(other, "c", 12)
    assert waiting_seconds(clock) == 0
    assert not await one.room("create", "a")
    await send(one, "a", 1)
    assert await one.room("create", "a") > 0, "sixteen more, two times eight, do not fit"
    assert await other.room("create", "c") > 0, "25 to one endpoint, for two"

    await start()
    clock.advance(RETRY_SECONDS + 1)
    await send(one, "d", 1)
    await send(other, "d", 1)
    seen = [await shown(store) for store in stores]
    for store in stores:
        await store.close()
    assert seen[0] == seen[1] == sorted(["a"] * 17 + ["b"] + ["c"] * 12 + ["d"] * 2)


async def test_what_was_sent_counts_for_all_processes_when_redis_was_killed_and_is_back(own_redis, caplog):
    async def kill() -> None:
        own_redis.kill()

    async def start() -> None:
        own_redis.start()

    with use_clock(HandClock()) as clock:
        await lose_and_find_again(clock, lambda: RedisStore(own_redis.url), kill, start)

    assert caplog.text.count("counting in this process only") == 2


async def test_what_was_sent_counts_for_all_processes_when_the_database_was_dropped_and_is_back(own_database, caplog):
    with use_clock(HandClock()) as clock:
        await lose_and_find_again(clock, lambda: PostgresStore(own_database.url), own_database.kill, own_database.start)

    assert caplog.text.count("counting in this process only") == 2


async def test_a_connection_that_the_database_ends_is_made_anew_and_the_count_stays_shared(own_database, caplog):
    store = FallbackStore(PostgresStore(own_database.url), MemoryStore(), fewest=2)
    budget = RateBudget("host", "test", RateLimits(), store)

    await send(budget, "a", 2)
    await own_database.end_connections()
    await send(budget, "a", 1)
    await store.close()

    fresh = FallbackStore(PostgresStore(own_database.url), MemoryStore())
    assert await shown(fresh) == ["a"] * 3
    await fresh.close()
    assert caplog.text == ""
