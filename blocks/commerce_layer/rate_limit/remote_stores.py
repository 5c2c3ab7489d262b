"""Histories that several hosts behind one address share: in Redis or in PostgreSQL, on that server's clock."""

from __future__ import annotations

import asyncio
import logging
import random

import asyncpg  # type: ignore[import-untyped]  # it has no annotations
import redis.asyncio
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError, WatchError

from blocks.commerce_layer.rate_limit.addresses import UNREADABLE
from blocks.commerce_layer.rate_limit.request_history import RequestHistory
from blocks.commerce_layer.rate_limit.stores import PATIENCE_SECONDS, Change, T, dump, load

logger = logging.getLogger(__name__)

KEPT_SECONDS = 86_400


class RedisStore:
    """Histories in Redis. A change is repeated if another process has changed the history meanwhile."""

    troubles: tuple[type[Exception], ...] = (RedisError, OSError, TimeoutError)

    def __init__(self, url: str) -> None:
        self._redis = _connecting_to(url)
        self._turn = asyncio.Lock()

    async def change(self, name: str, change: Change[T]) -> T:
        """
        Apply `change` atomically, by watching the history's key.

        Connections that have ended meanwhile are made anew, once. If the last answer was lost, the change is applied
        twice: at the worst one request is counted twice.
        """
        key = f"perennial:request-budget:{name}"
        async with self._turn, asyncio.timeout(PATIENCE_SECONDS):
            try:
                return await self._attempt(key, change)
            except (ConnectionError, RedisConnectionError):
                await self._redis.connection_pool.disconnect()
                return await self._attempt(key, change)

    async def _attempt(self, key: str, change: Change[T]) -> T:
        while True:
            try:
                return await self._changed(key, change)
            except WatchError:
                # Real time, even under a test's clock: two real processes compete for one key.
                await asyncio.sleep(random.uniform(0, 0.005))  # noqa: S311 - no secret depends on it

    async def _changed(self, key: str, change: Change[T]) -> T:
        async with self._redis.pipeline() as pipe:
            await pipe.watch(key)
            text = await pipe.get(key)
            seconds, microseconds = await self._redis.time()
            history = load(text.decode() if isinstance(text, bytes) else text) if text else RequestHistory()
            result = change(history, seconds + microseconds / 1e6)
            pipe.multi()  # type: ignore[no-untyped-call]  # redis has not annotated it
            pipe.set(key, dump(history), ex=KEPT_SECONDS)
            await pipe.execute()
            return result

    async def close(self) -> None:
        """Close the connections."""
        await self._redis.aclose()


def _connecting_to(url: str) -> redis.asyncio.Redis:
    """A client for the address. It connects later; what is wrong in the address shows now."""
    try:
        client = redis.asyncio.from_url(url, socket_timeout=PATIENCE_SECONDS, socket_connect_timeout=PATIENCE_SECONDS)
        client.connection_pool.make_connection()  # type: ignore[no-untyped-call]  # redis has not annotated it
    except (ValueError, TypeError):
        # Not the driver's own error, nor as its cause: it may repeat parts of the address.
        raise ValueError(UNREADABLE) from None
    return client


class PostgresStore:
    """Histories in the table `perennial_request_budget` of a PostgreSQL database."""

    troubles: tuple[type[Exception], ...] = (
        asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError, TimeoutError
    )  # fmt: skip

    def __init__(self, url: str) -> None:
        self._url = url
        self._connection: asyncpg.Connection | None = None
        self._turn = asyncio.Lock()

    async def change(self, name: str, change: Change[T]) -> T:
        """
        Apply `change` in a transaction that holds the history's advisory lock.

        A connection that has ended meanwhile is made anew, once. If its last answer was lost, the change is applied
        twice: at the worst one request is counted twice.
        """
        async with self._turn, asyncio.timeout(PATIENCE_SECONDS):
            if self._connection is not None:
                try:
                    return await self._attempt(name, change)
                except _ENDED:
                    logger.debug("the connection to the shared request budget has ended; connecting again")
            return await self._attempt(name, change)

    async def _attempt(self, name: str, change: Change[T]) -> T:
        try:
            return await self._changed(await self._open(), name, change)
        except BaseException:
            # Whatever has happened: a connection that is in the middle of something is not used again.
            self._drop()
            raise

    async def _changed(self, connection: asyncpg.Connection, name: str, change: Change[T]) -> T:
        async with connection.transaction():
            await connection.execute(_LOCK, name)
            # A separate statement, because the time must be taken after the lock was got.
            row = await connection.fetchrow(_READ, name)
            history = load(row["text"]) if row["text"] else RequestHistory()
            result = change(history, row["now"])
            await connection.execute(_WRITE, name, dump(history))
            return result

    async def _open(self) -> asyncpg.Connection:
        if self._connection is None:
            self._connection = await _connected_to(self._url)
            async with self._connection.transaction():
                await self._connection.execute(_LOCK, "perennial_request_budget")
                await self._connection.execute(_SCHEMA)
                await self._connection.execute(_TIDY)
        return self._connection

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None

    async def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            await self._connection.close(timeout=PATIENCE_SECONDS)
            self._connection = None


# The driver calls it an internal error if the connection ends at the very moment in which a statement begins.
_ENDED = (
    asyncpg.PostgresConnectionError, asyncpg.InterfaceError, asyncpg.InternalClientError,
    asyncpg.OperatorInterventionError, ConnectionError,
)  # fmt: skip


async def _connected_to(url: str) -> asyncpg.Connection:
    try:
        return await asyncpg.connect(url, timeout=PATIENCE_SECONDS)
    except (ValueError, OverflowError):
        # The driver reads the address only here, and its error may repeat parts of it.
        raise asyncpg.InterfaceError(UNREADABLE) from None


_LOCK = "SELECT pg_advisory_xact_lock(hashtextextended('perennial' || $1, 0))"
_SCHEMA = """
CREATE TABLE IF NOT EXISTS perennial_request_budget
    (name text PRIMARY KEY, text text NOT NULL, kept_at timestamptz NOT NULL)
"""
_TIDY = "DELETE FROM perennial_request_budget WHERE kept_at < now() - interval '1 day'"
_READ = """
SELECT (SELECT text FROM perennial_request_budget WHERE name = $1) AS text,
    extract(epoch FROM clock_timestamp())::float8 AS now
"""
_WRITE = """
INSERT INTO perennial_request_budget VALUES ($1, $2, now())
ON CONFLICT (name) DO UPDATE SET text = excluded.text, kept_at = excluded.kept_at
"""
