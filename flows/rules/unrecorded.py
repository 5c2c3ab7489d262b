"""
Order copies of ours whose run died before it recorded them, of another period than the one that is due now.

As long as the date stays, such a copy is found by its reference. But a customer may move the date in between, and the
new date has a reference of its own: without a look back, the period would be renewed under both.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta

from blocks.commerce_layer.resources import OrderCopy
from flows.rules.acts import FAILED_STATUSES
from flows.rules.references import REFERENCE_ORIGIN, parse_reference, reference_of, whole_minute
from flows.rules.renewal import Renewal
from flows.rules.state import RenewalState

LOOK_BACK = timedelta(days=31)
"""How far to look back where no period is settled yet: the longest that most dates are moved by."""


def looked_back_to(renewal: Renewal) -> datetime:
    """Since when an unrecorded copy of the subscription may have been made."""
    return renewal.state.done_through or renewal.due - LOOK_BACK


def recorded_reference(renewal: Renewal) -> str | None:
    """The reference of the last period, once it is settled: its copy is known, and need not be listed again."""
    stored = RenewalState.read(renewal.metadata)
    if stored is None or stored.period is None or stored.is_unsettled:
        return None
    return reference_of(renewal.subscription_id, whole_minute(stored.period))


def unrecorded_period(renewal: Renewal, copies: Iterable[OrderCopy]) -> datetime | None:
    """The oldest other period that has a copy which is, or may become, an order; None when there is none."""
    periods = (_period(renewal, copy) for copy in copies)
    return min((period for period in periods if period is not None), default=None)


def _period(renewal: Renewal, copy: OrderCopy) -> datetime | None:
    reference = parse_reference(copy.reference) if copy.reference_origin == REFERENCE_ORIGIN else None
    if reference is None or reference.subscription_id != renewal.subscription_id or reference.due == renewal.due:
        return None
    through = renewal.state.done_through
    if through is not None and reference.due <= through:
        return None
    came_to_nothing = copy.status in FAILED_STATUSES and copy.target_order_id is None
    return None if came_to_nothing else reference.due
