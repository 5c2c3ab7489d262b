"""`python -m blocks.sandbox`, as the documentation shows it."""

from __future__ import annotations

import sqlite3
from contextlib import closing

from blocks.sandbox.running import RunningSandbox


def test_the_same_seed_gives_the_same_subscriptions_in_the_requested_number() -> None:
    ids = []
    for _ in range(2):
        with (
            RunningSandbox("--subscriptions", "3", "--seed", "7") as box,
            closing(sqlite3.connect(f"file:{box.database}?mode=ro", uri=True)) as database,
        ):
            ids.append(sorted(database.execute("SELECT id FROM order_subscriptions").fetchall()))

            folder = box.database.parent
            assert {path.stat().st_mode & 0o077 for path in folder.iterdir()} == {0}, "its owner only"

    assert len(ids[0]) == 3
    assert ids[0] == ids[1]
