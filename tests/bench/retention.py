"""
`python -m bench.retention` (with `tests` on the path): what a Prefect server keeps, day after day, with the settings of
`deploy/server.env`.

A real server on SQLite keeps what real sweeps tell it. A day passes by making everything in its database a day older;
the server's own services then remove what is too old. They run all the time here, not once an hour.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bench.storage import sqlite_bytes
from cluster.recipe import settings

if TYPE_CHECKING:
    from merchant import Merchant  # Prefect reads its settings when it is first imported, which is later

AGED = {
    "events": ("occurred", "received", "recorded"),
    "event_resources": ("occurred",),
    "flow_run": ("start_time", "end_time", "expected_start_time", "next_scheduled_start_time", "state_timestamp"),
    "flow_run_state": ("timestamp",),
    "task_run": ("start_time", "end_time", "expected_start_time", "state_timestamp"),
    "task_run_state": ("timestamp",),
    "log": ("timestamp",),
    "artifact": (),
    "artifact_collection": (),
}
"""The tables that grow with each sweep, and their columns with instants, besides `created` and `updated`."""

TESTS = Path(__file__).resolve().parents[1]

PER_DAY = 5
"""Renewals in the one sweep of a day."""

LAST = "publish summary"
"""The name of the task run that ends last in a sweep."""

AT_FIRST = 100
"""Renewals in the sweep that is weighed while it ages, unless told otherwise."""

WITHIN = 300.0
"""Seconds within which the server must have stored what it was told, and removed what is too old."""

KEPT = "RETENTION", "VACUUM"
"""What the names of the settings have that say how long something is kept."""

RUNS_KEPT = "PREFECT_SERVER_SERVICES_DB_VACUUM_RETENTION_PERIOD"
EVENTS_KEPT = "PREFECT_SERVER_EVENTS_RETENTION_PERIOD"
OVERRIDES = "PREFECT_SERVER_SERVICES_DB_VACUUM_EVENT_RETENTION_OVERRIDES"

AT_ONCE = {
    "PREFECT_SERVER_SERVICES_DB_VACUUM_LOOP_SECONDS": "0.3",
    "PREFECT_SERVER_SERVICES_DB_VACUUM_ORPHAN_CLEANUP_LOOP_SECONDS": "0.3",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_BATCH_SIZE": "1",
    "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_FLUSH_INTERVAL": "0.2",
}
"""Nothing waits long to be written or removed."""

DAY = 86_400

FLAT = 1.05
"""Once something of each age is kept, no day may need more than this times the first of these days."""


class NotFlat(RuntimeError):  # noqa: N818 - the name says what happened
    """The database grows on, or nothing could be measured. The message has the end of what was printed."""


class NotInTime(RuntimeError):  # noqa: N818 - the name says what happened
    """The server did not store or remove everything within `WITHIN`."""


@dataclass(frozen=True)
class Day:
    """What the database has at the end of one day, once everything too old is removed."""

    number: int
    bytes: int
    flow_runs: int
    task_runs: int
    events: int


@dataclass(frozen=True)
class Kept:
    """What is kept of a sweep as it ages, in bytes for each of its renewals, and of a sweep a day."""

    at_once: int
    after_a_day: int
    after_the_events: int
    days: Sequence[Day]

    @classmethod
    def read(cls, text: str) -> Kept:
        """What `main` has printed."""
        told = json.loads(text)
        return cls(**{**told, "days": [Day(**day) for day in told["days"]]})

    def is_flat(self, runs_kept: int) -> bool:
        """Whether the database does not grow any more once the oldest runs are removed (`runs_kept`: in days)."""
        full, *later = [day.bytes for day in self.days if day.number >= runs_kept]
        return bool(later) and max(later) <= FLAT * full


class History:
    """A Prefect server's database, read and aged from outside."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def pass_days(self, days: int) -> None:
        """Make everything in it so many days older."""
        with closing(sqlite3.connect(self._file, timeout=WITHIN)) as connection, connection:
            for table, columns in AGED.items():
                aged = ", ".join(_earlier(column, days) for column in ("created", "updated", *columns))
                connection.execute(f"UPDATE {table} SET {aged}")

    def count(self, rows: str) -> int:
        """How many rows there are; `rows` is a table, or one with a condition."""
        return self._number(f"SELECT count(*) FROM {rows}")

    def bytes(self) -> int:
        """The bytes in use, with indexes."""
        return sum(sqlite_bytes(self._file).values())

    async def until_zero(self, query: str) -> None:
        """
        Wait until a query answers 0.

        Raises:
            NotInTime: it still does not.
        """
        deadline = time.monotonic() + WITHIN
        while (number := self._number(query)) != 0:
            if time.monotonic() > deadline:
                raise NotInTime(f"after {WITHIN:.0f} s, {number} is the answer to {query}")
            await asyncio.sleep(0.05)

    def _number(self, query: str) -> int:
        with closing(sqlite3.connect(f"file:{self._file}?mode=ro", uri=True, timeout=WITHIN)) as connection:
            return int(connection.execute(query).fetchone()[0])


