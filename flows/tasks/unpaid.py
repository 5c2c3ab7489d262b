"""Looks at recently placed orders, and reports each renewal once that is not paid in the end."""

from __future__ import annotations

from datetime import timedelta
from uuid import NAMESPACE_URL, uuid5

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.events import emit_event

from blocks.commerce_layer.errors import CommerceLayerError
from blocks.commerce_layer.placed_orders import iter_lost_orders, set_order_metadata
from blocks.commerce_layer.resources import Order
from flows.rules.copy_periods import first_reference, period_of_order
from flows.rules.summaries import RenewalLine
from flows.rules.unpaid import is_news, is_replaced, marked, sentence_on, what_became_of
from flows.run.context import Run
from flows.run.report import Report
from flows.run.states import completed

LOOKED_BACK = timedelta(days=31)
"""How far back placed orders that have changed are checked, however old they are."""


@task(task_run_name="look for unpaid renewals", cache_policy=NO_CACHE, retries=0)
async def report_unpaid_renewals(run: Run, report: Report) -> State[int]:
    """
    Report the renewals whose orders became unpaid, voided, refunded or cancelled in the last 31 days, each change once.

    One filtered list shows them, by the dates of the changes: a renewal may be refunded long after it was placed. The
    order is marked after it was reported: if a run dies in between, it is reported again. What cannot be read is left
    to the next sweep.
    """
    count = 0
    try:
        async for page in iter_lost_orders(run.client, run.now() - LOOKED_BACK):
            count += await _report(run, report, [order for order in page if is_news(order)])
    except CommerceLayerError as error:
        report.not_checked("payments of earlier renewals", error)
        return completed(f"the orders of recent renewals could not be read: {error}", count)
    return completed(f"{count} unpaid renewals found", count)


async def _report(run: Run, report: Report, orders: list[Order]) -> int:
    copies = await run.client.find_order_copies(reference for order in orders if (reference := first_reference(order)))
    count = 0
    for order in orders:
        if not is_replaced(order, copies[first_reference(order) or ""]):
            _tell(run, report, order)
            count += 1
        fresh = await run.client.get_order(order.id)  # its current metadata, which a PATCH replaces as a whole
        await set_order_metadata(run.client, order.id, marked(fresh))
    return count


def _tell(run: Run, report: Report, order: Order) -> None:
    reference, sentence, how = first_reference(order) or "", sentence_on(order), what_became_of(order)
    period = period_of_order(order)
    subscription_id = period.subscription_id if period else reference
    report.add(RenewalLine.unpaid(subscription_id, reference, order.id, sentence), was_due=False)
    emit_event(
        event="perennial.renewal.unpaid",
        resource={
            "prefect.resource.id": f"perennial.subscription.{subscription_id}",
            "prefect.resource.name": reference,
            "perennial.organization": run.organization,
        },
        related=[
            {"prefect.resource.id": f"perennial.target-order.{order.id}", "prefect.resource.role": "target-order"}
        ],
        payload={
            "subscription_id": subscription_id,
            "reference": reference,
            "target_order_id": order.id,
            "order_is": how,
            "sentence": sentence,
            "flow_run_id": run.identity.flow_run_id,
        },
        id=uuid5(NAMESPACE_URL, f"perennial.renewal.unpaid/{order.id}/{how}"),
    )
