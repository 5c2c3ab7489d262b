"""
Which period an order copy belongs to.

Its reference says so. Other systems change references, so that the metadata, which the creation writes as well, say it
where the reference does not.
"""

from blocks.commerce_layer.resources import OrderCopy
from flows.rules.references import REFERENCE_ORIGIN, Reference, parse_reference
from flows.rules.state import KEY


def period_of(copy: OrderCopy) -> Reference | None:
    """The subscription and the period that a copy was made for; None when it is no renewal's."""
    by_reference = parse_reference(copy.reference) if copy.reference_origin == REFERENCE_ORIGIN else None
    return by_reference or _by_metadata(copy)


def _by_metadata(copy: OrderCopy) -> Reference | None:
    ours = copy.metadata.get(KEY)
    if not isinstance(ours, dict):
        return None
    return parse_reference(f"{ours.get('subscription_id')}@{ours.get('period')}")
