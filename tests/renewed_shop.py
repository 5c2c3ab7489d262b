"""Weeks of renewals, written straight into a sandbox's database, so that no test has to wait for them."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson

from blocks.sandbox.running import RunningSandbox
from blocks.sandbox.shop.identifiers import id_number

Row = dict[str, Any]
WEEK = timedelta(weeks=1)
_OTHER_IDS = 97


def text(instant: datetime) -> str:
    """An instant as the shop stores it."""
    return instant.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")


def minute(instant: datetime) -> str:
    """An instant as it stands in a reference, and in the state of a subscription."""
    return instant.astimezone(UTC).strftime("%Y-%m-%dT%H:%MZ")


@dataclass
class RenewedSubscription:
    """One subscription of the sandbox, and everything that its weekly renewals have left there."""

    row: Row
    source: Row
    dues: list[datetime]
    copies: list[Row] = field(default_factory=list)
    orders: list[Row] = field(default_factory=list)
    state: Row = field(default_factory=dict)

    @property
    def id(self) -> str:
        return str(self.row["id"])

    def of(self, week: int) -> tuple[Row, Row]:
        """The first copy and the first order of a week."""
        reference = f"{self.id}@{minute(self.dues[week])}"
        copy = next(each for each in self.copies if each["reference"] == reference)
        return copy, next(each for each in self.orders if each["id"] == copy["target_order_id"])

    def remove(self, week: int) -> None:
        """Delete the copy and the order of a week."""
        copy, order = self.of(week)
        self.copies.remove(copy)
        self.orders.remove(order)


class RenewedShop:
    """Makes subscriptions of a sandbox look as if they had been renewed each week, and lets a test spoil some."""

    def __init__(self, sandbox: RunningSandbox, subscriptions: int, weeks: int, first_due: datetime) -> None:
        self.first_due, self.weeks = first_due, weeks
        self._sandbox, self._ids = sandbox, 0
        sandbox.seed(subscriptions, due=text(first_due), frequencies={"weekly": 1.0})
        with self._database() as database:
            sources = {row["id"]: row for row in database.execute("SELECT * FROM orders").fetchall()}
            rows = database.execute("SELECT * FROM order_subscriptions ORDER BY id").fetchall()
        self.all = [self._renewed(row, sources[row["source_order_id"]]) for row in rows]

    def write(self) -> None:
        """Store what was made."""
        with self._database() as database:
            for each in self.all:
                for table, rows in (("orders", each.orders), ("order_copies", each.copies)):
                    for row in rows:
                        _insert(database, table, row)
                metadata = orjson.dumps({"perennial": each.state}).decode()
                changed = (metadata, each.row["next_run_at"], each.row["updated_at"], each.row["status"], each.id)
                query = "UPDATE order_subscriptions SET metadata=?, next_run_at=?, updated_at=?, status=? WHERE id=?"
                database.execute(query, changed)
            database.commit()

    def copy(self, subscription: RenewedSubscription, week: int) -> tuple[Row, Row]:
        """One more copy of a week with a placed order, added to those of the subscription."""
        due, made = subscription.dues[week], text(subscription.dues[week] + timedelta(minutes=5))
        reference = f"{subscription.id}@{minute(due)}"
        metadata = orjson.dumps({"perennial": {"subscription_id": subscription.id, "period": minute(due)}}).decode()
        tracked = {"reference": reference, "reference_origin": "perennial", "metadata": metadata}
        times = {"created_at": made, "updated_at": made}
        order = {
            **subscription.source, **tracked, **times, "id": self._new_id(), "number": str(10_000 + self._ids),
            "placed_at": made, "_source_order_id": subscription.source["id"],
        }  # fmt: skip
        copy = {
            "id": self._new_id(), "type": "order_copies", "status": "completed", "completed_at": made,
            **tracked, **times,
            "source_order_id": subscription.source["id"], "target_order_id": order["id"], "errors_count": 0,
        }  # fmt: skip
        subscription.orders.append(order)
        subscription.copies.append(copy)
        return copy, order

    def _renewed(self, row: Row, source: Row) -> RenewedSubscription:
        dues = [self.first_due + n * WEEK for n in range(self.weeks)]
        made = RenewedSubscription(row, source, dues)
        for week in range(self.weeks):
            _, order = self.copy(made, week)
        placed = dues[-1] + timedelta(minutes=5)
        row |= {"next_run_at": text(dues[-1] + WEEK), "updated_at": text(placed)}
        made.state = {
            "v": 1, "period": minute(dues[-1]), "done_through": minute(dues[-1]), "last_period": minute(dues[-1]),
            "frequency": "weekly", "outcome": "renewed", "last_placed_at": text(placed), "last_order_id": order["id"],
            "attempt": 1, "price": {"cents": source["total_amount_with_taxes_cents"], "currency": "EUR", "items": 1},
        }  # fmt: skip
        return made

    def _new_id(self) -> str:
        self._ids += 1
        return id_number(self._ids, _OTHER_IDS)

    @contextmanager
    def _database(self) -> Iterator[sqlite3.Connection]:
        with closing(sqlite3.connect(self._sandbox.database)) as database:
            database.row_factory = lambda cursor, values: dict(
                zip((column[0] for column in cursor.description), values, strict=True)
            )
            yield database


def _insert(database: sqlite3.Connection, table: str, row: Row) -> None:
    generated = {column["name"] for column in database.execute(f"PRAGMA table_xinfo({table})") if column["hidden"]}
    row = {name: value for name, value in row.items() if name not in generated}
    names = ", ".join(row)
    database.execute(f"INSERT INTO {table} ({names}) VALUES ({', '.join('?' * len(row))})", tuple(row.values()))
