"""How much a Prefect server stores."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

STILL_FOR = 6.0
"""Seconds without growth after which everything is written: three times as long as events are collected."""


@dataclass(frozen=True)
class Database:
    """A server's database."""

    by_table: Callable[[], Mapping[str, int]]
    """Reads the bytes that each table takes, with its indexes."""

    def settled(self) -> int:
        """Its bytes once it has stopped growing: events are written some seconds after they have happened."""
        size, since = self._bytes(), time.monotonic()
        while time.monotonic() < since + STILL_FOR and size:
            time.sleep(0.5)
            now = self._bytes()
            if now != size:
                size, since = now, time.monotonic()
        return size

    def _bytes(self) -> int:
        return sum(self.by_table().values())


def sqlite_bytes(file: Path) -> dict[str, int]:
    """The bytes in use. SQLite does not tell them by table."""
    with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as connection:
        pages, free, size = (connection.execute(f"PRAGMA {name}").fetchone()[0] for name in PRAGMAS)
    return {"all tables": (pages - free) * size}


PRAGMAS = ("page_count", "freelist_count", "page_size")
