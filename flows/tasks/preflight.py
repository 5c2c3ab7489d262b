"""The tasks of `preflight-renewals`: look ahead, hold the last prediction against what happened, and publish both."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import datetime

from prefect import task
from prefect.artifacts import Artifact, acreate_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey
from prefect.client.schemas.objects import State
from prefect.client.schemas.sorting import ArtifactSort
from prefect.logging import get_run_logger
from pydantic import ValidationError

from blocks.commerce_layer import listings
from blocks.commerce_layer.resources import Order
from flows.rules.outside_text import markdown
from flows.rules.preflight import Preflight
from flows.rules.preflight_comparison import (
    Happened,
    Kept,
    KeptPrediction,
    orders_by_reference,
    was_foreseeable,
    why_not_renewed,
)
from flows.rules.references import parse_reference
from flows.run.context import Run
from flows.run.states import completed
from flows.sweep.looking_ahead import look_ahead

LOG_EVERY = 1000
"""Subscriptions after which the log says how many were looked at."""

LOOKED_THROUGH = 200
"""How many kept predictions are read at the most, newest first, to find one whose span has passed."""


@task(task_run_name="look ahead", cache_policy=NO_CACHE)
async def look_at_the_coming_renewals(run: Run, until: datetime) -> State[Preflight]:
    """What sweeps until `until` (UTC) will do. Raises CommerceLayerError if the shop cannot be read."""
    logger, told = get_run_logger(), 0

    def tell(seen: int) -> None:
        nonlocal told
        if seen - told >= LOG_EVERY:
            told = seen
            logger.info("%d subscriptions looked at", seen)

    preflight = await look_ahead(run, until, tell)
    return completed(preflight.sentence, preflight)


@task(task_run_name="compare with what happened", cache_policy=NO_CACHE)
async def compare_with_what_happened(run: Run) -> State[Happened | None]:
    """What became of the newest prediction whose span has passed; None if there is none, or it was compared before."""
    compared: set[str | None] = set()
    async for kept in _kept_predictions(_key(run)):
        compared.add(kept.compared)
        if kept.until > run.as_of:
            continue
        if kept.flow_run_id in compared:
            break
        happened = await _what_happened(run, kept)
        return completed(happened.sentence, happened)
    return completed("no prediction has passed since the last comparison", None)


@task(task_run_name="publish preflight", cache_policy=NO_CACHE)
async def publish_preflight(run: Run, preflight: Preflight, happened: Happened | None) -> State[None]:
    """Publish the table of what is expected and that of the differences, and keep the prediction for a later run."""
    if happened is not None:
        said = f"**{markdown(happened.sentence)}**"
        await acreate_table_artifact(happened.table_rows, key="preflight-compared", description=said)
    warnings = "\n".join(f"* {count} times: {markdown(warning)}" for warning, count in preflight.warnings.items())
    said = f"**{markdown(preflight.sentence)}**\n\n{warnings}".strip()
    await acreate_table_artifact(preflight.table_rows, key="preflight", description=said)
    compared = happened.prediction.flow_run_id if happened is not None else None
    kept = KeptPrediction.of(preflight, run.identity.flow_run_id, compared)
    said = f"Kept until {preflight.until:%Y-%m-%d %H:%M} UTC, to be compared with what happens."
    await Artifact(type="json", key=_key(run), description=said, data=kept.model_dump(mode="json")).acreate()
    return completed(preflight.sentence, None)


def _key(run: Run) -> str:
    return f"preflight-prediction-{run.credentials_name}"  # the name of a block is made of the same characters as a key


async def _kept_predictions(key: str) -> AsyncIterator[KeptPrediction]:
    """The predictions of this shop, the newest first. Others than ours, or of another version, are passed over."""
    async with get_client() as prefect:
        for offset in range(LOOKED_THROUGH):
            # One by one: each may be large, and most often the first or the second is the one.
            found = await prefect.read_artifacts(
                artifact_filter=ArtifactFilter(key=ArtifactFilterKey(any_=[key])),
                sort=ArtifactSort.CREATED_DESC, limit=1, offset=offset,
            )  # fmt: skip
            if not found:
                return
            try:
                yield KeptPrediction.model_validate_json(str(found[0].data))
            except ValidationError:
                continue


async def _what_happened(run: Run, kept: KeptPrediction) -> Happened:
    """
    The orders that were placed for the renewals of a prediction, and others placed in its span.

    Those placed since it was made are one list. Only the copies of renewals that are not in it are looked up.
    """
    orders: dict[str, Order] = {}
    async for page in listings.iter_placed_copies(run.client, kept.as_of):
        orders |= orders_by_reference(page.readable)
    known = set(kept.references)
    unforeseen = {each: order for each, order in orders.items() if each not in known and was_foreseeable(order, kept)}
    left = [each for each in kept.references if each not in orders]
    copies = await run.client.find_order_copies(left) if left else {}
    orders |= orders_by_reference(copy for same in copies.values() for copy in same)
    happened = Happened(kept, {each: orders[each] for each in kept.references if each in orders}, unforeseen)
    return Happened(kept, happened.placed, unforeseen, await _reasons(run, happened.missed))


async def _reasons(run: Run, missed: Sequence[Kept]) -> dict[str, str]:
    """Why renewals were not made that were expected to succeed, as their subscriptions say."""
    parsed = {each.reference: parse_reference(each.reference) for each in missed}
    ids = {reference: period.subscription_id for reference, period in parsed.items() if period is not None}
    subscriptions = await run.client.get_subscriptions(ids.values()) if ids else {}
    return {reference: why_not_renewed(subscriptions.get(each)) for reference, each in ids.items()}
