"""
Our order copies for other periods than the one that is due now, which no run has recorded.

If the date stays, such a copy is found by its reference. But a customer may move the date before it is recorded, and
the new date has another reference: without a look back, the period would be charged under both references.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta

from blocks.commerce_layer.resources import OrderCopy
from flows.rules.copy_periods import period_of
from flows.rules.next_action import is_of_period
from flows.rules.order_copies import is_open, is_placed, is_undecided
from flows.rules.renewal import Renewal
from flows.rules.spacing import interval_at
from flows.rules.state import RenewalState

LOOK_BACK = timedelta(days=31)
"""How far to look back, beyond a whole interval, if no period is settled yet: dates may be moved this far."""


def looked_back_to(renewal: Renewal) -> datetime:
    """The earliest instant at which an unrecorded copy of the subscription may have been made."""
    if renewal.looked_back_to is not None:
        return renewal.looked_back_to
    if renewal.state.done_through is not None:
        return renewal.state.done_through
    return renewal.due - interval_at(renewal.frequency, renewal.due, renewal.policy.time_zone) - LOOK_BACK


def made_since(renewal: Renewal) -> datetime:
    """The earliest instant at which a copy or an order of this period, or of an unrecorded one, may have been made."""
    return min(renewal.due, looked_back_to(renewal))


def recorded_copy(renewal: Renewal) -> str | None:
    """The id of the last period's copy, once that period is settled: it need not be listed again."""
    stored = RenewalState.read(renewal.metadata)
    return None if stored is None or stored.is_unsettled else stored.order_copy_id


def unrecorded_period(renewal: Renewal, copies: Iterable[OrderCopy]) -> datetime | None:
    """
    The oldest other unsettled period that has a placed order, or one that may be; None when there is none.

    It must be settled first.
    """
    through = renewal.state.done_through
    placed = (_period(renewal, copy) for copy in copies if is_placed(copy) or is_undecided(copy))
    return min((period for period in placed if period and (through is None or period > through)), default=None)


def stale_copies(renewal: Renewal, copies: Iterable[OrderCopy]) -> list[OrderCopy]:
    """Copies of other periods with unplaced orders. Their periods are past or were moved: they are withdrawn."""
    copies = list(copies)
    # If this period is charged, another run may have recorded that and be working on the next period.
    is_charged = any(is_placed(copy) and is_of_period(renewal, copy) for copy in copies)
    periods = {copy.id: _period(renewal, copy) for copy in copies if is_open(copy)}
    stale = {copy_id for copy_id, period in periods.items() if period and not (is_charged and period > renewal.due)}
    return [copy for copy in copies if copy.id in stale]


def _period(renewal: Renewal, copy: OrderCopy) -> datetime | None:
    """The copy's period, if it is another one of the same subscription."""
    reference = period_of(copy)
    if reference is None or reference.subscription_id != renewal.subscription_id or reference.due == renewal.due:
        return None
    return reference.due
