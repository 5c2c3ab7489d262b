"""Caps on what all runs may charge in a day, counted from the shop's orders."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import stored_runs
from merchant import Ended, Merchant

MORNING = "2027-03-05T10:00:00Z"
DAY = 86_400


@pytest.fixture(autouse=True)
def in_the_morning(merchant: Merchant) -> None:
    merchant.sandbox.set_clock(MORNING)


def due(merchant: Merchant, count: int, **members: Any) -> list[dict[str, Any]]:
    members = {"total_cents": 1000, "next_run_at": "2027-03-05T09:00:00Z", **members}
    return [merchant.sandbox.create_subscription(**members) for _ in range(count)]


def stopped_by(ended: Ended, cap: str) -> bool:
    return ended.name == "Failed" and ended.facts["brake"] is not None and ended.facts["brake"].startswith(cap)


async def test_no_more_renewals_are_charged_in_a_day_than_the_policy_allows(merchant: Merchant) -> None:
    await merchant.install(max_renewals_per_day=3)
    made = due(merchant, 5)

    ended = await merchant.sweep()

    assert len(merchant.placed()) == 3
    assert stopped_by(ended, "max_renewals_per_day is 3, and 3 orders were placed today: nothing more is charged until")
    assert "until tomorrow (UTC), or until the policy allows more" in ended.message
    assert ended.outcomes == {"renewed": 3, "skipped": 2}
    assert ended.facts["skipped"] == {"cap_reached": 2}
    states = [merchant.subscription(each["id"])["metadata"]["perennial"] for each in made]
    assert sorted(state.get("attempt", 0) for state in states) == [0, 0, 1, 1, 1]
    assert not any(state.get("held") for state in states)
    (event,) = await stored_runs.events("perennial.shop.", 1, "perennial.sweep.stopped", ended.flow_run_id)
    assert "max_renewals_per_day is 3" in event["payload"]["sentence"]


async def test_the_cap_holds_for_the_next_sweeps_of_the_day_and_charging_goes_on_tomorrow(merchant: Merchant) -> None:
    await merchant.install(max_renewals_per_day=3)
    due(merchant, 5)
    await merchant.sweep()

    for _ in range(2):
        merchant.sandbox.advance(3600)
        again = await merchant.sweep()
        assert stopped_by(again, "max_renewals_per_day is 3")
        assert len(merchant.placed()) == 3
    merchant.sandbox.advance(DAY)
    tomorrow = await merchant.sweep()

    assert (tomorrow.name, tomorrow.outcomes) == ("Completed", {"renewed": 2})
    assert len(set(merchant.placed())) == len(merchant.placed()) == 5
    assert len(merchant.copies()) == 5


async def test_charging_goes_on_when_the_cap_is_raised(merchant: Merchant) -> None:
    await merchant.install(max_renewals_per_day=3)
    due(merchant, 5)
    await merchant.sweep()
    await merchant.install(max_renewals_per_day=5)

    ended = await merchant.sweep()

    assert (ended.name, ended.outcomes) == ("Completed", {"renewed": 2})


async def test_orders_that_a_dead_sweep_placed_and_did_not_record_count_towards_the_cap(merchant: Merchant) -> None:
    await merchant.install(max_renewals_per_day=3)
    due(merchant, 6)
    merchant.sandbox.fault("status", method="PATCH", path="/api/order_subscriptions/*", status=503)
    await merchant.sweep()
    merchant.sandbox.clear_faults()
    assert len(merchant.placed()) == 3

    merchant.sandbox.advance(60)
    ended = await merchant.sweep()

    assert stopped_by(ended, "max_renewals_per_day is 3")
    assert len(merchant.placed()) == 3


async def test_no_more_money_is_charged_in_a_day_than_the_policy_allows(merchant: Merchant) -> None:
    await merchant.install(max_amount_per_day={"EUR": 2500, "USD": 100_000})
    due(merchant, 4)

    ended = await merchant.sweep()

    assert len(merchant.placed()) == 2
    said = "max_amount_per_day is 25.00 EUR, 20.00 EUR were charged today, and the next renewal costs 10.00 EUR"
    assert stopped_by(ended, said)
    merchant.sandbox.advance(3600)
    assert stopped_by(await merchant.sweep(), said)
    assert len(merchant.placed()) == 2
    merchant.sandbox.advance(DAY)
    assert (await merchant.sweep()).name == "Completed"


async def test_a_currency_without_a_cap_is_not_limited(merchant: Merchant) -> None:
    await merchant.install(max_amount_per_day={"USD": 100})
    due(merchant, 4)

    assert (await merchant.sweep()).outcomes == {"renewed": 4}


async def test_two_sweeps_at_once_exceed_the_cap_by_at_most_one_order(merchant: Merchant) -> None:
    await merchant.install(max_renewals_per_day=8, first_wave=5, second_wave=5)
    due(merchant, 30)

    ended = await asyncio.gather(merchant.sweep(), merchant.sweep())

    placed = merchant.placed()
    assert len(placed) == len(set(placed))
    assert 8 <= len(placed) <= 9
    assert all(stopped_by(each, "max_renewals_per_day is 8") for each in ended)
    merchant.sandbox.advance(60)
    assert stopped_by(await merchant.sweep(), "max_renewals_per_day is 8")
    assert merchant.placed() == placed


async def test_declined_orders_do_not_count_towards_the_cap(merchant: Merchant) -> None:
    await merchant.install(max_renewals_per_day=4, brake_share=1)
    due(merchant, 4, failure="declined")
    assert (await merchant.sweep()).outcomes == {"retry_scheduled": 4}
    due(merchant, 4)

    ended = await merchant.sweep()

    assert ended.name == "Completed"
    assert ended.outcomes["renewed"] == 4


async def test_the_day_of_a_cap_is_in_the_merchants_time_zone(merchant: Merchant) -> None:
    """23:30 on 4 March in Los Angeles is 07:30 on 5 March in UTC."""
    await merchant.install(max_renewals_per_day=2, time_zone="America/Los_Angeles")
    merchant.sandbox.set_clock("2027-03-05T07:30:00Z")
    due(merchant, 3, next_run_at="2027-03-05T07:00:00Z")
    assert stopped_by(await merchant.sweep(), "max_renewals_per_day is 2")

    merchant.sandbox.set_clock("2027-03-05T08:01:00Z")
    ended = await merchant.sweep()

    assert (ended.name, ended.outcomes) == ("Completed", {"renewed": 1})


async def test_a_reorder_beyond_the_cap_is_not_placed_until_it_is_run_again_the_next_day(merchant: Merchant) -> None:
    await merchant.install(max_renewals_per_day=1)
    (made,) = due(merchant, 1)
    await merchant.sweep()

    ended = await merchant.reorder(made["source_order_id"], reference="by-hand", besides_renewal=True)

    assert ended.name == "Failed"
    assert "max_renewals_per_day is 1, and 1 order was placed today" in ended.message
    assert len(merchant.placed()) == 1
    merchant.sandbox.advance(DAY)
    assert (
        await merchant.reorder(made["source_order_id"], reference="by-hand", besides_renewal=True)
    ).name == "Completed"
    assert len(merchant.placed()) == 2


async def test_nothing_is_charged_while_todays_orders_cannot_be_counted(merchant: Merchant) -> None:
    await merchant.install(max_renewals_per_day=10)
    due(merchant, 2)
    merchant.sandbox.fault("status", method="GET", path="/api/orders", status=503)

    ended = await merchant.sweep()

    assert merchant.placed() == []
    assert ended.facts["skipped"] == {"not_readable": 2}
    merchant.sandbox.clear_faults()
    assert (await merchant.sweep()).outcomes == {"renewed": 2}
