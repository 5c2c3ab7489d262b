"""Writes whose body is composed only when the request no longer has to wait."""

from __future__ import annotations

import asyncio

from odd_shop import answer, client_of, resource

from blocks.commerce_layer.charging import Placement, place_order

ORDER = answer(200, {"data": resource("orders", "ordrOrdrOr", status="placed", number=12)})


async def test_a_placement_is_composed_only_once_a_connection_is_free(shop, clock):
    shop.on("GET", "/api/orders/ordrOrdrOr", ORDER)
    shop.on("PATCH", "/api/orders/ordrOrdrOr", ORDER)

    async with client_of(shop, connections=2) as client:  # one to read with, and one to write with

        async def compose() -> Placement:
            await client.get_order("ordrOrdrOr")
            return Placement("subSubSubS@2026-03-01T06:00Z", "perennial", {})

        await asyncio.gather(*(place_order(client, "ordrOrdrOr", compose) for _ in range(3)))

    assert [seen.method for seen in shop.seen if seen.path.startswith("/api")] == ["GET", "PATCH"] * 3
