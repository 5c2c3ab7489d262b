"""A page with unreadable resources is split, so that the others are read."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from blocks.commerce_layer.errors import CommerceLayerError, NotConnected, ReadFailed, Unauthorized
from blocks.commerce_layer.splitting import Parts, read_in_parts

PAGE = list(range(25))


async def read(items: Sequence[int], bad: set[int]) -> tuple[Parts[int, list[int]], int]:
    calls = 0

    async def read_part(part: Sequence[int]) -> list[int]:
        nonlocal calls
        calls += 1
        if bad & set(part):
            raise ReadFailed("/api/order_subscriptions", "500", 4)
        return list(part)

    return await read_in_parts(items, read_part), calls


def seen(parts: Parts[int, list[int]]) -> list[int]:
    return sorted(item for part in parts.read for item in part)


async def test_a_page_that_can_be_read_is_read_once() -> None:
    parts, calls = await read(PAGE, set())
    assert (seen(parts), calls, parts.unreadable, parts.trouble) == (PAGE, 1, {}, None)


@pytest.mark.parametrize("bad", [{0}, {24}, {12}, {3, 20}, {7, 8}])
async def test_the_other_resources_of_a_page_are_read(bad: set[int]) -> None:
    parts, calls = await read(PAGE, bad)
    assert seen(parts) == [each for each in PAGE if each not in bad]
    assert set(parts.unreadable) == bad
    assert parts.trouble is None
    assert calls <= 1 + 10 * len(bad)


async def test_a_single_unreadable_resource_is_not_taken_for_trouble_with_the_shop() -> None:
    parts, _ = await read([7], {7})
    assert (set(parts.unreadable), parts.trouble) == ({7}, None)


async def test_a_shop_that_fails_every_read_is_not_asked_for_each_resource() -> None:
    parts, calls = await read(PAGE, set(PAGE))
    assert calls < 10
    assert sorted(parts.left) == PAGE
    assert parts.unreadable == {}
    assert isinstance(parts.trouble, ReadFailed)


@pytest.mark.parametrize(
    "error", [NotConnected("GET", "/api/x", "refused"), Unauthorized(401, (), "GET", "/api/x")], ids=["away", "denied"]
)
async def test_an_error_that_concerns_every_resource_does_not_split_the_page(error: CommerceLayerError) -> None:
    calls = 0

    async def read_part(part: Sequence[int]) -> list[int]:
        nonlocal calls
        calls += 1
        raise error

    parts = await read_in_parts(PAGE, read_part)
    assert (calls, sorted(parts.left), parts.trouble) == (1, PAGE, error)
