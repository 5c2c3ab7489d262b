"""
Which of several order copies of one period counts: the canonical copy.

Any number of runs may create copies with one reference. They all read the same list and choose by the same rule. So
they place the same order, and placing an order twice charges once.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Self

from blocks.commerce_layer.resources import Order, OrderCopy
from blocks.commerce_layer.statuses import OrderCopyStatus, OrderStatus

FAILED_STATUSES = frozenset({OrderCopyStatus.FAILED, OrderCopyStatus.ABORTED})

WITHDRAWN = "withdrawn"
"""Key in the `metadata.perennial` of an order that we cancelled before it was placed; its value says why."""

_END_OF_TIME = datetime.max.replace(tzinfo=UTC)


def is_placed(copy: OrderCopy) -> bool:
    """Whether the copy's order is placed, or is being placed: the customer is charged."""
    order = copy.target_order
    return order is not None and (order.is_placed or order.status is OrderStatus.PLACING)


def is_moving(order: Order) -> bool:
    """
    Whether an order may be placed without a request of ours, now or in a moment.

    It is being placed, its status is one that we do not know, or staff are editing it.
    """
    return not order.is_placed and order.status in {OrderStatus.PLACING, OrderStatus.UNKNOWN, OrderStatus.EDITING}


def is_undecided(copy: OrderCopy) -> bool:
    """Whether the copy's order may be placed without a request of ours: `is_moving`, or a copy of version 0.1."""
    places_itself = copy.place_target_order and not copy.is_final
    return places_itself or (copy.target_order is not None and is_moving(copy.target_order))


def is_withdrawn(order: Order) -> bool:
    """Whether we cancelled this order ourselves before it was placed, so that another copy may take its place."""
    ours = order.metadata.get("perennial")
    is_marked = isinstance(ours, dict) and WITHDRAWN in ours
    # Another run placed it just as we cancelled it: the customer was charged.
    return order.status is OrderStatus.CANCELLED and order.placed_at is None and is_marked


def noted(order: Order, key: str, value: str) -> dict[str, Any]:
    """The order's metadata with one more entry in `perennial`; what others wrote stays."""
    ours = order.metadata.get("perennial")
    return {**order.metadata, "perennial": {**(ours if isinstance(ours, dict) else {}), key: value}}


def is_open(copy: OrderCopy) -> bool:
    """Whether the copy has an order that could still be placed, by us or by the customer."""
    order = copy.target_order
    if order is None:
        return copy.target_order_id is not None
    return not order.is_placed and not is_moving(order) and order.status is not OrderStatus.CANCELLED


def _may_become_a_renewal(copy: OrderCopy) -> bool:
    """Whether the copy is live: neither failed nor aborted, and its order not cancelled."""
    if copy.target_order is not None and copy.target_order.status is OrderStatus.CANCELLED:
        return False
    if copy.status in FAILED_STATUSES:
        # A failed copy that was to place its order itself has a complete order, which only could not be placed. The
        # order of any other failed copy may lack a line.
        return is_undecided(copy) or (copy.place_target_order and is_open(copy))
    return True


def is_refused(copy: OrderCopy) -> bool:
    """Whether the customer or staff cancelled the copy's complete order."""
    order = copy.target_order
    if order is None or order.status is not OrderStatus.CANCELLED or is_withdrawn(order):
        return False
    return copy.status not in FAILED_STATUSES or copy.place_target_order


def _by_age(copy: OrderCopy) -> tuple[datetime, str]:
    return copy.created_at or _END_OF_TIME, copy.id


@dataclass(frozen=True, slots=True)
class CopiesOfPeriod:
    """
    The order copies with one reference, as just read, oldest first.

    `placed`: those whose order is placed or being placed; more than one is a double charge. `live`: those that may
    become a renewal; the first is the canonical one. `ended`: those that failed or whose order was cancelled.
    """

    placed: tuple[OrderCopy, ...]
    live: tuple[OrderCopy, ...]
    ended: tuple[OrderCopy, ...]

    @classmethod
    def of(cls, copies: Iterable[OrderCopy]) -> Self:
        """Sort the copies. A copy that is listed twice is one copy."""
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
    def awaited(self) -> OrderCopy | None:
        """A copy that must end before any order is placed: it is not known yet whether its own order is, or will be."""
        return next((copy for copy in self.live if is_undecided(copy) or _is_order_unseen(copy)), None)

    @property
    def refused(self) -> tuple[OrderCopy, ...]:
        """
        Copies older than the live ones whose orders the customer or staff cancelled.

        They did not want this renewal, so no later copy may take its place.
        """
        return tuple(copy for copy in self.ended if is_refused(copy) and self._is_before_the_live(copy))

    @property
    def surplus(self) -> tuple[OrderCopy, ...]:
        """
        Copies whose unplaced orders are to be cancelled, because another copy counts or they are incomplete.

        Until the canonical copy has ended with an order, only the incomplete ones: if it fails, the next copy replaces
        it.
        """
        incomplete = tuple(copy for copy in self.ended if is_open(copy))
        first = self.canonical
        if first is None or not (is_placed(first) or (first.is_final and first.target_order is not None)):
            return incomplete
        return incomplete + tuple(copy for copy in self.live if copy is not first and is_open(copy))

    def _is_before_the_live(self, copy: OrderCopy) -> bool:
        return not self.live or _by_age(copy) < _by_age(self.live[0])


def _is_order_unseen(copy: OrderCopy) -> bool:
    return copy.is_final and copy.target_order is None and copy.target_order_id is not None
