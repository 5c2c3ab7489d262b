"""Every store keeps the request histories of all processes that share it, and no broken store stops a renewal."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sqlite3
import subprocess
import sys
import uuid
from collections.abc import Sequence
from pathlib import Path

import asyncpg
import pytest
import redis.asyncio
from odd_shop import SECRET, HandClock
from pydantic import SecretStr, ValidationError

from blocks.commerce_layer.clock import current_clock, use_clock
from blocks.commerce_layer.credentials import CommerceLayerCredentials
from blocks.commerce_layer.rate_limit import RateBudget, RateLimits, open_store, remote_stores, stores
from blocks.commerce_layer.rate_limit.remote_stores import PostgresStore, RedisStore
from blocks.commerce_layer.rate_limit.request_history import RequestHistory
from blocks.commerce_layer.rate_limit.sharing import FallbackStore
from blocks.commerce_layer.rate_limit.stores import MemoryStore, RateStore, SqliteStore, default_path, load

REDIS = "redis://127.0.0.1:6379"
POSTGRES = "postgresql://postgres@127.0.0.1:5432/test"
CLOSED_PORT = "127.0.0.1:9"  # the discard port, on which nothing listens


async def redis_answers() -> bool:
    client = redis.asyncio.from_url(REDIS, socket_connect_timeout=1)
    try:
        return bool(await client.ping())
    except redis.RedisError:
        return False
    finally:
        await client.aclose()


async def postgres_answers() -> bool:
    try:
        connection = await asyncpg.connect(POSTGRES, timeout=2)
    except (OSError, TimeoutError, asyncpg.PostgresError):
        return False
    await connection.close()
    return True


@pytest.fixture(params=["memory", "sqlite", "redis", "postgres"])
async def store(request, tmp_path):
    opened: RateStore
    if request.param == "memory":
        opened = MemoryStore()
    elif request.param == "sqlite":
        opened = SqliteStore(tmp_path / "deep" / "budget.sqlite3")
    elif request.param == "redis":
        if not await redis_answers():
            pytest.skip(f"no Redis at {REDIS}")
        opened = RedisStore(REDIS)
    else:
        if not await postgres_answers():
            pytest.skip(f"no PostgreSQL at {POSTGRES}")
        opened = PostgresStore(POSTGRES)
    yield opened
    await opened.close()


def count(history: RequestHistory, now: float) -> int:
    history.proofs += 1
    return history.proofs


async def test_each_history_is_kept_under_its_name(store):
    one, other = uuid.uuid4().hex, uuid.uuid4().hex

    counted = [await store.change(name, count) for name in (one, one, other, one)]

    assert counted == [1, 2, 1, 3]


async def test_changes_of_a_history_do_not_overlap(store):
    name = uuid.uuid4().hex

    counted = await asyncio.gather(*(store.change(name, count) for _ in range(50)))

    assert sorted(counted) == list(range(1, 51))


@pytest.mark.parametrize("store", ["sqlite", "redis", "postgres"], indirect=True)
async def test_a_change_that_fails_leaves_the_history_as_it_was(store):
    name = uuid.uuid4().hex
    await store.change(name, count)

    def fail(history: RequestHistory, now: float) -> None:
        history.proofs = 100
        raise KeyError(now)

    with pytest.raises(KeyError):
        await store.change(name, fail)

    assert await store.change(name, count) == 2


async def test_every_store_has_a_running_clock(store):
    name = uuid.uuid4().hex

    first = await store.change(name, lambda _, now: now)
    second = await store.change(name, lambda _, now: now)

    assert 0 <= second - first < 5


WORKER = """
import asyncio, json, sys, time
from pathlib import Path
from blocks.commerce_layer.rate_limit import RateBudget, RateLimits
from blocks.commerce_layer.rate_limit.remote_stores import PostgresStore, RedisStore
from blocks.commerce_layer.rate_limit.stores import SqliteStore

async def main(kind, where, name, seconds):
    store = {"sqlite": lambda: SqliteStore(Path(where)), "redis": lambda: RedisStore(where),
             "postgres": lambda: PostgresStore(where)}[kind]()
    budget = RateBudget(name, "test", RateLimits(window_scale=0.1, guard_seconds=0.002), store)
    sent = []
    async with budget.take("read", "warm"):  # opens the store
        pass
    print("ready", flush=True)
    sys.stdin.readline()  # all start together, so that start-up times do not decide the shares
    began = time.time()
    stopped = asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
    async def work(endpoint):
        while not stopped.done():
            async with budget.take("create", endpoint) as slot:
                slot.sent()
                sent.append(time.time())  # the request arrives here, and its answer takes a while
                await asyncio.sleep(0.002)
    async def tell():
        while len(sent) < 30 or time.time() < began + seconds:
            await asyncio.sleep(0.01)
        print("enough", flush=True)
    await asyncio.gather(tell(), *(work(f"endpoint{number % 5}") for number in range(5)))
    await budget.close()
    print(json.dumps(sent))

