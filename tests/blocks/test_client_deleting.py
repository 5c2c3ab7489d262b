"""The client deletes, and keeps what the answers to each HTTP method said about the rate limit."""

from __future__ import annotations

import pytest
from odd_shop import Shop, answer, page, refusal

from blocks.commerce_layer.client import CommerceLayer
from blocks.commerce_layer.errors import Refused, WriteFateUnknown

PATH = "/api/tags/tagTagTagT"


async def test_a_deletion_has_no_body_and_its_answer_has_none(client: CommerceLayer, shop: Shop) -> None:
    shop.on("DELETE", PATH, answer(204, b""))

    await client.wire.delete("tags", "tagTagTagT")

    (seen,) = shop.requests("DELETE", PATH)
    assert seen.body is None


@pytest.mark.parametrize("last", [answer(204, b""), refusal(404, "RECORD_NOT_FOUND")])
async def test_a_deletion_is_repeated_and_what_is_gone_counts_as_deleted(
    client: CommerceLayer, shop: Shop, last
) -> None:
    shop.on("DELETE", PATH, answer(503), last)

    await client.wire.delete("tags", "tagTagTagT")

    assert len(shop.requests("DELETE", PATH)) == 2


async def test_a_refused_deletion_is_not_repeated(client: CommerceLayer, shop: Shop) -> None:
    shop.on("DELETE", PATH, refusal(423, "LOCKED"))

    with pytest.raises(Refused, match="DELETE /api/tags/tagTagTagT was answered 423: LOCKED"):
        await client.wire.delete("tags", "tagTagTagT")

    assert len(shop.requests("DELETE", PATH)) == 1


async def test_a_deletion_without_any_usable_answer_may_have_been_carried_out(
    client: CommerceLayer, shop: Shop
) -> None:
    shop.on("DELETE", PATH, answer(503))

    with pytest.raises(WriteFateUnknown):
        await client.wire.delete("tags", "tagTagTagT")

    assert len(shop.requests("DELETE", PATH)) == 4


async def test_what_the_last_answer_said_about_the_limit_is_kept_for_each_method(
    client: CommerceLayer, shop: Shop
) -> None:
    said = {"X_Ratelimit_Limit": "100", "X_Ratelimit_Interval": "60"}
    shop.on("DELETE", PATH, answer(204, b"", **said, X_Ratelimit_Remaining="98"))
    shop.on("GET", "/api/orders", answer(200, page(), **said, X_Ratelimit_Remaining="40"))

    await client.get_orders(["orderOrder"])
    await client.wire.delete("tags", "tagTagTagT")

    assert {method: found.used for method, found in client.wire.last_answers.items()} == {"GET": 60, "DELETE": 2}
