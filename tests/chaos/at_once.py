"""
Many sweeps at once: processes of the real flows renew the same subscriptions, and nothing coordinates them.

Every day at six, all subscriptions are due. Several worker processes sweep again and again, and start at random times.
Two of five creations go wrong, and a quarter of the placements: they are lost, late, reset, or answered with an error
after they were carried out. Lists lag. Workers are killed at random lines or moments, and others take over. Meanwhile
customers cancel and postpone what is being renewed. In the end the auditor counts.

The sandbox's clock is shared (`shared_clock.py`), so what happens does not depend on how busy the machine is.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from chaos.checker import Auditor, Findings
from chaos.contracts import Contract, minute
from chaos.crew import Crew, Worker
from chaos.own_prefect import OwnPrefect
from chaos.shared_clock import SharedClock
from chaos.worker_process import PLACES, SIDE_PLACES
from merchant import Merchant, cancel, open_merchant

SETTLE_SECONDS = 5
DAY = timedelta(days=1)

CREATION = {"method": "POST", "path": "/api/order_copies"}
PLACEMENT = {"method": "PATCH", "path": "/api/orders/*", "match": "_place"}
RECORD = {"method": "PATCH", "path": "/api/order_subscriptions/*", "match": "perennial"}
FAULTS: dict[str, dict[str, Any]] = {
    "creation reset, not carried out": {"action": "reset", "when": "before", "share": 0.07, **CREATION},
    "creation reset, carried out": {"action": "reset", "when": "after", "share": 0.08, **CREATION},
    "creation answered 502, carried out": {
        "action": "status", "status": 502, "when": "after", "share": 0.08, **CREATION,
    },
    "creation answered 500, not carried out": {"action": "status", "when": "before", "share": 0.04, **CREATION},
    "creation lost, carried out after 4 s": {"action": "late", "seconds": 4, "share": 0.05, **CREATION},
    "creation lost, carried out after 40 s": {"action": "late", "seconds": 40, "share": 0.05, **CREATION},
    "creation visible 2 s after its date": {
        "action": "late", "seconds": 2, "stamp": "arrival", "answer": "at_once", "share": 0.08, **CREATION,
    },
    "creation lost, visible 2 s after its date": {
        "action": "late", "seconds": 2, "stamp": "arrival", "share": 0.08, **CREATION,
    },
    "placement reset, not carried out": {"action": "reset", "when": "before", "share": 0.05, **PLACEMENT},
    "placement reset, carried out": {"action": "reset", "when": "after", "share": 0.06, **PLACEMENT},
    "placement answered 504, carried out": {
        "action": "status", "status": 504, "when": "after", "share": 0.06, **PLACEMENT,
    },
    "placement lost, carried out after 5 s": {"action": "late", "seconds": 5, "share": 0.04, **PLACEMENT},
    "placement lost, carried out after 30 s": {"action": "late", "seconds": 30, "share": 0.03, **PLACEMENT},
    "placement answered after 8 s": {
        "action": "late", "seconds": 8, "answer": "at_commit", "share": 0.03, **PLACEMENT,
    },
    "record reset, not written": {"action": "reset", "when": "before", "share": 0.02, **RECORD},
    "record reset, written": {"action": "reset", "when": "after", "share": 0.02, **RECORD},
    "record lost, written after 50 s": {"action": "late", "seconds": 50, "share": 0.01, **RECORD},
}  # fmt: skip


@dataclass(frozen=True)
class Plan:
    """What happens. `seed` decides everything except which process the machine lets run first."""

    subscriptions: int
    days: int
    workers: int = 8
    sweeps: int = 2
    """Sweeps that each worker begins on a day, including those that are killed."""
    list_lag: float = 2.5
    """Seconds by which lists lag. With a creation that is visible 2 s late, less than `SETTLE_SECONDS`."""
    cancel: int = 1
    postpone: int = 3
    decline: int = 3
    """Customers on each day who cancel, who postpone, or whose card is declined once."""
    killed_at_a_line: float = 0.45
    killed_at_any_moment: float = 0.2
    """Shares of the sweeps. Some never reach the line at which they are to be killed."""
    seed: int = 1
    faults: Mapping[str, Mapping[str, Any]] = field(default_factory=lambda: FAULTS)


@dataclass
class Tally:
    """What was done, and how the runs ended."""

    sweeps: int = 0
    kills: Counter[str] = field(default_factory=Counter)
    faults: dict[str, int] = field(default_factory=dict)
    deeds: Counter[str] = field(default_factory=Counter)
    ended: list[dict[str, Any]] = field(default_factory=list)
    seconds: float = 0.0


POLICY: dict[str, Any] = {
    "settle_seconds": SETTLE_SECONDS,
    "catch_up": "all",
    "payment_retries": ["5m"] * 9,
    "stock_retries": ["5m"] * 9,
    "transient_retries": ["5m"] * 9,
    "unknown_retries": ["5m"] * 9,
    "max_attempts_per_day": 10,
    "brake_share": 1.0,
    "max_unconfirmed": 1000,
}
"""No period may be left out, no retry is given up, and only a double charge stops a sweep."""


class AtOnce:
    """One merchant whose subscriptions many workers renew at the same time."""

    def __init__(
        self, merchant: Merchant, crew: Crew, clock: SharedClock, plan: Plan, prefect: OwnPrefect | None = None
    ) -> None:
        self._prefect = prefect
        self.merchant, self._box, self._crew, self._clock, self._plan = merchant, merchant.sandbox, crew, clock, plan
        self._dice = random.Random(plan.seed)
        self._due = self._first_due = minute(self._box.clock())
        self._box.seed(plan.subscriptions, frequencies={"daily": 1.0}, due=self._due.isoformat())
        self.auditor = Auditor(self._box.database)
        self.tally = Tally()
        self._moved_too_late: list[Contract] = []

    async def live(self) -> tuple[Findings, Tally]:
        """Let the days pass, then end all faults; returns what the auditor finds."""
        began_at = time.monotonic()
        await self.have_trouble()
        findings = await self._calm_down()
        self.tally.seconds = time.monotonic() - began_at
        return findings, self.tally

    async def have_trouble(self) -> None:
        """Let the days pass, with all workers, customers and faults."""
        for fault in self._plan.faults.values():
            self.merchant.sandbox.fault(**fault)
        for day in range(self._plan.days):
            self._due = self._first_due + day * DAY
            self._box.set_clock(max(self._box.clock(), self._due + timedelta(seconds=1)))
            self._let_cards_be_declined()
            async with asyncio.TaskGroup() as group:
                for _ in range(self._plan.workers):
                    group.create_task(self._worker())
                group.create_task(self._customers())
            await self._put_dates_right()
        faults = zip(self._plan.faults, self._box.faults(), strict=True)
        self.tally.faults = {name: fault["hits"] for name, fault in faults}
        self._box.clear_faults()

    async def _worker(self) -> None:
        for _ in range(self._plan.sweeps):
            await self._clock.sleep(self._dice.uniform(0, 4))
            fate = self._dice.random()
            if fate < self._plan.killed_at_a_line:
                await self._killed_at_a_line()
            else:
                at_any_moment = fate < self._plan.killed_at_a_line + self._plan.killed_at_any_moment
                await self._undisturbed(dies_within=25.0 if at_any_moment else None)

    async def _killed_at_a_line(self) -> None:
        place = self._dice.choice(sorted(PLACES | SIDE_PLACES))
        nth = self._dice.randint(1, 10 if place in PLACES and "look" not in place else 2)
        if await self._hire(die_at=place, nth=nth).wait(900) is None:
            self.tally.kills[place] += 1

    async def _undisturbed(self, dies_within: float | None) -> None:
        worker = self._hire()
        if dies_within is not None:
            await self._clock.sleep(self._dice.uniform(0.1, dies_within))
            worker.kill()
        result = await worker.wait(900)
        if result is None:
            self.tally.kills["at any moment"] += 1
        else:
            self.tally.ended.append(result)

    def _hire(self, **job: Any) -> Worker:
        self.tally.sweeps += 1
        prefect = {} if self._prefect is None else {"prefect": self._prefect.api_url}
        return self._crew.hire(self.merchant, clock=self._clock.address, **prefect, **job)

    # --- people -------------------------------------------------------------------------------

    def _let_cards_be_declined(self) -> None:
        for contract in self._some(self._plan.decline):
            kind = self._dice.choice(["declined", "declined", "out_of_stock"])
            self._box.set_failure(contract.source_order_id, kind, times=1)
            self.tally.deeds[f"{kind} once".replace("_", " ")] += 1

    async def _customers(self) -> None:
        """Some customers act while their subscriptions are being renewed."""
        deeds = [self._cancels] * self._plan.cancel + [self._postpones] * self._plan.postpone
        self._dice.shuffle(deeds)
        for deed in deeds:
            await self._clock.sleep(self._dice.uniform(0, 6))
            for contract in self._some(1, "AND next_run_at = ?", f"{self._due:%Y-%m-%dT%H:%M:%S}.000Z"):
                await deed(contract)

    def _some(self, count: int, condition: str = "", *values: str) -> list[Contract]:
        query = f"SELECT id FROM order_subscriptions WHERE status = 'inactive' {condition} ORDER BY id"
        free = [row["id"] for row in self.merchant.rows(query, *values)]
        return [self.auditor.contracts[each] for each in self._dice.sample(free, min(count, len(free)))]

    async def _cancels(self, contract: Contract) -> None:
        contract.cancelled_at = self._box.clock()
        async with self.merchant.dashboard() as dashboard:
            await cancel(dashboard, contract.subscription_id)
        self.tally.deeds["cancelled while being renewed"] += 1

    async def _postpones(self, contract: Contract) -> None:
        """
        Postpone within the same day: one order must be made for the two dates.

        By less than two hours. A longer move changes the rhythm for good, unless a record that was composed before it
        arrives after it. `tests/rules/test_a_year_of_moved_dates.py` has customers who move dates for good.
        """
        now, to = self._box.clock(), self._due + timedelta(minutes=self._dice.randint(30, 115))
        async with self.merchant.dashboard() as dashboard:
            after = await dashboard.update_subscription(contract.subscription_id, next_run_at=to)
        through = after.metadata["perennial"].get("done_through")
        if through is not None and datetime.fromisoformat(through) >= self._due:
            self._moved_too_late.append(contract)  # it was renewed a moment before, and is not to be charged again
            self.tally.deeds["moved a date just renewed"] += 1
        else:
            contract.postponed[self._due] = (now, to)
            self.tally.deeds["postponed while being renewed"] += 1

    async def _put_dates_right(self) -> None:
        """Staff see that a date was moved on a page that was a minute old: the next day's is the next one."""
        async with self.merchant.dashboard() as dashboard:
            for contract in self._moved_too_late:
                await dashboard.update_subscription(contract.subscription_id, next_run_at=self._due + DAY)
        self._moved_too_late.clear()

    async def _calm_down(self) -> Findings:
        """End all faults, and sweep until the auditor finds nothing missing or left, or half a day has passed."""
        for _ in range(12):
            await self.merchant.sweep()
            self._box.advance(3600)
            findings = self.auditor.audit(self._box.clock() - timedelta(hours=1))
            if findings.is_clean:
                break
        return findings


