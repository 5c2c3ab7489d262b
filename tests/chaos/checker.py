"""
An independent auditor: was every period renewed exactly once?

It imports nothing of Perennial. It reads the sandbox's SQLite file, which shows what really happened, and has its own
calendar (`contracts.py`), so it cannot share a mistake with the code that it checks.
"""

from __future__ import annotations

import json
import sqlite3
from collections import Counter, defaultdict
from contextlib import closing
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

from chaos.contracts import Contract, minute

AFTERWARDS = timedelta(days=40)
"""Renewals up to this long after the end of an audit are ignored."""

GRACE = timedelta(minutes=2)
"""How long a request may take to arrive that was on its way when a customer cancelled, paused or postponed."""

ENDED = {"completed", "failed", "aborted"}
Period = tuple[str, datetime]


@dataclass
class Findings:
    """What the auditor found. Every list should be empty."""

    renewals: int = 0
    by_hand: int = 0
    """Manual copies whose orders were placed."""
    surplus: int = 0
    """Copies that made a second order for a reference. They charge nothing, but cost some requests."""
    charged_twice: list[str] = field(default_factory=list)
    """Periods with two placed orders, even if one was cancelled later."""
    undone: list[str] = field(default_factory=list)
    """Orders that were placed and then cancelled. No person does that in these tests."""
    surplus_left: list[str] = field(default_factory=list)
    """Copies whose order can still be placed, although an earlier copy has an order or another order is placed."""
    unwanted_left: list[str] = field(default_factory=list)
    """Copies of cancelled subscriptions whose order can still be placed."""
    placed_too_soon: list[str] = field(default_factory=list)
    """Orders placed while an earlier copy of the period was under way, or had an order that could still be placed."""
    early: list[str] = field(default_factory=list)
    """Copies made, or orders placed, before their date."""
    after_leaving: list[str] = field(default_factory=list)
    """Orders placed after the customer had cancelled, paused, or postponed that date."""
    lost: list[str] = field(default_factory=list)
    """Due periods and manual copies without a placed order."""
    unknown_dates: list[str] = field(default_factory=list)
    """Copies for a date that is not in the contract."""
    unnamed: list[str] = field(default_factory=list)
    """Copies of a contract's source order without a reference of Perennial."""
    worst_delay: timedelta = timedelta()
    by_frequency: Counter[str] = field(default_factory=Counter)

    @property
    def complaints(self) -> dict[str, list[str]]:
        """What is wrong, by kind."""
        lists = {each.name: getattr(self, each.name) for each in fields(self)}
        return {name: found for name, found in lists.items() if isinstance(found, list) and found}

    @property
    def is_clean(self) -> bool:
        """Whether every period was renewed exactly once, and nothing else happened."""
        return not self.complaints


