"""The tasks of a reorder by hand that it does not share with the sweep: the first look, and the record."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from uuid import NAMESPACE_URL, uuid5

from prefect import task
from prefect.artifacts import acreate_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.events import emit_event

from blocks.commerce_layer.errors import NotFound
from blocks.commerce_layer.resources import Order
from flows.rules.copy_periods import period_of_order
from flows.rules.findings import Finding, LeftAlone
from flows.rules.manual_copy import ManualCopy, ManualOutcome, ManualResult, manual_result
from flows.rules.order_copies import is_placed
from flows.rules.outside_text import markdown
from flows.rules.references import manual_reference
from flows.rules.renewals_nearby import refuse_beside_a_renewal
from flows.rules.unrecorded import LOOK_BACK
from flows.run.context import Run
from flows.run.states import completed, failed

WHERE_THE_ID_IS = "The id is the ten letters in the order's address in the dashboard, not its number."


class NoSuchOrder(LookupError):  # noqa: N818 - the name says what happened
    """The order to copy does not exist in this shop."""


async def look_at_order(
    run: Run,
    source_order_id: str,
    reference: str | None,
    options: Mapping[str, bool],
    *,
    place: bool,
    besides_renewal: bool = False,
) -> ManualCopy:
    """
    Check that the order can be copied. Returns the work, with the order copies that have the reference already.

    Raises:
        NoSuchOrder: no order is named, or there is no such order in this organization and mode.
        ReferenceTaken: the reference belongs to a renewal, or to a copy of another order.
        RenewalNearby: a renewal of this order, or the next one of the subscription that made it, is due or was just
            placed, and `besides_renewal` is off.
    """
    order_id = source_order_id.strip()
    if not order_id:
        raise NoSuchOrder(f"source_order_id is empty: it names the order to copy. {WHERE_THE_ID_IS}")
    own = manual_reference(order_id, run.identity.flow_run_id)
    work = ManualCopy(order_id, (reference or "").strip() or own, place, options, besides_renewal=besides_renewal)
    try:
        order = await run.client.get_order(order_id)
    except NotFound:
        claims = await run.client.claims()
        raise NoSuchOrder(
            f"There is no order {order_id!r} in organization {claims.organization_slug} ({claims.mode} mode). "
            f"{WHERE_THE_ID_IS}"
        ) from None
    found = (await run.client.find_order_copies([work.reference]))[work.reference]
    work.refuse_if_taken(found)
    if not besides_renewal and not any(is_placed(copy) for copy in found):
        await _refuse_beside_a_renewal(run, order)
    return replace(work, found=tuple(found))


async def _refuse_beside_a_renewal(run: Run, order: Order) -> None:
    """For the subscriptions whose source order it is, and for the one whose renewal made it."""
    subscriptions = {each.id: each for each in await run.client.list_subscriptions_of([order.id])}
    made_by = period_of_order(order)
    if made_by is not None and made_by.subscription_id not in subscriptions:
        subscriptions |= await run.client.get_subscriptions([made_by.subscription_id])
    sources = sorted({each.source_order_id for each in subscriptions.values() if each.source_order_id})
    copies = await run.client.list_order_copies_of(sources, run.as_of - LOOK_BACK) if sources else []
    refuse_beside_a_renewal(subscriptions.values(), copies, run.as_of, run.policy.time_zone)


@task(task_run_name="record {work.reference}", cache_policy=NO_CACHE, retries=0)
async def record_manual_copy(run: Run, work: ManualCopy, finding: Finding | LeftAlone) -> State[ManualResult]:
    """Decide how the copy ended, and say it in plain words."""
    result = manual_result(work, finding, run.policy)
    rows = [{"": name, "value": markdown(str(value))} for name, value in result.as_dict().items() if value is not None]
    await acreate_table_artifact(rows, key="reorder", description=markdown(result.sentence))
    _announce(run, result)
    tell = failed if result.outcome is ManualOutcome.FAILED else completed
    return tell(result.sentence, result)


def _announce(run: Run, result: ManualResult) -> None:
    name = f"perennial.reorder.{result.outcome.value}"
    emit_event(
        event=name,
        resource={
            "prefect.resource.id": f"perennial.order.{result.source_order_id}",
            "prefect.resource.name": result.reference,
            "perennial.outcome": result.outcome.value,
        },
        payload={**result.as_dict(), "flow_run_id": run.identity.flow_run_id},
        id=uuid5(NAMESPACE_URL, f"{name}/{result.reference}"),
    )
