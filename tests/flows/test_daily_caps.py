"""The daily caps count what all runs have charged today, from the shop's orders, with few reads."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import pytest_asyncio
from merchant import UNLIMITED
from sandbox_clock import SandboxClock

from blocks.commerce_layer import jsonapi
from blocks.commerce_layer.changes import OrderCopyDraft
from blocks.commerce_layer.charging import Placement, create_order_copy, place_order
from blocks.commerce_layer.client import CommerceLayer
from blocks.commerce_layer.clock import use_clock
from blocks.commerce_layer.errors import ReadFailed
from blocks.commerce_layer.resources import Order
from blocks.policy import Policy
from blocks.sandbox.running import RunningSandbox
from flows.cli.installation import credentials_for
from flows.run.daily_caps import DailyCaps

MORNING = "2027-03-05T10:00:00Z"
READS = "GET /api/orders"


@pytest.fixture
def sandbox() -> Iterator[RunningSandbox]:
    with RunningSandbox("--limits", "off", "--frozen") as running:
        running.set_clock(MORNING)
        with use_clock(SandboxClock(running)):
            yield running


@pytest_asyncio.fixture
async def client(sandbox: RunningSandbox) -> AsyncIterator[CommerceLayer]:
    box = sandbox
    given = (box.organization, box.client_id, box.client_secret, "test", box.api_url, box.auth_url, UNLIMITED)
    async with credentials_for(*given).get_client() as opened:
        await opened.claims()
        yield opened


def caps(sandbox: RunningSandbox, client: CommerceLayer, **policy: Any) -> DailyCaps:
    return DailyCaps(client, Policy(**policy), sandbox.clock())


def some_order(key: str, cents: int = 1000) -> Order:
    return Order(id=key, total_amount_with_taxes_cents=cents, currency_code="EUR")


async def placed(sandbox: RunningSandbox, client: CommerceLayer, count: int) -> list[Order]:
    """Place `count` orders of 10.00 EUR each, as another run would."""

    async def placement() -> Placement:
        return Placement("of another run", "perennial", {"perennial": {"flow_run_id": "of another run"}})

    orders = []
    for _ in range(count):
        made = sandbox.create_subscription(total_cents=1000)
        copy = await create_order_copy(client, OrderCopyDraft(source_order_id=made["source_order_id"], reference="x"))
        sandbox.advance(10)
        copy = (await client.get_order_copies([copy.id]))[copy.id]
        orders.append(await place_order(client, copy.target_order_id or "", placement))
    return orders


async def rename(client: CommerceLayer, order: Order) -> None:
    """Give the order other references, as an ERP does that imports it."""
    names = {"reference": "ERP-4711", "reference_origin": "erp"}
    body = jsonapi.body_of("orders", names, resource_id=order.id)
    await client.wire.write("PATCH", "write", "orders", jsonapi.one, resource_id=order.id, body=body)


async def test_without_caps_nothing_is_read_and_nothing_refused(sandbox: RunningSandbox, client: CommerceLayer) -> None:
    none = caps(sandbox, client)

    assert none.is_counted(some_order("a"))
    assert none.take(some_order("a")) is None
    assert sandbox.counters()["requests"].get(READS, 0) == 0


async def test_orders_that_other_runs_placed_today_count_and_those_of_yesterday_do_not(
    sandbox: RunningSandbox, client: CommerceLayer
) -> None:
    await placed(sandbox, client, 2)
    sandbox.set_clock("2027-03-06T10:00:00Z")
    await placed(sandbox, client, 3)
    four, money = caps(sandbox, client, max_renewals_per_day=4), caps(sandbox, client, max_amount_per_day={"EUR": 4000})

    for counted in (four, money):
        await counted.count()
        assert counted.reached is None
        assert counted.take(some_order("a")) is None
        assert counted.take(some_order("b")) is not None


async def test_counting_takes_two_list_requests_however_many_orders_there_are(
    sandbox: RunningSandbox, client: CommerceLayer
) -> None:
    await placed(sandbox, client, 30)
    sandbox.advance(60)
    counted = caps(sandbox, client, max_renewals_per_day=30)
    sandbox.reset_counters()

    await counted.count()

    assert counted.reached is not None
    assert "30 orders were placed today" in counted.reached
    assert sandbox.counters()["requests"][READS] == 2


async def test_orders_whose_references_an_erp_has_changed_count(sandbox: RunningSandbox, client: CommerceLayer) -> None:
    for order in await placed(sandbox, client, 2):
        await rename(client, order)
    by_number = caps(sandbox, client, max_renewals_per_day=2)
    by_amount = caps(sandbox, client, max_amount_per_day={"EUR": 2000})

    for counted in (by_number, by_amount):
        await counted.count()
        assert counted.reached is not None


async def test_no_order_is_counted_twice_while_others_place_orders_and_lists_lag(
    sandbox: RunningSandbox, client: CommerceLayer
) -> None:
    sandbox.lag_lists(4)
    counted = caps(sandbox, client, max_renewals_per_day=7)
    for _ in range(3):  # several counts see each order
        await placed(sandbox, client, 2)
        await counted.count()
        assert counted.reached is None
        sandbox.advance(4)

    await counted.count()
    assert counted.take(some_order("a")) is None, "6 of 7"
    assert counted.take(some_order("b")) is not None


async def test_a_count_is_too_old_after_ten_seconds(sandbox: RunningSandbox, client: CommerceLayer) -> None:
    counted = caps(sandbox, client, max_renewals_per_day=1000)
    assert not counted.is_counted()

    await counted.count()

    assert counted.is_counted(some_order("a"))
    sandbox.advance(9)
    assert counted.is_counted(some_order("a"))
    sandbox.advance(2)
    assert not counted.is_counted(some_order("a"))
    assert not counted.is_counted()


async def test_a_declined_order_makes_room_for_another(sandbox: RunningSandbox, client: CommerceLayer) -> None:
    counted = caps(sandbox, client, max_renewals_per_day=1)
    await counted.count()
    assert counted.take(some_order("a")) is None
    assert counted.take(some_order("b")) is not None
    assert counted.reached is None, "the first one may still be declined"

    counted.settle("a", may_be_placed=False)

    assert counted.take(some_order("b")) is None
    assert counted.take(some_order("c")) is not None
    counted.settle("b", may_be_placed=True)
    assert counted.reached is not None


async def test_an_order_that_is_placed_again_after_a_lost_answer_counts_once(
    sandbox: RunningSandbox, client: CommerceLayer
) -> None:
    counted = caps(sandbox, client, max_renewals_per_day=2)
    await counted.count()
    (order,) = await placed(sandbox, client, 1)

    assert counted.take(order) is None
    assert counted.take(order) is None
    await counted.count()
    counted.settle(order.id, may_be_placed=True)

    assert counted.take(some_order("b")) is None
    assert counted.take(some_order("c")) is not None


async def test_a_new_day_begins_with_only_the_orders_that_are_under_way(
    sandbox: RunningSandbox, client: CommerceLayer
) -> None:
    counted = caps(sandbox, client, max_renewals_per_day=2)
    await placed(sandbox, client, 1)
    await counted.count()
    assert counted.take(some_order("a")) is None
    sandbox.set_clock("2027-03-06T00:00:01Z")
    await client.get_orders(["any"])  # its answer carries the shop's time

    await counted.count()

    assert counted.take(some_order("b")) is None
    assert counted.take(some_order("c")) is not None, "the first one is still under way"


async def test_a_count_that_fails_or_takes_too_long_is_not_used(sandbox: RunningSandbox, client: CommerceLayer) -> None:
    counted = caps(sandbox, client, max_renewals_per_day=2)
    sandbox.fault("status", status=503, method="GET", path="/api/orders")
    with pytest.raises(ReadFailed):
        await counted.count()
    assert not counted.is_counted()
    sandbox.clear_faults()

    class Slow(SandboxClock):
        async def sleep(self, seconds: float) -> None:
            await super().sleep(seconds + 11)

    sandbox.fault("status", status=503, method="GET", path="/api/orders", times=1)
    with use_clock(Slow(sandbox)), pytest.raises(ReadFailed, match="too slowly"):
        await counted.count()
    assert not counted.is_counted()
