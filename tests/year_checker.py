"""
Checks a simulated year, with nothing but the sandbox's database and the diary of what people did.

It imports nothing from flows, blocks or the client: it parses references itself, and has a calendar of its own. For
each subscription it goes through the year sweep by sweep: which date was this sweep to renew, is there a copy for it,
was its order placed, and is there any copy that should not exist?
"""

from __future__ import annotations

import json
import re
import sqlite3
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from year_calendar import date_after, dates_of, one_step_later
from year_people import Diary, DiaryEntry, Member, SweepRun

CARD_FIELDS = {"payment_source", "payment_method"}
STALLED_AFTER = timedelta(days=8)
"""A period that waits for no person ends within this time: the longest retry delay, and a little more."""


@dataclass
class Period:
    """What the database holds for one period of one subscription."""

    due: datetime
    copies: list[dict[str, Any]] = field(default_factory=list)
    placed_at: list[datetime] = field(default_factory=list)
    by_customer: bool = False
    failed_charges: list[datetime] = field(default_factory=list)
    failed_attempts: int = 0


@dataclass
class Report:
    """What was found. Every list of sentences must be empty."""

    renewed: int = 0
    periods: int = 0
    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    stalled: list[str] = field(default_factory=list)
    over_the_cap: list[str] = field(default_factory=list)
    skipped_as_older: int = 0
    left_by_a_brake: int = 0
    left_by_a_cap: int = 0
    latest: timedelta = timedelta()
    """The longest time from a due date to its first copy, if nothing delayed it; sweeps are a day apart."""
    longest_wait: timedelta = timedelta()
    """The same if an earlier period was still open, the brake stopped the sweep, or the customer had paused."""
    recovery: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    most_in_30_days: int = 0
    most_in_a_day: int = 0

    @property
    def faults(self) -> list[str]:
        """Everything that is wrong, in sentences."""
        return [*self.lost, *self.doubled, *self.wrong, *self.stalled, *self.over_the_cap]


def check(database: Path, diary: Diary, zone: str, month_cap: int = 15, day_cap: int = 5) -> Report:
    """Check the year of every subscription."""
    report = Report()
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        connection.row_factory = sqlite3.Row
        periods = _periods(connection)
        now_states = _states(connection)
        charges = _charges(connection)
    unknown = set(periods) - set(diary.members)
    report.wrong += [f"{each}: copies for a subscription that does not exist" for each in sorted(unknown)]
    entries: dict[str, list[DiaryEntry]] = defaultdict(list)
    for entry in diary.entries:
        entries[entry.subscription_id].append(entry)
    for member in diary.members.values():
        own = periods.get(member.subscription_id, {})
        walk = _Walk(member, own, entries[member.subscription_id], diary, ZoneInfo(zone), report, (month_cap, day_cap))
        walk.through_the_year(diary.sweeps, now_states[member.subscription_id])
        _check_caps(member, own, report, month_cap, day_cap)
        report.wrong += _charged_after_it_was_replaced(entries[member.subscription_id], charges)
    return report


