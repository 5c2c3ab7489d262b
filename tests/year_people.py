"""
The people of the simulated year: whose card is declined and how that is solved, and who pauses, moves or cancels.

Everything here uses the sandbox as a customer or staff would: through the API with a token of its own, or at the
sandbox's checkout. It imports nothing from flows or from the client. Each action goes into the `Diary`, which the
checker reads together with the sandbox's database.
"""

from __future__ import annotations

import heapq
import itertools
import json
import sqlite3
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from random import Random
from typing import Any

import httpx

from blocks.sandbox.running import RunningSandbox

FREQUENCIES = {
    "monthly": 0.62, "three-month": 0.1, "yearly": 0.07, "weekly": 0.07, "two-month": 0.05, "six-month": 0.03,
    "four-month": 0.02, "daily": 0.015, "30 6 * * 1": 0.015, "hourly": 0.01,
}  # fmt: skip
"""Shares in a shop that mainly sells monthly boxes; each frequency occurs at least once."""

TROUBLES = {
    "declined, works again by itself": 0.03,
    "declined until a new card": 0.013,
    "declined, paid at the checkout": 0.01,
    "declined for good": 0.007,
    "card lost, new card, released": 0.005,
    "out of stock for days": 0.015,
    "coupon invalid, corrected, released": 0.006,
    "address missing, corrected": 0.005,
    "copy aborted once": 0.002,
    "copy slow": 0.004,
    "copy stuck until released": 0.001,
}
"""The chance that a renewal meets this. 6 to 7 of 100 payments fail at first, as subscription merchants report."""

CLASSES = {
    "declined": "payment", "card": "payment", "out": "stock", "coupon": "coupon", "address": "catalogue",
    "gateway": "transient", "copy": "unknown",
}  # fmt: skip
"""The failure class of a trouble, by its first word."""

OUTAGE_EVERY_DAYS = 30
"""How often the payment gateway is down for an hour, at the time of the daily sweep."""

GREEDY_POLICY = {"payment_retries": ["6h"] * 14, "final_action": "skip_period"}
"""The policy of one in forty: as many retries as possible, on cards that never work. The caps must stop them."""

SOFT = ("declined", "insufficient_funds", "expired_card")
CARD_FAILURES = frozenset({*SOFT, "hard_declined"})
"""Failures that belong to a card, and end when the customer attaches another one."""


@dataclass(frozen=True)
class Member:
    """A subscription as it was made."""

    subscription_id: str
    source_order_id: str
    customer_id: str
    frequency: str
    starts_at: datetime
    first_due: datetime
    greedy: bool = False


@dataclass(frozen=True)
class SweepRun:
    """One sweep: when it began and ended by the shop's clock, and whether its brake stopped it."""

    began: datetime
    ended: datetime
    braked: bool


@dataclass(frozen=True)
class DiaryEntry:
    """Something that a person did to a subscription, or a trouble that it met."""

    at: datetime
    subscription_id: str
    what: str
    until: datetime | None = None
    old_card: str | None = None
    """The card that was replaced."""


@dataclass
class Diary:
    """Everything that the checker cannot see in the database at the end."""

    members: dict[str, Member] = field(default_factory=dict)
    sweeps: list[SweepRun] = field(default_factory=list)
    entries: list[DiaryEntry] = field(default_factory=list)
    settled: dict[str, list[tuple[datetime, datetime]]] = field(default_factory=dict)
    """By subscription: (when it was first seen, through which period it was settled then)."""
    requests: Counter[str] = field(default_factory=Counter)
    """Requests that people made."""


