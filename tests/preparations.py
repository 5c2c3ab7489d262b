"""Subscriptions that come due soon, and what a sweep has prepared for them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from merchant import Ended, Merchant

HOUR = 3600.0
Made = dict[str, Any]


def due_in(merchant: Merchant, hours: float, **members: Any) -> Made:
    """A subscription that comes due so many hours from now."""
    due = (merchant.sandbox.clock() + timedelta(hours=hours)).replace(second=0, microsecond=0)
    return merchant.sandbox.create_subscription(next_run_at=due.isoformat(), **members)


async def prepared(merchant: Merchant, **members: Any) -> Made:
    """A subscription that is due in 20 hours, and whose order a sweep has prepared."""
    made = due_in(merchant, 20, **members)
    ended = await merchant.sweep()
    assert ended.facts["ahead"]["ready"] == 1, ended.message
    return made


async def sweep_when_due(merchant: Merchant) -> Ended:
    merchant.sandbox.advance(20 * HOUR)
    merchant.sandbox.reset_counters()
    return await merchant.sweep()


def statuses(merchant: Merchant) -> list[str]:
    return [order["status"] for order in merchant.target_orders()]


def writes(merchant: Merchant) -> dict[str, int]:
    counted = merchant.sandbox.counters()["requests"]
    return {name: count for name, count in counted.items() if not name.startswith("GET") and "oauth" not in name}
