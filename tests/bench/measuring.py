"""Runs one contestant with a fresh sandbox, in a process of its own, and measures it from outside."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from bench import storage
from bench.contestants.ticket import Ticket
from bench.figures import ON_TWO_HOSTS, TEN_TIMES_AS_MANY, Figures, Round, share_of_limit
from own_postgres import NoPostgres, OwnPostgres, own_postgres

from blocks.sandbox.running import RunningSandbox
from flows.cli.prefect_server import PrefectServer, prefect_server

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
SDK = HERE / "contestants" / "sdk"

ENDS_WITHIN = 240.0
"""
Seconds that a contestant may take for its round, besides those that the limit takes; or a tenth of a second for each
renewal, if that is longer.
"""


class ContestantFailed(RuntimeError):  # noqa: N818 - the name says what happened
    """A contestant ended with an error, or did not finish the work."""


AHEAD = timedelta(hours=3)
"""How long before they are due the renewals of a contestant that prepares them are copied."""


@dataclass(frozen=True)
class Contestant:
    """A contestant: its name in the table, how to start it, and what it needs."""

    name: str
    command: tuple[str, ...]
    needs_server: bool = False
    at_once: int = 20
    """Renewals at the same time, for contestants that do not decide this themselves."""
    share_of_work: float = 1.0
    """The share of a round's work that it gets: slow ones would take an hour for all of it."""
    waves: bool = False
    """Whether it pauses after the first few renewals, as the policy says by default."""
    prepares: bool = False
    """Whether a sweep before the measured one makes the order copies, hours before they are due."""
    on_postgres: bool = False
    """Whether its Prefect server keeps its database in PostgreSQL, not in SQLite."""
    hosts: int = 1
    """How many hosts it renews on, each behind an address of its own. The limit is one of each address."""


PERENNIAL = Contestant("Perennial", (sys.executable, "-m", "bench.contestants.perennial"), needs_server=True)
IN_WAVES = replace(PERENNIAL, name="Perennial, in waves", waves=True)
PREPARED = replace(PERENNIAL, name="Perennial, prepared", prepares=True)
ON_POSTGRES = replace(PERENNIAL, name="Perennial, on PostgreSQL", on_postgres=True)
TWO_HOSTS = replace(
    PERENNIAL,
    name=ON_TWO_HOSTS,
    command=(sys.executable, "-m", "bench.contestants.two_hosts"),
    share_of_work=2.0,
    hosts=2,
)
TEN_TIMES = replace(PERENNIAL, name=TEN_TIMES_AS_MANY, share_of_work=10.0)
NAIVE = Contestant(
    "naive Prefect", (sys.executable, "-m", "bench.contestants.naive_prefect"), needs_server=True, share_of_work=0.05
)
SDK_SCRIPT = Contestant("official SDK", ("node", "renew.js"), share_of_work=0.5)
BARE = Contestant("bare httpx", (sys.executable, "-m", "bench.contestants.bare"), at_once=200)


def run(contestant: Contestant, round_: Round, home: Path, policy: Mapping[str, Any] | None = None) -> Figures:
    """
    One contestant in one round, on a sandbox (and, if it needs one, a Prefect server) of its own.

    Raises:
        ContestantFailed: it ended with an error, or did not renew all subscriptions.
    """
    home.mkdir(parents=True, exist_ok=True)
    options = ["--copy-seconds", str(round_.copy_seconds * 0.9), "--queue-seconds", str(round_.copy_seconds * 0.1)]
    options += ["--copy-spread", "0.2"]
    options += ["--limit-scale", str(round_.window_scale)] if round_.limited else ["--limits", "off"]
    with RunningSandbox(*options) as sandbox, _server(home, contestant) as (server, database):
        due = sandbox.clock() + AHEAD
        sandbox.seed(round_.renewals, **({"due": due.isoformat()} if contestant.prepares else {}))
        ticket = _ticket(sandbox, round_, contestant)
        ends_within = round_.least_seconds + max(ENDS_WITHIN, round_.renewals / 10)
        if contestant.prepares:
            _start(contestant, ticket, server, home, {**(policy or {}), "prepare_ahead": "24h"}, ends_within)
            sandbox.set_clock(due)
            sandbox.forget_limits()
        sandbox.reset_counters()
        before, stored = _cpu_by_command(), database.settled()
        told = _start(contestant, ticket, server, home, policy or {}, ends_within)
        after = _cpu_by_command()
        data = ShopData.of(sandbox.database)
        if data.renewed != round_.renewals:
            raise ContestantFailed(f"{contestant.name} renewed {data.renewed} of {round_.renewals}: {told}")
        counters = sandbox.counters()
        grown = database.settled() - stored
    figures = _figures(contestant, round_, told, data, counters, _spent(before, after))
    return replace(figures, database_bytes=grown if contestant.needs_server else None)


