"""
One poller reads the order copies for all renewals that wait.

It reads by reference, in list calls of 25 references, so each read shows every copy of a period, from any run. It does
not read a copy before the copy is likely to be done: it learns how long copies take from the timestamps of those that
have finished. So waiting costs about a twentieth of a read per renewal, however long copies take.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import TracebackType

from prefect.logging import get_logger

from blocks.commerce_layer.client import CommerceLayer
from blocks.commerce_layer.clock import current_clock
from blocks.commerce_layer.errors import AccessDenied, CommerceLayerError
from blocks.commerce_layer.jsonapi import PAGE_SIZE
from blocks.commerce_layer.resources import OrderCopy

FIRST_LOOK = 1.0
"""Seconds after a copy's start at which to read it, as long as it is unknown how long copies take."""

FEW = 20
"""As long as fewer copies were seen to finish, a fifth is added to the estimate of how long copies take."""

PATIENCE = 45.0
"""
Seconds for which a copy that is likely done waits, at most, for others to share its call.

25 renewals take this long at the lowest documented limit: 100 writes a minute, of which each renewal needs three.
Waiting does not slow a sweep down, because the limits bound it, not the reads of copies.
"""

PATIENCE_WHEN_DONE = 0.5
"""The same for a copy that is likely done when the waiting begins, as those of earlier runs are."""

ROOM_SOON = 2.0
"""Copies are read this many seconds before the rate limit has room for a placement, which needs a last look first."""

CLOCK_STEP = 1.0
"""Seconds by which the shop's clock may be ahead of its answers, whose `Date` has whole seconds only."""

SHORTEST_INTERVAL, LONGEST_INTERVAL = 0.25, 30.0
"""Seconds between two reads of a slow copy."""

LOOK_FOR_A_LOST_COPY = 1.0
"""Seconds after a lost answer at which to read whether the copy exists."""


class HowLong:
    """An estimate of how long copies take, in seconds, from the last hundred that finished."""

    def __init__(self) -> None:
        self._seen: deque[float] = deque(maxlen=100)

    def learn(self, order_copy: OrderCopy) -> None:
        """Learn from a finished copy's timestamps."""
        ended = order_copy.completed_at or order_copy.failed_at
        if ended is not None and order_copy.created_at is not None:
            self._seen.append(max(0.0, (ended - order_copy.created_at).total_seconds()))

    @property
    def is_known(self) -> bool:
        """Whether any copy was seen to finish."""
        return bool(self._seen)

    @property
    def first_look(self) -> float:
        """Seconds after which 95 % of the copies are done, so that few need a second read."""
        if not self._seen:
            return FIRST_LOOK
        ranked = sorted(self._seen)
        # The first to finish are the quick ones, and 95 % of fewer than 20 says little about the others.
        margin = 1.02 if len(ranked) >= FEW else 1.2
        return max(0.1, ranked[int(0.95 * (len(ranked) - 1))] * margin)


Copies = Sequence[OrderCopy]


@dataclass(frozen=True)
class Polled:
    """The copies of the last read, and whether `is_done` accepted them. If not, the time was up."""

    copies: Sequence[OrderCopy]
    is_done: bool


IsDone = Callable[[Copies], bool]


@dataclass
class _Waiting:
    references: Sequence[str]
    is_done: IsDone
    seen: asyncio.Future[Polled]
    copies: Copies
    look_at: float
    deadline: float
    interval: float
    patience: float
    is_new: bool = True
    """Whether it was not read yet."""


