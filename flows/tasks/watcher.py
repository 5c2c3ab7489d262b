"""
One watcher polls for everyone who waits.

Statuses are read by list calls of up to 25 copies, and a copy is not looked at before it is likely to be
done: how long copies take is learnt from the timestamps of those that have finished. So a renewal costs
about a twentieth of a read to wait for, however many wait, and however long copies take.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType

from prefect.logging import get_logger

from blocks.commerce_layer.client import CommerceLayer
from blocks.commerce_layer.clock import current_clock
from blocks.commerce_layer.errors import (
    AuthenticationFailed,
    CommerceLayerError,
    InvalidToken,
    Unauthorized,
    WrongShop,
)
from blocks.commerce_layer.resources import OrderCopy

LIST_SIZE = 25
"""Copies per list call: Commerce Layer's largest page."""

FIRST_LOOK = 1.0
"""Seconds after a copy's start at which to look while nothing is known about how long copies take."""

LONGEST_PATIENCE = 30.0
"""Seconds for which a copy that is likely done waits, at the most, for others to share its call with."""

LONGEST_INTERVAL = 30.0
"""Seconds between two looks at a slow copy, at the most."""

_HOPELESS = (AuthenticationFailed, InvalidToken, Unauthorized, WrongShop)


class HowLong:
    """An estimate of how long copies take, in seconds, from the last hundred that finished."""

    def __init__(self) -> None:
        self._seen: deque[float] = deque(maxlen=100)

    def learn(self, order_copy: OrderCopy) -> None:
        """Take in a finished copy, by the API's own timestamps."""
        ended = order_copy.completed_at or order_copy.failed_at
        if ended is not None and order_copy.created_at is not None:
            self._seen.append(max(0.0, (ended - order_copy.created_at).total_seconds()))

    @property
    def first_look(self) -> float:
        """When nineteen of twenty copies are done; a later look at all saves a second look at most."""
        if not self._seen:
            return FIRST_LOOK
        ranked = sorted(self._seen)
        return max(0.1, ranked[int(0.95 * (len(ranked) - 1))] * 1.02)

    @property
    def next_look(self) -> float:
        """How much later a copy that was not done is looked at again, the first time."""
        return max(0.25, 0.25 * self.first_look)

    @property
    def patience(self) -> float:
        """
        How long a copy that is likely done may wait for company.

        Renewals come as fast as the limits allow, not as fast as copies are looked at; so it costs nobody anything.
        """
        return min(LONGEST_PATIENCE, 3 * self.first_look)


@dataclass
class _Waiting:
    order_copy: OrderCopy
    done: asyncio.Future[OrderCopy]
    look_at: float
    deadline: float
    interval: float


class CopyWatcher:
    """
    Waits for order copies to become final; use it as an async context manager.

    Args:
        client: the open client.
        deadline_seconds: how long one copy is waited for.
    """

    def __init__(self, client: CommerceLayer, deadline_seconds: float) -> None:
        self._client = client
        self._deadline_seconds = deadline_seconds
        self._waiting: dict[str, _Waiting] = {}
        self._how_long = HowLong()
        self._somebody_waits = asyncio.Event()
        self._logger = get_logger("perennial.watcher")
        self._loop: asyncio.Task[None]

    async def __aenter__(self) -> CopyWatcher:
        self._loop = asyncio.create_task(self._watch(), name="watch order copies")
        self._loop.add_done_callback(self._hand_on_the_end)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._loop.cancel()
        with suppress(asyncio.CancelledError):
            await self._loop

    async def wait_for(self, order_copy: OrderCopy) -> OrderCopy:
        """
        The copy once it is final, or as it was last seen when its time is up or nothing can be read any more.

        An unknown status is not final: we keep waiting.
        """
        if order_copy.is_final:
            return order_copy
        left = self._deadline_seconds - self._age(order_copy)
        if left <= 0:
            return order_copy  # an earlier sweep has waited for it: once in each sweep is enough
        if order_copy.id in self._waiting:
            return await asyncio.shield(self._waiting[order_copy.id].done)
        now = current_clock().monotonic()
        entry = _Waiting(
            order_copy,
            asyncio.get_running_loop().create_future(),
            look_at=now + self._how_long.first_look,
            deadline=now + left,
            interval=self._how_long.next_look,
        )
        self._waiting[order_copy.id] = entry
        self._somebody_waits.set()
        return await entry.done

    def _age(self, order_copy: OrderCopy) -> float:
        """Seconds since the copy was made, by the shop's clock."""
        now, made_at = self._client.shop_time, order_copy.created_at
        return 0.0 if now is None or made_at is None else max(0.0, (now - made_at).total_seconds())

    def _hand_on_the_end(self, loop: asyncio.Task[None]) -> None:
        # Nobody may wait for a watcher that is no more.
        error = None if loop.cancelled() else loop.exception()
        for entry in self._waiting.values():
            if not entry.done.done():
                entry.done.set_exception(error) if error else entry.done.cancel()

    async def _watch(self) -> None:
        while True:
            await self._somebody_waits.wait()
            now = current_clock().monotonic()
            looked_at = self._ripe(now)
            if not looked_at:
                # Short, because somebody may come who is ripe earlier, or makes a call full.
                await current_clock().sleep(min(max(self._next_ripe_in(now), 0.01), 0.25))
                continue
            await self._look(looked_at)
            if not self._waiting:
                self._somebody_waits.clear()

    def _next_ripe_in(self, now: float) -> float:
        return min((entry.look_at - now for entry in self._waiting.values() if entry.look_at > now), default=0.25)

    def _ripe(self, now: float) -> list[_Waiting]:
        """
        Up to one list call's worth of copies to look at now, or none to wait for more company.

        Company is who waits already and will be ripe before the first one's patience is over; whoever is alone
        is looked at at once.
        """
        in_order = sorted(self._waiting.values(), key=lambda entry: entry.look_at)[:LIST_SIZE]
        ripe = [entry for entry in in_order if entry.look_at <= now]
        if not ripe:
            return []
        patience_ends = ripe[0].look_at + self._how_long.patience
        company = in_order[len(ripe) : len(ripe) + 1]
        if now < patience_ends and any(entry.look_at <= patience_ends for entry in company):
            return []
        # Those who are nearly ripe come along: their place in the call is free.
        return [entry for entry in in_order if entry.look_at <= now + 0.125 * self._how_long.first_look]

    async def _look(self, entries: Sequence[_Waiting]) -> None:
        try:
            seen = await self._client.get_order_copies([entry.order_copy.id for entry in entries])
        except _HOPELESS as error:
            self._logger.error("order copies can no longer be read: %s", error)  # noqa: TRY400 - the sentence says it all
            for entry in list(self._waiting.values()):
                self._finish(entry)
            return
        except CommerceLayerError as error:
            self._logger.warning("order copies could not be read, trying again: %s", error)
            seen = {}
        now = current_clock().monotonic()
        for entry in entries:
            entry.order_copy = seen.get(entry.order_copy.id, entry.order_copy)
            if entry.order_copy.is_final:
                self._how_long.learn(entry.order_copy)
                self._finish(entry)
            elif now >= entry.deadline:
                self._finish(entry)
            else:
                entry.look_at = min(now + entry.interval, entry.deadline)
                entry.interval = min(entry.interval * 1.5, LONGEST_INTERVAL)

    def _finish(self, entry: _Waiting) -> None:
        self._waiting.pop(entry.order_copy.id, None)
        if not entry.done.done():
            entry.done.set_result(entry.order_copy)
