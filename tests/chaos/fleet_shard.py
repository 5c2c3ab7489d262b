"""
One shard of a large campaign: a merchant of its own, some days of trouble, and an audit.

Every few hours of the sandbox's time comes a round: one sweep or several at once, each of which may be killed, with
faults by lot. Between the rounds customers act and a CRM writes back what it read. At the end the faults stop, sweeps
renew what is still due, and the auditor (`checker.py`), which shares no code with Perennial, checks everything.
"""

from __future__ import annotations

import asyncio
import json
import random
import resource
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from chaos.checker import Auditor, Findings
from chaos.customer_actions import Customers
from chaos.fleet_clock import CommonClock, ForkedProcess
from chaos.fleet_faults import LATEST, VISIBLE_LATE, FleetFaults
from chaos.fleet_sweep import Death, SweepPlan, leave_out_prefects_engine, sweep
from merchant import UNLIMITED, Merchant
from sandbox_clock import SandboxClock

from blocks.commerce_layer.clock import use_clock
from blocks.renewal_policy import RenewalPolicy
from blocks.sandbox.running import RunningSandbox
from flows.cli.installation import credentials_for

DAY = timedelta(days=1)
SETTLE_SECONDS = 5
LIST_LAG = 1.5
"""Seconds by which lists lag in every second shard. With a creation visible late, still less than `SETTLE_SECONDS`."""
assert LIST_LAG + VISIBLE_LATE < SETTLE_SECONDS

POLICY: dict[str, Any] = {
    "settle_seconds": SETTLE_SECONDS,
    "catch_up": "all",
    **dict.fromkeys(("payment_retries", "stock_retries", "transient_retries", "unknown_retries"), ["5m"] * 9),
    "max_attempts_per_day": 10,
    "catch_up_limit": 24,
    "brake_share": 1.0,
    "max_unconfirmed": 1000,
}
"""Every period is renewed, no retry is given up, and only a double charge stops a sweep."""

FREQUENCIES = {
    "daily": (0.86, timedelta(days=1)),
    "weekly": (0.06, timedelta(days=7)),
    "monthly": (0.03, timedelta(days=28)),
    "30 6 * * 1": (0.02, timedelta(days=7)),
    "two-month": (0.01, timedelta(days=28)),
    "yearly": (0.01, timedelta(days=28)),
    "15 5 10 * *": (0.01, timedelta(days=28)),
}
"""The share of the subscriptions with each frequency, and the time over which their first dates are spread."""

TROUBLES = (
    "declined",
    "declined",
    "insufficient_funds",
    "out_of_stock",
    "gateway_timeout",
    "aborted",
    "slow",
    "placing",
)
"""What a renewal meets once, by lot; see `python -m blocks.sandbox --help`."""

MOST_SWEEPS_AT_THE_END = 48
"""One an hour, until nothing is due any more."""


@dataclass(frozen=True)
class Size:
    """How large a shard is."""

    subscriptions: int = 500
    renewals: int = 2500
    """The shard's days end when so many periods were renewed."""


