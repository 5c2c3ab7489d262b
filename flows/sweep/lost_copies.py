"""
Renewals without an order copy: perhaps it was deleted after its order was placed.

The request that places an order also sets the renewal's reference and `metadata.perennial` on it, so that it is found
without its copy, also after its date was moved or another system has changed its reference.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from blocks.commerce_layer.order_search import find_placed_orders
from flows.rules.order_copies import CopiesOfPeriod
from flows.rules.renewal import Renewal, Skipped
from flows.rules.rivals import placed_without_copy
from flows.rules.unrecorded import made_since
from flows.run.context import Run

MAY_BE_LOST_AFTER = timedelta(hours=1)
"""How long a period is due before its copy may have been placed and deleted: people do not delete within minutes."""


async def charged_without_a_copy(run: Run, renewals: Sequence[Renewal]) -> list[Skipped]:
    """
    The renewals that have a placed order, of their period or of another unsettled one, whose copy is not found.

    Costs one list call for 25 renewals without a copy that counts. Only a period that has been due for a while may have
    been worked on by an earlier run whose copy is gone since; the usual one, due for minutes, costs nothing.

    Raises:
        CommerceLayerError: the orders could not be read.
    """
    without = [each for each in renewals if _has_no_copy(each) and run.now() - each.due > MAY_BE_LOST_AFTER]
    if not without:
        return []
    since = min(made_since(each) for each in without)
    orders = await find_placed_orders(run.client, {each.reference: each.customer_email for each in without}, since)
    refusals = [(each, placed_without_copy(each, orders)) for each in without]
    return [Skipped(each.subscription_id, each.due, *refusal) for each, refusal in refusals if refusal is not None]


def _has_no_copy(renewal: Renewal) -> bool:
    return CopiesOfPeriod.of(renewal.found).canonical is None
