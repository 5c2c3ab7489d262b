"""People who act while a renewal is under way: what they decide holds for everything that comes after it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from chaos.checker import Auditor
from merchant import Merchant, cancel

A_MONTH = 31 * 86_400
Deed = Callable[[Merchant, str], Awaitable[None]]


async def _pause(merchant: Merchant, subscription_id: str) -> None:
    metadata = merchant.subscription(subscription_id)["metadata"]
    metadata["perennial"]["held"] = True
    async with merchant.dashboard() as dashboard:
        await dashboard.update_subscription(subscription_id, metadata=metadata)
    assert merchant.subscription(subscription_id)["metadata"]["perennial"]["held"]


async def _cancel(merchant: Merchant, subscription_id: str) -> None:
    async with merchant.dashboard() as dashboard:
        await cancel(dashboard, subscription_id)


@pytest.mark.chaos
@pytest.mark.parametrize("deed", [_pause, _cancel])
async def test_who_leaves_while_a_copy_is_under_way_is_not_renewed_any_more(merchant: Merchant, deed: Deed) -> None:
    box = merchant.sandbox
    made = box.create_subscription()
    auditor = Auditor(box.database)
    box.fault("delay", method="POST", path="/api/order_copies", when="after", seconds=1.5, times=1)
    sweeping = asyncio.create_task(merchant.sweep())
    async with asyncio.timeout(60):
        while not box.counters()["faults"]:  # noqa: ASYNC110 - it happens in another process
            await asyncio.sleep(0.02)
    await deed(merchant, made["id"])
    await sweeping

    auditor.contracts[made["id"]].cancelled_at = box.clock()
    for _ in range(2):
        box.advance(A_MONTH)
        await merchant.sweep()

    findings = auditor.audit(box.clock())
    assert findings.is_clean, findings.complaints
    assert findings.renewals == 1


@pytest.mark.chaos
async def test_what_a_crm_writes_while_a_copy_is_under_way_stays(merchant: Merchant) -> None:
    box = merchant.sandbox
    made = box.create_subscription()
    box.fault("delay", method="POST", path="/api/order_copies", when="after", seconds=1.5, times=1)
    sweeping = asyncio.create_task(merchant.sweep())
    async with asyncio.timeout(60):
        while not box.counters()["faults"]:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    metadata = merchant.subscription(made["id"])["metadata"]
    async with merchant.dashboard() as crm:
        await crm.update_subscription(made["id"], metadata={**metadata, "crm": "met the customer"})
    await sweeping

    after = merchant.subscription(made["id"])["metadata"]
    assert (after["crm"], after["perennial"]["outcome"]) == ("met the customer", "renewed")
