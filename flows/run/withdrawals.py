"""Cancels unplaced orders: those of surplus copies, and of renewals that are no longer wanted. It charges nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from prefect.events import emit_event
from prefect.logging import get_logger

from blocks.commerce_layer.client import CommerceLayer
from blocks.commerce_layer.clock import current_clock
from blocks.commerce_layer.errors import CommerceLayerError
from blocks.commerce_layer.resources import Order, OrderCopy
from blocks.commerce_layer.statuses import OrderStatus
from flows.rules.order_copies import WITHDRAWN, CopiesOfPeriod, is_moving, noted
from flows.run.freshness import LOOK_LASTS


class _NotToCancel(Exception):  # noqa: N818 - the name says what was found
    """The order is placed, may be placed at any moment, or is cancelled already."""

    def __init__(self, order: Order) -> None:
        super().__init__(order.id)
        self.order = order


class Withdrawals:
    """
    The orders that one run has cancelled.

    Args:
        client: the open client.
        organization: the shop's slug, for events.
        flow_run_id: the run, for events.
        settle_seconds: by how much list reads may lag.
    """

    def __init__(self, client: CommerceLayer, organization: str, flow_run_id: str, settle_seconds: float) -> None:
        self._older_looks_last = LOOK_LASTS + settle_seconds
        self._surplus: set[str] = set()
        self.cancelled_after_placing: list[str] = []
        """Orders that another run placed at the moment when this one cancelled them. A person must check them."""
        self._client, self._organization, self._flow_run_id = client, organization, flow_run_id
        self._logger = get_logger("perennial.withdrawals")

    @property
    def surplus(self) -> int:
        """Surplus copies whose orders were cancelled."""
        return len(self._surplus)

    async def cancel_surplus(self, copies: CopiesOfPeriod) -> None:
        """Cancel the unplaced orders of surplus copies."""
        counts = copies.canonical
        for copy in copies.surplus:
            order_id = copy.target_order_id or (copy.target_order.id if copy.target_order else None)
            why = f"surplus: order copy {counts.id} counts" if counts else "its order copy failed"
            if order_id is not None and await self._cancel(order_id, why) and counts and copy.id not in self._surplus:
                # A renewal and the review of the sweep may both have seen it at the same moment.
                self._surplus.add(copy.id)
                self._announce(copy, order_id, counts)

    async def withdraw(self, order_id: str, why: str) -> bool:
        """
        Cancel the order of a renewal that is no longer wanted, unless it is placed. Returns whether it was cancelled.

        Before it is cancelled, it waits until every read that may have shown the renewal as wanted is too old to use:
        until then another run may place the order because of such a read.
        """
        await current_clock().sleep(self._older_looks_last)
        return await self._cancel(order_id, why)

    async def _cancel(self, order_id: str, why: str) -> bool:
        """
        Cancel an order unless it is placed, and write the reason on it. Returns whether it was cancelled.

        The order is read when the rate limit lets the request go, before each try. If another run places it at that
        very moment, the answer shows it, and it is noted. If something fails, the next sweep tries again: an unplaced
        order charges nothing.
        """
        was_sent = False

        async def note() -> Mapping[str, Any]:
            nonlocal was_sent
            order = await self._client.get_order(order_id)
            if order.is_placed or is_moving(order) or order.status is OrderStatus.CANCELLED:
                raise _NotToCancel(order)
            was_sent = True
            return noted(order, WITHDRAWN, why)

        try:
            seen = await self._client.cancel_order(order_id, note)
        except _NotToCancel as found:
            if not was_sent:
                return False
            seen = found.order  # a try whose answer was lost may have cancelled it
        except CommerceLayerError as error:
            self._logger.warning("order %s could not be cancelled: %s", order_id, error)
            return False
        is_cancelled = seen.status is OrderStatus.CANCELLED
        if is_cancelled and seen.placed_at is not None:
            self.cancelled_after_placing.append(order_id)
        return is_cancelled

    def _announce(self, copy: OrderCopy, order_id: str, counts: OrderCopy) -> None:
        emit_event(
            event="perennial.copy.surplus",
            resource={
                "prefect.resource.id": f"perennial.order-copy.{copy.id}",
                "prefect.resource.name": copy.reference or copy.id,
                "perennial.organization": self._organization,
            },
            payload={
                "reference": copy.reference,
                "order_copy_id": copy.id,
                "target_order_id": order_id,
                "counts_instead": counts.id,
                "flow_run_id": self._flow_run_id,
            },
            id=uuid5(NAMESPACE_URL, f"perennial.copy.surplus/{copy.id}"),
        )
