"""
Which period an order copy belongs to.

Its reference says so. Other systems may change references, so the metadata of the copy, which are written when it is
created, name the period, too.
"""

from blocks.commerce_layer.resources import OrderCopy
from flows.rules.references import REFERENCE_ORIGIN, Reference, parse_reference
from flows.rules.state import KEY


def period_of(copy: OrderCopy) -> Reference | None:
    """The subscription and the period of a copy; None when it is not the copy of a renewal."""
    by_reference = parse_reference(copy.reference) if copy.reference_origin == REFERENCE_ORIGIN else None
    return by_reference or _by_metadata(copy)


def _by_metadata(copy: OrderCopy) -> Reference | None:
    ours = copy.metadata.get(KEY)
    if not isinstance(ours, dict):
        return None
    return parse_reference(f"{ours.get('subscription_id')}@{ours.get('period')}")
