"""
Which period an order copy or an order belongs to.

Its reference says so. Other systems may change references, so the metadata, which are written when a copy is created
and when an order is placed, name the period, too.
"""

from blocks.commerce_layer.resources import Order, OrderCopy
from flows.rules.references import REFERENCE_ORIGIN, Reference, parse_reference, reference_of
from flows.rules.state import KEY

RESCUE = "rescue"
"""Key in the `metadata.perennial` of a copy or an order of a rescue: its subscription is not adopted."""


def is_of_a_rescue(made: OrderCopy | Order) -> bool:
    """Whether a rescue made the copy or placed the order, for a run of Commerce Layer's own engine."""
    ours = made.metadata.get(KEY)
    return isinstance(ours, dict) and ours.get(RESCUE) is True


def period_of(copy: OrderCopy) -> Reference | None:
    """The subscription and the period of a copy; None when it is not the copy of a renewal."""
    by_reference = parse_reference(copy.reference) if copy.reference_origin == REFERENCE_ORIGIN else None
    return by_reference or _by_metadata(copy)


def period_of_order(order: Order) -> Reference | None:
    """
    The subscription and the period of an order; None when no renewal placed it.

    Other systems write their own references on orders more often than on copies, so the metadata come first.
    """
    return _by_metadata(order) or parse_reference(order.reference)


def first_reference(made: OrderCopy | Order) -> str | None:
    """The reference that Perennial gave to a copy or an order, also if another system has changed it since."""
    period = period_of_order(made) if isinstance(made, Order) else period_of(made)
    if period is None or parse_reference(made.reference) == period:  # it may end in #2, as in version 0.1
        return made.reference
    return reference_of(*period)


def _by_metadata(made: OrderCopy | Order) -> Reference | None:
    ours = made.metadata.get(KEY)
    if not isinstance(ours, dict):
        return None
    return parse_reference(f"{ours.get('subscription_id')}@{ours.get('period')}")
