"""What the manual reorder does besides the tasks it shares with the sweep: checks first, records last."""

from __future__ import annotations

from uuid import NAMESPACE_URL, uuid5

from prefect import task
from prefect.artifacts import acreate_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.events import emit_event

from blocks.commerce_layer.errors import CommerceLayerError, NotFound
from flows.rules.by_hand import ManualCopy, ManualOutcome, ManualResult, judge_by_hand
from flows.rules.evidence import Evidence
from flows.rules.references import REFERENCE_ORIGIN, manual_reference
from flows.tasks.copies import create_order_copy
from flows.tasks.door import Step, open_door_by_hand
from flows.tasks.shop import Shop
from flows.tasks.states import green, red, run

WHERE_THE_ID_IS = "The id is the ten letters in the order's address in the dashboard, not its number."


class NoSuchOrder(LookupError):  # noqa: N818 - says what is the matter
    """The order to copy does not exist in this shop."""


async def ask_for(shop: Shop, source_order_id: str, reference: str | None, options: dict[str, bool]) -> ManualCopy:
    """
    What shall be copied, after looking whether it can be.

    Raises:
        NoSuchOrder: no order is named, or there is no such order in this organization and mode.
        ReferenceTaken: the reference is a renewal's.
    """
    order_id = source_order_id.strip()
    if not order_id:
        raise NoSuchOrder(f"source_order_id is empty: it names the order to copy. {WHERE_THE_ID_IS}")
    work = ManualCopy(order_id, (reference or "").strip() or manual_reference(order_id, shop.run.flow_run_id), options)
    try:
        await shop.client.get_order(order_id)
    except NotFound:
        claims = await shop.client.claims()
        raise NoSuchOrder(
            f"There is no order {order_id!r} in organization {claims.organization_slug} ({claims.mode} mode). "
            f"{WHERE_THE_ID_IS}"
        ) from None
    return work


async def create_by_hand(shop: Shop, work: ManualCopy) -> Step[ManualCopy]:
    """Find or create the copy, through the same door as every renewal."""
    async with open_door_by_hand(shop, work) as door:
        return await run(create_order_copy, door, work)


@task(task_run_name="record {step.reference}", cache_policy=NO_CACHE, retries=0)
async def record_by_hand(shop: Shop, step: Step[ManualCopy], evidence: Evidence) -> State[ManualResult]:
    """Judge what came of the copy; write reference and metadata onto its order; say it in plain words."""
    result = judge_by_hand(step.work, evidence, shop.terms)
    note = await _tag(shop, step.work, result)
    rows = [{"": name, "value": value} for name, value in {**result.as_dict(), **note}.items() if value is not None]
    await acreate_table_artifact(rows, key="reorder", description=result.sentence)
    _announce(shop, result)
    tell = red if result.outcome is ManualOutcome.FAILED else green
    return tell(result.outcome.title().replace("_", ""), result.sentence, result)


async def _tag(shop: Shop, work: ManualCopy, result: ManualResult) -> dict[str, str]:
    if result.target_order_id is None:
        return {}
    try:
        order = await shop.client.get_order(result.target_order_id)
        metadata = {**order.metadata, **shop.tracking_by_hand(work)}
        await shop.client.update_order(
            order.id, reference=work.reference, reference_origin=REFERENCE_ORIGIN, metadata=metadata
        )
    except CommerceLayerError as error:
        return {"note": f"the new order could not be given its reference: {error}"}
    return {}


def _announce(shop: Shop, result: ManualResult) -> None:
    name = f"perennial.reorder.{result.outcome.value}"
    emit_event(
        event=name,
        resource={
            "prefect.resource.id": f"perennial.order.{result.source_order_id}",
            "prefect.resource.name": result.reference,
            "perennial.outcome": result.outcome.value,
        },
        payload={**result.as_dict(), "flow_run_id": shop.run.flow_run_id},
        id=uuid5(NAMESPACE_URL, f"{name}/{result.reference}"),
    )
