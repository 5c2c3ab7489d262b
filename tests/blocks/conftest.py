"""A shop that answers as a test says, a clock that a test advances, and a client that uses both."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
from odd_shop import HandClock, Shop, client_of

from blocks.commerce_layer.client import CommerceLayer
from blocks.commerce_layer.clock import use_clock


@pytest.fixture
def shop() -> Iterator[Shop]:
    running = Shop()
    yield running
    running.stop()


@pytest.fixture
def clock() -> Iterator[HandClock]:
    with use_clock(HandClock()) as hand_clock:
        yield hand_clock


@pytest.fixture
async def client(shop: Shop, clock: HandClock) -> AsyncIterator[CommerceLayer]:
    async with client_of(shop) as commerce_layer:
        yield commerce_layer
