"""
A campaign: renewals over a virtual year, with everything going wrong that can, and an audit at the end.

    python tests/chaos/campaign.py --renewals 2000 --seed 7

The sandbox's clock is wound, so a year takes minutes. Every few virtual hours a sweep runs: in this process, or in
workers of which one is killed at a place drawn by lot, or in several workers at once. Most sweeps meet faults: answers
lost before and after the commit, late, garbled, refused; tokens revoked; the sandbox killed and restarted. In the end
the faults stop, what is still due is renewed, and an auditor that shares no code with Perennial counts.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

if __name__ == "__main__":  # as a script, it brings its own Prefect server, whose settings must be known first
    ROOT = Path(__file__).resolve().parents[2]
    sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
    from flows.services import free_port, prefect_server, private_settings

    HOME, PORT = Path(tempfile.mkdtemp(prefix="perennial-campaign-")), free_port()
    os.environ.update(private_settings(HOME, f"http://127.0.0.1:{PORT}"))
    os.environ["PREFECT_LOGGING_LEVEL"] = "CRITICAL"
    os.environ["XDG_STATE_HOME"] = str(HOME / "state")

from chaos.checker import Auditor, Findings
from chaos.crew import Crew, let_leases_expire
from chaos.worker_process import PLACES
from merchant import Merchant, open_merchant

YEAR = timedelta(days=365)
SHARES = {"daily": 0.55, "weekly": 0.2, "monthly": 0.15, "hourly": 0.04}
"""Of all renewals, how many belong to which frequency; the rest are the longer ones, two subscriptions each."""

PER_YEAR = {"daily": 365, "weekly": 52, "monthly": 12}
LONGER = ("two-month", "three-month", "four-month", "six-month", "yearly")

CREATION = {"method": "POST", "path": "/api/order_copies"}
ANY = {"path": "/api/*"}
FAULTS: dict[str, dict[str, Any]] = {
    "creation reset before": {"action": "reset", "when": "before", **CREATION},
    "creation reset after": {"action": "reset", "when": "after", **CREATION},
    "creation 502 before": {"action": "status", "status": 502, "when": "before", **CREATION},
    "creation 502 after": {"action": "status", "status": 502, "when": "after", **CREATION},
    "creation garbled": {"action": "malformed", **CREATION},
    "creation cut short": {"action": "truncate", **CREATION},
    "creation late by 5 s": {"action": "late", "seconds": 5, **CREATION},
    "creation late by 50 s": {"action": "late", "seconds": 50, **CREATION},
    "creation refused, 500": {"action": "status", "status": 500, "body": "json", **CREATION},
    "read 503": {"action": "status", "status": 503, "method": "GET", **ANY},
    "read reset": {"action": "reset", "method": "GET", **ANY},
    "read garbled": {"action": "malformed", "method": "GET", **ANY},
    "record lost after": {"action": "reset", "when": "after", "method": "PATCH", **ANY},
    "record 500 before": {"action": "status", "status": 500, "method": "PATCH", **ANY},
    "throttled": {"action": "throttle", **ANY},
    "token revoked": {"action": "revoke", **ANY},
}


@dataclass
class Tally:
    """What was done to the merchant."""

    sweeps: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    kills: Counter[str] = field(default_factory=Counter)
    at_once: int = 0
    restarts: int = 0
    declines: int = 0
    seconds: float = 0.0


class Campaign:
    """One merchant's bad year. `seed` decides everything but the real clock."""

    def __init__(self, merchant: Merchant, crew: Crew, renewals: int, seed: int, length: timedelta) -> None:
        self._merchant, self._crew = merchant, crew
        self._dice = random.Random(seed)
        self._renewals, self._length = renewals, length
        self._armed: list[tuple[str, int]] = []
        self.tally = Tally()

    async def run(self) -> tuple[Findings, Tally]:
        """Let the time pass; returns what the auditor found at its end."""
        began = time.monotonic()
        box = self._merchant.sandbox
        start = box.clock()
        end = start + self._length
        self._seed(start)
        auditor = Auditor(box.database, start)
        hourly_from = end - min(timedelta(hours=24), self._length / 30)
        has_hourly, reported = False, 0
        while box.clock() < end:
            if not has_hourly and box.clock() >= hourly_from:
                # A few hourly ones at the very end: for a whole year they would be all there is.
                hours = max(1, int(self._renewals * SHARES["hourly"] / 24))
                box.seed(hours, frequencies={"hourly": 1.0})
                auditor.note_new_contracts()
                has_hourly = True
            await self._one_sweep()
            if self.tally.sweeps // 50 > reported:
                reported = self.tally.sweeps // 50
                findings = auditor.audit(box.clock() - timedelta(days=10))
                print(
                    f"{box.clock():%Y-%m-%d} {findings.renewals} renewed, {len(findings.charged_twice)} twice, "
                    f"{sum(self.tally.kills.values())} kills, {sum(self.tally.faults.values())} faults",
                    file=sys.stderr,
                    flush=True,
                )
            step = timedelta(minutes=50) if has_hourly else timedelta(hours=self._dice.uniform(12, 26))
            box.advance(step.total_seconds())
        until = box.clock()
        await self._calm_down(auditor, until)
        self.tally.seconds = time.monotonic() - began
        return auditor.audit(until), self.tally

    def _seed(self, start: datetime) -> None:
        box = self._merchant.sandbox
        # All have been due at least once, at any time of their first period: so every date is on their rhythm.
        for name, per_year in PER_YEAR.items():
            count = max(1, round(self._renewals * SHARES[name] / per_year * (YEAR / self._length)))
            period = min(YEAR / per_year, timedelta(days=28))
            box.seed(count, frequencies={name: 1.0}, due=_iso(start - period), spread_seconds=period.total_seconds())
        for name in LONGER:
            box.seed(2, frequencies={name: 1.0}, due=_iso(start - timedelta(days=self._dice.randrange(28))))

    async def _one_sweep(self) -> None:
        self._make_trouble()
        lot = self._dice.random()
        if lot < 0.12:
            await self._with_a_kill()
        elif lot < 0.2:
            await self._several_at_once()
        else:
            await self._merchant.sweep()
            self.tally.sweeps += 1
        self._end_the_trouble()
        if self._dice.random() < 0.02:
            await asyncio.to_thread(self._merchant.sandbox.restart, kill=True)
            self.tally.restarts += 1

    def _make_trouble(self) -> None:
        box, dice = self._merchant.sandbox, self._dice
        if dice.random() < 0.6:
            for name in dice.sample(sorted(FAULTS), dice.choice([1, 1, 2, 3])):
                nth = sorted(dice.sample(range(1, 8), dice.choice([1, 2, 3])))
                box.fault(**FAULTS[name], nth=nth)
                self._armed.append((name, len(nth)))
        if dice.random() < 0.15:
            sources = self._merchant.rows("SELECT source_order_id AS id FROM order_subscriptions")
            box.set_failure(dice.choice(sources)["id"], dice.choice(["declined", "out_of_stock"]), times=1)
            self.tally.declines += 1

    def _end_the_trouble(self) -> None:
        box = self._merchant.sandbox
        names = {_key(fault): name for name, fault in FAULTS.items()}
        left = {names[_key(fault)]: fault["hits"] for fault in box.faults()}
        for name, planned in self._armed:
            self.tally.faults[name] += left.get(name, planned)  # what is gone from the list has struck as planned
        self._armed = []
        box.clear_faults()

    async def _with_a_kill(self) -> None:
        place = self._dice.choice(sorted(PLACES))
        worker = self._crew.hire(self._merchant, die_at=place, nth=self._dice.choice([1, 1, 2, 3]))
        if self._dice.random() < 0.3:  # somewhere in between
            place = "at any moment"
            await asyncio.sleep(self._dice.uniform(0.1, 1.5))
            worker.send(signal.SIGKILL)
        if await worker.wait() is None:
            self.tally.kills[place] += 1
        self.tally.sweeps += 1
        await let_leases_expire(self._merchant, worker)

    async def _several_at_once(self) -> None:
        workers = [self._crew.hire(self._merchant) for _ in range(self._dice.choice([2, 2, 3, 4]))]
        if self._dice.random() < 0.5:
            victim = self._dice.choice(workers)
            await asyncio.sleep(self._dice.uniform(0.1, 1.5))
            victim.send(signal.SIGKILL)
            if await victim.wait() is None:
                self.tally.kills["at any moment"] += 1
            await let_leases_expire(self._merchant, victim)
        await asyncio.gather(*(worker.wait(400) for worker in workers))
        self.tally.sweeps += len(workers)
        self.tally.at_once += 1

    async def _calm_down(self, auditor: Auditor, until: datetime) -> None:
        """No more faults: sweep until nothing that was due by `until` is missing, or a month has passed."""
        for _ in range(60):
            await self._merchant.sweep()
            self.tally.sweeps += 1
            if not auditor.audit(until).lost:
                return
            self._merchant.sandbox.advance(12 * 3600)


