"""People act while a renewal is under way. Their decision counts until the order is being placed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest
from chaos.checker import Auditor
from chaos.worker_launcher import until_hit
from merchant import Ended, Merchant, cancel

A_MONTH = 31 * 86_400
SLOW_CREATION: dict[str, Any] = {"method": "POST", "path": "/api/order_copies", "answer": "at_commit", "seconds": 3600}
SLOW_PLACEMENT: dict[str, Any] = {"method": "PATCH", "path": "/api/orders/*", "answer": "at_commit", "seconds": 3600}


@asynccontextmanager
async def during(merchant: Merchant, request: dict[str, Any]) -> AsyncIterator[list[Ended]]:
    """A sweep in which one request is delayed, and carried out after the `with` block."""
    merchant.sandbox.fault("late", **request, times=1)
    ended: list[Ended] = []
    sweeping = asyncio.create_task(merchant.sweep())
    await until_hit(merchant)
    yield ended
    merchant.sandbox.advance(3601)
    ended.append(await sweeping)


async def _sweep_monthly(merchant: Merchant, months: int = 2) -> None:
    for _ in range(months):
        merchant.sandbox.advance(A_MONTH)
        await merchant.sweep()


def _orders_made(merchant: Merchant) -> list[str]:
    rows = merchant.rows("SELECT o.status FROM order_copies c, orders o WHERE o.id = c.target_order_id")
    return [str(row["status"]) for row in rows]


async def test_a_subscription_cancelled_while_its_copy_is_under_way_is_not_charged(merchant: Merchant) -> None:
    made = merchant.sandbox.create_subscription()
    auditor = Auditor(merchant.sandbox.database)
    async with during(merchant, SLOW_CREATION) as ended:
        async with merchant.dashboard() as dashboard:
            await cancel(dashboard, made["id"])
        auditor.contracts[made["id"]].cancelled_at = merchant.sandbox.clock()
    await _sweep_monthly(merchant)

    assert ended[0].outcomes == {"skipped": 1}
    assert _orders_made(merchant) == ["cancelled"]
    findings = auditor.audit(merchant.sandbox.clock())
    assert (findings.is_clean, findings.renewals) == (True, 0), findings.complaints


async def test_a_subscription_postponed_while_its_copy_is_under_way_is_charged_on_the_new_date(
    merchant: Merchant,
) -> None:
    made = merchant.sandbox.create_subscription()
    auditor = Auditor(merchant.sandbox.database)
    contract = auditor.contracts[made["id"]]
    async with during(merchant, SLOW_CREATION) as ended:
        now = merchant.sandbox.clock()
        later = (now + timedelta(days=3)).replace(second=0, microsecond=0)
        async with merchant.dashboard() as dashboard:
            await dashboard.update_subscription(made["id"], next_run_at=later)
        contract.postponed[contract.first_due] = (now, later)
    assert _orders_made(merchant) == ["cancelled"]
    merchant.sandbox.advance(3 * 86_400)
    await merchant.sweep()

    assert ended[0].outcomes == {"skipped": 1}
    assert _orders_made(merchant) == ["cancelled", "placed"]
    findings = auditor.audit(merchant.sandbox.clock())
    assert (findings.is_clean, findings.renewals) == (True, 1), findings.complaints


async def test_a_subscription_held_while_its_copy_is_under_way_is_charged_after_its_release(merchant: Merchant) -> None:
    made = merchant.sandbox.create_subscription()
    auditor = Auditor(merchant.sandbox.database)
    async with during(merchant, SLOW_CREATION) as ended:
        since = merchant.sandbox.clock()
        await _hold(merchant, made["id"], held=True)
    await merchant.sweep()
    assert ended[0].outcomes == {"skipped": 1}
    assert _orders_made(merchant) == ["cancelled"], "a hold withdraws the order"
    merchant.sandbox.advance(3 * 86_400)
    await _hold(merchant, made["id"], held=False)
    auditor.contracts[made["id"]].pauses.append((since, merchant.sandbox.clock()))
    await merchant.sweep()

    assert sorted(_orders_made(merchant)) == ["cancelled", "placed"]
    findings = auditor.audit(merchant.sandbox.clock())
    assert (findings.is_clean, findings.renewals) == (True, 1), findings.complaints


async def _hold(merchant: Merchant, subscription_id: str, *, held: bool) -> None:
    metadata = merchant.subscription(subscription_id)["metadata"]
    metadata["perennial"]["held"] = held
    async with merchant.dashboard() as dashboard:
        await dashboard.update_subscription(subscription_id, metadata=metadata)


@pytest.mark.chaos
async def test_a_subscription_cancelled_while_its_order_is_being_placed_is_charged_one_last_time(
    merchant: Merchant,
) -> None:
    made = merchant.sandbox.create_subscription()
    async with during(merchant, SLOW_PLACEMENT) as ended, merchant.dashboard() as dashboard:
        await cancel(dashboard, made["id"])
    await _sweep_monthly(merchant)

    assert ended[0].outcomes == {"renewed": 1}
    assert _orders_made(merchant) == ["placed"]


async def test_metadata_that_a_crm_writes_while_a_copy_is_under_way_are_kept(merchant: Merchant) -> None:
    made = merchant.sandbox.create_subscription()
    async with during(merchant, SLOW_CREATION), merchant.dashboard() as crm:
        metadata = merchant.subscription(made["id"])["metadata"]
        await crm.update_subscription(made["id"], metadata={**metadata, "crm": "met the customer"})

    after = merchant.subscription(made["id"])["metadata"]
    assert (after["crm"], after["perennial"]["outcome"]) == ("met the customer", "renewed")
