"""Reads for many that look like reads for one: whoever asks within half a second shares a list call."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from types import TracebackType

from blocks.commerce_layer.client import CommerceLayer
from blocks.commerce_layer.clock import current_clock
from blocks.commerce_layer.resources import OrderSubscription

LIST_SIZE = 25
"""Subscriptions per list call: Commerce Layer's largest page."""

LINGER = 0.5
"""Seconds that the first to ask waits for others; nothing that a customer or a limit would notice."""


class SubscriptionReader:
    """Reads subscriptions afresh, 25 a call; use it as an async context manager."""

    def __init__(self, client: CommerceLayer) -> None:
        self._client = client
        self._asked: dict[str, asyncio.Future[OrderSubscription | None]] = {}
        self._collecting: asyncio.Task[None] | None = None
        self._reading: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> SubscriptionReader:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for task in (*self._reading, *([self._collecting] if self._collecting else [])):
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def fresh(self, subscription_id: str) -> OrderSubscription | None:
        """
        The subscription as it is now, or `None` if it is gone.

        Raises:
            CommerceLayerError: it could not be read.
        """
        waiting = self._asked.get(subscription_id)
        if waiting is None:
            waiting = self._asked[subscription_id] = asyncio.get_running_loop().create_future()
            if len(self._asked) >= LIST_SIZE:
                self._read_now()
            elif self._collecting is None:
                self._collecting = asyncio.create_task(self._collect())
        return await asyncio.shield(waiting)

    async def _collect(self) -> None:
        await current_clock().sleep(LINGER)
        self._collecting = None
        self._read_now()

    def _read_now(self) -> None:
        if self._collecting is not None:
            self._collecting.cancel()
            self._collecting = None
        asked, self._asked = self._asked, {}
        if asked:
            task = asyncio.create_task(self._read(asked))
            self._reading.add(task)
            task.add_done_callback(self._reading.discard)

    async def _read(self, asked: Mapping[str, asyncio.Future[OrderSubscription | None]]) -> None:
        try:
            found = await self._client.get_subscriptions(list(asked))
        except Exception as error:  # noqa: BLE001 - whoever waits must hear of it, whatever it is
            for waiting in asked.values():
                waiting.set_exception(error)
            return
        for subscription_id, waiting in asked.items():
            waiting.set_result(found.get(subscription_id))
