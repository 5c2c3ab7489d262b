"""
Lists that lag behind writes, as those of a read replica may.

A write must become visible in lists within the policy's `settle_seconds`. As long as it does, no period is charged
twice. If it does not, the next sweep finds the second charge, and stops.
"""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import Any

import pytest
import stored_runs
from meanwhile import copy_order, patch
from merchant import Merchant

LAG = 30.0
"""Seconds; `settle_seconds` is 5."""

CREATIONS = {"method": "POST", "path": "/api/order_copies"}


def no_period_is_charged_twice(merchant: Merchant, charged: int) -> None:
    placed = merchant.placed()
    assert len(placed) == len(set(placed)) == charged


@pytest.mark.parametrize("lag", [0.5, 2.0, 4.0])
async def test_two_sweeps_at_once_charge_once_although_lists_lag(merchant: Merchant, lag: float) -> None:
    merchant.sandbox.seed(6)
    merchant.sandbox.lag_lists(lag)

    first, second = await asyncio.gather(merchant.sweep(), merchant.sweep())

    assert (first.name, second.name) == ("Completed", "Completed")
    no_period_is_charged_twice(merchant, 6)
    merchant.sandbox.advance(60)
    third = await merchant.sweep()
    assert (third.name, third.facts["brake"]) == ("Completed", None)
    no_period_is_charged_twice(merchant, 6)
    assert {order["status"] for order in merchant.target_orders()} <= {"placed", "cancelled"}


@pytest.mark.parametrize(("late", "lag"), [(1.5, 3.0), (3.0, 1.5), (2.0, 2.0)])
async def test_a_copy_that_commits_late_with_an_early_date_counts_as_long_as_it_shows_up_in_time(
    merchant: Merchant, late: float, lag: float
) -> None:
    merchant.sandbox.seed(5)
    merchant.sandbox.lag_lists(lag)
    merchant.sandbox.fault("late", seconds=late, stamp="arrival", share=0.5, **CREATIONS)

    for _ in range(3):
        await asyncio.gather(merchant.sweep(), merchant.sweep())
        merchant.sandbox.advance(20)

    no_period_is_charged_twice(merchant, 5)
    assert {order["status"] for order in merchant.target_orders()} <= {"placed", "cancelled"}


async def test_an_announced_attempt_is_made_although_lists_do_not_show_the_announcement_yet(merchant: Merchant) -> None:
    made = merchant.sandbox.create_subscription(failure="declined", times=1)
    await merchant.sweep()
    merchant.sandbox.advance(2 * 86_400)
    merchant.sandbox.lag_lists(4.0)

    assert (await merchant.sweep()).outcomes == {"renewed": 1}
    assert merchant.subscription(made["id"])["metadata"]["perennial"]["attempt"] == 2


async def charge_twice(merchant: Merchant) -> dict[str, Any]:
    """
    Make two sweeps place two orders of one period, by breaking the assumption behind `settle_seconds`.

    A creation loses its answer and commits late with an early date, so that the first sweep makes another copy. Lists
    lag by more than `settle_seconds`: the first sweep places the order of its copy without seeing the earlier one, and
    the second sweep sees the earlier one without seeing that an order is placed.
    """
    made: dict[str, Any] = merchant.sandbox.create_subscription()
    merchant.sandbox.lag_lists(LAG)
    merchant.sandbox.fault("late", seconds=0.8 * LAG, stamp="arrival", times=1, **CREATIONS)
    assert (await merchant.sweep()).outcomes == {"renewed": 1}
    early, later = merchant.copies()
    (placed_at,) = [order["placed_at"] for order in merchant.target_orders() if order["copy_id"] == later["id"]]
    seen_from = datetime.fromisoformat(early["completed_at"]) + timedelta(seconds=LAG + 1)
    assert seen_from < datetime.fromisoformat(placed_at) + timedelta(seconds=LAG - 5)
    merchant.sandbox.set_clock(max(seen_from, merchant.sandbox.clock()))
    await merchant.sweep()
    assert len(merchant.placed()) == 2
    assert len(set(merchant.placed())) == 1
    merchant.sandbox.lag_lists(0)
    return made


async def test_a_double_charge_is_found_and_the_next_sweep_stops_before_its_second_wave(merchant: Merchant) -> None:
    await merchant.install(first_wave=2, second_wave=2)
    made = await charge_twice(merchant)
    merchant.sandbox.seed(5)

    ended = await merchant.sweep()

    reference = next(each for each in merchant.placed() if each.startswith(made["id"]))
    assert ended.name == "Failed"
    assert ended.outcomes == {"renewed": 2, "needs_attention": 1}
    assert f"Stopped: one period is charged twice: {reference}: 2 orders of one period are placed" in ended.message
    assert ended.message.endswith("cancel all but one of them; 3 stay due")
    worst, *_ = await stored_runs.table(ended.flow_run_id)
    assert worst["renewal"] == reference
    (event,) = await stored_runs.events(
        f"perennial.subscription.{made['id']}", 1, "perennial.renewal.charged_twice", ended.flow_run_id
    )
    assert event["payload"]["reference"] == reference
    (stopped,) = await stored_runs.events("perennial.shop.", 1, "perennial.sweep.stopped", ended.flow_run_id)
    assert reference in stopped["payload"]["sentence"]


async def test_sweeps_stop_until_a_person_has_cancelled_one_of_the_two_orders(merchant: Merchant) -> None:
    await merchant.install(first_wave=1, second_wave=1)
    made = await charge_twice(merchant)
    merchant.sandbox.seed(4)

    for renewed in (1, 2):
        ended = await merchant.sweep()
        assert (ended.name, ended.outcomes["renewed"]) == ("Failed", 1)
        assert len(merchant.placed()) == 2 + renewed
    surplus = next(each for each in merchant.target_orders() if each["copy_reference"].startswith(made["id"]))
    patch(merchant, "orders", surplus["id"], _cancel=True)
    ended = await merchant.sweep()

    assert (ended.name, ended.outcomes) == ("Completed", {"renewed": 2})
    no_period_is_charged_twice(merchant, 5)


async def test_an_unrecorded_period_with_two_placed_orders_is_held_and_stops_the_sweep(merchant: Merchant) -> None:
    """Another client made both copies, with Perennial's reference."""
    await merchant.install(first_wave=1, second_wave=1)
    made = merchant.sandbox.create_subscription()
    reference = f"{made['id']}@{made['next_run_at'][:16]}Z"
    for _ in range(2):
        members = {"reference": reference, "reference_origin": "perennial", "place_target_order": True}
        copy_order(merchant, made["source_order_id"], **members)
    merchant.sandbox.advance(60)
    assert merchant.placed() == [reference] * 2

    ended = await merchant.sweep()

    assert ended.name == "Failed"
    assert "one period is charged twice" in ended.message
    state = merchant.subscription(made["id"])["metadata"]["perennial"]
    assert (state["held"], state["outcome"]) == (True, "needs_attention")
    assert merchant.placed() == [reference] * 2
    assert len(merchant.copies()) == 2
