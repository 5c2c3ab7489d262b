"""
Simulates a year of a shop in minutes: daily sweeps by the real flow, on a real Prefect server and the sandbox's clock.

    python tests/year.py --days 365 --subscriptions 200 --seed 1
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

from year_checker import Report, check
from year_people import CLASSES, OUTAGE_EVERY_DAYS, Diary, People, SweepRun
from year_watch import Watcher

from blocks.commerce_layer.clock import use_clock
from blocks.policy import Policy
from blocks.sandbox.running import RunningSandbox

if TYPE_CHECKING:
    from merchant import Merchant

ZONE = "Europe/Rome"
START = datetime(2026, 1, 1, 4, 0, tzinfo=UTC)
"""The sandbox's clock at the beginning, and the time of day of the sweeps."""

AFTER_A_BRAKE = (timedelta(minutes=15), timedelta(minutes=75), timedelta(hours=5))
"""When a sweep that was stopped is run again. In an installation, the schedule runs it every 15 minutes."""


class YearClock:
    """
    The sandbox's clock, read without a request each time.

    Call `refresh` after other code has moved the sandbox's clock.
    """

    def __init__(self, sandbox: RunningSandbox) -> None:
        self._sandbox = sandbox
        self._start = self._now = sandbox.clock()

    def refresh(self) -> None:
        self._now = self._sandbox.clock()

    def monotonic(self) -> float:
        return (self._now - self._start).total_seconds()

    def now(self) -> datetime:
        return self._now

    async def sleep(self, seconds: float) -> None:
        self._now = self._sandbox.advance(max(seconds, 0.001))
        await asyncio.sleep(0)


@dataclass(frozen=True)
class Year:
    """How a year went."""

    report: Report
    diary: Diary
    requests: Counter[str]
    outcomes: Counter[str]
    sweeps: int
    braked: int
    seconds: float
    watcher: Watcher


async def simulate(merchant: Merchant, days: int, subscriptions: int, seed: int, *, talk: bool = False) -> Year:
    """Simulate `days` days of a shop with that many new subscriptions; its sandbox's clock must show `START`."""
    began = time.monotonic()
    people = People(merchant.sandbox, seed)
    people.make_subscriptions(subscriptions)
    merchant.sandbox.reset_counters()
    watcher = Watcher(Policy(**POLICY))
    with use_clock(clock := YearClock(merchant.sandbox)):
        outcomes = await _days(merchant, people, clock, watcher, days, seed, talk=talk)
    report = check(merchant.sandbox.database, people.diary, ZONE)
    requests = Counter(merchant.sandbox.counters()["requests"])
    requests.subtract(people.diary.requests)
    braked = sum(sweep.braked for sweep in people.diary.sweeps)
    seconds = time.monotonic() - began
    return Year(report, people.diary, requests, outcomes, len(people.diary.sweeps), braked, seconds, watcher)


async def _days(
    merchant: Merchant, people: People, clock: YearClock, watcher: Watcher, days: int, seed: int, *, talk: bool
) -> Counter[str]:
    began = time.monotonic()
    outages = {day + Random(seed + day).randrange(9) for day in range(10, days, OUTAGE_EVERY_DAYS)}
    outcomes: Counter[str] = Counter()
    for day in range(1, days + 1):
        morning = START + timedelta(days=day)
        people.act_until(max(morning, merchant.sandbox.clock()))
        people.plan_customer_changes()
        people.plan_releases()
        people.set_failures(outage=day in outages)
        stopped = await _sweep(merchant, people, clock, watcher, outcomes)
        for later in AFTER_A_BRAKE if stopped or day in outages else ():
            people.act_until(max(morning + later, merchant.sandbox.clock()))
            await _sweep(merchant, people, clock, watcher, outcomes)
        if talk and day % 10 == 0:
            print(f"day {day:>3}: {sum(outcomes.values())} outcomes, {time.monotonic() - began:.0f} s", flush=True)
    return outcomes


async def _sweep(
    merchant: Merchant, people: People, clock: YearClock, watcher: Watcher, outcomes: Counter[str]
) -> bool:
    clock.refresh()
    began = clock.now()
    ended = await merchant.sweep()
    if not isinstance(ended.facts, dict):
        raise SystemExit(f"the sweep of {began} ended {ended.name}: {ended.message}") from ended.facts
    outcomes.update(ended.outcomes)
    braked = bool(ended.facts["brake"])
    people.diary.sweeps.append(SweepRun(began, merchant.sandbox.clock(), braked))
    people.note_settled_periods()
    people.diary.requests.update(await watcher.check(merchant, ended))
    return braked


