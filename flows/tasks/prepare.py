"""The tasks of a renewal that is prepared ahead: its order is checked, and what will fail is published."""

from __future__ import annotations

from uuid import NAMESPACE_URL, uuid5

from prefect import task
from prefect.artifacts import acreate_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.events import emit_event
from prefect.logging import get_run_logger

from blocks.commerce_layer.errors import CommerceLayerError, Refused
from flows.rules.cards import takes_another_card
from flows.rules.failures import classify_error
from flows.rules.next_action import Place
from flows.rules.outside_text import markdown
from flows.rules.preparing import Preparation, Prepared, failing, preparation_of
from flows.rules.references import reference_of
from flows.rules.renewal import Renewal
from flows.run.context import Run
from flows.run.report import Report
from flows.run.states import completed


@task(task_run_name="check {renewal.reference}", cache_policy=NO_CACHE, retries=0)
async def check_prepared_order(run: Run, renewal: Renewal, found: Prepared) -> State[Preparation]:
    """
    Say what will happen when the renewal is due. The subscription's card is set on its order, where that is needed.

    It charges nothing and records nothing: what fails ahead is no attempt.
    """
    preparation = preparation_of(renewal, found)
    if isinstance(found, Place) and not preparation.will_fail:
        preparation = await _with_the_card(run, renewal, found) or preparation
    return completed(preparation.sentence, preparation)


async def _with_the_card(run: Run, renewal: Renewal, found: Place) -> Preparation | None:
    """What is known once the order takes the subscription's card; None if it takes it already, or cannot be told to."""
    card = renewal.payment_source_id
    if card is None or not takes_another_card(renewal.policy, renewal.card, found.order):
        return None
    try:
        order = await run.client.use_payment_source(found.order.id, card)
    except Refused as refused:
        return failing(renewal, classify_error(refused, renewal.policy), found.order)
    except CommerceLayerError as error:
        get_run_logger().warning("the card of order %s could not be set: %s", found.order.id, error)
        return None
    return preparation_of(renewal, Place(found.copy, order, found.attempt))


@task(task_run_name="publish what is prepared", cache_policy=NO_CACHE)
async def publish_preparations(run: Run, report: Report) -> State[None]:
    """Publish what will fail when it is due, in a table of its own, and an event for each such renewal."""
    if report.ahead is None:
        return completed("nothing comes due soon", None)
    worst = sorted(report.failing_ahead, key=lambda each: each.due)
    rows = [{name: markdown(cell) for name, cell in each.row.items()} for each in worst]
    description = f"**{markdown(report.ahead.sentence)}**, due within {run.policy.prepare_ahead}"
    await acreate_table_artifact(rows, key="prepared-renewals", description=description)
    for each in worst:
        _announce(run, each)
    return completed(report.ahead.sentence, None)


def _announce(run: Run, found: Preparation) -> None:
    """Emit `perennial.renewal.will_fail`. Its id follows from its content: the same is told once, not by each sweep."""
    reference = reference_of(found.subscription_id, found.due)
    emit_event(
        event="perennial.renewal.will_fail",
        resource={
            "prefect.resource.id": f"perennial.subscription.{found.subscription_id}",
            "prefect.resource.name": reference,
            "perennial.failure-class": found.failure_class or "",
            "perennial.organization": run.organization,
        },
        payload={"reference": reference, "sentence": found.sentence, "flow_run_id": run.identity.flow_run_id},
        id=uuid5(NAMESPACE_URL, f"perennial.renewal.will_fail/{reference}/{found.sentence}"),
    )