def _earlier(column: str, days: int) -> str:
    # Prefect's instants are text with microseconds, which SQLite's own functions would round to milliseconds.
    return f"{column} = strftime('%Y-%m-%d %H:%M:%S', {column}, '-{days} days') || substr({column}, 20)"


class Retention:
    """A server that removes what is too old, and a shop whose sweeps it is told of."""

    def __init__(self, database: Path, merchant: Merchant, kept: Mapping[str, str]) -> None:
        self.history, self._merchant = History(database), merchant
        self.runs_kept = int(kept[RUNS_KEPT]) // DAY
        self.events_kept = int(kept[EVENTS_KEPT].strip("PD"))
        seconds = {"flow_run WHERE end_time": int(kept[RUNS_KEPT])}
        seconds |= {f"{table} WHERE occurred": self.events_kept * DAY for table in ("events", "event_resources")}
        for event, long in json.loads(kept[OVERRIDES]).items():
            seconds[f"events WHERE event = '{event}' AND occurred"] = long
        self._too_old = [f"SELECT count(*) FROM {of} < {_ago(long)}" for of, long in seconds.items()]

    async def sweep(self, renewals: int) -> None:
        """Renew so many subscriptions in one sweep, and wait until the server has stored all of it."""
        from flows.cli.prefect_server import drain

        self._merchant.sandbox.seed(renewals)
        ended = await self._merchant.sweep()
        if ended.outcomes != {"renewed": renewals}:
            raise RuntimeError(f"{renewals} subscriptions were to be renewed: {ended.message}")
        await drain()
        # The server stores what it is told in order, the two services that do it one after the other or side by side.
        last = f"flow_run_id = '{ended.flow_run_id}' AND name = '{LAST}' AND end_time IS NOT NULL"
        await self.history.until_zero(f"SELECT NOT EXISTS (SELECT 1 FROM task_run WHERE {last})")
        await self.history.until_zero(_STORED_BY_ONE_SERVICE)

    async def pass_days(self, days: int = 1) -> None:
        """Let days pass, and wait until the server has removed what is too old."""
        self.history.pass_days(days)
        for query in self._too_old:
            await self.history.until_zero(query)

    async def weigh(self, renewals: int) -> tuple[int, int, int]:
        """What is kept for each renewal of one sweep: at once, after a day, and after all its events are removed."""
        await self.sweep(1)  # what is stored once for a shop is no part of the next sweep
        before, found = self.history.bytes(), []
        for days in (0, 1, self.events_kept - 1):
            await (self.pass_days(days) if days else self.sweep(renewals))
            found.append((self.history.bytes() - before) // renewals)
        await self.pass_days(self.runs_kept)
        return found[0], found[1], found[2]

    async def day(self, number: int) -> Day:
        """A day with one sweep; returns what the database has after it."""
        await self.sweep(PER_DAY)
        await self.pass_days()
        runs, task_runs, events = (
            self.history.count(rows) for rows in ("flow_run WHERE end_time", "task_run", "events")
        )
        return Day(number, self.history.bytes(), runs, task_runs, events)


def _ago(seconds: int) -> str:
    return f"strftime('%Y-%m-%d %H:%M:%f', 'now', '-{seconds} seconds')"


_TODAY = _ago(DAY // 2)
"""Whatever is younger is of this day: everything else is at least a day old."""


_STORED_BY_ONE_SERVICE = f"""
SELECT (SELECT count(*) FROM task_run_state WHERE timestamp > {_TODAY} AND id NOT IN (SELECT id FROM events))
    + (SELECT count(*) FROM events WHERE occurred > {_TODAY} AND event LIKE 'prefect.task-run.%'
       AND id NOT IN (SELECT id FROM task_run_state))
"""
"""States of today whose events are not stored, and the other way round: the two have the same id."""


async def _measure(database: Path, kept: Mapping[str, str], given: argparse.Namespace) -> Kept:
    from merchant import open_merchant

    async with open_merchant(first_wave=10_000, second_wave=10_000) as merchant:
        retention = Retention(database, merchant, kept)
        weighed, series = await retention.weigh(given.weighed), []
        for number in range(1, given.days + 1):
            series.append(await retention.day(number))
            print(_line(series[-1]), file=sys.stderr, flush=True)
    return Kept(*weighed, series)


def _line(day: Day) -> str:
    return (
        f"day {day.number:3}: {day.bytes / 1000:5.0f} KB, {day.flow_runs} flow runs, {day.task_runs} task runs,"
        f" {day.events} events"
    )


def measure(*options: str) -> Kept:
    """
    What `main` prints with these options, in a process of its own.

    Raises:
        NotFlat: the database grows on, or nothing could be measured.
    """
    command = [sys.executable, "-m", "bench.retention", *options]
    path = os.pathsep.join(str(folder) for folder in (TESTS.parent, TESTS))
    environment = {**os.environ, "PYTHONPATH": path}
    done = subprocess.run(command, env=environment, cwd=TESTS.parent, capture_output=True, text=True, check=False)
    if done.returncode:
        raise NotFlat("\n".join(done.stderr.splitlines()[-20:]))
    return Kept.read(done.stdout)


def main() -> int:
    """Print the days, and what is kept as JSON. Returns 1 if the database grows on."""
    parser = argparse.ArgumentParser(prog="python -m bench.retention", description=__doc__)
    parser.add_argument("--days", type=int, default=180, help="how many days (180)")
    parser.add_argument("--weighed", type=int, default=AT_FIRST, help=f"renewals in the sweep that ages ({AT_FIRST})")
    parser.add_argument(
        "--runs-kept", type=int, metavar="DAYS", help="how long runs are kept (as in deploy/server.env)"
    )
    parser.add_argument("--events-kept", type=int, metavar="DAYS", help="how long events are kept (likewise)")
    given = parser.parse_args()
    kept = {name: text for name, text in settings("server.env").items() if any(part in name for part in KEPT)}
    kept |= {RUNS_KEPT: str(given.runs_kept * DAY)} if given.runs_kept else {}
    kept |= {EVENTS_KEPT: f"P{given.events_kept}D"} if given.events_kept else {}
    from flows.cli.prefect_server import forget_inherited_settings, prefect_server

    forget_inherited_settings()
    with (
        tempfile.TemporaryDirectory(prefix="perennial-retention-") as folder,
        prefect_server(Path(folder), settings={**kept, **AT_ONCE}) as server,
    ):
        os.environ.update(server.environment)  # before Prefect is first imported
        os.environ["PREFECT_LOGGING_LEVEL"] = "CRITICAL"
        found = asyncio.run(_measure(Path(folder) / "prefect.db", kept, given))
    print(json.dumps(asdict(found)))
    return int(not found.is_flat(int(kept[RUNS_KEPT]) // DAY))


if __name__ == "__main__":
    sys.exit(main())