def install_sdk() -> str | None:
    """Install the SDK's packages if they are missing. Returns why that cannot be done, or `None`."""
    if (SDK / "node_modules").exists():
        return None
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        return "Node.js is not installed"
    done = subprocess.run(
        [npm, "ci", "--no-audit", "--no-fund"], cwd=SDK, capture_output=True, text=True, timeout=120, check=False
    )
    return None if done.returncode == 0 else f"npm ci failed: {done.stderr.strip().splitlines()[-1]}"


@contextmanager
def _server(home: Path, contestant: Contestant) -> Iterator[tuple[PrefectServer | None, storage.Database]]:
    """The contestant's Prefect server, if it needs one, and what the server stores."""
    if not contestant.needs_server:
        yield None, storage.Database(dict)
    elif not contestant.on_postgres:
        with prefect_server(home) as server:
            yield server, storage.Database(lambda: storage.sqlite_bytes(home / "prefect.db"))
    else:
        with _postgres() as own:
            settings = {"PREFECT_SERVER_DATABASE_CONNECTION_URL": own.url}
            with prefect_server(home, settings=settings) as server:
                yield server, storage.Database(own.bytes_by_table)


@contextmanager
def _postgres() -> Iterator[OwnPostgres]:
    try:
        with own_postgres() as own:
            yield own
    except NoPostgres as error:
        raise ContestantFailed(str(error)) from None


def _ticket(sandbox: RunningSandbox, round_: Round, contestant: Contestant) -> Ticket:
    return Ticket(
        api_url=sandbox.api_url,
        auth_url=sandbox.auth_url,
        organization=sandbox.organization,
        client_id=sandbox.client_id,
        client_secret=sandbox.client_secret,
        window_scale=round_.window_scale,
        limited=round_.limited,
        copy_seconds=round_.copy_seconds,
        at_once=contestant.at_once,
    )


def _start(
    contestant: Contestant,
    ticket: Ticket,
    server: PrefectServer | None,
    home: Path,
    policy: Mapping[str, Any],
    ends_within: float,
) -> dict[str, Any]:
    environment = {
        **os.environ,
        **(server.environment if server else {}),
        **ticket.as_environment(),
        "BENCH_POLICY": json.dumps(dict(policy)),
        "XDG_STATE_HOME": str(home / "state"),
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")]),
        "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",
    }
    where = SDK if contestant.command[0] == "node" else ROOT
    try:
        done = subprocess.run(
            contestant.command,
            env=environment,
            cwd=where,
            capture_output=True,
            text=True,
            check=False,
            timeout=ends_within,
        )
    except subprocess.TimeoutExpired:
        raise ContestantFailed(f"{contestant.name} had not finished after {ends_within:.0f} s") from None
    if done.returncode:
        raise ContestantFailed(f"{contestant.name} failed: {done.stderr.strip().splitlines()[-1][:300]}")
    told: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return told


