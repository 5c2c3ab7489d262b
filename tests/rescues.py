"""For tests of rescues: native subscriptions whose last run failed, and the flow that repairs them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from merchant import Ended, Merchant

HOUR, DAY = 3600, 86_400 + 3600
"""Seconds. A day and an hour: a wait of one day is over then, although waits end in whole minutes."""
Made = dict[str, Any]


def fails_natively(merchant: Merchant, kind: str | None = "declined", **members: Any) -> Made:
    """A subscription of Commerce Layer's own engine whose run fails in an hour; `fail_now` lets it."""
    due = merchant.sandbox.clock().timestamp() + HOUR
    given = {"status": "active", "metadata": {"crm": 7}, "next_run_at": _text(due), "failure": kind} | members
    made: Made = merchant.sandbox.create_subscription(**given)
    return made


def fail_now(merchant: Merchant) -> None:
    """Let the native engine run what is due within the next hour, and the copies end."""
    merchant.sandbox.advance(HOUR + 600)


def failed_natively(merchant: Merchant, kind: str | None = "declined", **members: Any) -> Made:
    """A subscription whose native run failed ten minutes ago; the cause goes on."""
    made = fails_natively(merchant, kind, **members)
    fail_now(merchant)
    return made


def repaired(merchant: Merchant, made: Made) -> Made:
    """The cause of the failure is gone, and the policy's wait is over."""
    merchant.sandbox.set_failure(made["source_order_id"], None)
    merchant.sandbox.advance(DAY)
    return made


async def rescue(merchant: Merchant, *subscription_ids: str, **parameters: Any) -> Ended:
    """Run the flow once, in this process."""
    from flows.rescue import rescue_failed_renewals

    given = {"credentials": merchant.name, "policy": merchant.name, "dry_run": False, **parameters}
    state = await rescue_failed_renewals(list(subscription_ids), **given, return_state=True)
    facts = await state.aresult(raise_on_failure=False)
    return Ended(state.name, state.message or "", facts, state.state_details.flow_run_id)


def handled(ended: Ended, column: str = "handling") -> dict[str, str]:
    """Subscription to what was done about it, or planned."""
    return {row["subscription"]: row[column] for row in ended.facts["rows"]}


def placed_by_source(merchant: Merchant) -> dict[str, int]:
    """How many placed orders were copied from each source order. More than one is a double charge."""
    query = (
        "SELECT c.source_order_id AS source, COUNT(*) AS placed FROM order_copies c "
        "JOIN orders o ON o.id = c.target_order_id WHERE o.placed_at IS NOT NULL GROUP BY 1"
    )
    return {row["source"]: row["placed"] for row in merchant.rows(query)}


def _text(timestamp: float) -> str:
    return datetime.fromtimestamp(timestamp, UTC).replace(second=0, microsecond=0).isoformat()
