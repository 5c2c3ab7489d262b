"""The store through which the budget is shared, and what happens when it cannot be reached."""

from __future__ import annotations

import asyncio
import logging
import math
from dataclasses import dataclass
from weakref import WeakKeyDictionary

from blocks.commerce_layer.clock import Clock, current_clock, system_clock
from blocks.commerce_layer.rate_limit.addresses import checked
from blocks.commerce_layer.rate_limit.division import Division
from blocks.commerce_layer.rate_limit.request_history import RequestHistory
from blocks.commerce_layer.rate_limit.stores import (
    PATIENCE_SECONDS,
    Change,
    MemoryStore,
    RateStore,
    SqliteStore,
    T,
    default_path,
)

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

    Meanwhile each process counts its own requests, and divides the limits among the owners that it saw last, or among
    `fewest` if it has seen none. The headers of answers still tell it about the others, and renewals go on. Counts move
    along when the store changes. The limits stay divided until all others are back, too.
    """

    troubles: tuple[type[Exception], ...] = ()

    def __init__(self, shared: RateStore, own: MemoryStore, fewest: int = 1) -> None:
        self._shared, self._own, self._fewest = shared, own, fewest
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
            if before is None or before.store is not store:
                self._divide(before, store, history, now)
            # A store without any entry may have been started anew.
            if before is not None and (before.store is not store or not history.entries):
                history.take_over(before.history, now - asked_at - before.ahead, now)
            result = change(history, now)
            kept.append(_Kept(store, history, now - current_clock().monotonic()))
            return result

        result = await store.change(name, with_what_was_sent)
        self._kept[name] = kept[-1]
        return result

    def _divide(self, before: _Kept | None, store: RateStore, history: RequestHistory, now: float) -> None:
        """Divide the limits when the store is lost, and until all others must have noticed that it is back."""
        if store is self._own:
            among = max(self._fewest, len(before.history.owners) if before else 0)
            if among > 1:
                history.divide(Division(among, since=now))
        elif before is not None and before.history.division is not None:
            away = before.history.division
            since = now - (current_clock().monotonic() - away.since)
            history.divide(Division(away.among, since, until=now + RETRY_SECONDS + PATIENCE_SECONDS))

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
    # Who names a store shares the address with at least one other process.
    return FallbackStore(_shared(url), own, fewest=2 if url else 1)


def _shared(url: str) -> RateStore:
    if not url:
        return SqliteStore(default_path())
    # Imported only when they are used: most installations have neither server.
    from blocks.commerce_layer.rate_limit.remote_stores import PostgresStore, RedisStore

    return RedisStore(url) if checked(url).startswith("redis") else PostgresStore(url)
