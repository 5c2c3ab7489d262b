"""
The ledger: the only writer of tracking data. It runs after the outcome is known, and may be repeated freely.

One PATCH of the subscription carries the state, the next date and a cancellation together, so they cannot disagree. It
is composed when the rate budget lets it go, from a look that is seconds old, and sent once: what others wrote
meanwhile survives. A death before it leaves the subscription due, and the next run finds the order copy by its
reference.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from uuid import NAMESPACE_URL, uuid5

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.events import emit_event

from blocks.commerce_layer.client import SubscriptionChange
from blocks.commerce_layer.clock import current_clock
from blocks.commerce_layer.errors import CommerceLayerError, NotConnected, Refused, Unauthorized, WriteFateUnknown
from blocks.commerce_layer.resources import OrderSubscription
from flows.rules.evidence import Evidence
from flows.rules.outcomes import Judgement, Outcome, judge
from flows.rules.records import Record, record_of, skip_record_of
from flows.rules.references import REFERENCE_ORIGIN, reference_of
from flows.rules.renewal import Renewal, Skipped
from flows.rules.summaries import RenewalLine
from flows.tasks.door import Step
from flows.tasks.shop import Shop
from flows.tasks.states import green, red

RECORD_TRIES = 4
"""How often a record is sent whose answer is lost; before each it is looked whether it arrived."""

PAUSE = 2.0
"""Seconds before it is sent again."""


class NothingToWrite(Exception):  # noqa: N818 - says what is the matter
    """The subscription is as it should be, or another run has recorded the period."""


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
        return line.model_copy(update={"sentence": self.judgement.unrecorded(self.not_written)})


def state_name(outcome: Outcome) -> str:
    """The name of a task's state for an outcome, as the UI shows it: `RetryScheduled`."""
    return outcome.value.title().replace("_", "")


@task(task_run_name="record {step.reference}", cache_policy=NO_CACHE, retries=0)
async def record_outcome(shop: Shop, step: Step[Renewal], evidence: Evidence) -> State[Recorded]:
    """Judge what came of a renewal, write it down where people and systems look for it, and say it in plain words."""
    # Retries wait from now on, not from an `as_of` of days ago: else several declines would hit one card at once.
    now = max(shop.as_of, shop.client.shop_time or shop.as_of)
    recorded = await write_down(shop, judge(step.work, step.act, evidence, now, shop.run.flow_run_id))
    announce(shop, recorded)
    tell = red if recorded.judgement.needs_person else green
    return tell(state_name(recorded.judgement.outcome), recorded.line.sentence, recorded)


async def record_skip(shop: Shop, skipped: Skipped) -> None:
    """
    Write down that periods were skipped on purpose (the policy's catch-up), so that the calendar moves on.

    Left undone, it is decided in the same way by the next sweep.
    """
    if skipped.settlement is not None:
        await _write(shop, skipped.subscription_id, lambda fresh: skip_record_of(skipped, fresh))


async def write_down(shop: Shop, judgement: Judgement) -> Recorded:
    """
    Write the judgement onto the target order, if the policy says so, and onto the subscription.

    What could not be written stands all the same, and the next run, which finds the order copy by its reference,
    writes it. A cancellation that the shop refuses becomes a hold.
    """
    try:
        await _tag_target_order(shop, judgement)
        try:
            await _write_subscription(shop, judgement)
        except (Refused, Unauthorized) as refused:
            if not judgement.cancel:
                raise
            judgement = judgement.not_cancelled(str(refused))
            await _write_subscription(shop, judgement)
    except CommerceLayerError as error:
        return Recorded(judgement, str(error))
    return Recorded(judgement)


async def _write_subscription(shop: Shop, judgement: Judgement) -> None:
    await _write(shop, judgement.renewal.subscription_id, lambda fresh: record_of(judgement, fresh))


