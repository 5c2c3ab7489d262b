"""
How the order that a failed copy left unplaced is placed: announced first, and only then sent.

The API makes placing a placed order harmless, but not trying a card twice. An attempt whose record is lost would be
made again by the next sweep, and by the one after it: the customer's bank sees a card tried every fifteen minutes. So:

1.  The attempt is written on the subscription, under the shard's lease.  *Dead here:* it counts as made; the next run
    finds the order unplaced, takes it for a failed attempt, and waits as the policy says.
2.  If the subscription has another payment source than when the last attempt failed, the order is given that one.
3.  The order is placed, once. The answer is judged and recorded like any other.

Each of the three is sent upon a look at the subscription that is seconds old: who cancels, pauses or postpones while a
request waits for the rate budget is left alone, and the announcement is taken back.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace

from blocks.commerce_layer.client import SubscriptionChange
from blocks.commerce_layer.clock import current_clock
from blocks.commerce_layer.errors import (
    AuthenticationFailed,
    CommerceLayerError,
    Fenced,
    InvalidToken,
    Refused,
    Unauthorized,
    WriteFateUnknown,
    WrongShop,
)
from blocks.commerce_layer.resources import Order, OrderSubscription
from flows.rules.acts import Place, guard
from flows.rules.evidence import Evidence, OrderPlaced, PlacementRefused
from flows.rules.renewal import Renewal, Skipped
from flows.tasks.freshness import Freshness, LookTooOld
from flows.tasks.leases import Lease
from flows.tasks.shop import Shop

_NOT_LET_IN = (AuthenticationFailed, WrongShop, InvalidToken, Unauthorized)


@dataclass(frozen=True)
class Placed:
    """What came of it: the work as it stands on the subscription now, and the evidence, or why it was left alone."""

    work: Renewal
    evidence: Evidence | None = None
    skipped: Skipped | None = None


class Placement:
    """
    One attempt to place the order of a renewal.

    Args:
        shop: where we work.
        lease: of the subscription's shard, held until the fate is known.
        work: the renewal as it was looked at.
        act: what to place, and which attempt it is.
        look: when it was looked at.
    """

    def __init__(self, shop: Shop, lease: Lease, work: Renewal, act: Place, look: Freshness) -> None:
        self._shop, self._lease, self._work, self._act, self._look = shop, lease, work, act, look
        self._is_announced = False

    async def carry_out(self) -> Placed:
        """Announce it, pay with what the customer wants to pay with, and place it. Never raises for API answers."""
        try:
            while True:
                try:
                    if not self._is_announced:
                        await self._announce()
                    await self._take_new_payment_source()
                    return Placed(self._work, await self._place())
                except LookTooOld:
                    if skipped := await self._look_again():
                        await self._take_it_back()
                        return Placed(self._work, skipped=skipped)
        except Refused as refused:  # the payment source: the order cannot be paid with it
            return Placed(self._work, PlacementRefused(refused, await order_as_it_is(self._shop, self._order_id)))
        except CommerceLayerError as error:
            sent_nothing = error if isinstance(error, _NOT_LET_IN) else Fenced(f"no attempt was made: {error}")
            return Placed(self._work, PlacementRefused(sent_nothing))

    @property
    def _order_id(self) -> str:
        return self._act.target_order_id

    def _fence(self) -> None:
        self._lease.fence()
        self._look.check()

    async def _announce(self) -> None:
        shop, run_id = self._shop, self._shop.run.flow_run_id
        now = max(shop.as_of, shop.client.shop_time or shop.as_of)
        metadata = self._work.state.announcing(self._act.attempt, now, run_id).written_into(self._work.metadata)

        async def change() -> SubscriptionChange:
            self._fence()
            return SubscriptionChange(metadata)

        try:
            await shop.client.record_on_subscription(self._work.subscription_id, change)
        except Refused as refused:
            raise Fenced(f"the attempt could not be announced: {refused}") from refused
        except WriteFateUnknown:
            if (await self._read()).metadata != metadata:
                raise
        self._work = replace(self._work, metadata=metadata)
        self._is_announced = True

    async def _take_new_payment_source(self) -> None:
        source, known = self._work.payment_source_id, self._work.state.payment_source_id
        if source is not None and source != known:
            await self._shop.client.use_payment_source(self._order_id, source, fence=self._fence)

    async def _place(self) -> Evidence:
        """The one place in this project that asks for an order to be placed."""
        with self._lease.request_on_its_way() as fate_is_known:
            try:
                order = await self._shop.client.place_order(self._order_id, fence=self._fence)
            except LookTooOld:
                fate_is_known()
                raise
            except WriteFateUnknown as error:
                placed = await self._placed_meanwhile()
                fate_is_known()
                return PlacementRefused(error, placed)
            except CommerceLayerError as error:
                fate_is_known()
                return PlacementRefused(error, await order_as_it_is(self._shop, self._order_id))
            fate_is_known()
            return OrderPlaced(order)

    async def _placed_meanwhile(self) -> Order | None:
        """The order as it stands when it turns out to be placed, or when the settle time is over."""
        clock = current_clock()
        ends_at = clock.monotonic() + self._shop.terms.settle_seconds
        while True:
            order = await order_as_it_is(self._shop, self._order_id)
            left = ends_at - clock.monotonic()
            if left <= 0 or (order is not None and order.is_placed):
                return order
            await clock.sleep(min(2.0, left))

    async def _look_again(self) -> Skipped | None:
        look = Freshness()
        fresh = await self._read_if_there()
        self._look = look
        changed = guard(self._work, fresh, (), (), self._shop.as_of)
        if fresh is not None and changed is None:
            self._work = replace(
                self._work, metadata=dict(fresh.metadata), payment_source_id=fresh.customer_payment_source_id
            )
        return changed

    async def _take_it_back(self) -> None:
        """The attempt was not made after all: say so, or it would count. Should that fail, it counts."""
        if not self._is_announced:
            return
        with suppress(CommerceLayerError):
            fresh = await self._read()
            await self._shop.client.update_subscription(
                fresh.id, metadata=self._work.state.written_into(fresh.metadata)
            )

    async def _read(self) -> OrderSubscription:
        fresh = await self._read_if_there()
        if fresh is None:
            raise Fenced(f"subscription {self._work.subscription_id} is gone")
        return fresh

    async def _read_if_there(self) -> OrderSubscription | None:
        subscription_id = self._work.subscription_id
        return (await self._shop.client.get_subscriptions([subscription_id])).get(subscription_id)


async def order_as_it_is(shop: Shop, order_id: str) -> Order | None:
    """The order, or `None` when it cannot be read."""
    try:
        return await shop.client.get_order(order_id)
    except CommerceLayerError:
        return None