def report(findings: Findings, tally: Tally, plan: Plan) -> str:
    """The figures as a table."""
    left = len(findings.surplus_left) + len(findings.unwanted_left)
    rows: list[tuple[str, object]] = [
        ("processes at once", plan.workers),
        ("renewals", findings.renewals),
        ("charged twice", len(findings.charged_twice)),
        ("lost", len(findings.lost)),
        ("other complaints", sum(map(len, findings.complaints.values()))),
        ("surplus copies", findings.surplus),
        ("of these left uncancelled", left),
        ("sweeps", tally.sweeps),
        ("faults", sum(tally.faults.values())),
        *((f"  {name}", count) for name, count in tally.faults.items()),
        ("kills", tally.kills.total()),
        *((f"  {name}", count) for name, count in tally.kills.most_common()),
        ("people", tally.deeds.total()),
        *((f"  {name}", count) for name, count in tally.deeds.most_common()),
        ("seconds", round(tally.seconds)),
    ]
    return "\n".join(f"{name:<52}{count!s:>7}" for name, count in rows)


@asynccontextmanager
async def open_at_once(crew: Crew, plan: Plan, prefect: OwnPrefect | None = None) -> AsyncIterator[AtOnce]:
    """Everything on a sandbox of its own, whose clock the workers share; on `prefect`, if it is given."""
    options = ("--clock", "2026-03-01T06:00:00Z", "--seed", str(plan.seed), "--list-lag", str(plan.list_lag))
    async with open_merchant(*options, **POLICY) as merchant:
        with SharedClock(merchant.sandbox) as clock:
            yield AtOnce(merchant, crew, clock, plan, prefect)