class Auditor:
    """Notes the contracts when it is made; `audit` checks them later. Delays count from `since`, if it is given."""

    def __init__(self, database: Path, since: datetime | None = None) -> None:
        self._database, self._since = database, since
        self.contracts: dict[str, Contract] = {}
        self.asked_by_hand: set[str] = set()
        """References of manual copies. Each must be placed once."""
        self.note_new_contracts()

    def note_new_contracts(self) -> None:
        """Add the adopted subscriptions that it does not know yet."""
        for row in self._rows("SELECT id, frequency, starts_at, next_run_at, metadata, source_order_id"
                              " FROM order_subscriptions WHERE status = 'inactive'"):  # fmt: skip
            if row["id"] not in self.contracts and "perennial" in json.loads(row["metadata"] or "{}"):
                dates = _instant(row["starts_at"]), _instant(row["next_run_at"])
                self.contracts[row["id"]] = Contract(row["id"], row["source_order_id"], row["frequency"], *dates)

    def audit(self, until: datetime) -> Findings:
        """Compare the contracts up to `until` with the order copies and their orders."""
        found = Findings()
        by_period, by_hand = self._sorted_out(self._copies(), found)
        for reference in sorted(self.asked_by_hand):
            self._judge_by_hand(reference, by_hand[reference], found)
        known = {(each, date) for each in self.contracts for date in self._dates(each, until + AFTERWARDS)}
        for period, copies in sorted(by_period.items()):
            if period in known:
                self._judge_period(period, copies, found)
            else:
                found.unknown_dates += [_named(copy) for copy in copies]
        for contract in self.contracts.values():
            for date in self._dates(contract.subscription_id, until):
                self._judge_date(contract, date, until, by_period.get((contract.subscription_id, date), []), found)
        return found

    def _dates(self, subscription_id: str, until: datetime) -> list[datetime]:
        return list(self.contracts[subscription_id].dates(until))

    def _copies(self) -> list[dict[str, Any]]:
        """Every order copy with its order, oldest first. Copies by Commerce Layer's own engine have no reference."""
        copies = self._rows(
            "SELECT c.id, c.reference, c.reference_origin, c.source_order_id, c.target_order_id, c.status AS ended,"
            " c.created_at, c.updated_at, o.placed_at, o.cancelled_at"
            " FROM order_copies c LEFT JOIN orders o ON o.id = c.target_order_id"
            " UNION ALL SELECT id, NULL, NULL, source_order_id, target_order_id, status, created_at, updated_at, NULL,"
            " NULL FROM recurring_order_copies"
        )
        for copy in copies:
            for name in ("created_at", "updated_at", "placed_at", "cancelled_at"):
                copy[name] = _instant(copy[name]) if copy[name] else None
        return sorted(copies, key=lambda copy: (copy["created_at"], copy["id"]))

    def _sorted_out(
        self, copies: list[dict[str, Any]], found: Findings
    ) -> tuple[dict[Period, list[dict[str, Any]]], dict[str, list[dict[str, Any]]]]:
        """Perennial's copies by period, and manual copies by reference. All others become findings."""
        by_period, by_hand = defaultdict[Period, list[Any]](list), defaultdict[str, list[Any]](list)
        sources = {contract.source_order_id for contract in self.contracts.values()}
        for copy in copies:
            subscription_id, date = _period_of(copy)
            contract = self.contracts.get(subscription_id)
            if copy["reference_origin"] == "perennial" and copy["reference"] in self.asked_by_hand:
                by_hand[copy["reference"]].append(copy)
            elif date is None:
                found.unnamed += [copy["id"]] if copy["source_order_id"] in sources else []
            elif contract is None or contract.source_order_id != copy["source_order_id"]:
                found.unknown_dates.append(_named(copy))
            else:
                by_period[subscription_id, contract.stands_for(date)].append({**copy, "date": date})
        return by_period, by_hand

    def _judge_by_hand(self, reference: str, copies: list[dict[str, Any]], found: Findings) -> None:
        self._judge_copies(reference, copies, found)
        placed = [copy for copy in copies if copy["placed_at"]]
        found.by_hand += bool(placed)
        found.lost += [] if placed or (copies and all(map(_made_no_order, copies))) else [reference]

    def _judge_period(self, period: Period, copies: list[dict[str, Any]], found: Findings) -> None:
        subscription_id, _ = period
        contract = self.contracts[subscription_id]
        self._judge_copies(period_name(period), copies, found)
        for copy in copies:
            if min(copy["created_at"], copy["placed_at"] or copy["created_at"]) < copy["date"]:
                found.early.append(_named(copy))
            if copy["placed_at"] and contract.was_left_alone_at(copy["placed_at"], GRACE, copy["date"]):
                found.after_leaving.append(_named(copy))

    def _judge_copies(self, name: str, copies: list[dict[str, Any]], found: Findings) -> None:
        """Check one reference: it may have many copies, but one placed order at most, and that order stays placed."""
        with_order = Counter(copy["reference"] for copy in copies if copy["target_order_id"])
        found.surplus += with_order.total() - len(with_order)
        placed = sorted((copy for copy in copies if copy["placed_at"]), key=lambda copy: copy["placed_at"])
        if any(not _was_cancelled_by(one, other["placed_at"]) for one, other in pairwise(placed)):
            found.charged_twice.append(name)
        found.undone += [_named(copy) for copy in placed if copy["cancelled_at"]]
        for number, copy in enumerate(copies):
            earlier = copies[:number]
            if copy["placed_at"] and any(_might_be_placed(each, copy["placed_at"]) for each in earlier):
                found.placed_too_soon.append(_named(copy))
            if _is_open(copy) and (placed or any(map(_is_open, earlier))):
                found.surplus_left.append(_named(copy))

    def _judge_date(
        self, contract: Contract, date: datetime, until: datetime, copies: list[dict[str, Any]], found: Findings
    ) -> None:
        placed = [copy["placed_at"] for copy in copies if copy["placed_at"]]
        found.renewals += bool(placed)
        found.by_frequency[contract.frequency] += bool(placed)
        is_owed = contract.cancelled_at is None and contract.owed_from(date) <= until
        if not placed and is_owed:  # after a cancellation, no order is missing
            found.lost.append(period_name((contract.subscription_id, date)))
        if not placed and contract.cancelled_at is not None:
            found.unwanted_left += [_named(copy) for copy in copies if _is_open(copy)]
        late = (moment - max(contract.waits_from(date, moment), self._since or date) for moment in placed)
        found.worst_delay = max([found.worst_delay, *late])

    def _rows(self, query: str) -> list[dict[str, Any]]:
        with closing(sqlite3.connect(f"file:{self._database}?mode=ro", uri=True)) as connection:
            connection.row_factory = sqlite3.Row
            return [dict(row) for row in connection.execute(query)]


def _period_of(copy: dict[str, Any]) -> tuple[str, datetime | None]:
    """The subscription and the date that a copy's reference names. The date is None if it names none."""
    subscription_id, _, date = (copy["reference"] or "").partition("@")
    if copy["reference_origin"] != "perennial":
        return "", None
    try:
        return subscription_id, minute(datetime.strptime(date, "%Y-%m-%dT%H:%MZ").replace(tzinfo=UTC))
    except ValueError:
        return "", None


def _was_cancelled_by(copy: dict[str, Any], instant: datetime) -> bool:
    return copy["cancelled_at"] is not None and copy["cancelled_at"] <= instant


def _might_be_placed(copy: dict[str, Any], instant: datetime) -> bool:
    """Whether at `instant` this copy was under way, or had an order that was not cancelled."""
    if copy["ended"] not in ENDED:
        return True
    if copy["target_order_id"] is None:
        return bool(copy["updated_at"] > instant)
    return not _was_cancelled_by(copy, instant)


def _is_open(copy: dict[str, Any]) -> bool:
    """Whether it has an order that is neither placed nor cancelled."""
    return bool(copy["target_order_id"]) and copy["placed_at"] is None and copy["cancelled_at"] is None


def _made_no_order(copy: dict[str, Any]) -> bool:
    """Whether it failed before it made an order. A manual copy that does is reported, not repeated."""
    return copy["ended"] in {"failed", "aborted"} and copy["target_order_id"] is None


def _named(copy: dict[str, Any]) -> str:
    return f"{copy['reference']} ({copy['id']})"


def period_name(period: Period) -> str:
    """How findings name a period: as its reference does."""
    return f"{period[0]}@{period[1]:%Y-%m-%dT%H:%MZ}"


def _instant(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)
