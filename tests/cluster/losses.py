"""
`make cluster-test`: a shared sweep while parts of the installation go, and what the independent auditor says.

One of two workers is killed with its runs, one of two API servers is killed, all connections to PostgreSQL are
terminated, and Redis is gone for a minute. What was killed is started again after a minute, as its supervisor would.

Then a quarter as many subscriptions become due, and the worker that runs the sweep itself is killed in the middle: the
next sweep renews the rest.
"""

from __future__ import annotations

import argparse
import asyncio
import sqlite3
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
import redis
from chaos.checker import Auditor, Findings
from cluster.installation import API_SERVERS, WORKERS, Installation, Program
from cluster.shop import cluster
from deploying import no_schedule_active
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import LogFilter, LogFilterFlowRunId, LogFilterLevel
from prefect.client.schemas.objects import FlowRun
from prefect.deployments import arun_deployment

from blocks.commerce_layer.rate_limit import RateLimits
from blocks.policy import Policy
from blocks.sandbox.running import RunningSandbox
from flows.cli.alarms import SWEEP

AWAY = 60.0
"""Seconds after which a supervisor has started again what was killed."""

BATCHES = 12
"""Of the first sweep; the second has a quarter of them."""

SWEEPS = 3
"""How many sweeps may be needed, one after the other."""

ENDS_WITHIN = 3600.0


@dataclass(frozen=True)
class Loss:
    """What goes, once this share of the renewals is placed."""

    share: float
    what: str
    happen: Callable[[], None]


class Losses(threading.Thread):
    """
    Lets parts of the installation go while a sweep is at work, and starts them again.

    It goes on for as long as this process, because what it starts would end with it.
    """

    def __init__(
        self, made: Installation, placed: Callable[[], int], renewals: int, coming: Callable[[Losses], list[Loss]]
    ) -> None:
        super().__init__(daemon=True)
        self.made, self._placed, self._renewals = made, placed, renewals
        self._coming = coming(self)
        self._killed: list[tuple[float, Program]] = []
        self.told: list[str] = []
        self.over = threading.Event()

    def run(self) -> None:
        """One loss after the other."""
        coming = self._coming
        while True:
            if coming and not self.over.is_set() and self._placed() >= coming[0].share * self._renewals:
                self.tell(f"{coming[0].what}, at {self._placed()} of {self._renewals} renewals")
                coming[0].happen()
                coming.pop(0)
            if self._killed and time.monotonic() >= self._killed[0][0] + AWAY:
                _, program = self._killed.pop(0)
                program.start()
                self.tell(f"{program.name} started again, at {self._placed()}")
            time.sleep(1)

    def tell(self, what: str) -> None:
        self.told.append(what)
        print(what, flush=True)

    @property
    def all_happened(self) -> bool:
        """Whether nothing is left to go."""
        return not self._coming

    def away(self, program: Program) -> None:
        """Kill it; it is started again after a minute."""
        program.kill()
        self._killed.append((time.monotonic(), program))


def parts_go(losses: Losses, sweep: FlowRun) -> list[Loss]:
    """Everything but the sweep itself goes, one after the other."""
    made = losses.made
    _, worker = _workers(made, sweep)
    api = made.programs[API_SERVERS[0]]

    def terminate() -> None:
        losses.tell(f"{made.postgres.terminate_connections()} connections were terminated")

    return [
        Loss(0.15, f"{worker.name} killed with its runs", lambda: losses.away(worker)),
        Loss(0.30, f"{api.name} killed", lambda: losses.away(api)),
        Loss(0.45, "all connections to PostgreSQL go", terminate),
        Loss(0.60, "Redis killed", lambda: losses.away(made.redis)),
    ]


def sweep_goes(losses: Losses, sweep: FlowRun) -> list[Loss]:
    """The worker that runs the sweep goes, and the sweep with it."""
    worker, _ = _workers(losses.made, sweep)
    return [Loss(0.30, f"{worker.name} killed with the sweep", lambda: losses.away(worker))]


def _workers(made: Installation, sweep: FlowRun) -> tuple[Program, Program]:
    """The worker that runs the sweep itself, and the other one."""
    pid = int(str(sweep.infrastructure_pid).rpartition(":")[2])
    above = {each.pid for each in psutil.Process(pid).parents()}
    its_own, other = sorted((made.programs[name] for name in WORKERS), key=lambda worker: worker.pid not in above)
    return its_own, other


async def sweep_once(
    on_start: Callable[[FlowRun], None] = lambda _: None, is_gone: Callable[[], bool] = lambda: False
) -> FlowRun:
    """Start a shared sweep, and wait until it has ended, or until `is_gone` says that its process was killed."""
    run = await arun_deployment(SWEEP, parameters={"distribute": True}, timeout=0)
    began = False
    deadline = time.monotonic() + ENDS_WITHIN
    while time.monotonic() < deadline:
        with suppress(httpx.HTTPError):  # a server is away
            async with get_client() as prefect:
                run = await prefect.read_flow_run(run.id)
        state = run.state
        if not began and run.infrastructure_pid is not None and state is not None and state.is_running():
            began = True
            on_start(run)
        if (state is not None and state.is_final()) or is_gone():
            return run
        await asyncio.sleep(1)
    raise TimeoutError(f"{run.name} has not ended within {ENDS_WITHIN:.0f} s")


async def _warnings_of(run: FlowRun) -> list[str]:
    mine = LogFilter(flow_run_id=LogFilterFlowRunId(any_=[run.id]), level=LogFilterLevel(ge_=30))
    async with get_client() as prefect:
        return [each.message for each in await prefect.read_logs(mine)]


