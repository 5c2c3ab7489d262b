"""What the database promises beyond SQL: all or nothing, and no id twice."""

from __future__ import annotations

from contextlib import nullcontext, suppress

import pytest

from blocks.sandbox.database import Database


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