class CopyPoller:
    """
    Waits for order copies; use it as an async context manager.

    Args:
        client: the open client.
        settle_seconds: how old a copy must be before a read of it counts (see `docs/exactly-once.md`).
        deadline_seconds: how long to wait for a copy, from its creation on.
        placements_waiting: how many orders wait to be placed already: they go first.
    """

    def __init__(
        self,
        client: CommerceLayer,
        settle_seconds: float,
        deadline_seconds: float,
        placements_waiting: Callable[[], int] = lambda: 0,
    ) -> None:
        self._client, self._placements_waiting = client, placements_waiting
        self._settle = timedelta(seconds=settle_seconds)
        self._deadline_seconds = deadline_seconds
        self._waiting: list[_Waiting] = []
        self._how_long = HowLong()
        self._has_waiting = asyncio.Event()
        self._looked_at: datetime | None = None
        self._logger = get_logger("perennial.poller")
        self._loop: asyncio.Task[None]

    async def __aenter__(self) -> CopyPoller:
        self._loop = asyncio.create_task(self._poll(), name="poll order copies")
        self._loop.add_done_callback(self._hand_on_the_end)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._loop.cancel()
        with suppress(asyncio.CancelledError):
            await self._loop

    async def wait_for(self, references: Sequence[str], known: OrderCopy | None, is_done: IsDone) -> Polled:
        """
        The copies with these references, from the first read that `is_done` accepts.

        `known` is the copy to wait for, if one was seen already. When the time is up, or nothing can be read any
        more, it returns the copies of the last read as not done.
        """
        now, age = current_clock().monotonic(), self._age_of(known)
        first_look = self._first_look()
        first = first_look - age if known else LOOK_FOR_A_LOST_COPY
        entry = _Waiting(
            references,
            is_done,
            asyncio.get_running_loop().create_future(),
            [known] if known else [],
            look_at=now + max(first, 0.0),
            # An earlier run may have waited for all that time already: then one read is enough.
            deadline=now + max(self._deadline_seconds - age, 0.0),
            # A part of the usual time: a copy that takes a minute is read a few more times, and not a hundred times.
            interval=max(SHORTEST_INTERVAL, first_look / (4 if self._how_long.is_known else 2)),
            patience=PATIENCE if first > 0 else PATIENCE_WHEN_DONE,
        )
        self._waiting.append(entry)
        self._has_waiting.set()
        return await entry.seen

    def _first_look(self) -> float:
        """Seconds after a copy's creation at which to read it: when it is likely done, and a read of it counts."""
        return max(self._how_long.first_look, self._settle.total_seconds() + CLOCK_STEP)

    def _age_of(self, copy: OrderCopy | None) -> float:
        """Seconds since the copy was made, by the shop's clock."""
        now, made_at = self._client.shop_time, copy.created_at if copy else None
        return 0.0 if now is None or made_at is None else max(0.0, (now - made_at).total_seconds())

    def has_settled(self, copy: OrderCopy) -> bool:
        """Whether the last read must have shown every copy that was created before this one."""
        if self._looked_at is None or copy.created_at is None:
            return False
        return self._looked_at - copy.created_at >= self._settle

    def _hand_on_the_end(self, loop: asyncio.Task[None]) -> None:
        # Nothing may wait for a poller that has ended.
        error = None if loop.cancelled() else loop.exception()
        for entry in self._waiting:
            if not entry.seen.done():
                entry.seen.set_exception(error) if error else entry.seen.cancel()

    async def _poll(self) -> None:
        while True:
            await self._has_waiting.wait()
            now = current_clock().monotonic()
            looked_at = self._ripe(now)
            if looked_at and await self._no_placement_can_follow(now):
                looked_at = []
            if not looked_at:
                # Short, because a new one may be ripe earlier, or may fill a call.
                await current_clock().sleep(min(max(self._next_ripe_in(now), 0.01), 0.25))
                continue
            await self._look(looked_at)
            if not self._waiting:
                self._has_waiting.clear()

    def _next_ripe_in(self, now: float) -> float:
        return min((entry.look_at - now for entry in self._waiting if entry.look_at > now), default=0.25)

    def _ripe(self, now: float) -> list[_Waiting]:
        """
        Up to 25 to read now in one list call; none if it is better to wait for others to share the call.

        Others are those that wait for their first read, and will be ripe before a ripe one's patience is over. Without
        any, the ripe ones are read at once. A slow copy that is read again is not waited for.
        """
        ripe = sorted((entry for entry in self._waiting if entry.look_at <= now), key=lambda entry: entry.look_at)
        if not ripe or len(ripe) >= PAGE_SIZE:
            return ripe[:PAGE_SIZE]
        patience_ends = min(entry.look_at + entry.patience for entry in ripe)
        company = (entry.is_new and now < entry.look_at <= patience_ends for entry in self._waiting)
        return [] if now < patience_ends and any(company) else ripe

    async def _no_placement_can_follow(self, now: float) -> bool:
        """Whether the rate limit allows no more placements soon: until it does, more copies may share the call."""
        if any(entry.deadline <= now for entry in self._waiting):
            return False
        return await self._client.room_for_placement(self._placements_waiting()) > ROOM_SOON

    async def _look(self, entries: Sequence[_Waiting]) -> None:
        began_at, found = current_clock().monotonic(), None
        renamed: Mapping[str, OrderCopy] = {}
        try:
            found = await self._client.find_order_copies(
                reference for entry in entries for reference in entry.references
            )
            renamed = await self._renamed(entries, found)
        except AccessDenied as error:
            self._logger.error("order copies can no longer be read: %s", error)  # noqa: TRY400 - the sentence says it all
            for entry in list(self._waiting):
                self._finish(entry)
            return
        except CommerceLayerError as error:
            found = None  # half a look is none: the copy that counts may be the one that is not in it
            self._logger.warning("order copies could not be read, trying again: %s", error)
        now = current_clock().monotonic()
        if self._client.shop_time is not None:
            # What the answer shows is at most as old as the request.
            self._looked_at = self._client.shop_time - timedelta(seconds=now - began_at)
        for entry in entries:
            seen = None if found is None else [copy for each in entry.references for copy in found[each]]
            if seen is not None:
                seen += [renamed[copy.id] for copy in entry.copies if copy.id in renamed]
            self._take_in(entry, seen, now)

    async def _renamed(
        self, entries: Sequence[_Waiting], found: Mapping[str, Sequence[OrderCopy]]
    ) -> Mapping[str, OrderCopy]:
        """Copies that were seen before and have another reference now: another system has changed it."""
        shown = {copy.id for copies in found.values() for copy in copies}
        missing = [copy.id for entry in entries for copy in entry.copies if copy.id not in shown]
        return await self._client.get_order_copies(missing) if missing else {}

    def _take_in(self, entry: _Waiting, seen: Copies | None, now: float) -> None:
        entry.copies, entry.is_new = seen or entry.copies, False
        if seen is not None and entry.is_done(seen):
            for copy in seen:
                self._how_long.learn(copy)
            self._finish(entry, is_done=True)
        elif now >= entry.deadline:
            self._finish(entry)
        else:
            entry.look_at = min(now + entry.interval, entry.deadline)
            entry.interval = min(entry.interval * 1.5, LONGEST_INTERVAL)

    def _finish(self, entry: _Waiting, *, is_done: bool = False) -> None:
        self._waiting.remove(entry)
        if not entry.seen.done():
            entry.seen.set_result(Polled(entry.copies, is_done))
