"""
The last look before a customer is charged, and before a record is written. One read serves 25 renewals.

Placements and records wait for the rate limit, sometimes for minutes. Each is sent after a look that is seconds old,
taken when the limit lets it go. The same list call also reads for the renewals that are next. A record that follows its
placement within seconds needs no new look.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from blocks.commerce_layer.client import CommerceLayer
from blocks.commerce_layer.clock import current_clock
from blocks.commerce_layer.errors import ReadFailed
from blocks.commerce_layer.jsonapi import PAGE_SIZE
from blocks.commerce_layer.last_look import look_at_source_orders
from blocks.commerce_layer.resources import OrderCopy, OrderSubscription
from flows.rules.renewal import Renewal
from flows.rules.unrecorded import made_since, recorded_copy
from flows.run.freshness import Freshness

WAIT_FOR_OTHERS = 0.25
"""Seconds that a call with free places waits for more subscriptions; too short for a customer or a limit to notice."""

LOOK_TRIES = 3
"""How often a look is taken again that is too old for a placement because its answers took so long."""


@dataclass(frozen=True)
class SubscriptionLook:
    """A subscription as one look shows it; None when it is deleted. Enough for a record."""

    subscription: OrderSubscription | None
    taken: Freshness


@dataclass(frozen=True)
class Look(SubscriptionLook):
    """A subscription as one look shows it, with everything that may forbid placing its order."""

    rivals: Sequence[OrderSubscription]
    """The subscriptions of the same source order that are not cancelled, including this one."""
    copies: Sequence[OrderCopy]
    """All recent order copies of its source order, including those of others."""


L = TypeVar("L", bound=SubscriptionLook)


async def look_at_subscriptions(
    client: CommerceLayer, sources: dict[str, str | None]
) -> tuple[dict[str, OrderSubscription], list[OrderSubscription]]:
    """
    The subscriptions with these ids, and all others of their source orders, in one list call if possible.

    `sources` maps each id to its source order, or to None if that is not known yet.
    """
    known = [source for source in sources.values() if source is not None]
    found = await client.list_subscriptions_of(known) if known else []
    fresh = {each.id: each for each in found if each.id in sources}
    if missing := [each for each in sources if each not in fresh]:
        added = await client.get_subscriptions(missing)
        fresh |= added
        # For source orders that are known only now, the rivals have not been read yet.
        unseen = {each.source_order_id for each in added.values() if each.source_order_id} - set(known)
        found += await client.list_subscriptions_of(sorted(unseen)) if unseen else []
    return fresh, list({each.id: each for each in found}.values())


async def look_at_copies(client: CommerceLayer, renewals: Iterable[Renewal]) -> list[OrderCopy]:
    """All order copies of the renewals' source orders since their last settled periods, ours and others'."""
    of = _CopiesToList.of(renewals)
    return await client.list_order_copies_of(of.sources, of.since, without=of.known) if of else []


async def look_at_both(
    client: CommerceLayer, renewals: Sequence[Renewal]
) -> tuple[dict[str, OrderSubscription], list[OrderSubscription], list[OrderCopy]]:
    """
    The renewals' subscriptions, all others of their source orders, and the copies of these, in one list call.

    Where that list does not show a subscription completely, those are listed once more by themselves.
    """
    of = _CopiesToList.of(renewals)
    if of is None:
        return {}, [], []
    seen = await look_at_source_orders(client, of.sources, of.since, without=of.known)
    rivals = [each for found in seen.subscriptions.values() for each in found]
    fresh = {each.id: each for each in rivals}
    unseen: dict[str, str | None] = {
        each.subscription_id: each.source_order_id for each in renewals if each.subscription_id not in fresh
    }
    added, more = await look_at_subscriptions(client, unseen) if unseen else ({}, [])
    return fresh | added, list({each.id: each for each in [*rivals, *more]}.values()), seen.copies


@dataclass(frozen=True)
class _CopiesToList:
    """Which order copies a look needs, besides those that are recorded."""

    sources: Sequence[str]
    since: datetime
    known: Sequence[str]

    @classmethod
    def of(cls, renewals: Iterable[Renewal]) -> _CopiesToList | None:
        if not (renewals := list(renewals)):
            return None
        known = [copy_id for each in renewals if (copy_id := recorded_copy(each))]
        return cls(sorted({each.source_order_id for each in renewals}), min(map(made_since, renewals)), known)


class LastLooks:
    """Looks for the renewals of one run, 25 at a time. A look is used while it is fresh, then read again."""

    def __init__(self, client: CommerceLayer) -> None:
        self._client = client
        self._to_place: dict[str, Renewal] = {}
        self._to_record: dict[str, Renewal] = {}
        self._looks: dict[str, SubscriptionLook] = {}
        self._forgotten: set[str] = set()
        self._one_call = asyncio.Lock()

    @contextmanager
    def waiting_to_place(self, renewal: Renewal) -> Iterator[None]:
        """Within this context, other reads for placements include this renewal."""
        self._to_place[renewal.subscription_id] = renewal
        try:
            yield
        finally:
            self._to_place.pop(renewal.subscription_id, None)

    def placements_waiting(self) -> int:
        """How many renewals wait to be placed, or are being placed."""
        return len(self._to_place)

    @contextmanager
    def waiting_to_record(self, renewal: Renewal) -> Iterator[None]:
        """Within this context, other reads for records include this renewal."""
        self._to_record[renewal.subscription_id] = renewal
        try:
            yield
        finally:
            self._to_record.pop(renewal.subscription_id, None)

    def forget(self, subscription_id: str) -> None:
        """Read the subscription again next time: it was changed, or a request failed."""
        self._looks.pop(subscription_id, None)
        # A read that is under way may show it as it was before.
        self._forgotten.add(subscription_id)

    async def before_placing(self, renewal: Renewal) -> Look:
        """
        The subscription, its rivals and its source order's copies, at most seconds old.

        Raises:
            CommerceLayerError: they could not be read, or so slowly that they are too old to use.
        """
        for _ in range(LOOK_TRIES):
            look = await self._look(Look, renewal, self._to_place, self._read_to_place)
            if not look.taken.is_over:
                return look
        raise ReadFailed("/api/order_subscriptions", "each look came too late to be acted upon", LOOK_TRIES)

    async def before_recording(self, renewal: Renewal) -> OrderSubscription | None:
        """
        The subscription, seconds old if it can be read that fast; None when it is deleted.

        Raises:
            CommerceLayerError: it could not be read.
        """
        look = await self._look(SubscriptionLook, renewal, self._to_record, self._read_to_record)
        return look.subscription

    async def _look(
        self,
        kind: type[L],
        renewal: Renewal,
        waiting: dict[str, Renewal],
        read: Callable[[Sequence[Renewal]], Awaitable[None]],
    ) -> L:
        if (known := self._fresh(kind, renewal)) is not None:
            return known
        async with self._one_call:
            while (known := self._fresh(kind, renewal)) is None:
                if len(waiting) < PAGE_SIZE:
                    await current_clock().sleep(WAIT_FOR_OTHERS)
                await self._until_there_is_room()
                others = [each for each in self._stale(kind, waiting) if each is not renewal]
                self._forgotten.clear()
                await read([renewal, *others][:PAGE_SIZE])
                look = self._looks.get(renewal.subscription_id)
                if isinstance(look, kind):
                    return look
            return known

    async def _until_there_is_room(self) -> None:
        """Wait for the rate limit before the look begins, so that the wait does not make the look old."""
        if (left := await self._client.room_for_a_look()) > 0:
            await current_clock().sleep(left)

    def _fresh(self, kind: type[L], renewal: Renewal) -> L | None:
        look = self._looks.get(renewal.subscription_id)
        return look if isinstance(look, kind) and not look.taken.is_over else None

    def _stale(self, kind: type[L], waiting: dict[str, Renewal]) -> list[Renewal]:
        """In the order in which they began to wait: the rate limit lets them go in the same order."""
        return [each for each in waiting.values() if self._fresh(kind, each) is None]

    async def _read_to_place(self, placing: Sequence[Renewal]) -> None:
        await self._read_all([*placing, *self._stale(SubscriptionLook, self._to_record)])

    async def _read_to_record(self, recording: Sequence[Renewal]) -> None:
        if placing := self._stale(Look, self._to_place):
            await self._read_all([*recording, *placing])
            return
        taken = Freshness()
        fresh = await self._client.get_subscriptions(each.subscription_id for each in recording)
        self._keep(
            {each.subscription_id: SubscriptionLook(fresh.get(each.subscription_id), taken) for each in recording}
        )

    async def _read_all(self, renewals: Sequence[Renewal]) -> None:
        """Look at the first 25 of these, which is enough for placements and for records."""
        together = list({each.subscription_id: each for each in renewals}.values())[:PAGE_SIZE]
        taken = Freshness()
        fresh, rivals, copies = await look_at_both(self._client, together)
        self._keep(
            {
                each.subscription_id: Look(
                    fresh.get(each.subscription_id),
                    taken,
                    [other for other in rivals if other.source_order_id == each.source_order_id],
                    [copy for copy in copies if copy.source_order_id == each.source_order_id],
                )
                for each in together
            }
        )

    def _keep(self, looks: Mapping[str, SubscriptionLook]) -> None:
        self._looks |= {key: look for key, look in looks.items() if key not in self._forgotten}
