"""Reads an order after the request to place it: whether it shows the result of that request, and how it ended."""

from __future__ import annotations

from collections.abc import Sequence

from blocks.commerce_layer.errors import CommerceLayerError
from blocks.commerce_layer.resources import Order, OrderCopy
from blocks.commerce_layer.statuses import OrderStatus
from flows.rules.findings import OrderAnswered
from flows.rules.next_action import Place
from flows.rules.order_copies import is_moving
from flows.rules.work import Work, references_of
from flows.run.context import Run


def tells_what_came_of_it(attempt: Place, order: Order) -> bool:
    """Whether the order shows how the attempt ended, or that the attempt is under way."""
    has_new_errors = (order.errors_count or 0) > (attempt.order.errors_count or 0)
    return order.is_placed or is_moving(order) or order.status is OrderStatus.CANCELLED or has_new_errors


async def once_it_ended(run: Run, work: Work, answered: OrderAnswered) -> OrderAnswered:
    """The answer once the order is no longer `placing`. A market that places in the background answers `placing`."""
    if not is_moving(answered.order):
        return answered
    attempt = answered.attempt

    def is_done(copies: Sequence[OrderCopy]) -> bool:
        order = _order_in(copies, attempt)
        return order is not None and not is_moving(order) and tells_what_came_of_it(attempt, order)

    polled = await run.poller.wait_for(references_of(work), attempt.copy, is_done)
    return OrderAnswered(attempt, _order_in(polled.copies, attempt) or answered.order) if polled.is_done else answered


def _order_in(copies: Sequence[OrderCopy], attempt: Place) -> Order | None:
    return next((copy.target_order for copy in copies if copy.id == attempt.copy.id), None)


async def order_as_it_is(run: Run, attempt: Place) -> Order | None:
    """The order, or `None` when it cannot be read."""
    try:
        return await run.client.get_order(attempt.order.id)
    except CommerceLayerError:
        return None