class _Walk:
    """One subscription's year."""

    def __init__(
        self, member: Member, periods: dict[datetime, Period], entries: Sequence[DiaryEntry], diary: Diary,
        zone: ZoneInfo, report: Report, caps: tuple[int, int],
    ) -> None:  # fmt: skip
        self.caps = caps
        self.member, self.periods, self.entries, self.zone, self.report = member, periods, entries, zone, report
        self.settled = diary.settled.get(member.subscription_id, [])
        self.next_due = member.first_due
        self.open: datetime | None = None
        self.paused = self.cancelled = self.waited = False
        self.expected: set[datetime] = set()
        self.last: Period | None = None
        self.held: datetime | None = None
        self.released = False
        self.begun: datetime | None = None
        """The period that a sweep has begun, and whose first attempt waits for the card networks' limits."""

    def through_the_year(self, sweeps: Sequence[SweepRun], state: dict[str, Any]) -> None:
        done = 0
        for sweep in sweeps:
            while done < len(self.entries) and self.entries[done].at <= sweep.began:
                self._apply(self.entries[done])
                done += 1
            if self.open is not None:
                self._see_whether_settled(sweep)
            elif self.paused:
                self.waited = True
            elif not self.cancelled and self.next_due <= sweep.began:
                self._must_renew(sweep)
        self._check_for_unexpected_copies()
        self._check_the_end(sweeps[-1].ended, state)
        self._count(state)

    def _apply(self, entry: DiaryEntry) -> None:
        if entry.what == "move":
            assert entry.until is not None
            self.next_due = entry.until
            self._count_from(entry.until)
            self.held, self.released, self.begun = None, False, None
        elif entry.what == "release":
            self.released = self.held is not None
        elif entry.what in {"pause", "resume"}:
            self.paused = entry.what == "pause"
        elif entry.what == "cancel":
            self.cancelled = True
            after = [copy for period in self.periods.values() for copy in period.copies if copy["at"] > entry.at]
            self.report.wrong += [f"{copy['reference']}: made after the cancellation" for copy in after]

    def _must_renew(self, sweep: SweepRun) -> None:
        pending = [self.next_due, *dates_of(self.member, self.next_due, sweep.began, self.zone)]
        # A subscription that was held for a period, or whose period waits for the card, goes on with that period.
        newest = self.held or self.begun or pending[-1]
        if self._is_too_close(newest, sweep.began):
            self.waited = True
            return
        period = self.periods.get(newest)
        if period is None or not sweep.began <= period.copies[0]["at"] <= sweep.ended:
            if self._at_the_cap(sweep.began):
                self.report.left_by_a_cap += 1
                self.begun = self.begun if sweep.braked else newest
            elif sweep.braked:
                self.report.left_by_a_brake += 1
                self.waited = True
            else:
                self.report.lost.append(f"{self.member.subscription_id}@{newest}: due at the sweep of {sweep.began}")
                self.expected.add(newest)
            return
        self.report.skipped_as_older += len([date for date in pending if date < newest])
        wait = period.copies[0]["at"] - newest
        if self.waited:
            self.report.longest_wait = max(self.report.longest_wait, wait)
        else:
            self.report.latest = max(self.report.latest, wait)
        self.waited = False
        self.expected.add(newest)
        self.open = newest
        self._see_whether_settled(sweep)

    def _see_whether_settled(self, sweep: SweepRun) -> None:
        assert self.open is not None
        through = self._settled_through(sweep.ended)
        if through is None or through < self.open:
            self.waited = True
            return
        if not self.periods[self.open].placed_at and not self.member.greedy:
            self.report.lost.append(f"{self.member.subscription_id}@{self.open}: settled without an order")
        self.next_due = date_after(self.member, max(self.open, self.next_due), self.zone)
        if self.periods[self.open].placed_at:
            self.last = self.periods[self.open]
        self.open = self.begun = None
        self.held, self.released = None, False

    def _count_from(self, date: datetime) -> None:
        """Count from `date` if it is more than two hours off the calendar; a crontab keeps its own dates."""
        around = dates_of(self.member, date - timedelta(hours=2, seconds=1), date + timedelta(hours=2), self.zone)
        if " " not in self.member.frequency and next(around, None) is None:
            self.member = replace(self.member, starts_at=date)

    def _is_too_close(self, date: datetime, now: datetime) -> bool:
        """
        Whether a renewal now would follow the last one within half an interval.

        Then it is held until staff release it. If the dates are far enough apart and nothing had failed, it only waits
        until half an interval is over.
        """
        if self.last is None or self.released:
            return False
        half = (one_step_later(self.member, self.last.due, self.zone) - self.last.due) / 2
        by_date = date - self.last.due < half
        is_too_close = by_date or now - self.last.placed_at[0] < half
        if is_too_close and (by_date or self.last.failed_attempts > 0):
            self.held = date
        return is_too_close or self.held is not None

    def _at_the_cap(self, now: datetime) -> bool:
        """Whether one more attempt could exceed the caps on failed charges, so that none may be made."""
        charges = [at for period in self.periods.values() for at in period.failed_charges if at < now]
        in_a_month = sum(at > now - timedelta(days=30) for at in charges)
        return in_a_month >= self.caps[0] or sum(at > now - timedelta(days=1) for at in charges) >= self.caps[1]

    def _settled_through(self, at: datetime) -> datetime | None:
        index = bisect_right(self.settled, at, key=lambda entry: entry[0])
        return self.settled[index - 1][1] if index else None

    def _check_for_unexpected_copies(self) -> None:
        for due, period in self.periods.items():
            name = f"{self.member.subscription_id}@{due}"
            if due not in self.expected:
                self.report.wrong.append(f"{name}: a copy for a date that was not to be renewed")
            if len(period.placed_at) > 1:
                self.report.doubled.append(f"{name}: {len(period.placed_at)} orders")
            if period.copies[0]["at"] < due:
                self.report.wrong.append(f"{name}: renewed before it was due")

    def _check_the_end(self, end: datetime, state: dict[str, Any]) -> None:
        if self.open is None or self.cancelled or self.paused:
            return
        paid = self.periods[self.open].placed_at
        if paid and end - paid[0] > STALLED_AFTER:
            self.report.stalled.append(f"{self.member.subscription_id}@{self.open}: paid, but no run goes on, {state}")
        if state["held"]:
            return
        waits_for = state["next_attempt_at"] or state["next_run_at"]
        if end - self.open > STALLED_AFTER and (waits_for is None or waits_for < end - timedelta(days=2)):
            self.report.stalled.append(f"{self.member.subscription_id}@{self.open}: no run works on it, {state}")

    def _count(self, state: dict[str, Any]) -> None:
        for due, period in sorted(self.periods.items()):
            self.report.periods += 1
            self.report.renewed += bool(period.placed_at)
            trouble = self._trouble_of(period)
            if trouble is not None:
                self.report.recovery[trouble][self._how_it_ended(due, period, state)] += 1

    def _trouble_of(self, period: Period) -> str | None:
        if not period.failed_attempts and period.placed_at:
            return None
        if self.member.greedy:
            return "greedy retries on a dead card"
        first = period.copies[0]["at"]
        names = [entry.what for entry in self.entries if entry.at <= first and entry.what not in DONE_BY_PEOPLE]
        return names[-1] if names else "no trouble in the diary"

    def _how_it_ended(self, due: datetime, period: Period, state: dict[str, Any]) -> str:
        if period.placed_at:
            return "customer paid" if period.by_customer else f"attempt {period.failed_attempts + 1}"
        if self.cancelled:
            return "cancelled"
        if due != self.open:
            return "period skipped"
        return "held" if state["held"] else "waiting"


