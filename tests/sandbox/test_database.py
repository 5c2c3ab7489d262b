"""What the sandbox's database adds to SQLite: nested transactions, and ids that never repeat."""

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
    """Rolls a transaction back."""


@pytest.mark.parametrize("nested", [False, True])
def test_ids_do_not_repeat_after_a_restart_even_if_the_first_transaction_was_rolled_back(path, nested):
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


def test_after_commit_actions_run_after_the_outermost_commit_and_never_after_a_rollback(path):
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


def test_a_database_of_an_older_sandbox_gets_the_missing_columns_and_keeps_its_data(path):
    with closing(sqlite3.connect(path)) as older:
        older.execute("CREATE TABLE orders (id TEXT PRIMARY KEY, number TEXT, status TEXT, payment_status TEXT)")
        older.execute("CREATE TABLE order_copies (id TEXT PRIMARY KEY, status TEXT)")
        older.execute("CREATE TABLE customer_addresses (id TEXT PRIMARY KEY)")
        older.execute("CREATE VIEW order_factories AS SELECT id FROM order_copies")
        older.execute("INSERT INTO orders VALUES ('abcdefghij', '7', 'placed', 'paid')")
        older.commit()
    database = opened(path)

    order = database.find("orders", "abcdefghij")
    assert order is not None
    assert (order["number"], order["status"], order["_ignored_failure"]) == ("7", "placed", None)
    assert database.first("SELECT COUNT(source_order_id) AS n FROM order_factories") == {"n": 0}
    assert database.first("SELECT COUNT(address_id) AS n FROM customer_addresses") == {"n": 0}
    database.close()
