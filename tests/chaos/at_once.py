"""
Many sweeps at once: several processes run the real flows on the same subscriptions, without any coordination.

Every day at six, all subscriptions are due. Several worker processes start at random times and sweep repeatedly. Two
of five creations and a quarter of the placements go wrong: they are lost, late, reset, or answered with an error after
they were carried out. Lists lag. Some workers are killed at random points or moments, and others take over. Meanwhile
customers cancel and postpone subscriptions that are being renewed. At the end the auditor checks everything.

The sandbox's clock is shared (`shared_clock.py`), so the result does not depend on how busy the machine is.
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
from chaos.own_prefect import OwnPrefect
from chaos.shared_clock import SharedClock
from chaos.worker_launcher import Worker, WorkerLauncher
from chaos.worker_process import KILL_POINTS, RARE_KILL_POINTS
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
    """The size of a run and its faults. `seed` decides everything except which process the machine runs first."""

    subscriptions: int
    days: int
    workers: int = 8
    sweeps: int = 2
    """Sweeps that each worker begins per day, including those that are killed."""
    list_lag: float = 2.5
    """Seconds by which lists lag. With a creation that is visible 2 s late, still less than `SETTLE_SECONDS`."""
    cancel: int = 1
    postpone: int = 3
    decline: int = 3
    """How many customers per day cancel, postpone, or have one placement that fails."""
    killed_at_a_point: float = 0.45
    killed_at_any_moment: float = 0.2
    """Shares of the sweeps. Some never reach the point at which they would be killed."""
    seed: int = 1
    faults: Mapping[str, Mapping[str, Any]] = field(default_factory=lambda: FAULTS)


@dataclass
class Tally:
    """What happened, and how the runs ended."""

    sweeps: int = 0
    kills: Counter[str] = field(default_factory=Counter)
    faults: dict[str, int] = field(default_factory=dict)
    actions: Counter[str] = field(default_factory=Counter)
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
"""Every period is renewed, no retry is given up, and only a double charge stops a sweep."""


class ConcurrentSweeps:
    """One merchant whose subscriptions many workers renew at the same time."""

    def __init__(
        self,
        merchant: Merchant,
        launcher: WorkerLauncher,
        clock: SharedClock,
        plan: Plan,
        prefect: OwnPrefect | None = None,
    ) -> None:
        self._prefect = prefect
        self.merchant, self._box, self._launcher, self._clock, self._plan = (
            merchant,
            merchant.sandbox,
            launcher,
            clock,
            plan,
        )
        self._random = random.Random(plan.seed)
        self._due = self._first_due = minute(self._box.clock())
        self._box.seed(plan.subscriptions, frequencies={"daily": 1.0}, due=self._due.isoformat())
        self.auditor = Auditor(self._box.database)
        self.tally = Tally()
        self._moved_too_late: list[Contract] = []

    async def run(self) -> tuple[Findings, Tally]:
        """Run all days, then end all faults and sweep. Returns what the auditor finds."""
        began_at = time.monotonic()
        await self.run_days()
        findings = await self._sweep_until_clean()
        self.tally.seconds = time.monotonic() - began_at
        return findings, self.tally

    async def run_days(self) -> None:
        """Run all days with their workers, customers and faults."""
        for fault in self._plan.faults.values():
            self.merchant.sandbox.fault(**fault)
        for day in range(self._plan.days):
            self._due = self._first_due + day * DAY
            self._box.set_clock(max(self._box.clock(), self._due + timedelta(seconds=1)))
            self._decline_some_cards()
            # Alone, while all are due: it surely gets there. The others go on with what it leaves.
            await self._killed_at("with the answer to a placement", 1)
            async with asyncio.TaskGroup() as group:
                for _ in range(self._plan.workers):
                    group.create_task(self._worker())
                group.create_task(self._customers())
            await self._correct_dates()
        faults = zip(self._plan.faults, self._box.faults(), strict=True)
        self.tally.faults = {name: fault["hits"] for name, fault in faults}
        self._box.clear_faults()

    async def _worker(self) -> None:
        for _ in range(self._plan.sweeps):
            await self._clock.sleep(self._random.uniform(0, 4))
            drawn = self._random.random()
            if drawn < self._plan.killed_at_a_point:
                await self._killed_at_a_point()
            else:
                at_any_moment = drawn < self._plan.killed_at_a_point + self._plan.killed_at_any_moment
                await self._undisturbed(dies_within=25.0 if at_any_moment else None)

    async def _killed_at_a_point(self) -> None:
        point = self._random.choice(sorted(KILL_POINTS | RARE_KILL_POINTS))
        await self._killed_at(point, self._random.randint(1, 10 if point in KILL_POINTS and "look" not in point else 2))

    async def _killed_at(self, point: str, nth: int) -> None:
        if await self._start_worker(kill_at=point, nth=nth).wait(900) is None:
            self.tally.kills[point] += 1

    async def _undisturbed(self, dies_within: float | None) -> None:
        worker = self._start_worker()
        if dies_within is not None:
            await self._clock.sleep(self._random.uniform(0.1, dies_within))
            worker.kill()
        result = await worker.wait(900)
        if result is None:
            self.tally.kills["at any moment"] += 1
        else:
            self.tally.ended.append(result)

    def _start_worker(self, **job: Any) -> Worker:
        self.tally.sweeps += 1
        prefect = {} if self._prefect is None else {"prefect": self._prefect.api_url}
        return self._launcher.start(self.merchant, clock=self._clock.address, **prefect, **job)

    # --- people -------------------------------------------------------------------------------

    def _decline_some_cards(self) -> None:
        for contract in self._sample_contracts(self._plan.decline):
            kind = self._random.choice(["declined", "declined", "out_of_stock"])
            self._box.set_failure(contract.source_order_id, kind, times=1)
            self.tally.actions[f"{kind} once".replace("_", " ")] += 1

    async def _customers(self) -> None:
        """Let some customers act while their subscriptions are being renewed."""
        actions = [self._cancels] * self._plan.cancel + [self._postpones] * self._plan.postpone
        self._random.shuffle(actions)
        for action in actions:
            await self._clock.sleep(self._random.uniform(0, 6))
            for contract in self._sample_contracts(1, "AND next_run_at = ?", f"{self._due:%Y-%m-%dT%H:%M:%S}.000Z"):
                await action(contract)

    def _sample_contracts(self, count: int, condition: str = "", *values: str) -> list[Contract]:
        query = f"SELECT id FROM order_subscriptions WHERE status = 'inactive' {condition} ORDER BY id"
        free = [row["id"] for row in self.merchant.rows(query, *values)]
        return [self.auditor.contracts[each] for each in self._random.sample(free, min(count, len(free)))]

    async def _cancels(self, contract: Contract) -> None:
        contract.cancelled_at = self._box.clock()
        async with self.merchant.dashboard() as dashboard:
            await cancel(dashboard, contract.subscription_id)
        self.tally.actions["cancelled while being renewed"] += 1

    async def _postpones(self, contract: Contract) -> None:
        """
        Postpone the date within the same day, so that the old and the new date share one order.

        A move by two hours or more changes all later dates, unless a record that was composed before the move arrives
        after it. `tests/rules/test_a_year_of_moved_dates.py` has such moves.
        """
        now, to = self._box.clock(), self._due + timedelta(minutes=self._random.randint(30, 115))
        async with self.merchant.dashboard() as dashboard:
            after = await dashboard.update_subscription(contract.subscription_id, next_run_at=to)
        through = after.metadata["perennial"].get("done_through")
        if through is not None and datetime.fromisoformat(through) >= self._due:
            self._moved_too_late.append(contract)  # it was renewed a moment before and must not be charged again
            self.tally.actions["moved a date just renewed"] += 1
        else:
            contract.postponed[self._due] = (now, to)
            self.tally.actions["postponed while being renewed"] += 1

    async def _correct_dates(self) -> None:
        """Staff move the dates that customers moved just after the renewal to the next day."""
        async with self.merchant.dashboard() as dashboard:
            for contract in self._moved_too_late:
                await dashboard.update_subscription(contract.subscription_id, next_run_at=self._due + DAY)
        self._moved_too_late.clear()

    async def _sweep_until_clean(self) -> Findings:
        """Sweep every hour until the auditor finds no error, for at most twelve hours."""
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
        ("people", tally.actions.total()),
        *((f"  {name}", count) for name, count in tally.actions.most_common()),
        ("seconds", round(tally.seconds)),
    ]
    return "\n".join(f"{name:<52}{count!s:>7}" for name, count in rows)


@asynccontextmanager
async def open_concurrent_sweeps(
    launcher: WorkerLauncher, plan: Plan, prefect: OwnPrefect | None = None
) -> AsyncIterator[ConcurrentSweeps]:
    """Concurrent sweeps on a sandbox of their own, whose clock the workers share. They use `prefect` if it is given."""
    options = ("--clock", "2026-03-01T06:00:00Z", "--seed", str(plan.seed), "--list-lag", str(plan.list_lag))
    async with open_merchant(*options, **POLICY) as merchant:
        with SharedClock(merchant.sandbox) as clock:
            yield ConcurrentSweeps(merchant, launcher, clock, plan, prefect)
