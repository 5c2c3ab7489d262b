"""The store through which the budget is shared, and what happens when it cannot be reached."""

from __future__ import annotations

import asyncio
import logging
import math
from dataclasses import dataclass
from weakref import WeakKeyDictionary

from blocks.commerce_layer.clock import Clock, current_clock, system_clock
from blocks.commerce_layer.rate_limit.addresses import checked
from blocks.commerce_layer.rate_limit.request_history import RequestHistory
from blocks.commerce_layer.rate_limit.stores import Change, MemoryStore, RateStore, SqliteStore, T, default_path

logger = logging.getLogger(__name__)

RETRY_SECONDS = 30.0

_by_clock: WeakKeyDictionary[Clock, MemoryStore] = WeakKeyDictionary()


@dataclass(frozen=True, slots=True)
class _Kept:
    """The last known history, the store that it is from, and how far (at least) that store's clock is ahead of ours."""

    store: RateStore
    history: RequestHistory
    ahead: float


class FallbackStore:
    """
    A shared store, and this process's memory while the store cannot be used.

    Meanwhile each process counts only its own requests. The headers of answers still tell it about the others, and
    renewals go on. Counts move along when the store changes.
    """

    troubles: tuple[type[Exception], ...] = ()

    def __init__(self, shared: RateStore, own: MemoryStore) -> None:
        self._shared, self._own = shared, own
        self._away_until = -math.inf
        self._turn = asyncio.Lock()
        self._kept: dict[str, _Kept] = {}

    async def change(self, name: str, change: Change[T]) -> T:
        """Apply `change` where it can be applied."""
        # One after the other, so that all requests together wait once for a store that hangs.
        async with self._turn:
            if current_clock().monotonic() >= self._away_until:
                try:
                    return await self._change_in(self._shared, name, change)
                except self._shared.troubles as trouble:
                    self._away_until = current_clock().monotonic() + RETRY_SECONDS
                    # Only the error's class: a driver's message may contain the address, and with it the password.
                    kind = type(trouble).__name__
                    logger.warning("the shared request budget cannot be used (%s); counting in this process only", kind)
            return await self._change_in(self._own, name, change)

    async def _change_in(self, store: RateStore, name: str, change: Change[T]) -> T:
        before, asked_at = self._kept.get(name), current_clock().monotonic()
        kept: list[_Kept] = []

        def with_what_was_sent(history: RequestHistory, now: float) -> T:
            if before is not None and before.store is not store:
                history.take_over(before.history, now - asked_at - before.ahead, now)
            result = change(history, now)
            kept.append(_Kept(store, history, now - current_clock().monotonic()))
            return result

        result = await store.change(name, with_what_was_sent)
        self._kept[name] = kept[-1]
        return result

    async def close(self) -> None:
        """Close the shared store."""
        try:
            await self._shared.close()
        except self._shared.troubles:
            logger.debug("the shared request budget could not be reached to close it")


def open_store(url: str = "") -> RateStore:
    """
    The store that `url` names: empty for this user's SQLite file, else Redis or PostgreSQL.

    With a test's clock it is this process's memory, because other processes do not share that clock.
    Raises ValueError on an address that cannot be used; the message shows no part of it.
    """
    clock = current_clock()
    own = _by_clock.setdefault(clock, MemoryStore())
    if clock is not system_clock:
        return own
    return FallbackStore(_shared(url), own)


def _shared(url: str) -> RateStore:
    if not url:
        return SqliteStore(default_path())
    # Imported only when they are used: most installations have neither server.
    from blocks.commerce_layer.rate_limit.remote_stores import PostgresStore, RedisStore

    return RedisStore(url) if checked(url).startswith("redis") else PostgresStore(url)