def _key(fault: dict[str, Any]) -> tuple[Any, ...]:
    defaults = {"when": "before", "method": "*", "status": 500, "seconds": 0, "body": "html"}
    if fault["action"] in {"truncate", "malformed"}:
        defaults["when"] = "after"
    return tuple(
        fault.get(name, defaults.get(name)) for name in ("action", "when", "method", "path", "status", "seconds")
    )


def _iso(instant: datetime) -> str:
    return instant.replace(second=0, microsecond=0).isoformat()


def report(findings: Findings, tally: Tally) -> str:
    """The figures as a person reads them."""
    by_frequency = ", ".join(f"{name} {count}" for name, count in findings.by_frequency.most_common())
    return "\n".join(
        [
            f"renewals          {findings.renewals} ({by_frequency})",
            f"sweeps            {tally.sweeps}, {tally.at_once} times several at once",
            f"faults            {sum(tally.faults.values())}",
            *(f"  {count:5} {name}" for name, count in tally.faults.most_common()),
            f"kills             {sum(tally.kills.values())}",
            *(f"  {count:5} {name}" for name, count in tally.kills.most_common()),
            f"sandbox restarts  {tally.restarts}",
            f"failures          {tally.declines} (declined cards, empty stock)",
            f"charged twice     {len(findings.charged_twice)}",
            f"copied twice      {len(findings.copied_twice)}",
            f"lost              {len(findings.lost)}",
            f"wrong dates       {len(findings.unknown_dates)}, unnamed copies {len(findings.unnamed)}",
            f"worst delay       {findings.worst_delay}",
            f"took              {tally.seconds:.0f} s",
        ]
    )


