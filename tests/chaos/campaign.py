"""
A campaign: renewals over a virtual year in which everything goes wrong, and an audit at the end.

    python tests/chaos/campaign.py --renewals 2000 --seed 7

The campaign advances the sandbox's clock, so a year takes minutes. Every few virtual hours a sweep runs, in one of the
scenarios of `sweep_scenarios.py`: undisturbed, killed at a random point, stopped and continued, several at once,
together with manual reorders, with a cut connection, with clocks that jump, with a shop or a Prefect server that dies.
Most sweeps meet faults (`campaign_faults.py`): answers that are lost, late, garbled or refused, and records that arrive
after newer ones. Meanwhile customers cancel, pause and move dates, and a CRM writes back metadata that it read days ago
(`customer_actions.py`). At the end the faults stop, sweeps renew what is still due, and an auditor that shares no code
with Perennial checks everything.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from contextlib import nullcontext
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

if __name__ == "__main__":  # a script has its own Prefect server, and Prefect reads its settings when imported
    ROOT = Path(__file__).resolve().parents[2]
    sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
    from flows.cli.prefect_server import free_port, private_settings

    HOME, PORT = Path(tempfile.mkdtemp(prefix="perennial-campaign-")), free_port()
    os.environ.update(private_settings(HOME, f"http://127.0.0.1:{PORT}"))
    os.environ["PREFECT_LOGGING_LEVEL"] = "CRITICAL"
    os.environ["XDG_STATE_HOME"] = str(HOME / "state")

from chaos.campaign_faults import CampaignFaults
from chaos.checker import Auditor, Findings
from chaos.customer_actions import Customers
from chaos.own_prefect import OwnPrefect
from chaos.sweep_scenarios import SweepScenarios
from chaos.worker_launcher import WorkerLauncher
from merchant import Merchant, open_merchant
from prefect.settings import PREFECT_API_URL, temporary_settings

YEAR = timedelta(days=365)
SHARES = {"daily": 0.55, "weekly": 0.2, "monthly": 0.15, "hourly": 0.04}
"""The share of all renewals for each frequency. Each frequency in `RARER` has two subscriptions instead."""

PER_YEAR = {"daily": 365, "weekly": 52, "monthly": 12}
RARER = ("two-month", "three-month", "four-month", "six-month", "yearly", "30 6 * * 1", "15 5 10 * *")
AN_HOUR_LATER = 1800.0


@dataclass
class Tally:
    """What happened to the merchant."""

    sweeps: int = 0
    scenarios: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    kills: Counter[str] = field(default_factory=Counter)
    actions: Counter[str] = field(default_factory=Counter)
    declines: int = 0
    seconds: float = 0.0


class Campaign:
    """One merchant's year of trouble. `seed` decides everything except what depends on real time."""

    def __init__(
        self,
        merchant: Merchant,
        launcher: WorkerLauncher,
        renewals: int,
        seed: int,
        length: timedelta,
        prefect: OwnPrefect | None,
    ) -> None:
        self._merchant, self._box = merchant, merchant.sandbox
        self._random = random.Random(seed)
        self._renewals, self._length = renewals, length
        self._start = self._box.clock()
        self._seed()
        self._auditor = Auditor(self._box.database, self._start)
        self._faults = CampaignFaults(self._box, self._random)
        self._customers = Customers(merchant, self._auditor, self._random)
        self._scenarios = SweepScenarios(merchant, launcher, self._customers, self._random, prefect)
        self._declines = 0
        self._began_at = time.monotonic()

    async def run(self) -> tuple[Findings, Tally]:
        """Run the whole campaign. Returns what the auditor found at its end."""
        end = self._start + self._length
        hourly_from = end - min(timedelta(hours=24), self._length / 30)
        has_hourly, rounds = False, 0
        while self._box.clock() < end:
            if not has_hourly and self._box.clock() >= hourly_from:
                # Hourly subscriptions exist only at the end: over a year, almost all renewals would be theirs.
                self._box.seed(max(1, int(self._renewals * SHARES["hourly"] / 24)), frequencies={"hourly": 1.0})
                self._auditor.note_new_contracts()
                has_hourly = True
            await self._one_round()
            rounds += 1
            if rounds % 50 == 0:
                self._report_progress()
            step = timedelta(minutes=50) if has_hourly else timedelta(hours=self._random.uniform(12, 26))
            self._box.advance(step.total_seconds())
        until = self._box.clock()
        await self._finish(until)
        return self._auditor.audit(until), self._tally()

    def _seed(self) -> None:
        box, start = self._box, self._start
        # Each has been due before, at a random time of its first period, so the campaign begins with regular dates.
        for name, per_year in PER_YEAR.items():
            count = max(1, round(self._renewals * SHARES[name] / per_year * (YEAR / self._length)))
            period = min(YEAR / per_year, timedelta(days=28))
            box.seed(count, frequencies={name: 1.0}, due=_iso(start - period), spread_seconds=period.total_seconds())
        for name in RARER:
            box.seed(2, frequencies={name: 1.0}, due=_iso(start - timedelta(days=self._random.randrange(28))))

    async def _one_round(self) -> None:
        """Let people act, set faults, and run one scenario."""
        may_still_arrive = self._box.clock() <= self._faults.late_until
        if not may_still_arrive and self._random.random() < 0.5:
            await self._customers.act()
        scenario = self._scenarios.draw()
        if may_still_arrive and scenario == "shop's clock set back":
            scenario = "alone"  # requests under way would arrive even later
        if scenario == "shop restarted":  # a restart forgets all faults, and the clock stands still meanwhile
            await self._scenarios.run(scenario)
            return
        self._set_faults()
        await self._scenarios.run(scenario)
        self._faults.clear()
        if self._box.clock() < self._faults.late_until and self._random.random() < 0.5:
            self._box.advance(AN_HOUR_LATER)
            await self._scenarios.alone()

    def _set_faults(self) -> None:
        if self._random.random() < 0.6:
            self._faults.set()
        if self._random.random() < 0.15:
            sources = self._merchant.rows("SELECT source_order_id AS id FROM order_subscriptions ORDER BY id")
            failure = self._random.choice(["declined", "out_of_stock"])
            self._box.set_failure(self._random.choice(sources)["id"], failure, times=1)
            self._declines += 1

    async def _finish(self, until: datetime) -> None:
        """Sweep without faults until everything that was due by `until` is renewed, for at most a month."""
        self._box.set_clock(max(self._box.clock(), self._faults.late_until))
        await self._customers.finish()
        for _ in range(60):
            await self._scenarios.alone()
            if not self._auditor.audit(until).lost:
                return
            self._box.advance(12 * 3600)

    def _tally(self) -> Tally:
        scenarios, seconds = self._scenarios, time.monotonic() - self._began_at
        return Tally(
            scenarios.sweeps,
            scenarios.counts,
            self._faults.taken_effect,
            scenarios.kills,
            self._customers.actions,
            self._declines,
            seconds,
        )

    def _report_progress(self) -> None:
        found, tally = self._auditor.audit(self._box.clock() - timedelta(days=10)), self._tally()
        print(
            f"{self._box.clock():%Y-%m-%d} {found.renewals} renewed, {len(found.charged_twice)} twice, "
            f"{tally.kills.total()} kills, {tally.faults.total()} faults",
            file=sys.stderr,
            flush=True,
        )


