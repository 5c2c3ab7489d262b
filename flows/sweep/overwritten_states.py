"""Reads the errors of orders, for renewals whose state has fewer failed attempts than their orders show."""

from __future__ import annotations

from collections.abc import Sequence

from blocks.commerce_layer.order_search import errors_of_orders
from flows.rules.overwritten import as_the_shop_tells, order_to_ask
from flows.rules.renewal import Renewal
from flows.run.context import Run


async def with_counts_of_the_shop(run: Run, renewals: Sequence[Renewal]) -> list[Renewal]:
    """
    The renewals, each with a state that counts no fewer attempts than the shop shows.

    Costs nothing if the states have as many attempts as the orders, else one list call for 25 orders.

    Raises:
        CommerceLayerError: the errors of the orders could not be read.
    """
    asked = {order_id for each in renewals if (order_id := order_to_ask(each)) is not None}
    errors = await errors_of_orders(run.client, sorted(asked)) if asked else {}
    return [as_the_shop_tells(each, errors.get(order_to_ask(each) or "", ()), run.now()) for each in renewals]
