"""
Reads for many that look like reads for one: whoever is next is read for all who wait.

Records wait for the rate budget, sometimes for minutes. Each is written upon a look that is seconds old, and one
list call serves the next 25.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from blocks.commerce_layer.client import CommerceLayer
from blocks.commerce_layer.clock import current_clock
from blocks.commerce_layer.resources import OrderSubscription
from flows.tasks.freshness import Freshness

LIST_SIZE = 25
"""Subscriptions per list call: Commerce Layer's largest page."""

LINGER = 0.25
"""Seconds that a call with places left waits for company; nothing that a customer or a limit would notice."""


class SubscriptionReader:
    """Reads subscriptions afresh, 25 a call."""

    def __init__(self, client: CommerceLayer) -> None:
        self._client = client
        self._waiting: dict[str, int] = {}
        self._read: dict[str, tuple[Freshness, OrderSubscription | None]] = {}
        self._one_call = asyncio.Lock()

    @asynccontextmanager
    async def waiting(self, subscription_id: str) -> AsyncIterator[None]:
        """While this lasts, the subscription is read along with others that are read."""
        self._waiting[subscription_id] = self._waiting.get(subscription_id, 0) + 1
        try:
            yield
        finally:
            left = self._waiting.pop(subscription_id) - 1
            if left:
                self._waiting[subscription_id] = left
            self._read.pop(subscription_id, None)

    async def fresh(self, subscription_id: str) -> OrderSubscription | None:
        """
        The subscription as it was seconds ago at the most, or `None` if it is gone.

        Each look is given out once: whoever asks again, because something went wrong, gets another one.

        Raises:
            CommerceLayerError: it could not be read.
        """
        async with self._one_call:
            look = self._read.pop(subscription_id, None)
            if look is None or look[0].is_over:
                if len(self._waiting) < LIST_SIZE:
                    await current_clock().sleep(LINGER)
                await self._read_along_with(subscription_id)
                look = self._read.pop(subscription_id)
            return look[1]

    async def _read_along_with(self, subscription_id: str) -> None:
        # In the order in which they began to wait, which is the order in which the budget lets them go.
        others = [each for each in self._waiting if each != subscription_id and not self._is_read(each)]
        ids = [subscription_id, *others[: LIST_SIZE - 1]]
        look = Freshness()
        found = await self._client.get_subscriptions(ids)
        self._read |= {each: (look, found.get(each)) for each in ids}

    def _is_read(self, subscription_id: str) -> bool:
        look = self._read.get(subscription_id)
        return look is not None and not look[0].is_over
