"""The door: the one place that creates and places, and what it does when something is wrong around it."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from merchant import Merchant, cancel
from prefect.settings import PREFECT_API_URL, temporary_settings

from blocks.commerce_layer.credentials import CommerceLayerCredentials
from blocks.commerce_layer.errors import Fenced
from blocks.commerce_layer.resources import OrderCopyDraft
from flows.rules.acts import Place
from flows.services import free_port
from flows.tasks.door import open_door
from flows.tasks.shop import Shop, open_shop

ROOT = Path(__file__).resolve().parents[2]


def callers(method: str) -> list[str]:
    """Where production code mentions a method of the client, as `file: function`."""
    found = []
    for file in sorted([*(ROOT / "flows").rglob("*.py"), *(ROOT / "blocks" / "commerce_layer").rglob("*.py")]):
        for function in ast.walk(ast.parse(file.read_text())):
            if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
                found += [
                    f"{file.relative_to(ROOT)}: {function.name}"
                    for node in ast.walk(function)
                    if isinstance(node, ast.Attribute) and node.attr == method
                ]
    return found


@pytest.mark.parametrize(
    ("method", "place"),
    [("create_order_copy", "flows/tasks/door.py: _create"), ("place_order", "flows/tasks/placements.py: _place")],
)
def test_one_function_alone_asks_for_it(method: str, place: str) -> None:
    assert callers(method) == [place]


def test_nothing_else_posts_order_copies_or_sends_place() -> None:
    for file in (ROOT / "flows").rglob("*.py"):
        names = {node.id for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Name)}
        assert "AsyncClient" not in names, f"{file} talks HTTP by itself"


async def opened(merchant: Merchant) -> Shop:
    return await open_shop(merchant.name, merchant.name, None).__aenter__()


async def test_a_renewal_steps_through_once(merchant: Merchant) -> None:
    ids = merchant.sandbox.seed(1)["subscription_ids"]
    async with open_shop(merchant.name, merchant.name, None) as shop, open_door(shop, ids) as door:
        await door.step_through(door.renewals[0])
        with pytest.raises(RuntimeError, match="has stepped through a door of this run already"):
            await door.step_through(door.renewals[0])
    assert len(merchant.copies()) == 1


async def test_a_fence_that_fell_after_the_look_lets_nothing_out(merchant: Merchant) -> None:
    ids = merchant.sandbox.seed(3)["subscription_ids"]
    merchant.sandbox.reset_counters()
    async with open_shop(merchant.name, merchant.name, None) as shop, open_door(shop, ids) as door:
        for lease in door._leases.values():
            lease.confirmed_at -= lease.times.fence_after + 1
        steps = [await door.step_through(renewal) for renewal in door.renewals]

    assert all(isinstance(step.evidence.error, Fenced) for step in steps)  # type: ignore[union-attr]
    assert "POST /api/order_copies" not in merchant.sandbox.counters()["requests"]


async def test_a_fence_that_falls_while_the_rate_limit_makes_us_wait_lets_nothing_out(merchant: Merchant) -> None:
    source_order_id = merchant.sandbox.seed(1)["source_order_ids"][0]
    merchant.sandbox.fault("throttle", method="POST", path="/api/order_copies", times=1)
    asked = 0

    def fence() -> None:
        nonlocal asked
        asked += 1
        if asked == 2:
            raise Fenced("the lease is over")

    block = await CommerceLayerCredentials.aload(merchant.name)
    async with block.get_client() as client:
        draft = OrderCopyDraft(source_order_id=source_order_id, reference="a@b", metadata={})
        with pytest.raises(Fenced):
            await client.create_order_copy(draft, fence=fence)
    assert merchant.copies() == []


async def test_a_fallen_fence_places_no_order_either(merchant: Merchant) -> None:
    made = merchant.sandbox.create_subscription(failure="declined", times=1)
    await merchant.sweep()
    merchant.sandbox.advance(2 * 86_400)
    async with open_shop(merchant.name, merchant.name, None) as shop, open_door(shop, [made["id"]]) as door:
        for lease in door._leases.values():
            lease.lost = "somebody took it"
        (step,) = [await door.step_through(renewal) for renewal in door.renewals]
        for lease in door._leases.values():
            lease.lost = ""  # nobody took it: it is to be given back

    assert isinstance(step.act, Place)
    assert isinstance(step.evidence.error, Fenced)  # type: ignore[union-attr]
    assert merchant.rows("SELECT * FROM orders WHERE status = 'placed' AND id NOT IN (SELECT source_order_id FROM"
                         " order_subscriptions)") == []  # fmt: skip


async def test_who_was_cancelled_or_postponed_a_moment_ago_drops_out(merchant: Merchant) -> None:
    ids = merchant.sandbox.seed(3)["subscription_ids"]
    block = await CommerceLayerCredentials.aload(merchant.name)
    async with open_shop(merchant.name, merchant.name, None) as shop:
        async with block.get_client() as customer:
            await cancel(customer, ids[0])
            await customer.update_subscription(ids[1], next_run_at=merchant.sandbox.clock().replace(year=2030))
        async with open_door(shop, [*ids, "unknownIdX"]) as door:
            assert [renewal.subscription_id for renewal in door.renewals] == [ids[2]]
            reasons = {skipped.subscription_id: skipped.reason.value for skipped in door.skipped}
    assert reasons == {ids[0]: "cancelled", ids[1]: "not_due", "unknownIdX": "gone"}


async def test_without_prefect_nothing_is_created(merchant: Merchant) -> None:
    ids = merchant.sandbox.seed(1)["subscription_ids"]
    async with open_shop(merchant.name, merchant.name, None) as shop:
        address = shop.leases._api._client.base_url
        shop.leases._api._client.base_url = f"http://127.0.0.1:{free_port()}/api/"
        with pytest.raises(Exception, match="Prefect's API cannot be reached"):
            async with open_door(shop, ids):
                pytest.fail("the door opened without a lease")
        shop.leases._api._client.base_url = address
    with temporary_settings({PREFECT_API_URL: f"http://127.0.0.1:{free_port()}/api"}), pytest.raises(Exception):  # noqa: B017, PT011
        await opened(merchant)
    assert merchant.copies() == []