@dataclass(frozen=True)
class ShopData:
    """What the sandbox's own database says about the round."""

    renewed: int
    duplicates: int
    writes: Sequence[float]
    last_create: float

    @classmethod
    def of(cls, database: Path) -> ShopData:
        with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
            creations = [_seconds(row[0]) for row in connection.execute("SELECT created_at FROM order_copies")]
            placed = connection.execute(_PLACED).fetchall()
            changed = connection.execute("SELECT updated_at FROM order_subscriptions WHERE updated_at > created_at")
            records = [_seconds(row[0]) for row in changed]
        tagged = {source for source, _, is_tagged in placed if is_tagged}
        duplicates = len(placed) - len({source for source, _, _ in placed})
        writes = sorted([*creations, *records, *(_seconds(at) for _, at, _ in placed)])
        return cls(min(len(tagged), len(records)), duplicates, writes, max(creations, default=0.0))


_PLACED = """
SELECT order_copies.source_order_id, orders.placed_at, orders.reference IS NOT NULL
FROM order_copies JOIN orders ON orders.id = order_copies.target_order_id
WHERE orders.status = 'placed'
"""


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def _figures(
    contestant: Contestant,
    round_: Round,
    told: Mapping[str, Any],
    data: ShopData,
    counters: Mapping[str, Any],
    spent: Mapping[str, float] | None,
) -> Figures:
    methods: dict[str, int] = {}
    for request, count in counters["requests"].items():
        method, _, endpoint = request.partition(" ")
        if "/oauth/" not in endpoint:
            methods[method] = methods.get(method, 0) + count
    share = share_of_limit(data.writes, data.last_create, round_.window_seconds, round_.writes_per_window)
    return Figures(
        contestant=contestant.name,
        renewals=round_.renewals,
        seconds=told["seconds"],
        writes=methods.get("POST", 0) + methods.get("PATCH", 0),
        reads=methods.get("GET", 0),
        throttled=counters["throttled"],
        cpu_seconds=told["cpu_seconds"],
        server_cpu_seconds=spent["server"] if spent and contestant.needs_server else None,
        sandbox_cpu_seconds=spent["sandbox"] if spent else None,
        peak_megabytes=told["peak_megabytes"],
        # The share ends at the last creation, and prepared copies were created before.
        share_of_limit=share if round_.limited and not contestant.prepares and contestant.hosts == 1 else None,
        task_runs=told.get("task_runs"),
        duplicates=data.duplicates,
    )


# --- CPU of the services ------------------------------------------------------------------------


def _cpu_by_command() -> dict[str, float] | None:
    """CPU seconds of the processes that we started, by kind, from /proc; `None` on a system without it."""
    if not Path("/proc/self/stat").exists():
        return None
    processes = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                command = (entry / "cmdline").read_text()
            except OSError:  # ended meanwhile
                continue
            processes[int(entry.name)] = (int(fields[1]), command, int(fields[11]) + int(fields[12]))
    used = {"server": 0.0, "sandbox": 0.0}
    for process_id, (_, _, ticks) in processes.items():
        kind = _kind_of(process_id, processes)
        if kind is not None:
            used[kind] += ticks / os.sysconf("SC_CLK_TCK")
    return used


def _kind_of(process_id: int, processes: Mapping[int, tuple[int, str, int]]) -> str | None:
    """The kind of a process that we started, by its own command or that of an ancestor."""
    kind = None
    while process_id in processes:
        if process_id == os.getpid():
            return kind
        parent, command, _ = processes[process_id]
        if "blocks.sandbox" in command:
            kind = "sandbox"
        elif "prefect\0server" in command:
            kind = "server"
        process_id = parent
    return None


def _spent(before: Mapping[str, float] | None, after: Mapping[str, float] | None) -> Mapping[str, float] | None:
    if before is None or after is None:
        return None
    return {kind: after[kind] - before[kind] for kind in after}


def load() -> str:
    """How busy the machine is, in a sentence."""
    try:
        load = os.getloadavg()[0]
    except OSError:
        return "unknown load"
    return f"load {load:.1f} on {os.cpu_count()} cores at {time.strftime('%H:%M')}"