asyncio.run(main(sys.argv[1], sys.argv[2], sys.argv[3], float(sys.argv[4])))
"""


def three_workers(arguments: list[str]) -> list[list[float]]:
    command, environment = [sys.executable, "-c", WORKER, *arguments], {**os.environ, "PYTHONPATH": str(Path.cwd())}
    workers = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, text=True)
        for _ in range(3)
    ]
    for worker in workers:
        assert worker.stdout
        assert worker.stdout.readline() == "ready\n"
    _tell(workers, "go")
    for worker in workers:
        assert worker.stdout
        assert worker.stdout.readline() == "enough\n"  # on a busy machine it takes longer
    _tell(workers, "stop")
    return [json.loads(worker.communicate(timeout=120)[0]) for worker in workers]


def _tell(workers: Sequence[subprocess.Popen[str]], word: str) -> None:
    for worker in workers:
        assert worker.stdin
        worker.stdin.write(f"{word}\n")
        worker.stdin.flush()


@pytest.mark.parametrize("kind", ["sqlite", "redis", "postgres"])
async def test_processes_share_one_budget_and_never_exceed_it(kind, tmp_path):
    if kind == "redis" and not await redis_answers():
        pytest.skip(f"no Redis at {REDIS}")
    if kind == "postgres" and not await postgres_answers():
        pytest.skip(f"no PostgreSQL at {POSTGRES}")
    where = {"sqlite": str(tmp_path / "budget.sqlite3"), "redis": REDIS, "postgres": POSTGRES}[kind]
    window = 6.0
    arguments = [kind, where, uuid.uuid4().hex, str(2 * window)]

    shares = await asyncio.to_thread(three_workers, arguments)

    sent = sorted(at for share in shares for at in share)
    fullest = max(sum(at <= other < at + window for other in sent) for at in sent)
    assert fullest <= 100
    # How many requests get through depends on the machine; but old requests must leave the window, for every process.
    assert len(sent) > 100
    assert all(shares)
    assert min(len(share) for share in shares) >= 30


async def test_a_store_that_cannot_be_reached_stops_no_request(caplog):
    password = "the-password"
    for away in (
        RedisStore(f"redis://:{password}@{CLOSED_PORT}"),
        PostgresStore(f"postgresql://me:{password}@{CLOSED_PORT}/x"),
    ):
        store = FallbackStore(away, MemoryStore())
        assert [await store.change("a", count) for _ in range(3)] == [1, 2, 3]
        await store.close()

    assert [record.levelno for record in caplog.records].count(logging.WARNING) == 2
    assert password not in caplog.text


async def test_a_store_that_comes_back_is_used_again(tmp_path):
    blocked = tmp_path / "folder"
    blocked.write_text("a file where a folder should be")
    clock = HandClock()
    with use_clock(clock):
        store = FallbackStore(SqliteStore(blocked / "budget.sqlite3"), MemoryStore())
        await store.change("a", count)
        blocked.unlink()
        assert await store.change("a", count) == 2
        clock.advance(31)
        assert await store.change("a", count) == 1
        assert (blocked / "budget.sqlite3").exists()


class HangingStore(MemoryStore):
    """A store that does not answer while `hangs` is set, as behind a network that drops every packet."""

    troubles = (TimeoutError,)
    hangs = True

    def __init__(self):
        super().__init__()
        self._one_connection = asyncio.Lock()

    async def change(self, name, change):
        async with self._one_connection:
            if self.hangs:
                await current_clock().sleep(5)
                raise TimeoutError
            return await super().change(name, change)


async def test_requests_wait_for_a_store_that_hangs_at_the_same_time_and_not_in_turn():
    with use_clock(HandClock()) as clock:
        store = FallbackStore(HangingStore(), MemoryStore())
        began = clock.monotonic()

        counted = await asyncio.gather(*(store.change("a", count) for _ in range(20)))

        assert sorted(counted) == list(range(1, 21))
        assert clock.monotonic() - began == pytest.approx(5, abs=0.1)


async def test_requests_sent_while_the_store_was_down_still_count_when_it_is_back():
    with use_clock(HandClock()) as clock:
        shared = HangingStore()
        budget = RateBudget("host", "test", RateLimits(), FallbackStore(shared, MemoryStore()))
        await send(budget, "away", 25)
        shared.hangs = False
        clock.advance(31)
        await send(budget, "back", 1)

        (history,) = shared._histories.values()
        assert [entry.endpoint for entry in history.entries] == ["away"] * 25 + ["back"]
        assert all(0 <= entry.taken <= clock.monotonic() - 31 for entry in history.entries[:25])


async def test_requests_sent_before_the_store_went_down_still_count():
    with use_clock(HandClock()) as clock:
        shared = HangingStore()
        shared.hangs = False
        budget = RateBudget("host", "test", RateLimits(), FallbackStore(shared, MemoryStore()))
        await send(budget, "before", 25)
        shared.hangs = True
        began = clock.monotonic()

        await send(budget, "before", 1)

        assert clock.monotonic() - began >= 10


async def send(budget: RateBudget, endpoint: str, times: int) -> None:
    for _ in range(times):
        async with budget.take("create", endpoint) as slot:
            slot.sent()


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"entries": [["too", "short"]]}', '{"entries": 3}'])
@pytest.mark.parametrize("store", ["sqlite", "redis", "postgres"], indirect=True)
async def test_a_history_that_cannot_be_read_is_replaced_by_a_new_one(store, text, monkeypatch):
    name = uuid.uuid4().hex
    for module in (stores, remote_stores):
        monkeypatch.setattr(module, "dump", lambda _: text)
    await store.change(name, count)
    monkeypatch.undo()

    assert await store.change(name, count) == 1


def test_a_history_of_another_version_keeps_the_known_fields():
    kept = load('{"entries": [["p", "POST", "order_copies", "create", "me", 1.0, 2.0]], "colour": "blue"}')

    assert [entry.answered for entry in kept.entries] == [2.0]
    assert kept.separate is False


async def test_a_damaged_database_file_is_replaced_by_a_new_one(tmp_path):
    path = tmp_path / "budget.sqlite3"
    path.write_bytes(b"this is not a database, " * 100)
    store = SqliteStore(path)

    assert await store.change("a", count) == 1
    await store.close()
    assert sqlite3.connect(path).execute("SELECT name FROM histories").fetchall() == [("a",)]


async def test_the_default_store_is_a_private_file_of_the_user(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    budgets = [RateBudget("host", "test", RateLimits(), open_store()) for _ in range(2)]

    async with budgets[0].take("create", "order_copies") as slot:
        slot.sent()
    for budget in budgets:
        await budget.close()

    assert default_path() == tmp_path / "perennial" / "request-budget.sqlite3"
    assert sqlite3.connect(default_path()).execute("SELECT name FROM histories").fetchall() == [("host|test|write",)]
    assert [path.stat().st_mode & 0o077 for path in (default_path().parent, default_path())] == [0, 0]


def test_with_a_test_clock_the_store_stays_in_the_memory_of_this_process():
    with use_clock(HandClock()):
        first, second = open_store(), open_store()
    with use_clock(HandClock()):
        other = open_store()

    assert isinstance(first, MemoryStore)
    assert first is second
    assert other is not first


@pytest.mark.parametrize("url", ["mysql://host/db", "host:6379", "file:///tmp/x"])
def test_a_store_of_an_unknown_kind_is_refused(url):
    with pytest.raises(ValueError, match="redis://"):
        open_store(url)
    with pytest.raises(ValidationError, match="redis://"):
        CommerceLayerCredentials(
            organization="acme", client_id="c", client_secret=SecretStr(SECRET), limiter_url=SecretStr(url)
        )


async def test_all_organizations_of_the_platform_share_a_budget_and_a_sandbox_has_its_own(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))

    def names(organization: str, **more: str) -> dict[str, str]:
        secret = SecretStr(SECRET)
        block = CommerceLayerCredentials(organization=organization, client_id="c", client_secret=secret, **more)
        return block.get_client().wire._budget._names

    box = {"api_url": "http://127.0.0.1:4010/api", "auth_url": "http://127.0.0.1:4010/oauth/token"}

    assert names("acme") == names("other")
    assert names("acme") == names("acme", api_url="https://acme.commercelayer.io/api")
    assert names("acme")["create"] == "commercelayer.io|test|write"
    assert names("acme", mode="live")["create"] == "commercelayer.io|live|write"
    assert names("acme", **box)["create"] == "127.0.0.1:4010|test|write"
    elsewhere = names("acme", api_url="https://notcommercelayer.io/api", trusted_host="notcommercelayer.io")
    assert elsewhere["create"] == "notcommercelayer.io|test|write"


async def test_the_block_keeps_its_budget_in_the_store_of_its_limiter_url(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    block = {"organization": "acme", "client_id": "c", "client_secret": SecretStr(SECRET)}
    here = CommerceLayerCredentials(**block, limiter_url=SecretStr("")).get_client().wire._budget._store
    redis_too = CommerceLayerCredentials(**block, limiter_url=SecretStr(REDIS)).get_client().wire._budget._store
    postgres_too = CommerceLayerCredentials(**block, limiter_url=SecretStr(POSTGRES)).get_client().wire._budget._store

    kinds = [type(store._shared) for store in (here, redis_too, postgres_too)]
    assert kinds == [SqliteStore, RedisStore, PostgresStore]
