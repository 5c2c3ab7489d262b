"""Which store the budget is shared through, and what happens when it cannot be reached."""

from __future__ import annotations

import logging
from urllib.parse import urlsplit
from weakref import WeakKeyDictionary

from blocks.commerce_layer.clock import Clock, current_clock, system_clock
from blocks.commerce_layer.rate_limit.stores import Change, LedgerStore, MemoryStore, SqliteStore, T, default_path

logger = logging.getLogger(__name__)

RETRY_SECONDS = 30.0
SCHEMES = ("redis", "rediss", "postgresql", "postgres")

_by_clock: WeakKeyDictionary[Clock, MemoryStore] = WeakKeyDictionary()


class FallbackStore:
    """
    A shared store, and this process's memory while that one is away.

    Then processes count only for themselves; the answers' headers still tell each of them about
    the others, and renewals go on.
    """

    troubles: tuple[type[Exception], ...] = ()

    def __init__(self, shared: LedgerStore, own: MemoryStore) -> None:
        self._shared, self._own = shared, own
        self._away_until = 0.0

    async def change(self, name: str, change: Change[T]) -> T:
        """Apply `change` where it can be applied."""
        if current_clock().monotonic() >= self._away_until:
            try:
                return await self._shared.change(name, change)
            except self._shared.troubles as trouble:
                self._away_until = current_clock().monotonic() + RETRY_SECONDS
                # Its kind only: a driver's message may name the address, and that the password.
                kind = type(trouble).__name__
                logger.warning("the shared request budget cannot be used (%s); counting in this process only", kind)
        return await self._own.change(name, change)

    async def close(self) -> None:
        """Let go of the shared store."""
        try:
            await self._shared.close()
        except self._shared.troubles:
            logger.debug("the shared request budget was away when it was closed")


def open_store(url: str = "") -> LedgerStore:
    """
    The store that `url` names: empty for this user's SQLite file, else Redis or PostgreSQL.

    With a clock that is wound by hand it is this process's memory: other processes do not share
    such a clock. Raises ValueError on any other scheme.
    """
    clock = current_clock()
    own = _by_clock.setdefault(clock, MemoryStore())
    if clock is not system_clock:
        return own
    return FallbackStore(_shared(url), own)


def _shared(url: str) -> LedgerStore:
    if not url:
        return SqliteStore(default_path())
    # Imported only when they are used: most installations have neither server.
    from blocks.commerce_layer.rate_limit.remote_stores import PostgresStore, RedisStore

    scheme = urlsplit(url).scheme
    if scheme not in SCHEMES:
        raise ValueError("the request budget is shared through redis://, rediss:// or postgresql://")
    return RedisStore(url) if scheme.startswith("redis") else PostgresStore(url)
