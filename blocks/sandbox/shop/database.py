"""
The SQLite file of the sandbox: one process writes it, and any SQLite client may read it at any time.

The schema is in `schema.py`. Open the file to check what really happened:

    SELECT reference, COUNT(*) FROM order_copies GROUP BY reference HAVING COUNT(*) > 1;
    SELECT o.status, COUNT(*) FROM order_copies c JOIN orders o ON o.id = c.target_order_id GROUP BY o.status;

Beside the resources it holds `sandbox_state` (name, value), `sandbox_failures` (order_id, kind, remaining)
and `sandbox_revoked_tokens` (token); `taggings` (resource_id, tag_id) says which resource has which tags.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from blocks.sandbox.resources.definitions import ResourceType
from blocks.sandbox.resources.resource_types import WITH_DATA
from blocks.sandbox.shop.identifiers import id_number
from blocks.sandbox.shop.json_containment import contains_json
from blocks.sandbox.shop.replica import Replica
from blocks.sandbox.shop.scheduler import Scheduler
from blocks.sandbox.shop.schema import OWN_TABLES, TABLES, column_definitions
from blocks.sandbox.shop.views import VIEWS

Row = dict[str, Any]


class Reader(Protocol):
    """The source of lists: the database itself, or a replica of it."""

    def execute(self, sql: str, values: Sequence[Any] = ()) -> sqlite3.Cursor:
        """Run one statement."""
        ...


class _DryRunOver(Exception):  # noqa: N818 - the name says what happened
    """Rolls a dry run back."""


class Database:
    """Stores and finds rows of resources, in transactions that may be nested."""

    def __init__(self, path: Path, *, seed: int, durable: bool) -> None:
        self.path = path
        self.connection = _connected(str(path))
        self.replica: Replica | None = None
        self.execute("PRAGMA journal_mode=WAL")
        self.execute(f"PRAGMA synchronous={'FULL' if durable else 'OFF'}")
        self.execute("PRAGMA cache_size=-65536")
        self.connection.executescript(TABLES)
        for kind in WITH_DATA:
            self._add_missing_columns(kind)
        self.connection.executescript(OWN_TABLES)
        self._define_views()
        self.seed = int(self.state("seed", str(seed)))
        self._ids_made = self._ids_reserved = int(self.state("ids", "0"))
        self._given_ids: list[str] = []
        self._afterwards: list[Callable[[], None]] = []
        self._inserts: dict[tuple[str, ...], str] = {}
        self._updates: dict[tuple[str, ...], str] = {}
        self._names: dict[str, tuple[str, ...]] = {}

    def _add_missing_columns(self, kind: ResourceType) -> None:
        """Add the columns that the file of an older sandbox lacks."""
        if kind.is_view or kind.singleton:
            return
        there = {row[1] for row in self.execute(f"PRAGMA table_xinfo({kind.table})").fetchall()}
        # Columns that are computed from others come last.
        for column in sorted(column_definitions(kind), key=lambda column: " AS (" in column):
            if column.split()[0] not in there:
                self.execute(f"ALTER TABLE {kind.table} ADD COLUMN {column}")

    def _define_views(self) -> None:
        """Define all views anew; in the file of an older sandbox some of them are tables without rows."""
        for name, definition in VIEWS.items():
            there = self.execute("SELECT type FROM sqlite_master WHERE name = ?", (name,)).fetchone()
            if there is not None:
                self.execute(f"DROP {there[0]} {name}")
            self.execute(f"CREATE VIEW {name} AS {definition}")

    def execute(self, sql: str, values: Sequence[Any] = ()) -> sqlite3.Cursor:
        """Run one statement."""
        cursor = self.connection.execute(sql, values)
        if self.replica is not None and cursor.rowcount > 0:
            self._replicate(sql, [values])
        return cursor

    def _replicate(self, sql: str, rows: Iterable[Sequence[Any]]) -> None:
        assert self.replica is not None
        for values in rows:
            self.replica.write(sql, values)
        if not self.connection.in_transaction:
            self.replica.commit()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing, also inside another transaction."""
        nested, waiting = self.connection.in_transaction, len(self._afterwards)
        position = self.replica.position() if self.replica is not None else 0
        self.execute("SAVEPOINT inner" if nested else "BEGIN")
        try:
            yield
            self.execute("RELEASE inner" if nested else "COMMIT")
        except BaseException:
            self._undo(nested=nested)
            del self._afterwards[waiting:]
            if self.replica is not None:
                self.replica.undo(position)
            raise
        if not nested:
            if self.replica is not None:
                self.replica.commit()
            afterwards, self._afterwards = self._afterwards, []
            for action in afterwards:
                action()

    def _undo(self, *, nested: bool) -> None:
        self.execute("ROLLBACK TO inner" if nested else "ROLLBACK")
        if nested:
            self.execute("RELEASE inner")
        self._ids_reserved = int(self.state("ids", "0"))  # an undone reservation is not in the file

    def after_commit(self, action: Callable[[], None]) -> None:
        """Run `action` after the open transaction is committed; never if it is rolled back."""
        if self.connection.in_transaction:
            self._afterwards.append(action)
        else:
            action()

    def new_id(self) -> str:
        """The next id. Numbers are reserved a thousand at a time, so that a restart never repeats one."""
        if self._given_ids:
            return self._given_ids.pop(0)
        if self._ids_made >= self._ids_reserved:
            self._reserve_ids()
        self._ids_made += 1
        return id_number(self._ids_made, self.seed)

    def _reserve_ids(self) -> None:
        self._ids_reserved = self._ids_made + 1000
        self.set_state("ids", str(self._ids_reserved))

    @contextmanager
    def dry_run(self) -> Iterator[list[str]]:
        """Roll back everything written in this context at its end; the list then has the ids that were made in it."""
        before, made = self._ids_made, list[str]()
        try:
            with self.transaction():
                yield made
                raise _DryRunOver
        except _DryRunOver:
            made += [id_number(number + 1, self.seed) for number in range(before, self._ids_made)]

    @contextmanager
    def with_ids(self, ids: Iterable[str]) -> Iterator[None]:
        """Use these ids of a dry run for new rows in this context."""
        if self._ids_made > self._ids_reserved:  # the reservation was rolled back with the dry run
            self._reserve_ids()
        self._given_ids = list(ids)
        try:
            yield
        finally:
            self._given_ids = []

    def next_number(self, name: str) -> int:
        """1, 2, 3, ... per name."""
        number = int(self.state(f"number:{name}", "0")) + 1
        self.set_state(f"number:{name}", str(number))
        return number

    def state(self, name: str, default: str) -> str:
        """The text stored under this name."""
        row = self.execute("SELECT value FROM sandbox_state WHERE name = ?", (name,)).fetchone()
        return default if row is None else str(row[0])

    def set_state(self, name: str, value: str) -> None:
        """Store a text under this name; it survives restarts."""
        self.execute("INSERT OR REPLACE INTO sandbox_state VALUES (?, ?)", (name, value))

    def insert(self, table: str, row: Mapping[str, Any]) -> None:
        """Add one row; keys are column names."""
        key = (table, *row)
        sql = self._inserts.get(key)
        if sql is None:
            sql = self._inserts[key] = insertion(table, row)
        self.execute(sql, tuple(row.values()))

    def insert_many(self, table: str, columns: Iterable[str], rows: Iterable[Sequence[Any]]) -> None:
        """Add many rows that have the same columns."""
        sql, rows = insertion(table, columns), list(rows)
        self.connection.executemany(sql, rows)
        if self.replica is not None:
            self._replicate(sql, rows)

    def lag_lists(self, seconds: float, resource_types: Collection[str], scheduler: Scheduler) -> None:
        """After the next commit, let lists of these types lag by this many seconds; 0 ends it."""
        self.after_commit(partial(self._lag_lists, seconds, resource_types, scheduler))

    def _lag_lists(self, seconds: float, resource_types: Collection[str], scheduler: Scheduler) -> None:
        if seconds and self.replica is not None:
            self.replica.seconds, self.replica.resource_types = seconds, resource_types
        elif seconds:
            copy = _connected(":memory:")
            self.connection.backup(copy)
            self.replica = Replica(copy, scheduler, seconds, resource_types)
        elif self.replica is not None:
            self.replica.close()
            self.replica = None

    def reader_of(self, resource_type: str) -> Reader:
        """The source of lists of this type."""
        if self.replica is None or resource_type not in self.replica.resource_types:
            return self
        self.replica.catch_up()
        return self.replica

    def update(self, table: str, row_id: str, changes: Mapping[str, Any]) -> None:
        """Set columns of one row."""
        key = (table, *changes)
        sql = self._updates.get(key)
        if sql is None:
            assignments = ", ".join(f"{column} = ?" for column in changes)
            sql = self._updates[key] = f"UPDATE {table} SET {assignments} WHERE id = ?"  # noqa: S608  names are ours
        self.execute(sql, (*changes.values(), row_id))

    def delete(self, table: str, row_id: str) -> None:
        """Remove one row."""
        self.execute(f"DELETE FROM {table} WHERE id = ?", (row_id,))  # noqa: S608  table names are ours

    def find(self, table: str, row_id: str | None) -> Row | None:
        """One row with all its columns, including private ones; None when there is none."""
        if row_id is None:
            return None
        return self.first(f"SELECT * FROM {table} WHERE id = ?", (row_id,))  # noqa: S608  table names are ours

    def first(self, sql: str, values: Sequence[Any] = ()) -> Row | None:
        """The first row of a query as a dict."""
        cursor = self.execute(sql, values)
        row = cursor.fetchone()
        cursor.close()
        if row is None:
            return None
        names = self._names.get(sql)
        if names is None:
            names = self._names[sql] = tuple(column[0] for column in cursor.description)
        return dict(zip(names, row, strict=True))

    def exists(self, table: str, row_id: str) -> bool:
        """Whether there is such a row."""
        sql = f"SELECT 1 FROM {table} WHERE id = ?"  # noqa: S608  table names are ours
        return self.execute(sql, (row_id,)).fetchone() is not None

    def close(self) -> None:
        """Close the file."""
        if self.replica is not None:
            self.replica.close()
        self.connection.close()


def _connected(path: str) -> sqlite3.Connection:
    if path != ":memory:":
        Path(path).touch(mode=0o600)  # the files that SQLite puts beside it get the same permissions
    connection = sqlite3.connect(path, isolation_level=None, cached_statements=1024)
    connection.create_function("jcont", 2, contains_json, deterministic=True)
    return connection


def insertion(table: str, columns: Iterable[str]) -> str:
    """The INSERT statement for these columns."""
    names = list(columns)
    marks = ", ".join("?" * len(names))
    return f"INSERT INTO {table} ({', '.join(names)}) VALUES ({marks})"  # noqa: S608  names are ours
