"""
An independent auditor: was every period renewed exactly once?

It imports nothing of Perennial. It reads the sandbox's SQLite file, which is what really happened, and has a calendar
of its own, so that it shares no mistake with the code it judges.
"""

from __future__ import annotations

import json
import sqlite3
from calendar import monthrange
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

STEPS = {"hourly": timedelta(hours=1), "daily": timedelta(days=1), "weekly": timedelta(days=7)}
MONTHS = {"monthly": 1, "two-month": 2, "three-month": 3, "four-month": 4, "six-month": 6, "yearly": 12}

AFTERWARDS = timedelta(days=40)
"""Renewals up to so long after the end of an audit are none of its business."""


@dataclass(frozen=True)
class Contract:
    """What a subscription promised when the audit began."""

    subscription_id: str
    frequency: str
    starts_at: datetime
    first_due: datetime

    def dates(self, until: datetime) -> Iterator[datetime]:
        """Every date on which it is due, up to `until`: the first one as agreed, the others by its rhythm."""
        if self.first_due <= until:
            yield self.first_due
        number = 0
        while (date := self._date(number)) <= until:
            if date > self.first_due:
                yield date
            number += 1

    def _date(self, number: int) -> datetime:
        if self.frequency in STEPS:
            return self.starts_at + number * STEPS[self.frequency]
        years, month = divmod(self.starts_at.month - 1 + number * MONTHS[self.frequency], 12)
        year = self.starts_at.year + years
        day = min(self.starts_at.day, monthrange(year, month + 1)[1])
        return self.starts_at.replace(year=year, month=month + 1, day=day)


@dataclass
class Findings:
    """What the auditor found. Everything but `renewals`, `by_frequency` and `worst_delay` should be empty."""

    renewals: int = 0
    charged_twice: list[str] = field(default_factory=list)
    """Periods with two placed orders."""
    copied_twice: list[str] = field(default_factory=list)
    """References that two order copies carry."""
    lost: list[str] = field(default_factory=list)
    """Periods that are due and have no placed order."""
    unknown_dates: list[str] = field(default_factory=list)
    """Copies for a date that is not in the contract."""
    unnamed: list[str] = field(default_factory=list)
    """Copies of a contract's source order without a reference of ours."""
    worst_delay: timedelta = timedelta()
    by_frequency: Counter[str] = field(default_factory=Counter)

    @property
    def is_clean(self) -> bool:
        """Whether every period was renewed exactly once, and nothing else happened."""
        return not (self.charged_twice or self.copied_twice or self.lost or self.unknown_dates or self.unnamed)


class Auditor:
    """Notes the contracts now; `audit` judges what became of them. Delays count from `since` on, if it is given."""

    def __init__(self, database: Path, since: datetime | None = None) -> None:
        self._database, self._since = database, since
        self.contracts: dict[str, Contract] = {}
        self._sources: dict[str, str] = {}
        self.note_new_contracts()

    def note_new_contracts(self) -> None:
        """Take in the adopted subscriptions that are not known yet."""
        for row in self._rows("SELECT id, frequency, starts_at, next_run_at, metadata, source_order_id"
                              " FROM order_subscriptions WHERE status = 'inactive'"):  # fmt: skip
            if row["id"] not in self.contracts and "perennial" in json.loads(row["metadata"] or "{}"):
                starts_at, first_due = _instant(row["starts_at"]), _instant(row["next_run_at"])
                self.contracts[row["id"]] = Contract(row["id"], row["frequency"], starts_at, first_due)
                self._sources[row["source_order_id"]] = row["id"]

    def audit(self, until: datetime) -> Findings:
        """Compare the contracts up to `until` with the order copies and their orders."""
        found, copies, charged = Findings(), Counter[str](), defaultdict[tuple[str, str], list[datetime]](list)
        due = {
            (contract.subscription_id, f"{date:%Y-%m-%dT%H:%MZ}"): (date, contract.frequency)
            for contract in self.contracts.values()
            for date in contract.dates(until)
        }
        later = {
            (contract.subscription_id, f"{date:%Y-%m-%dT%H:%MZ}")
            for contract in self.contracts.values()
            for date in contract.dates(until + AFTERWARDS)
        }
        for row in self._rows(
            "SELECT c.id, c.reference, c.reference_origin, c.source_order_id, o.status, o.placed_at"
            " FROM order_copies c LEFT JOIN orders o ON o.id = c.target_order_id"
        ):
            if row["reference_origin"] != "perennial" or "@" not in (row["reference"] or ""):
                found.unnamed += [row["id"]] if row["source_order_id"] in self._sources else []
                continue
            subscription_id, _, period = row["reference"].partition("#")[0].partition("@")
            if self._sources.get(row["source_order_id"]) != subscription_id or (subscription_id, period) not in later:
                found.unknown_dates.append(f"{row['reference']} ({row['id']})")
                continue
            copies[row["reference"]] += 1
            if row["status"] in {"placed", "approved"}:
                charged[subscription_id, period].append(_instant(row["placed_at"]))
        found.copied_twice = sorted(reference for reference, count in copies.items() if count > 1)
        for key, (date, frequency) in due.items():
            placed = charged.get(key, [])
            found.renewals += bool(placed)
            found.by_frequency[frequency] += bool(placed)
            if not placed:
                found.lost.append("@".join(key))
            elif len(placed) > 1:
                found.charged_twice.append("@".join(key))
            found.worst_delay = max(
                [found.worst_delay, *(moment - max(date, self._since or date) for moment in placed)]
            )
        return found

    def _rows(self, query: str) -> list[dict[str, Any]]:
        with closing(sqlite3.connect(f"file:{self._database}?mode=ro", uri=True)) as connection:
            connection.row_factory = sqlite3.Row
            return [dict(row) for row in connection.execute(query)]


def _instant(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)
