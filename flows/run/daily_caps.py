"""What this run and all others have charged today, and whether the policy's caps leave room for one more order."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from blocks.commerce_layer.client import CommerceLayer
from blocks.commerce_layer.clock import current_clock
from blocks.commerce_layer.errors import ReadFailed
from blocks.commerce_layer.placed_orders import count_placed_orders, iter_placed_orders
from blocks.commerce_layer.resources import Order
from blocks.policy import Policy
from flows.rules.caps import Charged, cap_reached, has_caps, is_within_share, start_of_day
from flows.rules.price import Price

COUNT_LASTS = 10.0
"""Seconds after which the charges of others are counted again before the next order is placed."""

CLOCK_STEP = timedelta(seconds=5)
"""Orders that were placed this long before the last count, which is longer than lists lag, were in it."""


class DailyCaps:
    """
    Counts what was charged today. Costs nothing if the policy has no caps.

    The charges of others are read from the shop at most ten seconds before an order is placed, and again after this run
    has used part of the remaining room. What this run has begun to charge counts at once.

    Args:
        client: the open client.
        policy: the merchant's policy.
        as_of: the present, used until the shop's clock is known.
    """

    def __init__(self, client: CommerceLayer, policy: Policy, as_of: datetime) -> None:
        self._client, self._policy, self._as_of = client, policy, as_of
        self._one_count = asyncio.Lock()
        self._counts = 0
        self._counted_at: float | None = None
        self._day: datetime | None = None
        self._read_from = as_of
        self._placed: dict[str, Price] = {}
        self._placed_in_all = Charged()  # includes today's orders whose ids are not known
        self._under_way: dict[str, Price] = {}
        self._seen, self._since = Charged(), Charged()
        self._turned_away: list[Price] = []
        self.reached: str | None = None
        """Which cap is reached, and what to do; None while there is room."""

    def is_counted(self, order: Order | None = None) -> bool:
        """Whether the last count is good enough to decide about this order (or any order); if not, `count` first."""
        if not has_caps(self._policy):
            return True
        if self._counted_at is None or current_clock().monotonic() - self._counted_at > COUNT_LASTS:
            return False
        return order is None or is_within_share(self._policy, self._seen, self._since, Price.of(order))

    async def count(self) -> None:
        """
        Read what all runs charged today, unless another task of this run has just done so.

        Raises:
            CommerceLayerError: it could not be read, or so slowly that it is too old to use.
        """
        known = self._counts
        async with self._one_count:
            if self._counts != known:
                return
            began = current_clock().monotonic()
            await self._read()
            if current_clock().monotonic() - began > COUNT_LASTS:
                raise ReadFailed("/api/orders", "what was charged today was counted too slowly to be acted upon")
            self._counted_at, self._seen, self._since = began, self._charged(), Charged()
            self._counts += 1
        self.reached = self.reached or cap_reached(self._policy, self._placed_in_all)

    async def _read(self) -> None:
        moment = self._client.shop_time or self._as_of
        # Orders placed until then are in every list by now. Later ones are read again, and known by their ids.
        settled = moment - timedelta(seconds=self._policy.settle_seconds) - CLOCK_STEP
        day = start_of_day(moment, ZoneInfo(self._policy.time_zone))
        if day != self._day:
            await self._begin(day, settled)
        async for page in iter_placed_orders(self._client, self._read_from):
            for order in page:
                self._note_placed(order.id, Price.of(order))
        self._read_from = max(day, settled)

    async def _begin(self, day: datetime, settled: datetime) -> None:
        # One list call shows how many there are; their amounts must all be read.
        read_from = day if self._policy.max_amount_per_day else max(day, settled)
        before = await count_placed_orders(self._client, day, read_from) if read_from > day else 0
        self._placed, self._placed_in_all = {}, Charged(before)
        self._day, self._read_from = day, read_from

    def refusal(self, order: Order) -> str | None:
        """Which cap forbids placing this order; None when there is room, as far as known."""
        if not has_caps(self._policy) or order.id in self._under_way or order.id in self._placed:
            return None
        price = Price.of(order)
        full = cap_reached(self._policy, self._charged(), price)
        if full is not None:
            self._turned_away.append(price)
            self._look_for_room()
        return full

    def take(self, order: Order) -> str | None:
        """Count an order that is placed next, unless there is a `refusal`."""
        full = self.refusal(order)
        if full is None and has_caps(self._policy) and order.id not in self._under_way:
            self._under_way[order.id] = Price.of(order)
            self._since += Charged.of([Price.of(order)])
        return full

    def settle(self, order_id: str, *, may_be_placed: bool) -> None:
        """Note how the placement of a counted order ended: if it was not placed, its room is free again."""
        price = self._under_way.pop(order_id, None)
        if price is not None and may_be_placed:
            self._note_placed(order_id, price)
        self._look_for_room()

    def _note_placed(self, order_id: str, price: Price) -> None:
        if order_id not in self._placed:
            self._placed[order_id] = price
            self._placed_in_all += Charged.of([price])

    def _look_for_room(self) -> None:
        """Only placed orders reach a cap: an order under way may still be declined."""
        if self.reached is None:
            reached = (cap_reached(self._policy, self._placed_in_all, price) for price in self._turned_away)
            self.reached = next((sentence for sentence in reached if sentence), None)

    def _charged(self) -> Charged:
        under_way = (price for order_id, price in self._under_way.items() if order_id not in self._placed)
        return self._placed_in_all + Charged.of(under_way)
