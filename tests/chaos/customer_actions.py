"""
What people do to subscriptions during a campaign: they cancel, pause, move a date, or ask for a manual copy. A CRM
reads metadata, waits, and writes all of it back.

The auditor's contracts note each action. People act between two sweeps, and never while a request of Perennial is under
way that would overwrite theirs: no client can prevent that, because the API has no conditional writes.
"""

from __future__ import annotations

import random
from collections import Counter
from datetime import datetime, timedelta
from typing import Any

from chaos.checker import Auditor
from chaos.contracts import STEPS, Contract, minute
from merchant import Merchant, cancel

DAILY = timedelta(days=1)


class Customers:
    """Customers, staff and the CRM. `act` lets them act, `finish` completes what they began."""

    def __init__(self, merchant: Merchant, auditor: Auditor, random: random.Random) -> None:
        self._merchant, self._auditor, self._random = merchant, auditor, random
        self._paused: dict[str, datetime] = {}
        self._read_by_crm: dict[str, tuple[datetime, dict[str, Any]]] = {}
        self._asked: dict[str, str] = {}
        self.actions: Counter[str] = Counter()

    async def act(self) -> None:
        """At most one new action, and the resumptions and CRM writes that are due now."""
        now = self._merchant.sandbox.clock()
        for subscription_id in [each for each, until in self._paused.items() if until <= now]:
            await self._resume(subscription_id)
        for subscription_id in [each for each, (until, _) in self._read_by_crm.items() if until <= now]:
            await self._write_back(subscription_id)
        action = self._random.choice(
            [self._cancel, self._pause, self._move, self._move, self._read, self._read, None, None]
        )
        if action is not None and (contract := self._free_contract()) is not None:
            await action(contract, now)

    def ask_for_a_copy(self) -> dict[str, Any]:
        """The parameters of a manual copy of a random source order. Sometimes they repeat an earlier request."""
        if not self._asked or self._random.random() < 0.7:
            reference = f"goodwill-{len(self._asked) + 1}"
            self._asked[reference] = self._random.choice(
                sorted(self._auditor.contracts.values(), key=_by_id)
            ).source_order_id
            self._auditor.asked_by_hand.add(reference)
        reference = self._random.choice(sorted(self._asked))
        self.actions["copies asked for by hand"] += 1
        return {"reference": reference, "source_order_id": self._asked[reference], "besides_renewal": True}

    async def finish(self) -> None:
        """Resume paused subscriptions, let the CRM write what it read, and complete the manual copies."""
        for subscription_id in list(self._paused):
            await self._resume(subscription_id)
        for subscription_id in list(self._read_by_crm):
            await self._write_back(subscription_id)
        for reference, source_order_id in self._asked.items():
            await self._merchant.reorder(source_order_id, reference=reference, besides_renewal=True)
            for row in self._merchant.rows(
                "SELECT o.id FROM order_copies c JOIN orders o ON o.id = c.target_order_id"
                " WHERE c.reference = ? AND o.status = 'pending'", reference,
            ):  # fmt: skip
                self._merchant.sandbox.customer_pays(row["id"])

    def _free_contract(self) -> Contract | None:
        """A random subscription that is not cancelled, not paused, and not awaiting a write of the CRM."""
        free = [
            each for each in sorted(self._auditor.contracts.values(), key=_by_id)
            if each.cancelled_at is None and each.subscription_id not in {*self._paused, *self._read_by_crm}
        ]  # fmt: skip
        return self._random.choice(free) if free else None

    async def _cancel(self, contract: Contract, now: datetime) -> None:
        if self.actions["cancelled"] * 12 >= len(self._auditor.contracts):  # some customers must stay
            return
        async with self._merchant.dashboard() as dashboard:
            await cancel(dashboard, contract.subscription_id)
        contract.cancelled_at = now
        self.actions["cancelled"] += 1

    async def _pause(self, contract: Contract, now: datetime) -> None:
        until = now + timedelta(days=self._random.uniform(0.5, 8))
        await self._mark(contract.subscription_id, paused=True)
        self._paused[contract.subscription_id] = until
        contract.pauses.append((now, datetime.max.replace(tzinfo=now.tzinfo)))
        self.actions["paused"] += 1

    async def _resume(self, subscription_id: str) -> None:
        del self._paused[subscription_id]
        await self._mark(subscription_id, paused=False)
        pauses = self._auditor.contracts[subscription_id].pauses
        pauses[-1] = (pauses[-1][0], self._merchant.sandbox.clock())

    async def _mark(self, subscription_id: str, *, paused: bool) -> None:
        """As a storefront does: a hold is for people of the shop, who release it without asking the customer."""
        metadata = self._merchant.subscription(subscription_id)["metadata"]
        metadata["perennial"]["paused"] = paused
        async with self._merchant.dashboard() as dashboard:
            await dashboard.update_subscription(subscription_id, metadata=metadata)

    async def _move(self, contract: Contract, now: datetime) -> None:
        """Move the next date, but not as far as halfway to another one. Does nothing if a period is due or open."""
        row = self._merchant.subscription(contract.subscription_id)
        due = minute(datetime.fromisoformat(row["next_run_at"]))
        step = STEPS.get(contract.frequency, 7 * DAILY)
        to = minute(due + step * self._random.uniform(-0.35, 0.35))
        regular_dates = [date for date in contract.dates(due) if date > now]
        if min(to, due) <= now + timedelta(minutes=1) or regular_dates[:1] != [due] or _is_begun(row):
            return
        async with self._merchant.dashboard() as dashboard:
            await dashboard.update_subscription(contract.subscription_id, next_run_at=to)
        contract.moves.append((now, to))
        self.actions["moved a date"] += 1

    async def _read(self, contract: Contract, now: datetime) -> None:
        until = now + timedelta(days=self._random.uniform(0.1, 4))
        metadata = self._merchant.subscription(contract.subscription_id)["metadata"]
        self._read_by_crm[contract.subscription_id] = until, metadata
        self.actions["read by the CRM"] += 1

    async def _write_back(self, subscription_id: str) -> None:
        _, metadata = self._read_by_crm.pop(subscription_id)
        note = {"crm": f"seen {self.actions['read by the CRM']} times"}
        async with self._merchant.dashboard() as dashboard:
            await dashboard.update_subscription(subscription_id, metadata={**metadata, **note})


def _by_id(contract: Contract) -> str:
    return contract.subscription_id


def _is_begun(row: dict[str, Any]) -> bool:
    """Whether a period of this subscription is open. Moving the date would then move that period."""
    state = row["metadata"]["perennial"]
    return bool(state.get("period")) and (state.get("done_through") or "") < state["period"]
