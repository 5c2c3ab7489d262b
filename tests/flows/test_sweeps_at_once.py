"""Several sweeps at once over the same subscriptions: each period gets one order."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID

import orjson
from merchant import Merchant


def created_by(merchant: Merchant, flow_run_id: UUID) -> list[str]:
    """References of the copies that one run created, in the order of their creation."""
    copies = [(each["reference"], orjson.loads(each["metadata"])) for each in merchant.copies()]
    return [reference for reference, metadata in copies if metadata["perennial"]["flow_run_id"] == str(flow_run_id)]


def one_order_each(merchant: Merchant, count: int) -> None:
    placed = merchant.placed()
    assert len(placed) == len(set(placed)) == count
    assert {order["status"] for order in merchant.target_orders()} <= {"placed", "cancelled"}


async def test_two_sweeps_at_once_work_in_different_sequences_and_both_complete(merchant: Merchant) -> None:
    await merchant.install(first_wave=10, second_wave=10)
    merchant.sandbox.seed(40)

    first, second = await asyncio.gather(merchant.sweep(), merchant.sweep())

    assert (first.name, second.name) == ("Completed", "Completed")
    one_order_each(merchant, 40)
    assert created_by(merchant, first.flow_run_id)[:10] != created_by(merchant, second.flow_run_id)[:10]
    outcomes = [*first.outcomes.items(), *second.outcomes.items()]
    assert sum(count for outcome, count in outcomes if outcome == "renewed") >= 20
    assert "unconfirmed" not in dict(outcomes)
    assert (await merchant.sweep()).outcomes == {}
    one_order_each(merchant, 40)


async def test_three_sweeps_at_once_catch_up_on_each_missed_period_once(merchant: Merchant) -> None:
    await merchant.install(catch_up="all")
    merchant.sandbox.set_clock("2027-04-09T06:00:00Z")
    dates = {"starts_at": "2026-01-05T06:00:00Z", "next_run_at": "2027-02-05T06:00:00Z", "frequency": "monthly"}
    for _ in range(3):
        merchant.sandbox.create_subscription(**dates)

    await asyncio.gather(*(merchant.sweep() for _ in range(3)))
    for _ in range(3):  # periods that one sweep left because another was at work on them
        merchant.sandbox.advance(60)
        await merchant.sweep()

    one_order_each(merchant, 9)


async def test_a_sweep_and_a_run_by_hand_for_one_subscription_charge_it_once(merchant: Merchant) -> None:
    made = merchant.sandbox.create_subscription()

    await asyncio.gather(merchant.sweep(), merchant.sweep(subscriptions=[made["id"]]))

    one_order_each(merchant, 1)


async def test_two_sweeps_at_once_try_a_card_at_most_once_each(merchant: Merchant) -> None:
    made: dict[str, Any] = merchant.sandbox.create_subscription(failure="declined")

    await asyncio.gather(merchant.sweep(), merchant.sweep())
    tried = len(merchant.rows("SELECT * FROM resource_errors"))
    merchant.sandbox.advance(60)
    ended = await merchant.sweep()

    assert 1 <= tried <= 2
    assert len(merchant.rows("SELECT * FROM resource_errors")) == tried
    assert "renewed" not in ended.outcomes
    state = merchant.subscription(made["id"])["metadata"]["perennial"]
    assert (state["outcome"], state["failures"]) == ("retry_scheduled", {"payment": 1})
