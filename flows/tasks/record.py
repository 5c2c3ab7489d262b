"""
The last task of a renewal: its result is recorded on the subscription, in the report and as an event.

One PATCH of the subscription has the state, the next date and a cancellation together, so they cannot disagree. It is
composed when the rate limit lets it go, from a look that is seconds old, and sent once, so that changes by others are
kept. If the run dies before, the subscription stays due, and the next run finds the order copy by its reference.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from uuid import NAMESPACE_URL, uuid5

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.events import emit_event
from prefect.logging import get_run_logger

from blocks.commerce_layer.changes import SubscriptionChange
from blocks.commerce_layer.clock import current_clock
from blocks.commerce_layer.errors import CommerceLayerError, NotConnected, Refused, Unauthorized, WriteFateUnknown
from blocks.commerce_layer.resources import OrderSubscription
from blocks.policy import FinalAction
from flows.rules.changes_that_go_on import once_it_goes_on
from flows.rules.findings import Finding, LeftAlone
from flows.rules.outcomes import result_of
from flows.rules.records import Record, another_placed_order, record_of, skip_record_of
from flows.rules.references import reference_of
from flows.rules.renewal import Renewal, Skipped
from flows.rules.results import RenewalResult
from flows.rules.shown_orders import with_its_order
from flows.rules.state import TAG, Outcome
from flows.rules.summaries import RenewalLine
from flows.rules.unrecorded_results import is_refusal, unrecorded_line, unrecorded_skip_line
from flows.run.checkout_cards import follow_the_card
from flows.run.context import Run
from flows.run.states import completed, failed

RECORD_TRIES = 4
"""How often a record is sent if its answer is lost; before each new try, a read checks whether it arrived."""

PAUSE = 2.0
"""Seconds to wait before it is sent again."""


class NothingToWrite(Exception):  # noqa: N818 - the name says what happened
    """The subscription is as it should be, or another run has recorded the period."""


class _PlacedTwice(Exception):  # noqa: N818 - the name says what happened
    """Another run has recorded another placed order for this period."""

    def __init__(self, order_id: str) -> None:
        super().__init__(order_id)
        self.order_id = order_id


@dataclass(frozen=True)
class Recorded:
    """
    How a renewal ended, as the sweep's report shows it.

    `result` is None when the renewal was left alone; `not_written` says why it could not be recorded, and `is_refused`
    that Commerce Layer refused the record.
    """

    line: RenewalLine
    result: RenewalResult | None = None
    not_written: str | None = None
    is_refused: bool = False

    @classmethod
    def of(cls, result: RenewalResult) -> Recorded:
        """The result with its line."""
        return cls(RenewalLine.of(result), result)


@task(task_run_name="record {renewal.reference}", cache_policy=NO_CACHE, retries=0)
async def record_outcome(run: Run, renewal: Renewal, finding: Finding | LeftAlone) -> State[Recorded]:
    """Decide what a finding means, record it, report it in plain words, and emit its events."""
    try:
        if isinstance(finding, LeftAlone):
            recorded = await record_skip(run, finding.skipped)
            recorded = replace(recorded, line=once_it_goes_on(recorded.line, renewal, run.now()))
        else:
            result = await follow_the_card(run, result_of(renewal, finding, run.now(), run.identity.flow_run_id))
            recorded = await _write_down(run, result)
            _announce(run, recorded, result)
            await _withdraw_given_up_order(run, recorded)
        recorded = replace(recorded, line=with_its_order(recorded.line, renewal, finding))
    finally:
        run.last_looks.forget(renewal.subscription_id)
    if recorded.line.needs_person:
        get_run_logger().error("%s: %s", renewal.reference, recorded.line.told)
        return failed(recorded.line.told, recorded)
    return completed(recorded.line.told, recorded)


async def record_skip(run: Run, skipped: Skipped) -> Recorded:
    """
    Report a subscription that is left alone; record it if periods are skipped on purpose (the catch-up).

    If it cannot be recorded, the next sweep decides anew. If the record is refused, a person must act.
    """
    _announce_skip(run, skipped)
    if skipped.settlement is None:
        return Recorded(RenewalLine.of(skipped))

    async def fresh() -> OrderSubscription | None:
        return (await run.client.get_subscriptions([skipped.subscription_id])).get(skipped.subscription_id)

    try:
        await write_record(
            run, skipped.subscription_id, fresh, lambda subscription: skip_record_of(skipped, subscription)
        )
    except CommerceLayerError as error:
        line = unrecorded_skip_line(skipped, error)
        return Recorded(line, not_written=str(error), is_refused=is_refusal(error))
    return Recorded(RenewalLine.of(skipped))


async def _write_down(run: Run, result: RenewalResult) -> Recorded:
    """
    Write the result onto the subscription. A cancellation that the shop refuses becomes a hold.

    A result that could not be written stays valid: the next run finds the order copy by its reference and writes it.
    """
    try:
        try:
            await _write_result(run, result)
        except (Refused, Unauthorized) as refused:
            if not result.cancel:
                raise
            result = result.not_cancelled(str(refused))
            await _write_result(run, result)
    except CommerceLayerError as error:
        return Recorded(unrecorded_line(result, error, run.now()), result, str(error), is_refusal(error))
    except _PlacedTwice as twice:
        return Recorded.of(result.placed_twice(twice.order_id))
    return Recorded.of(result)


async def _write_result(run: Run, result: RenewalResult) -> None:
    renewal = result.renewal

    async def fresh() -> OrderSubscription | None:
        return await run.last_looks.before_recording(renewal)

    def compose(subscription: OrderSubscription) -> Record | None:
        if (other := another_placed_order(result, subscription)) is not None:
            raise _PlacedTwice(other)
        return record_of(result, subscription)

    with run.last_looks.waiting_to_record(renewal):
        await write_record(run, renewal.subscription_id, fresh, compose)


async def write_record(
    run: Run,
    subscription_id: str,
    read: Callable[[], Awaitable[OrderSubscription | None]],
    compose: Callable[[OrderSubscription], Record | None],
    *,
    with_tag: bool = True,
) -> None:
    """
    Send the record that `compose` makes from the current subscription.

    If the answer is lost, the subscription is read and the record composed again: it is not written twice.
    `with_tag`: the subscription is adopted, and gets the tag that says so if it lacks it.
    """
    with_date = with_card = True

    async def change() -> SubscriptionChange:
        # PATCH replaces the whole metadata: read, merge, write.
        fresh = await read()
        record = None if fresh is None else compose(fresh)
        if fresh is None or record is None or _is_written(record, fresh):
            raise NothingToWrite
        next_run_at, card = record.next_run_at if with_date else None, record.payment_source_id if with_card else None
        # If it was adopted by an earlier version, or by hand, it gets the tag with this record.
        tag = TAG if with_tag and TAG not in fresh.tags else None
        return SubscriptionChange(record.metadata, next_run_at, record.cancel, card, tag)

    tries_left = RECORD_TRIES
    while True:
        try:
            await run.client.record_on_subscription(subscription_id, change)
        except NothingToWrite:
            return
        except Refused as refused:
            # Each part is left out at most once, so this ends.
            about = f"{refused.pointer} {refused.detail}"
            if with_tag and "tags" in about:
                with_tag = False  # this API client has no permission to tag
            elif with_card and "customer_payment_source" in about:
                with_card = False  # the card is no longer in the wallet
            elif with_date and "next_run_at" in about:
                # With an old `as_of`, the next date may be past, which the API refuses. The state has the settled
                # periods, so the next sweep goes on from there.
                with_date = False
            else:
                raise
        except (NotConnected, WriteFateUnknown):
            tries_left -= 1
            if not tries_left:
                raise
            run.last_looks.forget(subscription_id)
            await current_clock().sleep(PAUSE)
        else:
            return


def _is_written(record: Record, fresh: OrderSubscription) -> bool:
    moved = record.next_run_at is None or record.next_run_at == fresh.next_run_at
    has_card = record.payment_source_id in {None, fresh.customer_payment_source_id}
    return record.metadata == fresh.metadata and moved and has_card and not record.cancel


async def _withdraw_given_up_order(run: Run, recorded: Recorded) -> None:
    """
    Cancel the unpaid order of a cancelled subscription or a skipped period: the customer could still pay it.

    Only after that is recorded: until then the next sweep goes on with the order. If this run dies here, the next
    sweep's review withdraws it.
    """
    result = recorded.result
    if result is None or recorded.not_written is not None or result.final_action in {None, FinalAction.HOLD}:
        return
    if result.state.target_order_id is not None:
        await run.withdrawals.withdraw(result.state.target_order_id, f"given up: {result.what}")


def _announce(run: Run, recorded: Recorded, result: RenewalResult) -> None:
    """
    Emit `perennial.renewal.{outcome}` for automations and webhooks, and `perennial.final_action.{action}`.

    An event's id follows from its content: a run that repeats the record after a crash emits the same event, not a
    second one.
    """
    result = recorded.result or result
    state = result.state
    facts: dict[str, str | int | None] = {
        "subscription_id": result.renewal.subscription_id,
        "source_order_id": result.renewal.source_order_id,
        "reference": result.renewal.reference,
        "order_copy_id": state.order_copy_id,
        "target_order_id": state.target_order_id,
        "new_payment_source_id": result.new_card,
        "failure_class": result.failure.cls.value if result.failure else None,
        "attempt": state.attempt,
        "next_attempt_at": state.next_attempt_at.isoformat() if state.next_attempt_at else None,
        "next_run_at": result.next_run_at.isoformat() if result.next_run_at else None,
        "final_action": result.final_action.value if result.final_action else None,
        "sentence": recorded.line.sentence,
        "flow_run_id": run.identity.flow_run_id,
    }
    _emit(run, f"perennial.renewal.{result.outcome.value}", result.outcome, facts)
    if result.final_action is not None and recorded.not_written is None:
        _emit(run, f"perennial.final_action.{result.final_action.value}", result.outcome, facts)


def _announce_skip(run: Run, skipped: Skipped) -> None:
    """Emit `perennial.renewal.skipped` for a due renewal that is left alone, with the reason."""
    reference = skipped.subscription_id if skipped.due is None else reference_of(skipped.subscription_id, skipped.due)
    facts: dict[str, str | int | None] = {
        "subscription_id": skipped.subscription_id,
        "reference": reference,
        "reason": skipped.reason.value,
        "sentence": skipped.sentence,
        "flow_run_id": run.identity.flow_run_id,
    }
    _emit(run, "perennial.renewal.skipped", Outcome.SKIPPED, facts)


def _emit(run: Run, event: str, outcome: Outcome, facts: dict[str, str | int | None]) -> None:
    says = "/".join(str(facts.get(key)) for key in ("reference", "attempt", "next_attempt_at", "reason"))
    emit_event(
        event=event,
        resource={
            "prefect.resource.id": f"perennial.subscription.{facts['subscription_id']}",
            "prefect.resource.name": str(facts["reference"]),
            "perennial.outcome": outcome.value,
            "perennial.failure-class": str(facts.get("failure_class") or ""),
            "perennial.final-action": str(facts.get("final_action") or ""),
            "perennial.organization": run.organization,
        },
        related=[
            {"prefect.resource.id": f"perennial.{kind}.{facts[key]}", "prefect.resource.role": kind}
            for kind, key in (("order-copy", "order_copy_id"), ("target-order", "target_order_id"))
            if facts.get(key)
        ],
        payload=facts,
        id=uuid5(NAMESPACE_URL, f"{event}/{says}"),
    )
