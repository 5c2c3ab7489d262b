"""
Order copies that are made ahead, before their period is due.

A prepared copy is an ordinary copy of its period, with its reference. Only its date tells it from others, and no other
system can change that.
"""

from datetime import datetime, timedelta

from blocks.commerce_layer.resources import Order, OrderCopy
from flows.rules.order_copies import FAILED_STATUSES
from flows.rules.state import RenewalState

SOON = timedelta(minutes=10)
"""
What is due sooner is not prepared: its sweep copies it in a moment. A sweep's `as_of` is five minutes ahead of the shop
at most, so a copy that was made this long before its period is due was prepared.
"""


def is_prepared(copy: OrderCopy, due: datetime) -> bool:
    """Whether this copy of the period `due` was made ahead."""
    return copy.created_at is not None and copy.created_at < due - SOON


def is_untried(copy: OrderCopy, due: datetime, state: RenewalState) -> bool:
    """
    Whether this copy was made ahead, and no attempt to place its order is known; `state` is that of its period.
    """
    has_errors = copy.target_order is not None and bool(copy.target_order.errors_count)
    return is_prepared(copy, due) and not has_errors and state.attempt == 0 and state.order_copy_id is None


def has_failed_ahead(copy: OrderCopy, due: datetime, state: RenewalState) -> bool:
    """
    Whether this copy failed when it was made ahead: that is no attempt, and another copy is made when it is due.

    A copy that a run has recorded counts as an attempt. So does one of version 0.1, which prepared nothing.
    """
    is_ours_alone = state.order_copy_id != copy.id and not copy.place_target_order
    return copy.status in FAILED_STATUSES and is_prepared(copy, due) and is_ours_alone


def may_have_been_tried(copy: OrderCopy, order: Order, due: datetime, state: RenewalState) -> bool:
    """
    Whether an earlier run may have attempted to place the order of this copy, without recording that.

    An attempt is made once the period is due. It leaves an error on the order, or changes it.
    """
    is_unchanged = order.updated_at is not None and order.updated_at < due - SOON
    return not (is_unchanged and not order.errors_count and is_untried(copy, due, state))
