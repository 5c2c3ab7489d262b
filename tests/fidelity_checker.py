"""
Judges how renewals went in a shop: charged once, with the right card, not lost.

It imports nothing of Perennial. It reads the sandbox's database and what the people of the shop did, which `Diary` has.
"""

from __future__ import annotations

import json
import sqlite3
from collections import defaultdict
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from chaos.checker import Auditor

Card = str | None

_COPIES = """
SELECT c.id, c.reference, c.order_subscription_id AS run_of, c.created_at, c.failed_at, c.updated_at, c.status AS ended,
       o.id AS order_id, o.placed_at, o.status, o.customer_id
  FROM order_copies c LEFT JOIN orders o ON o.id = c.target_order_id ORDER BY c.created_at, c.id
"""


@dataclass
class Diary:
    """What people did that the database does not show at the end."""

    cards: dict[str, list[tuple[datetime, Card]]] = field(default_factory=lambda: defaultdict(list))
    """By subscription: since when it had which card, oldest first. None: the shop chooses one."""
    by_customers: set[str] = field(default_factory=set)
    """Orders that customers paid at the checkout."""
    ends: dict[str, datetime] = field(default_factory=dict)
    """By subscription: its `expires_at`."""


@dataclass
class Verdict:
    """How the renewals of a shop went. Every list but `held` should be empty."""

    renewals: int = 0
    charged_twice: list[str] = field(default_factory=list)
    wrong_card: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    held: list[str] = field(default_factory=list)
    """Periods that wait for a person or for the next retry: the subscription says so itself."""
    otherwise: list[str] = field(default_factory=list)
    """Whatever else the auditor complains of."""


def judge(database: Path, auditor: Auditor, diary: Diary, until: datetime) -> Verdict:
    """Judge the adopted subscriptions that the auditor knows, and the failed runs of the native engine."""
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        connection.row_factory = sqlite3.Row
        shop = _Shop(connection, diary)
        verdict = shop.judge_natives(Verdict())
        _judge_adopted(auditor, diary, until, shop, verdict)
        verdict.wrong_card += shop.wrong_cards()
    return verdict


def _judge_adopted(auditor: Auditor, diary: Diary, until: datetime, shop: _Shop, verdict: Verdict) -> None:
    found = auditor.audit(until)
    verdict.renewals += found.renewals
    complaints = found.complaints
    verdict.charged_twice += complaints.pop("charged_twice", [])
    for name in complaints.pop("lost", []):
        subscription_id, _, date = name.partition("@")
        ends = diary.ends.get(subscription_id)
        if ends is None or _instant(date) < ends:
            (verdict.held if shop.is_held(subscription_id) else verdict.lost).append(name)
    for kind, names in complaints.items():
        # The auditor knows no rescues: they are judged with the runs that they repair.
        verdict.otherwise += [f"{kind}: {name}" for name in names if name.partition("@")[0] not in shop.natives]
    verdict.otherwise += [f"after its end: {name}" for name in shop.placed_after_their_ends()]


class _Shop:
    """The sandbox's database."""

    def __init__(self, connection: sqlite3.Connection, diary: Diary) -> None:
        self._connection, self._diary = connection, diary
        self._copies = self._rows(_COPIES)
        self.natives = {copy["run_of"] for copy in self._copies if copy["run_of"]}

    def is_held(self, subscription_id: str) -> bool:
        """Whether the subscription says that it waits for a person, or until when it waits for a retry."""
        (row,) = self._rows("SELECT metadata FROM order_subscriptions WHERE id = ?", subscription_id)
        metadata = json.loads(row["metadata"] or "{}")
        states = [metadata.get(key) or {} for key in ("perennial", "perennial_rescue")]
        return any(bool(state.get("held") or state.get("next_attempt_at")) for state in states)

    def judge_natives(self, verdict: Verdict) -> Verdict:
        """Each run of the native engine has one placed order in the end: its own, or that of a copy in its place."""
        for run in (copy for copy in self._copies if copy["run_of"]):
            name = f"{run['run_of']}@{run['created_at'][:16]}Z"
            also = [copy for copy in self._copies if copy["reference"] == name]
            placed = [copy for copy in (run, *also) if copy["placed_at"]]
            verdict.renewals += bool(placed)
            verdict.charged_twice += [name] if len(placed) > 1 else []
            if not placed and run["run_of"] not in self._diary.ends:  # what has ended since is not repaired
                (verdict.held if self.is_held(run["run_of"]) else verdict.lost).append(name)
        return verdict

    def placed_after_their_ends(self) -> list[str]:
        """Periods that were renewed although the subscription had expired."""
        return [
            copy["reference"]
            for copy in self._copies
            if copy["placed_at"] and (end := self._diary.ends.get((copy["reference"] or "").partition("@")[0]))
            if _instant((copy["reference"] or "").partition("@")[2]) >= end
        ] + [
            run["run_of"]
            for run in self._copies
            if run["placed_at"] and (end := self._diary.ends.get(run["run_of"])) and _instant(run["placed_at"]) >= end
        ]

    def wrong_cards(self) -> list[str]:
        """Attempts of ours to charge a card that was not the subscription's at that moment."""
        by_order = {copy["order_id"]: copy for copy in self._copies if copy["order_id"]}
        wrong = []
        for charge in self._rows("SELECT order_id, card_id, made_at FROM sandbox_charges"):
            copy = by_order.get(charge["order_id"])
            if copy is None or charge["order_id"] in self._diary.by_customers or _is_of_the_engine(copy, charge):
                continue
            subscription_id = copy["run_of"] or (copy["reference"] or "").partition("@")[0]
            if (card := self._card_of(subscription_id, charge["made_at"])) not in {None, charge["card_id"]}:
                wrong.append(f"{subscription_id}: {charge['card_id']} in the place of {card} at {charge['made_at']}")
        return wrong

    def _card_of(self, subscription_id: str, at: str) -> Card:
        since = [card for moment, card in self._diary.cards[subscription_id] if moment <= _instant(at)]
        return since[-1] if since else None

    def _rows(self, query: str, *values: Any) -> list[dict[str, Any]]:
        return [dict(row) for row in self._connection.execute(query, values)]


def _is_of_the_engine(copy: dict[str, Any], charge: dict[str, Any]) -> bool:
    """Whether the native engine's run made the attempt itself. What follows the end of a run is a rescue's."""
    return bool(copy["run_of"]) and charge["made_at"] <= copy["updated_at"]


def _instant(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)
