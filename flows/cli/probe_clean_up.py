"""What `perennial probe` does at its end, however it ends: it cancels and deletes all that it has made."""

from __future__ import annotations

from collections.abc import Awaitable, Iterator
from contextlib import contextmanager

from blocks.commerce_layer.clock import current_clock
from blocks.commerce_layer.errors import ApiError, CommerceLayerError, NotFound, ReadFailed
from blocks.commerce_layer.statuses import OrderStatus, PaymentStatus
from blocks.commerce_layer.views import COPIES, ORDERS, SUBSCRIPTIONS, WALLET
from flows.cli.probe_work import LONGEST, ProbeWork, until

PASSES = 3
SETTLE = 3.0
"""Seconds between two looks for what is left: a creation whose answer was lost may still be on its way."""


class CleanUp:
    """The end of one probe."""

    def __init__(self, work: ProbeWork) -> None:
        self._work, self._shop = work, work.shop
        self._unlisted: list[str] = []
        self._undone: list[str] = []
        self._cancelled: set[str] = set()

    @property
    def left(self) -> list[str]:
        """What a person has to look at: lists that could not be read, and what could not be cancelled or deleted."""
        return [*self._unlisted, *self._undone]

    async def run(self) -> None:
        """Cancel and delete, and look again until nothing more is found."""
        seen: set[str] = set()
        for number in range(PASSES):
            if number:
                await current_clock().sleep(SETTLE)
            self._unlisted.clear()
            await self._look()
            if number and self._there() <= seen:
                return
            self._undone.clear()
            await self._tidy()
            seen = self._there()

    def _there(self) -> set[str]:
        work = self._work
        return {*work.copies, *work.orders, *work.subscriptions, *work.cards}

    async def _look(self) -> None:
        """Find by the probe's reference what no answer has told."""
        work, shop = self._work, self._shop
        for endpoint, known in ((SUBSCRIPTIONS, work.subscriptions), (COPIES, work.copies), (WALLET, work.cards)):
            with self._may_fail(f"{endpoint} with the reference of this probe could not be listed", self._unlisted):
                _add(known, await shop.made(endpoint))
        if work.source_order_id is not None:
            with self._may_fail(f"copies of order {work.source_order_id} could not be listed", self._unlisted):
                _add(work.copies, await shop.copies_of(work.source_order_id))

    async def _tidy(self) -> None:
        work = self._work
        for subscription in work.subscriptions:
            await self._do(self._shop.stop_subscription(subscription), f"subscription {subscription} is not cancelled")
        for copy in work.copies:
            await self._do(self._wait_for(copy), f"order copy {copy} may still make an order")
        for order in dict.fromkeys(work.orders):
            if order not in self._cancelled:
                await self._do(self._cancel(order), f"order {order} is not cancelled")
        for endpoint, made in ((COPIES, work.copies), (SUBSCRIPTIONS, work.subscriptions), (WALLET, work.cards)):
            for each in made:
                await self._do(self._shop.delete(endpoint, each), f"{endpoint} {each} is not deleted")
        for order in dict.fromkeys(work.orders):
            await self._delete_order(order)

    async def _wait_for(self, copy_id: str) -> None:
        """Learn which order a copy has made, once it has ended."""
        copy = await until(lambda: self._work.ended_copy(copy_id), LONGEST)
        if copy is None:
            raise ReadFailed(f"/api/{COPIES}/{copy_id}", f"it has not ended after {LONGEST:g} s")
        _add(self._work.orders, [copy.target_order_id] if copy.target_order_id else [])

    async def _cancel(self, order_id: str) -> None:
        order = await self._shop.client.get_order(order_id)
        if order.status is not OrderStatus.CANCELLED:
            order = await self._shop.cancel(order)
        if order.payment_status is PaymentStatus.PAID:
            await self._shop.refund(order_id)
        self._cancelled.add(order_id)

    async def _delete_order(self, order_id: str) -> None:
        """Delete an order. The shop may refuse that, as for every order that was placed; then it stays, cancelled."""
        try:
            await self._shop.delete(ORDERS, order_id)
        except ApiError:
            return
        except CommerceLayerError as error:
            self._undone.append(f"order {order_id} may not be deleted: {error}")

    async def _do(self, act: Awaitable[None], otherwise: str) -> None:
        with self._may_fail(otherwise, self._undone):
            await act

    @contextmanager
    def _may_fail(self, otherwise: str, told: list[str]) -> Iterator[None]:
        try:
            yield
        except NotFound:
            return
        except CommerceLayerError as error:
            told.append(f"{otherwise}: {error}")


def _add(known: list[str], found: list[str]) -> None:
    known += [each for each in found if each not in known]