def _iso(instant: datetime) -> str:
    return instant.replace(second=0, microsecond=0).isoformat()


def report(findings: Findings, tally: Tally) -> str:
    """The figures, as text."""
    return "\n".join(
        [
            *_by_kind("renewals", findings.by_frequency),
            f"  {findings.by_hand:5} more copies by hand",
            f"sweeps            {tally.sweeps}",
            *_by_kind("scenarios", tally.scenarios),
            *_by_kind("faults", tally.faults),
            *_by_kind("kills", tally.kills),
            *_by_kind("people", tally.actions),
            f"failures          {tally.declines} (declined cards, empty stock)",
            f"charged twice     {len(findings.charged_twice)}",
            f"undone            {len(findings.undone)}, too soon {len(findings.placed_too_soon)}",
            f"early             {len(findings.early)}, after leaving {len(findings.after_leaving)}",
            f"surplus copies    {findings.surplus}, left {len(findings.surplus_left) + len(findings.unwanted_left)}",
            f"lost              {len(findings.lost)}",
            f"wrong dates       {len(findings.unknown_dates)}, unnamed copies {len(findings.unnamed)}",
            f"worst delay       {findings.worst_delay}",
            f"took              {tally.seconds:.0f} s",
        ]
    )


def _by_kind(title: str, counts: Counter[str]) -> list[str]:
    return [f"{title:18}{counts.total()}", *(f"  {count:5} {name}" for name, count in counts.most_common())]


POLICY: dict[str, Any] = {
    "catch_up": "all",
    "payment_retries": ["1d"] * 4,
    "stock_retries": ["1d"] * 4,
    "unknown_retries": ["1d"] * 4,
    "transient_retries": ["10m"] * 9,
    "brake_share": 1.0,
    "max_unconfirmed": 1000,
}
"""Every period is renewed, and no retry is given up."""


async def campaign(
    launcher: WorkerLauncher, renewals: int, seed: int, days: float = 365, prefect: OwnPrefect | None = None
) -> tuple[Findings, Tally]:
    """Run one campaign on a sandbox of its own. The runs use `prefect`, if given, and it is killed now and then."""
    with nullcontext() if prefect is None else temporary_settings({PREFECT_API_URL: prefect.api_url}):
        async with open_merchant("--clock", "2026-01-31T06:00:00Z", "--seed", str(seed), **POLICY) as merchant:
            return await Campaign(merchant, launcher, renewals, seed, timedelta(days=days), prefect).run()


def main() -> int:
    """The command line. Returns 1 if the auditor found an error."""
    parser = argparse.ArgumentParser(description="A virtual year of renewals in which everything goes wrong.")
    parser.add_argument("--renewals", type=int, default=2000, help="about how many (2000)")
    parser.add_argument("--days", type=float, default=365, help="of virtual time (365)")
    parser.add_argument("--seed", type=int, default=1, help="the same seed gives the same year (1)")
    given = parser.parse_args()
    try:
        with OwnPrefect(HOME, PORT) as prefect, WorkerLauncher() as launcher:
            findings, tally = asyncio.run(campaign(launcher, given.renewals, given.seed, given.days, prefect))
    finally:
        shutil.rmtree(HOME, ignore_errors=True)
    print(report(findings, tally))
    for name, found in findings.complaints.items():
        for what in found[:20]:
            print(f"{name}: {what}")
    return 0 if findings.is_clean else 1


if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    os._exit(status)  # Prefect's threads would try for a minute to reach the stopped server
