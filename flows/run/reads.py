"""
The last look before a customer is charged, and before a record is written: read for one, shared by 25.

Placements and records wait for the rate limit, sometimes for minutes. Each is sent upon a look that is seconds old,
taken when the limit lets it go, and the same list calls read for those that are next.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime

from blocks.commerce_layer.client import CommerceLayer
from blocks.commerce_layer.clock import current_clock
from blocks.commerce_layer.jsonapi import PAGE_SIZE
from blocks.commerce_layer.resources import OrderCopy, OrderSubscription
from flows.rules.renewal import Renewal
from flows.rules.skips import NATIVE_STATUSES
from flows.rules.unrecorded import looked_back_to, recorded_copy
from flows.run.freshness import Freshness

LINGER = 0.25
"""Seconds that a call with places left waits for company; nothing that a customer or a limit would notice."""


@dataclass(frozen=True)
class Look:
    """What one look shows of a subscription; `subscription` is None when it is gone."""

    subscription: OrderSubscription | None
    rivals: Sequence[OrderSubscription]
    """Other subscriptions of the same source order that Commerce Layer's own engine may renew."""
    copies: Sequence[OrderCopy]
    """The recent order copies of its source order, whoever made them."""
    taken: Freshness


async def look_at_subscriptions(
    client: CommerceLayer, sources: dict[str, str | None]
) -> tuple[dict[str, OrderSubscription], list[OrderSubscription]]:
    """
    The subscriptions with these ids, and the rivals of their source orders, in one list call where that is possible.

    `sources` maps each id to its source order, or to None where that is not known yet.
    """
    known = [source for source in sources.values() if source is not None]
    found = await client.list_subscriptions_of(known) if known else []
    fresh = {each.id: each for each in found if each.id in sources}
    if missing := [each for each in sources if each not in fresh]:
        added = await client.get_subscriptions(missing)
        fresh |= added
        # Those whose source order is known now have rivals that nobody has looked for yet.
        unseen = {each.source_order_id for each in added.values() if each.source_order_id} - set(known)
        found += await client.list_subscriptions_of(sorted(unseen)) if unseen else []
    return fresh, [each for each in found if each.status in NATIVE_STATUSES]


async def look_at_copies(client: CommerceLayer, renewals: Iterable[Renewal]) -> list[OrderCopy]:
    """What was made of the renewals' source orders since their last settled periods, by us and by others."""
    renewals = list(renewals)
    if not renewals:
        return []
    sources = sorted({each.source_order_id for each in renewals})
    since: datetime = min(min(each.due, looked_back_to(each)) for each in renewals)
    known = [copy_id for each in renewals if (copy_id := recorded_copy(each))]
    return await client.list_order_copies_of(sources, since, without=known)


class LastLooks:
    """Looks for the renewals of one run, 25 at a time. A look is handed out while it is fresh, and read again then."""

    def __init__(self, client: CommerceLayer) -> None:
        self._client = client
        self._waiting: dict[str, Renewal] = {}
        self._looks: dict[str, Look] = {}
        self._one_call = asyncio.Lock()

    @asynccontextmanager
    async def waiting(self, renewal: Renewal) -> AsyncIterator[None]:
        """While this lasts, the renewal's subscription is read along with others that are read."""
        self._waiting[renewal.subscription_id] = renewal
        try:
            yield
        finally:
            self._waiting.pop(renewal.subscription_id, None)

    def forget(self, subscription_id: str) -> None:
        """Read it again next time: it has been changed, or something went wrong."""
        self._looks.pop(subscription_id, None)

    async def of(self, renewal: Renewal) -> Look:
        """
        The subscription, its rivals and its source order's copies as they were seconds ago at the most.

        Raises:
            CommerceLayerError: they could not be read.
        """
        async with self._one_call:
            look = self._looks.get(renewal.subscription_id)
            if look is None or look.taken.is_over:
                if len(self._waiting) < PAGE_SIZE:
                    await current_clock().sleep(LINGER)
                await self._read_along_with(renewal)
                look = self._looks[renewal.subscription_id]
            return look

    async def _read_along_with(self, renewal: Renewal) -> None:
        # In the order in which they began to wait, which is the order in which the rate limit lets them go.
        others = [each for each in self._waiting.values() if not self._is_read(each) and each is not renewal]
        together = [renewal, *others[: PAGE_SIZE - 1]]
        taken = Freshness()
        sources: dict[str, str | None] = {each.subscription_id: each.source_order_id for each in together}
        fresh, rivals = await look_at_subscriptions(self._client, sources)
        copies = await look_at_copies(self._client, together)
        for each in together:
            source = each.source_order_id
            self._looks[each.subscription_id] = Look(
                fresh.get(each.subscription_id),
                [other for other in rivals if other.source_order_id == source],
                [copy for copy in copies if copy.source_order_id == source],
                taken,
            )

    def _is_read(self, renewal: Renewal) -> bool:
        look = self._looks.get(renewal.subscription_id)
        return look is not None and not look.taken.is_over