POLICY: dict[str, Any] = {
    "catch_up": "all",
    "payment_retries": ["1d"] * 4,
    "stock_retries": ["1d"] * 4,
    "unknown_retries": ["1d"] * 4,
    "transient_retries": ["10m"] * 9,
    "brake_share": 1.0,
    "max_unconfirmed": 1000,
}
"""Every period is owed, and nothing is given up."""


async def campaign(crew: Crew, renewals: int, seed: int, days: float = 365) -> tuple[Findings, Tally]:
    """Run one campaign on a sandbox of its own."""
    async with open_merchant("--clock", "2026-01-31T06:00:00Z", "--seed", str(seed), **POLICY) as merchant:
        return await Campaign(merchant, crew, renewals, seed, timedelta(days=days)).run()


def main() -> int:
    """The command line; returns 1 when the auditor found anything."""
    parser = argparse.ArgumentParser(description="A virtual year of renewals in which everything goes wrong.")
    parser.add_argument("--renewals", type=int, default=2000, help="about how many (2000)")
    parser.add_argument("--days", type=float, default=365, help="of virtual time (365)")
    parser.add_argument("--seed", type=int, default=1, help="the same seed gives the same year (1)")
    given = parser.parse_args()
    try:
        with prefect_server(HOME, PORT), Crew() as crew:
            findings, tally = asyncio.run(campaign(crew, given.renewals, given.seed, given.days))
    finally:
        shutil.rmtree(HOME, ignore_errors=True)
    print(report(findings, tally))
    for name in ("charged_twice", "copied_twice", "lost", "unknown_dates", "unnamed"):
        for what in getattr(findings, name)[:20]:
            print(f"{name}: {what}")
    return 0 if findings.is_clean else 1


if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    os._exit(status)  # Prefect's threads would try for a minute to reach the server that is gone