async def _write(shop: Shop, subscription_id: str, compose: Callable[[OrderSubscription], Record | None]) -> None:
    """
    Send what `compose` makes of the subscription as it is then.

    When the answer is lost, it is looked and composed again: what has arrived is not written a second time.
    """
    with_date = True

    async def change() -> SubscriptionChange:
        # PATCH replaces the whole metadata: read, merge, write.
        fresh = await shop.reader.fresh(subscription_id)
        record = None if fresh is None else compose(fresh)
        if fresh is None or record is None or _is_written(record, fresh):
            raise NothingToWrite
        return SubscriptionChange(record.metadata, record.next_run_at if with_date else None, record.cancel)

    async with shop.reader.waiting(subscription_id):
        for tries_left in reversed(range(RECORD_TRIES)):
            try:
                await shop.client.record_on_subscription(subscription_id, change)
            except NothingToWrite:
                return
            except Refused as refused:
                if not with_date or "next_run_at" not in f"{refused.pointer} {refused.detail}":
                    raise
                # With an `as_of` of long ago the next date may lie in the past, which the API refuses. What is
                # settled is in the state, so the next sweep goes on from there.
                with_date = False
            except (NotConnected, WriteFateUnknown):
                if not tries_left:
                    raise
                await current_clock().sleep(PAUSE)
            else:
                return


def _is_written(record: Record, fresh: OrderSubscription) -> bool:
    moved = record.next_run_at is None or record.next_run_at == fresh.next_run_at
    return record.metadata == fresh.metadata and moved and not record.cancel


async def _tag_target_order(shop: Shop, judgement: Judgement) -> None:
    renewal, order_id = judgement.renewal, judgement.state.target_order_id
    if not renewal.terms.tag_target_orders or order_id is None:
        return
    order = await shop.client.get_order(order_id)
    if order.reference == renewal.reference:
        return
    metadata = {**order.metadata, "perennial": shop.tracking_of_order(renewal)}
    await shop.client.update_order(
        order.id, reference=renewal.reference, reference_origin=REFERENCE_ORIGIN, metadata=metadata
    )


def announce(shop: Shop, recorded: Recorded) -> None:
    """
    Emit `perennial.renewal.{outcome}` for automations and webhooks, and `perennial.final_action.{action}`.

    An event's id follows from what it says: a run that repeats the record after a crash emits the same event, not a
    second one.
    """
    judgement = recorded.judgement
    state = judgement.state
    facts: dict[str, str | int | None] = {
        "subscription_id": judgement.renewal.subscription_id,
        "source_order_id": judgement.renewal.source_order_id,
        "reference": judgement.renewal.reference,
        "order_copy_id": state.order_copy_id,
        "target_order_id": state.target_order_id,
        "failure_class": judgement.failure.cls.value if judgement.failure else None,
        "attempt": state.attempt,
        "next_attempt_at": state.next_attempt_at.isoformat() if state.next_attempt_at else None,
        "next_run_at": judgement.next_run_at.isoformat() if judgement.next_run_at else None,
        "final_action": judgement.final_action.value if judgement.final_action else None,
        "sentence": recorded.line.sentence,
        "flow_run_id": shop.run.flow_run_id,
    }
    _emit(shop, f"perennial.renewal.{judgement.outcome.value}", facts)
    if judgement.final_action is not None and recorded.not_written is None:
        _emit(shop, f"perennial.final_action.{judgement.final_action.value}", facts)


def announce_skip(shop: Shop, skipped: Skipped) -> None:
    """Emit `perennial.renewal.skipped` for a renewal that was due and is left alone, with the reason."""
    reference = skipped.subscription_id if skipped.due is None else reference_of(skipped.subscription_id, skipped.due)
    facts: dict[str, str | int | None] = {
        "subscription_id": skipped.subscription_id,
        "reference": reference,
        "reason": skipped.reason.value,
        "sentence": skipped.sentence,
        "flow_run_id": shop.run.flow_run_id,
    }
    _emit(shop, "perennial.renewal.skipped", facts)


def _emit(shop: Shop, event: str, facts: dict[str, str | int | None]) -> None:
    says = "/".join(str(facts.get(key)) for key in ("reference", "attempt", "next_attempt_at", "reason"))
    emit_event(
        event=event,
        resource={
            "prefect.resource.id": f"perennial.subscription.{facts['subscription_id']}",
            "prefect.resource.name": str(facts["reference"]),
            "perennial.outcome": event.rpartition(".")[2],
            "perennial.failure-class": str(facts.get("failure_class") or ""),
            "perennial.final-action": str(facts.get("final_action") or ""),
            "perennial.organization": shop.organization,
        },
        related=[
            {"prefect.resource.id": f"perennial.{kind}.{facts[key]}", "prefect.resource.role": kind}
            for kind, key in (("order-copy", "order_copy_id"), ("target-order", "target_order_id"))
            if facts.get(key)
        ],
        payload=facts,
        id=uuid5(NAMESPACE_URL, f"{event}/{says}"),
    )
