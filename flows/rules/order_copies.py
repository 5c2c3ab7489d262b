"""
Which of several order copies of one period counts: the canonical copy.

Any number of runs may create copies under one reference. They all read the same list and choose by the same rule, so
that they place the same order, and placing it twice charges once.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Self

from blocks.commerce_layer.resources import Order, OrderCopy, OrderCopyStatus, OrderStatus

FAILED_STATUSES = frozenset({OrderCopyStatus.FAILED, OrderCopyStatus.ABORTED})
MOVING_STATUSES = frozenset({OrderStatus.PLACING, OrderStatus.UNKNOWN})
"""Orders that may be placed in a moment, without another request."""

WITHDRAWN = "withdrawn"
"""Key under `metadata.perennial` of an order that we cancelled before it was placed; its value says why."""

_END_OF_TIME = datetime.max.replace(tzinfo=UTC)


def is_placed(copy: OrderCopy) -> bool:
    """Whether the copy's order is placed, or is being placed: the customer is charged."""
    order = copy.target_order
    return order is not None and (order.is_placed or order.status is OrderStatus.PLACING)


def is_withdrawn(order: Order) -> bool:
    """Whether we cancelled this order ourselves before it was placed, so that another copy may take its place."""
    ours = order.metadata.get("perennial")
    return order.status is OrderStatus.CANCELLED and isinstance(ours, dict) and WITHDRAWN in ours


def is_open(copy: OrderCopy) -> bool:
    """Whether the copy has an order that could still be placed, by us or by the customer."""
    order = copy.target_order
    if order is None:
        return copy.target_order_id is not None
    return not order.is_placed and order.status not in MOVING_STATUSES | {OrderStatus.CANCELLED}


def _may_become_a_renewal(copy: OrderCopy) -> bool:
    """Whether the copy is live: neither failed nor aborted, and its order not cancelled."""
    if copy.target_order is not None and copy.target_order.status is OrderStatus.CANCELLED:
        return False
    if copy.status in FAILED_STATUSES:
        # A copy that was to place its order itself has a complete one, which only could not be placed. Any other
        # failed copy may have left an order that lacks a line.
        return copy.place_target_order and is_open(copy)
    return True


def _by_age(copy: OrderCopy) -> tuple[datetime, str]:
    return copy.created_at or _END_OF_TIME, copy.id


@dataclass(frozen=True, slots=True)
class CopiesOfPeriod:
    """
    The order copies of one reference, as one look shows them, oldest first.

    `placed`: those whose order is placed or being placed; more than one is a double charge. `live`: those that may
    become a renewal; the first is the canonical one. `ended`: those that failed or whose order was cancelled.
    """

    placed: tuple[OrderCopy, ...]
    live: tuple[OrderCopy, ...]
    ended: tuple[OrderCopy, ...]

    @classmethod
    def of(cls, copies: Iterable[OrderCopy]) -> Self:
        """Sort them out. A copy that is listed twice is one copy."""
        oldest_first = sorted({copy.id: copy for copy in copies}.values(), key=_by_age)
        placed = tuple(copy for copy in oldest_first if is_placed(copy))
        others = [copy for copy in oldest_first if copy not in placed]
        live = tuple(copy for copy in others if _may_become_a_renewal(copy))
        return cls(placed, live, tuple(copy for copy in others if copy not in live))

    @property
    def canonical(self) -> OrderCopy | None:
        """The copy that counts: the one whose order is placed, else the earliest live one."""
        return next(iter(self.placed + self.live), None)

    @property
    def places_itself(self) -> OrderCopy | None:
        """A copy that is under way and will place its order without us: one of version 0.1."""
        return next((copy for copy in self.live if copy.place_target_order and not copy.is_final), None)

    @property
    def surplus(self) -> tuple[OrderCopy, ...]:
        """
        Copies whose unplaced orders are to be cancelled, because another one counts or they are incomplete.

        Empty as long as the canonical copy has no order yet: should it fail, the next one takes its place.
        """
        incomplete = tuple(copy for copy in self.ended if is_open(copy))
        first = self.canonical
        if first is None or first.target_order is None:
            return incomplete
        return incomplete + tuple(copy for copy in self.live if copy is not first and is_open(copy))