@dataclass
class Totals:
    """What happened in one shard, or in all of them together."""

    shards: int = 0
    renewals: int = 0
    surplus: int = 0
    sweeps: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    kills: Counter[str] = field(default_factory=Counter)
    actions: Counter[str] = field(default_factory=Counter)
    troubles: Counter[str] = field(default_factory=Counter)
    ended: Counter[str] = field(default_factory=Counter)
    """How the sweeps that were not killed ended: their state, or the exception that they raised."""
    unexpected: Counter[str] = field(default_factory=Counter)
    """Exceptions inside of sweeps that no rule expects, by type."""
    complaints: dict[str, list[str]] = field(default_factory=dict)
    """What the auditor found, by kind, as references."""
    worst_delay_hours: float = 0.0
    seconds: float = 0.0
    """Real time of all shards, one after the other."""
    cpu_seconds: float = 0.0
    """CPU time of the sweeps, the sandbox and the harness together."""

    @property
    def doubled(self) -> int:
        """Periods that were charged twice."""
        return len(self.complaints.get("charged_twice", []))

    @property
    def lost(self) -> int:
        """Periods that nobody was charged for."""
        return len(self.complaints.get("lost", []))

    def as_json(self) -> dict[str, Any]:
        """As plain data."""
        return {each.name: getattr(self, each.name) for each in fields(self)}

    @classmethod
    def from_json(cls, given: dict[str, Any]) -> Totals:
        """The totals that `as_json` returned."""
        return cls(**{name: Counter(each) if name in COUNTERS else each for name, each in given.items()})

    def add(self, other: Totals) -> None:
        """Add what happened in another shard."""
        for name in ("shards", "renewals", "surplus", "sweeps", "seconds", "cpu_seconds"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for name in COUNTERS:
            getattr(self, name).update(getattr(other, name))
        for kind, found in other.complaints.items():
            self.complaints.setdefault(kind, []).extend(found)
        self.worst_delay_hours = max(self.worst_delay_hours, other.worst_delay_hours)


COUNTERS = {"faults", "kills", "actions", "troubles", "ended", "unexpected"}


class Shard:
    """One merchant with its subscriptions. The seed and the number decide what is drawn by lot."""

    def __init__(self, seed: int, number: int, size: Size, box: RunningSandbox, chance: random.Random) -> None:
        self._name, self._size, self._box, self._chance = f"{seed}-{number}", size, box, chance
        self._merchant = Merchant(box)
        self._credentials = credentials_for(
            box.organization, box.client_id, box.client_secret, "test", box.api_url, box.auth_url, UNLIMITED
        )
        self._policy = RenewalPolicy(**POLICY)
        self._start = box.clock()
        self._seed_subscriptions()
        self._auditor = Auditor(box.database, self._start)
        self._faults = FleetFaults(box, chance)
        self._customers = Customers(self._merchant, self._auditor, chance)
        self.totals = Totals(shards=1)

    def run(self, go_on: Callable[[], None]) -> Totals:
        """Run it to its end. `go_on` is called before each round, and raises to stop."""
        began_at, cpu = time.monotonic(), _cpu_seconds()
        while self._count_placed() < self._size.renewals:
            go_on()
            self._round()
            self._box.advance(self._chance.choice([360, 900, 7200, 10_800, 14_400, 18_000, 21_600]))
        self._take_in(self._sweep_until_clean(self._box.clock(), go_on))
        self.totals.seconds = time.monotonic() - began_at
        self._box.stop()  # only then its CPU time is known
        self.totals.cpu_seconds = _cpu_seconds() - cpu
        return self.totals

    def _seed_subscriptions(self) -> None:
        for frequency, (share, spread) in FREQUENCIES.items():
            count = max(1, round(share * self._size.subscriptions))
            due = self._start.replace(second=0, microsecond=0).isoformat()
            seconds = 0.0 if " " in frequency else spread.total_seconds()
            self._box.seed(count, frequencies={frequency: 1.0}, due=due, spread_seconds=seconds)
        self._box.advance(60)  # lists may lag

    # --- one round ----------------------------------------------------------------------------

    def _round(self) -> None:
        if self._box.clock() > self._faults.late_until:
            for _ in range(self._chance.choice([0, 1, 2])):
                self._alone(self._customers.act)
            self._alone(self._release)
        self._draw_troubles()
        self._faults.set()
        due = self._count_due()
        count = self._chance.choices([1, 2, 3], [0.7, 0.22, 0.08])[0]
        self._sweep([self._plan(due, alone=count == 1) for _ in range(count)])
        self._faults.clear()

    def _plan(self, due: int, *, alone: bool) -> SweepPlan:
        self.totals.sweeps += 1
        name = f"sweep-{self._name}-{self.totals.sweeps}"
        death = None
        if self._chance.random() < 0.5:
            death = Death(cpu_seconds=self._chance.uniform(0.01, 0.05 + 0.012 * due))
            if self._chance.random() < 0.5:
                death = Death(self._chance.randint(1, 10 + 4 * due), self._chance.choice(["before", "after"]))
        after = 0.0 if alone else self._chance.uniform(0, 8)
        return SweepPlan(name, name, after, death, self._chance.choice([0.0, 0.0, 0.02, 0.06]))

    def _sweep(self, plans: list[SweepPlan]) -> None:
        clock = CommonClock(self._box)
        begun = [(plan, clock.fork(sweep(plan, self._credentials, self._policy))) for plan in plans]
        clock.run()
        for plan, process in begun:
            self._note_end(plan, process)

    def _note_end(self, plan: SweepPlan, process: ForkedProcess) -> None:
        if process.result is not None:
            self.totals.ended[process.result["ended"]] += 1
            self.totals.unexpected.update(process.result["unexpected"])
        elif process.exit_code < 0 and plan.death is not None:
            self.totals.kills[plan.death.name] += 1
        else:
            raise RuntimeError(f"{plan.flow_run_id} ended with status {process.exit_code}")

    def _draw_troubles(self) -> None:
        for row in self._merchant.rows("SELECT source_order_id AS id FROM order_subscriptions ORDER BY id"):
            if self._chance.random() < 0.01:
                kind = self._chance.choice(TROUBLES)
                self._box.set_failure(row["id"], kind, times=1)
                self.totals.troubles[kind.replace("_", " ")] += 1

    def _count_placed(self) -> int:
        query = (
            "SELECT COUNT(*) AS placed FROM order_copies c JOIN orders o ON o.id = c.target_order_id"
            " WHERE o.placed_at IS NOT NULL"
        )
        return int(self._merchant.rows(query)[0]["placed"])

    def _count_due(self) -> int:
        now = self._box.clock().astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        query = "SELECT COUNT(*) AS due FROM order_subscriptions WHERE status = 'inactive' AND next_run_at <= ?"
        return int(self._merchant.rows(query, now)[0]["due"])

    async def _release(self) -> None:
        """
        Staff release what is held only because the last period was paid late, and this one follows closely.

        A daily renewal that fails at first is paid hours later here, because a round comes every few hours.
        """
        query = (
            "SELECT id, metadata FROM order_subscriptions WHERE status = 'inactive' AND metadata LIKE '%\"held\":true%'"
        )
        for row in self._merchant.rows(query):
            metadata = json.loads(row["metadata"])
            if metadata["perennial"].get("too_close_to") is not None:
                metadata["perennial"]["held"] = False
                async with self._merchant.dashboard() as dashboard:
                    await dashboard.update_subscription(row["id"], metadata=metadata)
                self._customers.actions["released by staff"] += 1

    def _alone(self, act: Callable[[], Awaitable[None]]) -> None:
        """What people do while no sweep runs."""

        async def acting() -> None:
            with use_clock(SandboxClock(self._box)):
                await act()

        asyncio.run(acting())

    # --- the end ------------------------------------------------------------------------------

    def _sweep_until_clean(self, until: datetime, go_on: Callable[[], None]) -> Findings:
        """Sweep without faults, hour after hour, until the auditor finds no error, for at most two days."""
        self._box.set_clock(max(self._box.clock(), self._faults.late_until) + LATEST)
        self._alone(self._customers.finish)
        for _ in range(MOST_SWEEPS_AT_THE_END):
            go_on()
            self._alone(self._release)
            self.totals.sweeps += 1
            name = f"sweep-{self._name}-{self.totals.sweeps}"
            self._sweep([SweepPlan(name, name)])
            self._box.advance(3600)
            findings = self._auditor.audit(until)
            if findings.is_clean:
                break
        return findings

    def _take_in(self, findings: Findings) -> None:
        totals = self.totals
        totals.renewals, totals.surplus = findings.renewals, findings.surplus
        totals.faults, totals.actions = self._faults.hits, self._customers.actions
        totals.complaints = findings.complaints
        totals.worst_delay_hours = findings.worst_delay.total_seconds() / 3600


def run_shard(seed: int, number: int, size: Size, folder: Path, go_on: Callable[[], None]) -> Totals:
    """Run one shard in a sandbox whose database is in `folder`. `go_on` is called now and then, and raises to stop."""
    with open_shard(Shard, seed, number, size, folder) as shard:
        return shard.run(go_on)


@contextmanager
def open_shard(kind: type[Shard], seed: int, number: int, size: Size, folder: Path) -> Iterator[Shard]:
    """A shard with a sandbox of its own. Only for processes that need no Prefect server: its engine is left out."""
    leave_out_prefects_engine()
    chance = random.Random(f"{seed}/{number}")
    start = datetime(2026, 1, 1, tzinfo=UTC) + chance.randrange(365) * DAY + timedelta(seconds=chance.randrange(86_400))
    box = RunningSandbox(
        "--limits", "off", "--frozen", "--clock", start.isoformat(), "--seed", str(chance.randrange(10**9)),
        "--list-lag", str(LIST_LAG * (number % 2)), "--database", str(folder / "sandbox.sqlite"),
    )  # fmt: skip
    with box:
        yield kind(seed, number, size, box, chance)


def _cpu_seconds() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)
