"""Customers and staff who act between the moment the due list is read and the moment a renewal would be made."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

import pytest
from merchant import Merchant, cancel

from blocks.commerce_layer.client import CommerceLayer

Act = Callable[[CommerceLayer, str], Awaitable[object]]


async def _cancel(dashboard: CommerceLayer, subscription_id: str) -> None:
    await cancel(dashboard, subscription_id)


async def _postpone(dashboard: CommerceLayer, subscription_id: str) -> None:
    await dashboard.update_subscription(subscription_id, next_run_at=datetime(2099, 1, 1, tzinfo=UTC))


async def _release(dashboard: CommerceLayer, subscription_id: str) -> None:
    await dashboard.update_subscription(subscription_id, metadata={"crm": "left Perennial"})


async def _hold(dashboard: CommerceLayer, subscription_id: str) -> None:
    await dashboard.update_subscription(subscription_id, metadata={"perennial": {"v": 1, "held": True}})


@pytest.mark.parametrize(
    ("act", "reason"),
    [(_cancel, "cancelled"), (_postpone, "not_due"), (_release, "not_adopted"), (_hold, "held")],
)
async def test_whoever_leaves_after_the_due_list_was_read_is_not_renewed(
    merchant: Merchant, act: Act, reason: str
) -> None:
    leaves, stays = merchant.sandbox.create_subscription(), merchant.sandbox.create_subscription()
    # The second list of subscriptions is the look right before creating: it comes late, so that somebody can act.
    merchant.sandbox.reset_counters()
    merchant.sandbox.fault("delay", method="GET", path="/api/order_subscriptions", nth=[2], seconds=2.0)
    async with merchant.dashboard() as dashboard:
        await dashboard.claims()
        sweeping = asyncio.create_task(merchant.sweep())
        while not any(fault["seen"] for fault in merchant.sandbox.faults()):  # noqa: ASYNC110 - another process knows
            await asyncio.sleep(0.01)
        merchant.sandbox.clear_faults()
        merchant.sandbox.fault("delay", method="GET", path="/api/order_subscriptions", nth=[1], seconds=2.0)
        await act(dashboard, leaves["id"])
        ended = await sweeping

    assert ended.outcomes == {"renewed": 1, "skipped": 1}
    assert ended.facts["skipped"] == {reason: 1}
    assert [copy["reference"][:10] for copy in merchant.copies()] == [stays["id"]]