class People:
    """Customers and staff. `act_until` carries out what they have planned up to an instant."""

    def __init__(self, sandbox: RunningSandbox, seed: int) -> None:
        self.diary = Diary()
        self._box, self._random = sandbox, Random(seed)
        self._plans: list[tuple[datetime, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._troubled: set[str] = set()
        self._release_planned: set[str] = set()
        self._http = httpx.Client(trust_env=False, timeout=30)

    def make_subscriptions(self, count: int) -> None:
        """Make `count` subscriptions; each is due for the first time within one period."""
        for index, frequency in enumerate(_mixed(count)):
            self._new_member(frequency, greedy=index % 40 == 39)

    def act_until(self, instant: datetime) -> None:
        """Do everything that people have planned up to `instant`, in order; then the clock stands at `instant`."""
        while self._plans and self._plans[0][0] <= instant:
            at, _, action = heapq.heappop(self._plans)
            self._box.set_clock(max(at, self._box.clock()))
            action()
        self._box.set_clock(instant)

    def set_failures(self, *, outage: bool) -> None:
        """Let some of the renewals that are due now fail, or all of them if the gateway has an outage."""
        now = self._box.clock()
        for row in self._rows(
            "SELECT id FROM order_subscriptions s WHERE status = 'inactive' AND next_run_at <= ? AND NOT EXISTS "
            "(SELECT 1 FROM order_copies c WHERE c.source_order_id = s.source_order_id "
            "AND c.created_at >= s.next_run_at) ORDER BY id",
            _text(now),
        ):
            member = self.diary.members[row["id"]]
            if row["id"] in self._troubled or member.greedy:
                continue
            if outage:
                self._outage(member, now)
            else:
                self._maybe_start_trouble(member)

    def plan_customer_changes(self) -> None:
        """Plan which customers move a date, pause, cancel or replace their card during the next day."""
        now = self._box.clock()
        for member in self.diary.members.values():
            drawn = self._random.random()
            if drawn > 0.0016 or member.greedy:
                continue
            later = now + timedelta(hours=self._random.uniform(1, 23))
            kind = self._random.choice(("cancel", "postpone", "postpone", "forward", "pause", "pause", "card", "card"))
            self._plan(later, partial(self._change, member, kind))

    def plan_releases(self) -> None:
        """Plan that staff release subscriptions that are held because they were renewed a short while ago."""
        for row in self._rows(
            "SELECT id FROM order_subscriptions WHERE status = 'inactive' "
            "AND json_extract(metadata, '$.perennial.held') AND json_extract(metadata, '$.perennial.too_close_on') "
            "AND NOT json_extract(metadata, '$.perennial.attempt')"
        ):
            member = self.diary.members[row["id"]]
            if row["id"] not in self._release_planned:
                self._release_planned.add(row["id"])
                self._plan(
                    self._box.clock() + timedelta(days=self._random.uniform(1, 3)),
                    partial(self._release_unless_paused, member),
                )

    def _release_unless_paused(self, member: Member) -> None:
        self._release_planned.discard(member.subscription_id)
        if member.subscription_id not in self._troubled:  # otherwise the customer has paused it
            self._release(member)

    def note_settled_periods(self) -> None:
        """Write down, after a sweep, through which period each subscription is settled now."""
        now = self._box.clock()
        for row in self._rows(
            "SELECT id, json_extract(metadata, '$.perennial.done_through') AS done FROM order_subscriptions "
            "WHERE done IS NOT NULL"
        ):
            through, known = datetime.fromisoformat(row["done"]), self.diary.settled.setdefault(row["id"], [])
            if not known or known[-1][1] != through:
                known.append((now, through))

    # --- new subscriptions ---------------------------------------------------------------------

    def _new_member(self, frequency: str, *, greedy: bool) -> None:
        first = self._box.clock().replace(minute=0, second=0) + timedelta(
            minutes=self._random.randrange(60, 60 * 24 * _first_days(frequency))
        )
        if frequency == "30 6 * * 1":
            first = first.replace(hour=5, minute=30) + timedelta(days=-first.weekday() % 7)
        own: dict[str, Any] = {"v": 1, **({"policy": GREEDY_POLICY} if greedy else {})}
        made = self._box.create_subscription(
            frequency=frequency,
            next_run_at=first.isoformat(),
            metadata={"perennial": own, "crm": 7},
            **({"failure": "declined"} if greedy else {}),
        )
        ids = (made["id"], made["source_order_id"], made["customer_id"])
        starts_at = datetime.fromisoformat(made["starts_at"])
        self.diary.members[made["id"]] = Member(*ids, frequency, starts_at, first, greedy)

    # --- troubles ------------------------------------------------------------------------------

    def _outage(self, member: Member, now: datetime) -> None:
        self._begin(member, "gateway down for an hour", "gateway_timeout")
        self._plan(now + timedelta(hours=1), lambda: self._end(member))

    def _maybe_start_trouble(self, member: Member) -> None:
        drawn = self._random.random()
        for trouble, chance in TROUBLES.items():
            drawn -= chance
            if drawn < 0:
                self._start_trouble(member, trouble)
                return

    def _start_trouble(self, member: Member, trouble: str) -> None:
        soft, flip = self._random.choice(SOFT), self._random.random() < 0.5
        match trouble:
            case "declined, works again by itself":
                self._begin(member, trouble, soft, times=self._random.choice((1, 1, 1, 2, 2, 3)))
            case "declined until a new card":
                self._begin(member, trouble, soft)
                self._in_days(1, 20, lambda: self._new_card(member))
            case "declined, paid at the checkout":
                self._begin(member, trouble, soft)
                self._in_days(0.1, 20, lambda: self._pay_at_the_checkout(member))
            case "declined for good":
                self._begin(member, trouble, soft)
                self._in_days(15, 25, lambda: self._release(member))  # the same card is declined again
                self._in_days(26, 40, lambda: self._cancel(member))
            case "card lost, new card, released":
                self._begin(member, trouble, "hard_declined")
                self._in_days(1, 12, lambda: self._new_card(member))
            case "out of stock for days":
                self._begin(member, trouble, "out_of_stock" if flip else "out_of_stock_at_placing")
                self._in_days(0.5, 6, lambda: self._end(member))
            case "coupon invalid, corrected, released":
                self._begin(member, trouble, "invalid_coupon")
                self._in_days(1, 5, lambda: self._end(member))
            case "address missing, corrected":
                self._begin(member, trouble, "missing_address" if flip else "sku_gone")
                self._in_days(0.5, 6, lambda: self._end(member))
            case "copy aborted once":
                self._begin(member, trouble, "aborted", times=1)
            case "copy slow":
                self._begin(member, trouble, "slow", times=1)
            case "copy stuck until released":
                self._begin(member, trouble, "stuck_pending", times=1)
                self._in_days(0.2, 2, lambda: self._release_stuck_copy(member))

    def _in_days(self, earliest: float, latest: float, action: Callable[[], None]) -> None:
        self._plan(self._box.clock() + timedelta(days=self._random.uniform(earliest, latest)), action)

    def _begin(self, member: Member, trouble: str, failure: str, times: int | None = None) -> None:
        if failure in CARD_FAILURES:
            self._box.set_card_failure(self._card(member), failure, times)
        else:
            self._box.set_failure(member.source_order_id, failure, times)
        self._note(member, trouble)
        self._troubled.add(member.subscription_id)
        if times is not None:  # ends by itself; no other failure comes before its retries are over
            self._plan(self._box.clock() + timedelta(days=15), lambda: self._resolved(member))

    def _end(self, member: Member) -> None:
        """Remove the cause. If the subscription is held for a person, it is released a little later."""
        self._remove_cause(member)
        self._resolved(member)

    def _resolved(self, member: Member) -> None:
        self._troubled.discard(member.subscription_id)
        self._plan(self._box.clock() + timedelta(hours=2), lambda: self._release(member))

    def _new_card(self, member: Member) -> None:
        old_card, card = self._card(member), self._box.add_payment_source(member.customer_id)
        link = {"data": {"type": "customer_payment_sources", "id": card}}
        self._patch(member, relationships={"customer_payment_source": link})
        self._note(member, "new card", old_card=old_card)
        self._resolved(member)

    def _pay_at_the_checkout(self, member: Member) -> None:
        for row in self._rows(
            "SELECT o.id FROM order_copies c JOIN orders o ON o.id = c.target_order_id "
            "WHERE c.source_order_id = ? AND o.status = 'pending' ORDER BY c.created_at DESC LIMIT 1",
            member.source_order_id,
        ):
            self._box.customer_pays(row["id"])
            self._note(member, "paid at the checkout")
        self._remove_cause(member)
        self._troubled.discard(member.subscription_id)  # and staff do not learn of it

    def _remove_cause(self, member: Member) -> None:
        self._box.set_failure(member.source_order_id, None)
        self._box.set_card_failure(self._card(member), None)

    def _card(self, member: Member) -> str:
        return str(self._subscription(member)["customer_payment_source_id"])

    def _release_stuck_copy(self, member: Member) -> None:
        for row in self._rows(
            "SELECT id FROM order_copies WHERE source_order_id = ? AND status = 'pending'", member.source_order_id
        ):
            self._box.release(row["id"])
        self._end(member)

    # --- pauses, moves, cancellations ----------------------------------------------------------

    def _change(self, member: Member, kind: str) -> None:
        row = self._subscription(member)
        if row["status"] != "inactive" or member.subscription_id in self._troubled:
            return
        now, due = self._box.clock(), datetime.fromisoformat(row["next_run_at"])
        if kind == "cancel":
            self._cancel(member)
        elif kind == "pause":
            self._pause(member, paused=True)
            back = now + timedelta(days=self._random.uniform(3, 70))
            self._plan(back, lambda: self._pause(member, paused=False))
            self._troubled.add(member.subscription_id)
        elif kind == "card":
            self._new_card(member)
        elif kind == "postpone":
            self._move(member, max(due, now) + timedelta(days=self._random.randrange(2, 15), hours=1))
        else:
            self._move(member, now + timedelta(hours=self._random.randrange(1, 48)))

    def _move(self, member: Member, due: datetime) -> None:
        due = due.replace(second=0, microsecond=0)
        self._patch(member, attributes={"next_run_at": due.isoformat()})
        self._note(member, "move", due)

    def _cancel(self, member: Member) -> None:
        if self._subscription(member)["status"] == "inactive":
            self._patch(member, attributes={"_cancel": True})
            self._note(member, "cancel")

    def _pause(self, member: Member, *, paused: bool) -> None:
        """As a storefront does, in the metadata."""
        self._write(member, "pause" if paused else "resume", paused=paused)
        if not paused:
            self._troubled.discard(member.subscription_id)

    def _release(self, member: Member) -> None:
        if json.loads(self._subscription(member)["metadata"])["perennial"].get("held"):
            self._write(member, "release", held=False)
            self._troubled.discard(member.subscription_id)

    def _write(self, member: Member, what: str, **own: bool) -> None:
        row = self._subscription(member)
        if row["status"] == "inactive":
            metadata = json.loads(row["metadata"])
            metadata["perennial"] |= own
            self._patch(member, attributes={"metadata": metadata})
            self._note(member, what)

    # --- requests ------------------------------------------------------------------------------

    def _plan(self, at: datetime, action: Callable[[], None]) -> None:
        heapq.heappush(self._plans, (at, next(self._order), action))

    def _note(self, member: Member, what: str, until: datetime | None = None, *, old_card: str | None = None) -> None:
        self.diary.entries.append(DiaryEntry(self._box.clock(), member.subscription_id, what, until, old_card))

    def _subscription(self, member: Member) -> dict[str, Any]:
        (row,) = self._rows("SELECT * FROM order_subscriptions WHERE id = ?", member.subscription_id)
        return row

    def _rows(self, query: str, *values: Any) -> list[dict[str, Any]]:
        with closing(sqlite3.connect(f"file:{self._box.database}?mode=ro", uri=True)) as connection:
            connection.row_factory = sqlite3.Row
            return [dict(row) for row in connection.execute(query, values)]

    def _patch(self, member: Member, **members: Any) -> None:
        box = self._box
        application = {"client_id": box.client_id, "client_secret": box.client_secret}
        token = self._http.post(
            box.auth_url, json={"grant_type": "client_credentials", **application}
        ).raise_for_status()
        body = {"data": {"type": "order_subscriptions", "id": member.subscription_id, **members}}
        url = f"{box.api_url}/order_subscriptions/{member.subscription_id}"
        headers = {
            "Authorization": f"Bearer {token.json()['access_token']}",
            "Content-Type": "application/vnd.api+json",
            "Accept": "application/vnd.api+json",
        }
        self._http.patch(url, json=body, headers=headers).raise_for_status()
        self.diary.requests.update(["POST /oauth/token", "PATCH /api/order_subscriptions/{id}"])


def _mixed(count: int) -> list[str]:
    names = [name for name, share in FREQUENCIES.items() for _ in range(max(1, round(share * count)))]
    names = (names + ["monthly"] * count)[:count] if len(names) < count else names[len(names) - count :]
    Random(count).shuffle(names)
    return names


def _first_days(frequency: str) -> int:
    days = {"hourly": 1, "daily": 1, "weekly": 7, "30 6 * * 1": 7, "monthly": 31, "two-month": 61, "yearly": 360}
    return days.get(frequency, 90)


def _text(instant: datetime) -> str:
    return instant.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
