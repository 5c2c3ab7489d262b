"""How the client places an order: it composes the request at the last moment and sends it once."""

from __future__ import annotations

import pytest
from client_requests import (
    ORDER_ANSWER,
    PLACE,
    REFERENCE,
    placement,
)
from odd_shop import (
    client_of,
    throttled,
)

from blocks.commerce_layer.charging import Placement, place_order
from blocks.commerce_layer.errors import (
    NotConnected,
)


async def test_an_order_is_placed_and_tagged_in_one_request(shop, client):
    shop.on(*PLACE, ORDER_ANSWER)

    placed = await place_order(client, "ordrOrdrOr", placement)

    (sent,) = shop.requests(*PLACE)
    assert (placed.id, placed.is_placed) == ("ordrOrdrOr", True)
    assert sent.body["data"] == {
        "type": "orders",
        "id": "ordrOrdrOr",
        "attributes": {
            "_place": True,
            "reference": REFERENCE,
            "reference_origin": "perennial",
            "metadata": {"perennial": {"period": "2026-03-01T06:00Z"}, "crm": 7},
        },
    }
    assert "errors_count" in sent.query["fields[orders]"]


async def test_a_placement_is_composed_after_waiting_for_the_rate_limit(shop, clock):
    shop.on(*PLACE, ORDER_ANSWER)
    composed_at = []

    async def compose() -> Placement:
        composed_at.append((clock.monotonic(), len(shop.requests(*PLACE))))
        return await placement()

    async with client_of(shop) as client:
        started = clock.monotonic()
        for _ in range(25):
            await place_order(client, "ordrOrdrOr", placement)
        await place_order(client, "ordrOrdrOr", compose)

    ((moment, sent_before),) = composed_at
    assert moment - started >= 10, "ten seconds allow only 25 requests to one endpoint"
    assert sent_before == 25


async def test_a_placement_is_composed_anew_each_time_it_is_sent(shop, clock, client):
    shop.on(*PLACE, throttled(), ORDER_ANSWER)
    composed_at = []

    async def compose() -> Placement:
        composed_at.append(clock.monotonic())
        return Placement(f"turn {len(composed_at)}", "perennial", {})

    await place_order(client, "ordrOrdrOr", compose)

    assert [seen.body["data"]["attributes"]["reference"] for seen in shop.requests(*PLACE)] == ["turn 1", "turn 2"]
    assert composed_at[1] - composed_at[0] >= 60


async def test_an_error_while_composing_a_placement_is_raised_and_nothing_is_placed(shop, client):
    async def compose() -> Placement:
        raise LookupError("it is not wanted any more")

    with pytest.raises(LookupError, match="not wanted any more"):
        await place_order(client, "ordrOrdrOr", compose)

    assert shop.requests(*PLACE) == []


async def test_the_last_look_stops_a_throttled_placement_before_it_is_sent_again(shop, clock, client):
    shop.on(*PLACE, throttled(), ORDER_ANSWER)
    looks = []

    async def compose() -> Placement:
        looks.append(clock.monotonic())
        if len(looks) > 1:
            raise LookupError("cancelled meanwhile")
        return await placement()

    with pytest.raises(LookupError, match="cancelled meanwhile"):
        await place_order(client, "ordrOrdrOr", compose)

    assert len(shop.requests(*PLACE)) == 1


async def test_a_placement_to_a_shop_that_cannot_be_reached_is_known_not_to_be_sent(shop, client):
    await client.claims()
    shop.stop()

    with pytest.raises(NotConnected):
        await place_order(client, "ordrOrdrOr", placement)