def print_figures(year: Year) -> None:
    """Print the figures."""
    report = year.report
    print(f"\n{year.sweeps} sweeps ({year.braked} stopped by the brake), {year.seconds:.0f} s")
    print(f"periods worked on   {report.periods}, renewed {report.renewed} ({report.renewed / report.periods:.1%})")
    print(f"skipped as older    {report.skipped_as_older} (catch_up latest)")
    print(f"lost                {len(report.lost)}")
    print(f"doubled             {len(report.doubled)}")
    print(f"otherwise wrong     {len(report.wrong)} wrong, {len(report.stalled)} stalled")
    print(
        f"latest first copy   {_hours(report.latest)} after its date, {_hours(report.longest_wait)} when it had to wait"
    )
    print(
        f"left to the next    {report.left_by_a_brake} by a brake, {report.left_by_a_cap} times by the cap on charges"
    )
    print(f"failed charges      at most {report.most_in_30_days} in 30 days, {report.most_in_a_day} in 24 hours")
    print("outcomes            " + ", ".join(f"{count} {name}" for name, count in year.outcomes.most_common()))
    print("requests            " + ", ".join(f"{count} {name}" for name, count in year.requests.most_common()))
    writes = sum(count for name, count in year.requests.items() if not name.startswith("GET") and "oauth" not in name)
    reads = sum(count for name, count in year.requests.items() if name.startswith("GET"))
    print(f"per renewed period  {writes / report.renewed:.2f} writes, {reads / report.renewed:.2f} reads")
    print(f"the watch found     {sum(year.watcher.found.values())}, unreported {len(year.watcher.false_alarms)}")
    print("\nrecovered, by failure class")
    _print_recovery(_by_class(report.recovery))
    print("\nrecovered, by trouble")
    _print_recovery(report.recovery)
    for fault in [*report.faults, *year.watcher.false_alarms][:40]:
        print(f"  ! {fault}")


def _by_class(recovery: Mapping[str, Counter[str]]) -> dict[str, Counter[str]]:
    classes: dict[str, Counter[str]] = defaultdict(Counter)
    for trouble, ends in recovery.items():
        classes[CLASSES.get(re.split(r"[ ,]", trouble)[0], "no trouble known")].update(ends)
    return classes


def _print_recovery(recovery: Mapping[str, Counter[str]]) -> None:
    for what, ends in sorted(recovery.items()):
        good = sum(count for end, count in ends.items() if end.startswith(("attempt", "customer")))
        detail = ", ".join(f"{end}: {count}" for end, count in sorted(ends.items()))
        share = good / max(1, sum(ends.values()))
        print(f"  {what:<36} {good:>4} of {sum(ends.values()):<4} {share:>5.0%}  ({detail})")


def _hours(span: timedelta) -> str:
    return f"{span.total_seconds() / 3600:.1f} h"


def main() -> int:
    """Run a year on a Prefect server of its own. Returns 1 when anything was wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--days", type=int, default=365)
    parser.add_argument("--subscriptions", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    os.environ.update(LIGHT)
    from flows.cli.prefect_server import prefect_server

    with tempfile.TemporaryDirectory(prefix="perennial-year-") as folder, prefect_server(Path(folder)) as server:
        # Prefect reads its settings when it is first imported.
        os.environ.update(server.environment)
        year = asyncio.run(_simulate_alone(given))
    print_figures(year)
    return int(bool(year.report.faults or year.watcher.false_alarms))


async def _simulate_alone(given: argparse.Namespace) -> Year:
    from merchant import open_merchant

    from flows.cli.prefect_server import drain

    async with open_merchant("--clock", START.isoformat(), "--seed", str(given.seed), **POLICY) as merchant:
        year = await simulate(merchant, given.days, given.subscriptions, given.seed, talk=True)
    await drain()
    return year


LIGHT = {
    "PREFECT_LOGGING_LEVEL": "CRITICAL",
    "PREFECT_LOGGING_TO_API_ENABLED": "false",
    "PREFECT_API_TLS_INSECURE_SKIP_VERIFY": "true",  # loopback needs no TLS, and reading certificates takes long
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_ENABLED": "false",
    "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_ENABLED": "false",
    "PREFECT_SERVER_SERVICES_TRIGGERS_ENABLED": "false",
}
"""No person looks at the runs of this year, so the server stores nothing that only people would read."""

POLICY: dict[str, Any] = {"time_zone": ZONE}
"""The merchant's policy: the defaults, in a zone that changes its clocks."""


if __name__ == "__main__":
    sys.exit(main())