def placed(database: Path) -> int:
    """How many copied orders are placed, read without Perennial's code."""
    query = (
        "SELECT count(*) FROM order_copies c JOIN orders o ON o.id = c.target_order_id WHERE o.placed_at IS NOT NULL"
    )
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        return int(connection.execute(query).fetchone()[0])


def backlog(made: Installation) -> int:
    """Events that Redis holds and that one of the services has not read or not finished yet."""
    with redis.Redis(port=made.redis_port) as client:
        return max((each["lag"] or 0) + each["pending"] for each in client.xinfo_groups("events"))


def more_due(renewals: int) -> int:
    """How many become due for the sweep that is killed."""
    return renewals // 4


async def _run(made: Installation, sandbox: RunningSandbox, renewals: int) -> tuple[list[str], Findings]:
    sandbox.seed(renewals)
    auditor = Auditor(sandbox.database)
    told = await _parts_lost(made, sandbox, auditor, renewals)
    sandbox.seed(more := more_due(renewals))
    auditor.note_new_contracts()
    told += await _sweep_lost(made, sandbox, auditor, more)
    return [*told, await _events_stored(made)], auditor.audit(sandbox.clock())


async def _parts_lost(made: Installation, sandbox: RunningSandbox, auditor: Auditor, renewals: int) -> list[str]:
    """Sweeps, until everything is renewed; during the first, one part after the other goes."""
    losses: list[Losses] = []

    def lose(run: FlowRun) -> None:
        losses.append(_started(made, sandbox, renewals, lambda each: parts_go(each, run)))

    told = await _sweep_until_renewed(sandbox, auditor, lose)
    losses[0].over.set()
    return [*losses[0].told, *told]


async def _sweep_lost(made: Installation, sandbox: RunningSandbox, auditor: Auditor, renewals: int) -> list[str]:
    """A sweep whose worker is killed, and further ones, until everything is renewed."""
    losses: list[Losses] = []

    def lose(run: FlowRun) -> None:
        losses.append(_started(made, sandbox, renewals, lambda each: sweep_goes(each, run)))

    await sweep_once(lose, is_gone=lambda: bool(losses) and losses[0].all_happened)
    return [*losses[0].told, *await _sweep_until_renewed(sandbox, auditor)]


def _started(
    made: Installation, sandbox: RunningSandbox, renewals: int, coming: Callable[[Losses], list[Loss]]
) -> Losses:
    before = placed(sandbox.database)
    losses = Losses(made, lambda: placed(sandbox.database) - before, renewals, coming)
    losses.start()
    return losses


async def _sweep_until_renewed(
    sandbox: RunningSandbox, auditor: Auditor, on_start: Callable[[FlowRun], None] = lambda _: None
) -> list[str]:
    """What the sweeps said, `SWEEPS` at most; `on_start` is called for the first."""
    began, told, until = time.monotonic(), list[str](), sandbox.clock()
    for number in range(1, SWEEPS + 1):
        run = await sweep_once(on_start) if number == 1 else await sweep_once()
        assert run.state is not None
        told.append(f"sweep {number}: {run.state.name} after {time.monotonic() - began:.0f} s: {run.state.message}")
        told += [f"    {line.splitlines()[0]}" for line in dict.fromkeys(await _warnings_of(run))]
        print("\n".join(told), flush=True)
        if not auditor.audit(until).lost:
            break
    return told


def _size(made: Installation, renewals: int) -> str:
    sizes = made.postgres.bytes_by_table()
    largest = sorted(sizes, key=lambda table: -sizes[table])[:6]
    parts = ", ".join(f"{table} {sizes[table] / renewals / 1000:.1f}" for table in largest)
    return f"{sum(sizes.values()) / renewals / 1000:.1f} KB of database a renewal: {parts}"


async def _events_stored(made: Installation) -> str:
    """How long events lag behind the sweep."""
    began, at_first = time.monotonic(), backlog(made)
    for _ in range(600):
        if not (left := backlog(made)):
            break
        await asyncio.sleep(1)
    return f"{at_first} events were not stored yet at the end, {left} after {time.monotonic() - began:.0f} s"


def main() -> int:
    """Returns 1 if a period was charged twice, is lost, or anything else is not as it should be."""
    parser = argparse.ArgumentParser(prog="make cluster-test", description=__doc__)
    parser.add_argument("--renewals", type=int, default=3000, help="how many (3000)")
    renewals = parser.parse_args().renewals
    policy = Policy(batch_size=max(1, renewals // BATCHES), first_wave=5, second_wave=10)  # so that batches begin soon
    limits = RateLimits(unlimited=True)
    with (
        tempfile.TemporaryDirectory(prefix="perennial-cluster-") as home,
        RunningSandbox("--limits", "off", "--copy-seconds", "1") as sandbox,
        cluster(Path(home), sandbox, limits, policy) as made,
        no_schedule_active(),
    ):
        due = renewals + more_due(renewals)
        told, found = asyncio.run(_run(made, sandbox, renewals))
        told.append(_size(made, due))
    print("\n".join(["", *told, "", result(found, due)]))
    return 0 if found.is_clean and found.renewals == due else 1


def result(found: Findings, renewals: int) -> str:
    """The auditor's verdict."""
    verdict = f"{renewals} due: {found.renewals} renewed, {len(found.charged_twice)} doubled, {len(found.lost)} lost"
    more = [f"{name}: {', '.join(which[:5])}" for name, which in found.complaints.items()]
    return "\n".join([f"{verdict}; {found.surplus} surplus copies made and withdrawn", *more])


if __name__ == "__main__":
    sys.exit(main())