DONE_BY_PEOPLE = {"move", "pause", "resume", "cancel", "release", "new card", "paid at the checkout"}


def _check_caps(member: Member, periods: dict[datetime, Period], report: Report, month_cap: int, day_cap: int) -> None:
    """Compare the failed charges of one subscription, within any 30 days and any 24 hours, with the caps."""
    charges = sorted(at for period in periods.values() for at in period.failed_charges)
    for name, span, cap in (("30 days", timedelta(days=30), month_cap), ("24 hours", timedelta(days=1), day_cap)):
        most = max((index - bisect_right(charges, at - span) + 1 for index, at in enumerate(charges)), default=0)
        if name == "30 days":
            report.most_in_30_days = max(report.most_in_30_days, most)
        else:
            report.most_in_a_day = max(report.most_in_a_day, most)
        if most > cap:
            report.over_the_cap.append(f"{member.subscription_id}: {most} failed charges within {name}")


def _charged_after_it_was_replaced(entries: Sequence[DiaryEntry], charges: dict[str, list[datetime]]) -> list[str]:
    """Charges to a card, accepted or not, since its customer gave the subscription another one."""
    return [
        f"{entry.subscription_id}: its old card was charged at {at}, and was replaced at {entry.at}"
        for entry in entries
        if entry.old_card is not None
        for at in charges[entry.old_card]
        if at > entry.at
    ]


_REFERENCE = re.compile(r"(\w{10})@(\d{4}-\d\d-\d\dT\d\d:\d\d)Z(?:#\d+)?")


def _periods(connection: sqlite3.Connection) -> dict[str, dict[datetime, Period]]:
    found: dict[str, dict[datetime, Period]] = defaultdict(dict)
    errors: dict[str, list[tuple[datetime, str]]] = defaultdict(list)
    for row in connection.execute("SELECT resource_id, name, created_at FROM resource_errors"):
        errors[row["resource_id"]].append((_time(row["created_at"]), row["name"]))
    for row in connection.execute(
        "SELECT c.reference, c.reference_origin, c.created_at, c.status, c.target_order_id, o.status AS order_status, "
        "o.placed_at, o.payment_status FROM order_copies c LEFT JOIN orders o ON o.id = c.target_order_id "
        "ORDER BY c.created_at, c.id"
    ):
        named = _REFERENCE.fullmatch(row["reference"] or "")
        assert named is not None, row["reference"]
        assert row["reference_origin"] == "perennial"
        due = datetime.fromisoformat(named[2]).replace(tzinfo=UTC)
        period = found[named[1]].setdefault(due, Period(due))
        period.copies.append({**dict(row), "at": _time(row["created_at"])})
        refused = errors[row["target_order_id"]] if row["target_order_id"] else []
        period.failed_charges += [at for at, name in refused if name in CARD_FIELDS]
        period.failed_attempts += len(refused) or row["status"] in {"failed", "aborted"}
        if row["order_status"] in {"placed", "approved"}:
            period.placed_at.append(_time(row["placed_at"]))
            period.by_customer = row["payment_status"] == "paid"
    return found


def _charges(connection: sqlite3.Connection) -> dict[str, list[datetime]]:
    """When each card was charged, whether or not the charge was accepted."""
    found: dict[str, list[datetime]] = defaultdict(list)
    for row in connection.execute("SELECT card_id, made_at FROM sandbox_charges"):
        found[row["card_id"]].append(_time(row["made_at"]))
    return found


def _states(connection: sqlite3.Connection) -> dict[str, dict[str, Any]]:
    states = {}
    for row in connection.execute("SELECT id, status, next_run_at, metadata FROM order_subscriptions"):
        own = json.loads(row["metadata"])["perennial"]
        wait = own.get("next_attempt_at")
        states[row["id"]] = {
            "held": bool(own.get("held")),
            "outcome": own.get("outcome"),
            "next_attempt_at": _time(wait) if wait else None,
            "next_run_at": _time(row["next_run_at"]) if row["next_run_at"] else None,
        }
    return states


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)
