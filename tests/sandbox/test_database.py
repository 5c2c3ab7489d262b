"""What the database promises beyond SQL: all or nothing, and no id twice."""

from __future__ import annotations

import sqlite3
from contextlib import closing, nullcontext, suppress

import pytest

from blocks.sandbox.shop.database import Database


@pytest.fixture
def path(tmp_path):
    return tmp_path / "shop.sqlite"


def opened(path):
    return Database(path, seed=1, durable=False)


class UndoneError(Exception):
    """Ends a transaction."""


@pytest.mark.parametrize("nested", [False, True])
def test_no_id_comes_again_after_a_restart_when_the_transaction_that_made_the_first_was_undone(path, nested):
    database = opened(path)
    outer = database.transaction() if nested else nullcontext()
    with outer, suppress(UndoneError), database.transaction():
        database.new_id()
        raise UndoneError
    before = [database.new_id() for _ in range(3)]
    database.close()

    again = opened(path)
    assert not {again.new_id() for _ in range(3000)} & set(before)
    again.close()


def test_what_waits_for_the_commit_happens_after_it_and_never_when_it_was_undone(path):
    database, seen = opened(path), []
    with database.transaction():
        database.after_commit(lambda: seen.append("kept"))
        with suppress(UndoneError), database.transaction():
            database.after_commit(lambda: seen.append("undone"))
            raise UndoneError
        with database.transaction():
            database.after_commit(lambda: seen.append("inner"))
        assert seen == []
    database.after_commit(lambda: seen.append("at once"))

    assert seen == ["kept", "inner", "at once"]
    database.close()


def test_a_file_of_an_older_sandbox_gets_the_columns_that_it_lacks_and_keeps_the_rest(path):
    with closing(sqlite3.connect(path)) as older:
        older.execute("CREATE TABLE orders (id TEXT PRIMARY KEY, number TEXT, status TEXT, payment_status TEXT)")
        older.execute("CREATE TABLE order_copies (id TEXT PRIMARY KEY, status TEXT)")
        older.execute("CREATE VIEW order_factories AS SELECT id FROM order_copies")
        older.execute("INSERT INTO orders VALUES ('abcdefghij', '7', 'placed', 'paid')")
        older.commit()
    database = opened(path)

    order = database.find("orders", "abcdefghij")
    assert order is not None
    assert (order["number"], order["status"], order["_ignored_failure"]) == ("7", "placed", None)
    assert database.first("SELECT COUNT(source_order_id) AS n FROM order_factories") == {"n": 0}
    database.close()
