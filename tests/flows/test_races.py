"""Customers and staff who act after a sweep has read the due list, and before it makes a renewal."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

import pytest
from merchant import Merchant, cancel

from blocks.commerce_layer.client import CommerceLayer

LIST = "/api/order_subscriptions"
Act = Callable[[CommerceLayer, str], Awaitable[object]]


async def _cancel(dashboard: CommerceLayer, subscription_id: str) -> None:
    await cancel(dashboard, subscription_id)


async def _postpone(dashboard: CommerceLayer, subscription_id: str) -> None:
    await dashboard.update_subscription(subscription_id, next_run_at=datetime(2099, 1, 1, tzinfo=UTC))


async def _remove_state(dashboard: CommerceLayer, subscription_id: str) -> None:
    await dashboard.update_subscription(subscription_id, metadata={"crm": "left Perennial"})


async def _hold(dashboard: CommerceLayer, subscription_id: str) -> None:
    await dashboard.update_subscription(subscription_id, metadata={"perennial": {"v": 1, "held": True}})


@pytest.mark.parametrize(
    ("act", "reason"),
    [(_cancel, "cancelled"), (_postpone, "not_due"), (_remove_state, "not_adopted"), (_hold, "held")],
)
async def test_a_subscription_that_is_changed_after_the_due_list_was_read_is_not_renewed(
    merchant: Merchant, act: Act, reason: str
) -> None:
    changed, unchanged = merchant.sandbox.create_subscription(), merchant.sandbox.create_subscription()
    # The second list of subscriptions is the look right before creating: it is answered when the sandbox's clock moves.
    merchant.sandbox.fault("late", method="GET", path=LIST, nth=[2], seconds=60, answer="at_commit")
    async with merchant.dashboard() as dashboard:
        await dashboard.claims()
        sweeping = asyncio.create_task(merchant.sweep())
        while merchant.sandbox.faults() and not sweeping.done():  # noqa: ASYNC110 - the sandbox is another process
            await asyncio.sleep(0.01)
        await act(dashboard, changed["id"])
        merchant.sandbox.advance(60)
        ended = await sweeping

    assert ended.outcomes == {"renewed": 1, "skipped": 1}
    assert ended.facts["skipped"] == {reason: 1}
    assert [copy["reference"][:10] for copy in merchant.copies()] == [unchanged["id"]]
