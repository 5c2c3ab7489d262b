"""The stop switch: while a person has stopped all charging, runs copy orders, place none, and say so."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest
import pytest_asyncio
import stored_runs
from meanwhile import Meanwhile, patch
from merchant import Merchant
from prefect.client.orchestration import PrefectClient, get_client
from prefect.logging import disable_run_logger
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.variables import Variable

from blocks.commerce_layer.clock import use_clock
from flows.cli.alarm_listener import listening
from flows.cli.prefect_server import free_port
from flows.rules.stop_switch import VARIABLE, StopSwitch
from flows.run import stop_switch
from flows.run.stop_switch import SharedSwitch, switch_now
from flows.watch import watch_renewals

STOP = {"charging": "stop", "reason": "wrong prices", "since": "2026-03-01T06:00:00+00:00"}
SAID = "charging is stopped since 2026-03-01 06:00 UTC: wrong prices"


@asynccontextmanager
async def stopped(value: object = STOP) -> AsyncIterator[None]:
    await Variable.aset(VARIABLE, value, overwrite=True)
    try:
        yield
    finally:
        await Variable.aunset(VARIABLE)


without_logger = pytest.mark.usefixtures("no_run_logger")


@pytest.fixture
def no_run_logger() -> Iterator[None]:
    """For tests that read the switch outside of a run."""
    with disable_run_logger():
        yield


@pytest_asyncio.fixture(autouse=True)
async def clear_the_switch(merchant: Merchant) -> AsyncIterator[None]:
    yield
    async with get_client() as prefect:
        if await prefect.read_variable_by_name(VARIABLE):
            await Variable.aunset(VARIABLE)


async def test_while_charging_is_stopped_orders_are_copied_and_not_placed(merchant: Merchant) -> None:
    merchant.sandbox.seed(3)

    async with stopped():
        ended = await merchant.sweep()

    assert (ended.name, ended.message) == ("Completed", f"{SAID}; 0 renewals: 3 not charged")
    assert [order["status"] for order in merchant.target_orders()] == ["pending"] * 3
    assert merchant.placed() == []


async def test_renewals_that_a_long_stop_keeps_waiting_count_as_overdue_and_their_orders_not_as_forgotten(
    merchant: Merchant,
) -> None:
    merchant.sandbox.seed(3)

    async with stopped({**STOP, "reason": "three days"}):
        await merchant.sweep()
        merchant.sandbox.advance(3 * 86_400)
        ended = await merchant.sweep()
        watched = await watch_renewals(credentials=merchant.name, policy=merchant.name, return_state=True)

    assert (ended.name, ended.facts["overdue"]) == ("Completed", 3)
    assert "; 3 overdue, the oldest since" in ended.message
    assert " overdue" in str(watched.message)
    assert "order left unplaced" not in str(watched.message)


async def test_once_charging_goes_on_the_next_sweep_places_the_orders_that_wait(merchant: Merchant) -> None:
    ids = merchant.sandbox.seed(3)["subscription_ids"]
    async with stopped():
        await merchant.sweep()
        before = [merchant.subscription(each) for each in ids]

    ended = await merchant.sweep()

    assert ended.message == "3 renewals: 3 renewed"
    assert len(merchant.placed()) == len(merchant.copies()) == 3
    assert all((each["metadata"]["perennial"] or {}).get("attempt", 0) == 0 for each in before), (
        "a placement that was stopped is no attempt"
    )


async def test_a_stop_in_the_middle_of_a_sweep_ends_its_charges_within_ten_seconds(merchant: Merchant) -> None:
    merchant.sandbox.seed(2)
    async with asyncio.TaskGroup() as group:
        merchant.sandbox.fault("delay", method="POST", path="/api/order_copies", seconds=0.5)
        sweep = group.create_task(merchant.sweep())
        async with stopped():
            await sweep

    # The sweep may have read the switch as on when it began, but that answer is too old before a placement.
    ended = sweep.result()
    assert merchant.placed() == []
    assert ended.message.startswith(SAID)


async def test_a_subscription_that_is_cancelled_while_the_switch_is_slow_to_answer_is_not_charged(
    merchant: Merchant, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = merchant.sandbox.create_subscription()
    looks, looks_before, has_cancelled = "GET /api/order_copies", [], False

    def let_the_switchs_answer_expire() -> None:
        looks_before.append(merchant.requests(looks))
        merchant.sandbox.advance(10.5)

    async def slow(prefect: PrefectClient) -> StopSwitch:
        nonlocal has_cancelled
        if looks_before and merchant.requests(looks) > looks_before[0] and not has_cancelled:
            has_cancelled = True
            patch(merchant, "order_subscriptions", made["id"], _cancel=True)
            merchant.sandbox.advance(11)  # a last look is valid for ten seconds
        return await switch_now(prefect)

    monkeypatch.setattr(stop_switch, "switch_now", slow)
    act = let_the_switchs_answer_expire
    with use_clock(Meanwhile(merchant, lambda: bool(merchant.target_orders()), act, once=False)):
        await merchant.sweep()

    assert has_cancelled
    assert merchant.placed() == []


async def test_an_unknown_value_counts_as_stop_and_is_quoted(merchant: Merchant) -> None:
    merchant.sandbox.seed(1)

    async with stopped("nonsense"):
        ended = await merchant.sweep()

    assert ended.name == "Completed"
    assert "the value 'nonsense' of the Prefect variable perennial_charging is neither" in ended.message
    assert merchant.placed() == []


async def test_a_stopped_manual_copy_is_left_unplaced_and_says_how_to_go_on(merchant: Merchant) -> None:
    order = merchant.sandbox.create_subscription(adopted=False)["source_order_id"]

    async with stopped():
        ended = await merchant.reorder(order, reference="by-hand")
    again = await merchant.reorder(order, reference="by-hand")

    assert ended.name == "Completed"
    assert ended.message.startswith(SAID)
    assert "run this again with reference by-hand" in ended.message
    assert again.message.endswith("was copied and placed")
    assert len(merchant.copies()) == 1


async def test_an_announced_attempt_that_is_stopped_is_taken_back(merchant: Merchant) -> None:
    subscription = merchant.sandbox.create_subscription()["id"]
    await merchant.sweep_that_dies_before_placing()

    async with stopped():
        await merchant.sweep()

    state = merchant.subscription(subscription)["metadata"]["perennial"]
    assert state.get("attempt", 0) == 0
    assert state.get("outcome") != "placing"


async def test_a_stop_is_announced_once_however_many_sweeps_find_it(merchant: Merchant) -> None:
    merchant.sandbox.seed(2)
    async with stopped():
        await merchant.sweep()
        await merchant.sweep()

    shop = f"perennial.shop.{merchant.sandbox.organization}"
    found = await stored_runs.events(shop, 1, "perennial.charging.stopped", sentence=SAID)
    assert len(found) == 1


@without_logger
async def test_one_answer_of_the_switch_serves_for_ten_seconds(merchant: Merchant) -> None:
    switch = SharedSwitch("a-shop")
    assert not (await switch.look()).is_stopped
    async with stopped():
        assert not (await switch.look()).is_stopped, "younger than ten seconds"
        merchant.sandbox.advance(10)

        assert (await switch.look()).is_stopped


@without_logger
async def test_if_prefect_does_not_answer_the_last_answer_serves_for_a_minute_and_then_charging_stops(
    merchant: Merchant,
) -> None:
    switch = SharedSwitch("a-shop")
    await switch.look()
    with temporary_settings({PREFECT_API_URL: f"http://127.0.0.1:{free_port()}/api"}):
        merchant.sandbox.advance(59)
        assert not (await switch.look()).is_stopped
        merchant.sandbox.advance(10)
        last = await switch.look()

    assert last.is_stopped
    assert "Prefect's API does not answer" in last.sentence
    assert "was read 69 s ago" in last.sentence


@without_logger
async def test_when_prefect_answers_again_charging_goes_on(merchant: Merchant) -> None:
    switch = SharedSwitch("a-shop")
    with temporary_settings({PREFECT_API_URL: f"http://127.0.0.1:{free_port()}/api"}):
        assert (await switch.look()).is_stopped

    merchant.sandbox.advance(10)

    assert not (await switch.look()).is_stopped


@without_logger
async def test_charging_stops_if_what_answers_at_the_api_url_is_not_prefect(merchant: Merchant) -> None:
    switch = SharedSwitch("a-shop")
    with listening(lambda _: None) as url, temporary_settings({PREFECT_API_URL: f"{url}/api"}):
        assert (await switch.look()).is_stopped
