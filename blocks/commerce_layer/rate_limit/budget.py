"""The request budget. The client asks it for a place before each request."""

from __future__ import annotations

import asyncio
import itertools
import math
import uuid
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Literal, TypeVar, cast

from blocks.commerce_layer.clock import current_clock
from blocks.commerce_layer.rate_limit.entries import Answer, Ask
from blocks.commerce_layer.rate_limit.rate_limits import REQUEST_CLASSES, RateLimits
from blocks.commerce_layer.rate_limit.request_history import TOO_MANY, RequestHistory
from blocks.commerce_layer.rate_limit.stores import Change, MemoryStore, RateStore

T = TypeVar("T")
Kind = Literal["create", "write", "delete", "read", "token"]

_WRITES: dict[Kind, REQUEST_CLASSES] = {"create": "write", "write": "write", "delete": "write"}
_CLASSES: dict[Kind, REQUEST_CLASSES] = {**_WRITES, "read": "read", "token": "token"}
_METHODS: dict[Kind, str] = {"create": "POST", "write": "PATCH", "delete": "DELETE", "read": "GET", "token": "POST"}


class Slot:
    """A place in the windows. It is given back unless `sent` was called. If `observe` was not, no answer came."""

    def __init__(self) -> None:
        self.answer: Answer | None = None
        self.was_sent = False

    def sent(self) -> None:
        """Note that the request is leaving now: from here on it counts."""
        self.was_sent = True

    def observe(self, status: int, headers: Mapping[str, str]) -> None:
        """Note an answer: its HTTP status and its `X-Ratelimit-*` headers."""
        self.answer = Answer(
            status,
            limit=_whole(headers.get("x-ratelimit-limit")),
            interval=_whole(headers.get("x-ratelimit-interval")),
            remaining=_whole(headers.get("x-ratelimit-remaining")),
        )

    def not_sent(self) -> None:
        """Note that nothing was sent after all."""
        self.was_sent = False


class RateBudget:
    """
    Places for requests to one host, in one mode, as one owner.

    All budgets on the same store share the places. Each budget is an owner, and the owners take turns. `name` is the
    name of the host's histories. Token requests go to `token_host`, which has one limit for test and live together.
    """

    def __init__(
        self,
        name: str,
        mode: Literal["test", "live"],
        limits: RateLimits,
        store: RateStore | None = None,
        *,
        token_host: str = "",
    ) -> None:
        self._limits, self._store = limits, store or MemoryStore()
        self._names = {kind: f"{name}|{mode}|{cls}" for kind, cls in _CLASSES.items()}
        self._names["token"] = f"{token_host or name}|token"
        self._windows = {kind: limits.window_of(cls, mode) for kind, cls in _CLASSES.items()}
        self._owner = uuid.uuid4().hex[:12]
        self._numbers = itertools.count(1)
        self._turns: dict[Ask, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._queued: dict[Ask, int] = defaultdict(int)
        self._refused_until: dict[Ask, float] = defaultdict(lambda: -math.inf)

    @asynccontextmanager
    async def take(self, kind: Kind, endpoint: str) -> AsyncIterator[Slot]:
        """
        Wait for a place, hold it during the request, and count it from the answer on.

        `endpoint` is the resource's name. Requests that finish a renewal come before requests that begin one.
        Among requests of one kind, the first to ask comes first.
        """
        slot = Slot()
        ask = Ask(self._owner, kind, _METHODS[kind], endpoint)
        if self._limits.unlimited:
            await self._refusal_to_be_over(ask)
            yield slot
            self._note_refusal(ask, slot)
            return
        place = await self._place(ask, kind)
        try:
            yield slot
        finally:
            await self._change(kind, partial(self._settled, ask, place, slot, kind))

    async def room(self, kind: Kind, endpoint: str, ahead: int = 0) -> float:
        """
        Seconds until there may be a place, after all waiting requests and `ahead` others; 0 if there is one now.

        It reserves nothing: another request may take the place first.
        """
        if self._limits.unlimited:
            return 0.0
        ask = Ask(self._owner, kind, _METHODS[kind], endpoint)
        windows = self._windows[kind]
        return await self._change(kind, lambda history, now: history.room(ask, ahead + self._queued[ask], windows, now))

    async def _refusal_to_be_over(self, ask: Ask) -> None:
        clock = current_clock()
        while (left := self._refused_until[ask] - clock.monotonic()) > 0:
            await clock.sleep(left)

    def _note_refusal(self, ask: Ask, slot: Slot) -> None:
        """A 429 although limits are off: wait for the window that refused, so that no request is repeated at once."""
        if slot.answer is None or slot.answer.status != TOO_MANY:
            return
        windows = self._windows[cast("Kind", ask.kind)]
        seconds = windows.burst_seconds if slot.answer.remaining else slot.answer.interval or windows.seconds
        self._refused_until[ask] = current_clock().monotonic() + seconds + windows.guard

    async def _place(self, ask: Ask, kind: Kind) -> str:
        place = f"{self._owner}-{next(self._numbers)}"
        placed = False
        self._queued[ask] += 1
        try:
            async with self._turns[ask]:
                while wait := await self._change(kind, partial(self._asked, ask, place, kind)):
                    await current_clock().sleep(wait)
                placed = True
        finally:
            self._queued[ask] -= 1
            if not placed:
                await self._change(kind, partial(self._given_up, ask, place))
        return place

    async def _change(self, kind: Kind, change: Change[T]) -> T:
        # Shielded: a store finishes its change even if the request is cancelled meanwhile, because
        # a request that was sent must be counted.
        return await asyncio.shield(asyncio.ensure_future(self._store.change(self._names[kind], change)))

    def _asked(self, ask: Ask, place: str, kind: Kind, history: RequestHistory, now: float) -> float:
        return history.take(ask, place, self._windows[kind], now, more=self._queued[ask] > 1)

    def _settled(self, ask: Ask, place: str, slot: Slot, kind: Kind, history: RequestHistory, now: float) -> None:
        if slot.was_sent:
            history.settle(ask, place, slot.answer, self._windows[kind], now)
        else:
            history.refund(place)

    def _given_up(self, ask: Ask, place: str, history: RequestHistory, now: float) -> None:  # noqa: ARG002 - a Change
        history.refund(place)
        if not self._queued[ask]:
            history.leave(ask)

    async def close(self) -> None:
        """Close the store."""
        await self._store.close()


def _whole(text: str | None) -> int | None:
    return int(text) if text and text.strip().isdecimal() else None
