"""Stores of histories: in this process, or in one SQLite file for all processes of a user on this host.

A store does one thing: it calls a function with a history and the time, one call at a time, and keeps the changed
history. The history makes all decisions, so they are the same with every store.
"""

from __future__ import annotations

import json
import logging
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, TypeVar

from blocks.commerce_layer.clock import current_clock
from blocks.commerce_layer.rate_limit.division import Division
from blocks.commerce_layer.rate_limit.entries import Ask, Entry, Foreign
from blocks.commerce_layer.rate_limit.request_history import RequestHistory

logger = logging.getLogger(__name__)

T = TypeVar("T")
Change = Callable[[RequestHistory, float], T]
"""Gets the history and the store's time (seconds), changes the history, returns its result."""


PATIENCE_SECONDS = 5.0
"""Seconds within which a store must answer. A slower one is not used: requests would wait longer for it than for the
limits."""
_SCHEMA = "CREATE TABLE IF NOT EXISTS histories (name TEXT PRIMARY KEY, text TEXT NOT NULL, kept_at INTEGER NOT NULL)"


class RateStore(Protocol):
    """Keeps one history per name. Of all processes that share the store, only one runs a `change` at a time."""

    @property
    def troubles(self) -> tuple[type[Exception], ...]:
        """What `change` raises when the store cannot be used."""
        ...

    async def change(self, name: str, change: Change[T]) -> T:
        """Apply `change` to the history called `name`, atomically."""
        ...

    async def close(self) -> None:
        """Close all connections."""
        ...


class MemoryStore:
    """Histories in this process, on the current clock (which may be a test's)."""

    troubles: tuple[type[Exception], ...] = ()

    def __init__(self) -> None:
        self._histories: dict[str, RequestHistory] = {}

    async def change(self, name: str, change: Change[T]) -> T:
        """Apply `change`. It is atomic, because nothing is awaited."""
        return change(self._histories.setdefault(name, RequestHistory()), current_clock().monotonic())

    async def close(self) -> None:
        """Do nothing: there is no connection."""


class SqliteStore:
    """
    Histories in one SQLite file, shared by all processes of this user on this host.

    Its clock is the host's monotonic one, which all processes share. If the file is lost, at most one
    window's counts are lost, so nothing is synced to disk.
    """

    troubles: tuple[type[Exception], ...] = (sqlite3.Error, OSError)

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection: sqlite3.Connection | None = None

    async def change(self, name: str, change: Change[T]) -> T:
        """Apply `change` in one transaction. It takes well under a millisecond, so it runs on the event loop."""
        connection = self._open()
        connection.execute("BEGIN IMMEDIATE")
        try:
            row = connection.execute("SELECT text FROM histories WHERE name = ?", (name,)).fetchone()
            history = load(row[0]) if row else RequestHistory()
            result = change(history, current_clock().monotonic())
            connection.execute("REPLACE INTO histories VALUES (?, ?, unixepoch())", (name, dump(history)))
            connection.execute("COMMIT")
        except BaseException:
            connection.execute("ROLLBACK")
            raise
        return result

    async def close(self) -> None:
        """Close the file."""
        if self._connection:
            self._connection.close()
            self._connection = None

    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            try:
                self._connection = _connected(self._path)
            except sqlite3.OperationalError:
                raise
            except sqlite3.DatabaseError:
                # The machine lost power during a write. Nothing in the file can be saved.
                self._path.unlink()
                self._connection = _connected(self._path)
        return self._connection


def _connected(path: Path) -> sqlite3.Connection:
    path.touch(mode=0o600)
    connection = sqlite3.connect(path, timeout=2, isolation_level=None, check_same_thread=False)
    # Every transaction writes, so a write-ahead log would gain nothing.
    connection.execute("PRAGMA journal_mode = TRUNCATE")
    connection.execute("PRAGMA synchronous = OFF")
    connection.execute(_SCHEMA)
    connection.execute("DELETE FROM histories WHERE kept_at < unixepoch() - 86400")
    return connection


def default_path() -> Path:
    """The file of this user: below `XDG_STATE_HOME`, or `~/.local/state`."""
    base = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(base) / "perennial" / "request-budget.sqlite3"


def dump(history: RequestHistory) -> str:
    """A history as compact text. Spelt out, because `dataclasses.astuple` takes ten times as long."""
    return json.dumps(
        {
            "entries": [(e.place, e.method, e.endpoint, e.kind, e.owner, e.taken, e.answered) for e in history.entries],
            "waiting": [(a.owner, a.kind, a.method, a.endpoint, back_at) for a, back_at in history.waiting.items()],
            "foreign": [(seen.at, seen.method, seen.count) for seen in history.foreign],
            "blocked": history.blocked,
            "division": history.division and (history.division.among, history.division.since, history.division.until),
            **{name: getattr(history, name) for name in _PLAIN},
        },
        separators=(",", ":"),
    )


def load(text: str) -> RequestHistory:
    """
    The history that `dump` wrote; a new one if the text cannot be read, because another version may have written it.

    An error would stop all requests for good, while a lost history costs at most one window's counts.
    """
    try:
        kept: dict[str, Any] = json.loads(text)
        return RequestHistory(
            entries=[Entry(*values) for values in kept.get("entries", ())],
            waiting={Ask(*values[:-1]): values[-1] for values in kept.get("waiting", ())},
            foreign=[Foreign(*values) for values in kept.get("foreign", ())],
            blocked=kept.get("blocked", {}),
            division=Division(*kept["division"]) if kept.get("division") else None,
            **{name: kept[name] for name in _PLAIN if name in kept},
        )
    except (ValueError, TypeError, AttributeError) as error:
        logger.warning("a history of the request budget cannot be read (%s); beginning a new one", type(error).__name__)
        return RequestHistory()


_PLAIN = ("learned_average", "learned_seconds", "separate", "proofs", "distrust_until")
