"""
The ledger: the only writer of tracking data. It runs after the outcome is known, and may be repeated freely.

One PATCH of the subscription carries the state and the next date together, so they cannot disagree. A death
before it leaves the subscription due, and the next run finds the order copy by its reference.
"""

from __future__ import annotations

from dataclasses import dataclass
from uuid import NAMESPACE_URL, uuid5

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.events import emit_event

from blocks.commerce_layer.errors import CommerceLayerError, Refused
from blocks.commerce_layer.resources import OrderSubscription
from flows.rules.evidence import Evidence
from flows.rules.outcomes import Judgement, Outcome, judge
from flows.rules.references import REFERENCE_ORIGIN
from flows.rules.renewal import Renewal, Skipped
from flows.rules.state import RenewalState
from flows.rules.summaries import RenewalLine
from flows.tasks.door import Step
from flows.tasks.shop import Shop
from flows.tasks.states import green, red


@dataclass(frozen=True)
class Recorded:
    """A judgement, and why it could not be written down, if it could not."""

    judgement: Judgement
    not_written: str | None = None

    @property
    def line(self) -> RenewalLine:
        """The line for the sweep's report."""
        line = RenewalLine.of(self.judgement)
        if self.not_written is None:
            return line
        return line.model_copy(update={"sentence": f"{line.sentence}; {self.not_written}"})


def state_name(outcome: Outcome) -> str:
    """The name of a task's state for an outcome, as the UI shows it: `RetryScheduled`."""
    return outcome.value.title().replace("_", "")


@task(task_run_name="record {step.reference}", cache_policy=NO_CACHE)
async def record_outcome(shop: Shop, step: Step[Renewal], evidence: Evidence) -> State[Recorded]:
    """Judge what came of a renewal, write it down where people and systems look for it, and say it in plain words."""
    # Retries wait from now on, not from an `as_of` of days ago: else several declines would hit one card at once.
    now = max(shop.as_of, shop.client.shop_time or shop.as_of)
    judgement = judge(step.work, step.act, evidence, now, shop.run.flow_run_id)
    recorded = Recorded(judgement, await write_down(shop, step.work, judgement))
    announce(shop, step.work, judgement)
    tell = red if judgement.needs_person else green
    return tell(state_name(judgement.outcome), recorded.line.sentence, recorded)


async def record_skip(shop: Shop, skipped: Skipped) -> None:
    """
    Write down that periods were skipped on purpose (the policy's catch-up), so that the calendar moves on.

    Left undone, it is decided in the same way by the next sweep.
    """
    if skipped.settlement is None:
        return
    fresh = await shop.reader.fresh(skipped.subscription_id)
    if fresh is not None:
        metadata = skipped.settlement.state.written_into(fresh.metadata)
        await shop.client.update_subscription(fresh.id, metadata=metadata, next_run_at=skipped.settlement.next_run_at)


async def write_down(shop: Shop, renewal: Renewal, judgement: Judgement) -> str | None:
    """
    Write the judgement onto the target order, if the policy says so, and onto the subscription.

    Returns:
        `None`, or why it could not be written. The outcome stands all the same, and the next run, which finds the
        order copy by its reference, writes it.
    """
    try:
        await _tag_target_order(shop, renewal, judgement)
        if judgement.cancel:
            await shop.client.cancel_subscription(renewal.subscription_id)
        await _write_subscription(shop, renewal, judgement, judgement.state)
    except CommerceLayerError as error:
        return f"not recorded yet ({error}); the next run records it"
    return None


async def _write_subscription(shop: Shop, renewal: Renewal, judgement: Judgement, state: RenewalState) -> None:
    # PATCH replaces the whole metadata: read, merge, write. What others wrote there meanwhile survives.
    fresh = await shop.reader.fresh(renewal.subscription_id)
    if fresh is None or _is_behind(fresh, renewal):
        return
    metadata = state.written_into(fresh.metadata)
    # Somebody who moved the next date meanwhile meant it.
    next_run_at = judgement.next_run_at if fresh.next_run_at == renewal.next_run_at else None
    try:
        await shop.client.update_subscription(fresh.id, metadata=metadata, next_run_at=next_run_at)
    except Refused as refused:
        if next_run_at is None or "next_run_at" not in f"{refused.pointer} {refused.detail}":
            raise
        # With an `as_of` of long ago the next date may lie in the past, which the API refuses. What is
        # settled is in the state, so the next sweep goes on from there.
        await shop.client.update_subscription(fresh.id, metadata=metadata)


def _is_behind(fresh: OrderSubscription, renewal: Renewal) -> bool:
    """Whether another run has settled this period, or a later one, while we were waiting."""
    state = RenewalState.read(fresh.metadata)
    return state is None or (state.done_through is not None and state.done_through >= renewal.due)


async def _tag_target_order(shop: Shop, renewal: Renewal, judgement: Judgement) -> None:
    if not renewal.terms.tag_target_orders or judgement.state.target_order_id is None:
        return
    order = await shop.client.get_order(judgement.state.target_order_id)
    if order.reference == renewal.reference:
        return
    metadata = {**order.metadata, "perennial": shop.tracking_of_order(renewal)}
    await shop.client.update_order(
        order.id, reference=renewal.reference, reference_origin=REFERENCE_ORIGIN, metadata=metadata
    )


def announce(shop: Shop, renewal: Renewal, judgement: Judgement) -> None:
    """
    Emit `perennial.renewal.{outcome}` for automations and webhooks.

    The event's id follows from reference, attempt and outcome: a run that repeats the record after a crash emits
    the same event, not a second one.
    """
    state = judgement.state
    facts = {
        "subscription_id": renewal.subscription_id,
        "source_order_id": renewal.source_order_id,
        "reference": renewal.reference,
        "order_copy_id": state.order_copy_id,
        "target_order_id": state.target_order_id,
        "failure_class": judgement.failure.cls.value if judgement.failure else None,
        "attempt": state.attempt,
        "next_attempt_at": state.next_attempt_at.isoformat() if state.next_attempt_at else None,
        "sentence": judgement.sentence,
        "flow_run_id": shop.run.flow_run_id,
    }
    name = f"perennial.renewal.{judgement.outcome.value}"
    emit_event(
        event=name,
        resource={
            "prefect.resource.id": f"perennial.subscription.{renewal.subscription_id}",
            "prefect.resource.name": renewal.reference,
            "perennial.outcome": judgement.outcome.value,
            "perennial.failure-class": judgement.failure.cls.value if judgement.failure else "",
            "perennial.organization": shop.organization,
        },
        related=[
            {"prefect.resource.id": f"perennial.{kind}.{facts[key]}", "prefect.resource.role": kind}
            for kind, key in (("order-copy", "order_copy_id"), ("target-order", "target_order_id"))
            if facts[key]
        ],
        payload=facts,
        id=uuid5(NAMESPACE_URL, f"{name}/{renewal.reference}/{facts['attempt']}"),
    )
