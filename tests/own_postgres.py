"""A PostgreSQL database of its own, made on a server that runs and removed at the end."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import asyncpg

VARIABLE = "PERENNIAL_TEST_POSTGRES"
"""Names the server by the address of a database on it, for a user that may create databases."""

USUAL = "postgresql://postgres@127.0.0.1:5432/postgres"


class NoPostgres(RuntimeError):  # noqa: N818 - the name says what happened
    """No PostgreSQL server answers."""


@dataclass(frozen=True)
class OwnPostgres:
    """A database for one Prefect installation."""

    name: str

    @property
    def url(self) -> str:
        """Its address, as Prefect wants it."""
        parts = urlsplit(_server())
        return urlunsplit(parts._replace(scheme="postgresql+asyncpg", path=f"/{self.name}"))

    def terminate_connections(self) -> int:
        """End all connections to it, as a failover does; returns how many there were."""
        ended = _ask("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", self.name)
        return len(ended)

    def bytes_by_table(self) -> dict[str, int]:
        """What each table takes on disk, with its indexes."""
        rows = _ask(
            "SELECT relname, pg_total_relation_size(oid) FROM pg_class"
            " WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace",
            database=self.name,
        )
        return {str(name): int(size) for name, size in rows}


@contextmanager
def own_postgres() -> Iterator[OwnPostgres]:
    """
    A new, empty database until the block ends.

    Raises:
        NoPostgres: there is no server, or we may not create databases on it.
    """
    made = OwnPostgres(f"perennial_{uuid4().hex[:12]}")
    try:
        _ask(f'CREATE DATABASE "{made.name}"')
    except (OSError, asyncpg.PostgresError) as error:
        raise NoPostgres(f"no PostgreSQL for {VARIABLE} ({USUAL} if it is not set): {error}") from None
    try:
        yield made
    finally:
        _ask(f'DROP DATABASE IF EXISTS "{made.name}" WITH (FORCE)')


def _server() -> str:
    return os.environ.get(VARIABLE, USUAL)


def _ask(query: str, *arguments: Any, database: str | None = None) -> list[Any]:
    async def ask() -> list[Any]:
        connection = await asyncpg.connect(_server(), **({"database": database} if database else {}))
        try:
            found: list[Any] = await connection.fetch(query, *arguments)
            return found
        finally:
            await connection.close()

    return asyncio.run(ask())
