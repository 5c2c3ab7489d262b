"""Handing subscriptions over: list those concerned, decide about each as it is now, and change it."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from prefect import task
from prefect.artifacts import acreate_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.logging import get_run_logger

from blocks.commerce_layer import listings
from blocks.commerce_layer.errors import CommerceLayerError
from blocks.commerce_layer.handing_over import hand_over_subscription, make_sure_of_tag
from blocks.commerce_layer.jsonapi import pages_of
from blocks.commerce_layer.resources import OrderSubscription
from blocks.commerce_layer.splitting import read_in_parts
from blocks.commerce_layer.statuses import SubscriptionStatus
from flows.rules.handover import Change, Decision, Handling, Handover, HandoverRequest
from flows.rules.outside_text import markdown
from flows.rules.pausing import decide
from flows.rules.state import TAG, RenewalState
from flows.run.context import Run
from flows.run.freshness import Freshness
from flows.run.states import completed, failed

ROWS_SHOWN = 500
"""How many lines the table has; the counts cover all subscriptions."""

_DONE = {
    Handover.ADOPT: ("adopted", "would be adopted"),
    Handover.RELEASE: ("released", "would be released"),
    Handover.GIVE_BACK: ("given back", "would be given back"),
    Handover.PAUSE: ("paused", "would be paused"),
    Handover.RESUME: ("resumed", "would be resumed"),
}


class _Outdated(Exception):  # noqa: N818 - the name says what happened
    """The subscription is not as it was when the decision was made."""


@dataclass(frozen=True, slots=True)
class _Decided:
    """A decision, the subscription that it is about (None if there is none), and how old that read is."""

    decision: Decision
    subscription: OrderSubscription | None
    read: Freshness


@dataclass(frozen=True)
class HandoverResult:
    """What was, or would be, done about each subscription; `failed` are those whose change failed."""

    request: HandoverRequest
    decisions: Sequence[Decision]
    failed: Sequence[Decision] = ()
    dry_run: bool = True
    untagged: str | None = None
    """Why the tag of adopted subscriptions could not be created; None when it exists, or is not needed."""

    @property
    def sentence(self) -> str:
        """The counts in plain words."""
        counts = Counter(decision.handling for decision in self.decisions)
        parts = [f"{counts[Handling.CHANGE]} {_DONE[self.request.handover][self.dry_run]}"]
        parts += [f"{counts[Handling.AS_REQUESTED]} need nothing"] if counts[Handling.AS_REQUESTED] else []
        parts += [f"{counts[Handling.REFUSED]} refused"] if counts[Handling.REFUSED] else []
        parts += [f"{len(self.failed)} failed: run it again"] if self.failed else []
        parts += (
            [f"without the tag {TAG!r}, so that a lost state goes unnoticed: {self.untagged}"] if self.untagged else []
        )
        return ", ".join(parts)

    @property
    def rows(self) -> list[dict[str, Any]]:
        """One line for each subscription, those that need a person first."""
        refused = [each for each in self.decisions if each.handling is Handling.REFUSED]
        others = [each for each in self.decisions if each.handling is not Handling.REFUSED]
        return [
            {"subscription": each.subscription_id, "handling": name or each.handling.value, "what": each.sentence}
            for name, group in (("failed", self.failed), ("", refused), ("", others))
            for each in group
        ]

    @property
    def needs_person(self) -> bool:
        """Whether a requested change was not made."""
        return bool(self.failed) or any(each.handling is Handling.REFUSED for each in self.decisions)


@task(task_run_name="find subscriptions", cache_policy=NO_CACHE)
async def find_subscriptions(
    run: Run, request: HandoverRequest, named: Sequence[str], statuses: Sequence[str]
) -> State[list[str]]:
    """
    The ids of all subscriptions concerned: those named, and those in `statuses`.

    Of those with a status, only the fitting ones: held ones for a release, adopted ones for giving back.
    """
    found = {each.strip(): None for each in named if each.strip()}
    for status in statuses:
        async for page in listings.iter_with_status(run.client, SubscriptionStatus(status)):
            found |= {each.id: None for each in page.readable if _is_concerned(each, request)}
            found |= dict.fromkeys(page.unreadable)  # nobody knows whether they are concerned, so they are reported
    return completed(f"{len(found)} subscriptions", list(found))


def _is_concerned(subscription: OrderSubscription, request: HandoverRequest) -> bool:
    state = RenewalState.read(subscription.metadata)
    if request.handover is Handover.ADOPT:
        return True
    if state is None:
        return False
    return {Handover.RELEASE: state.held, Handover.RESUME: state.paused}.get(request.handover, True)


@task(task_run_name="hand over", cache_policy=NO_CACHE)
async def hand_over(
    run: Run, request: HandoverRequest, subscription_ids: Sequence[str], *, dry_run: bool
) -> State[HandoverResult]:
    """Decide about each subscription as it is now and, unless it is a dry run, change it. Nothing is changed twice."""
    request = replace(request, requested=frozenset(subscription_ids))
    untagged = None
    if request.handover is Handover.ADOPT and subscription_ids and not dry_run:
        untagged = await make_sure_of_tag(run.client, TAG)
    decisions: list[Decision] = []
    undone: list[Decision] = []
    for page in pages_of(subscription_ids):
        if dry_run:
            decisions += [each.decision for each in await _decide(run, request, page)]
            continue
        for decision, problem in await _decide_and_change(run, request, page):
            if problem is None:
                decisions.append(decision)
            else:
                undone.append(Decision(decision.subscription_id, decision.handling, problem, decision.change))
    result = HandoverResult(request, decisions, undone, dry_run, untagged)
    shown = [{name: markdown(cell) for name, cell in row.items()} for row in result.rows[:ROWS_SHOWN]]
    await acreate_table_artifact(shown, key="subscriptions", description=markdown(result.sentence))
    return (failed if undone else completed)(result.sentence, result)


async def _decide(run: Run, request: HandoverRequest, subscription_ids: Sequence[str]) -> list[_Decided]:
    parts = await read_in_parts(subscription_ids, lambda some: _read_and_decide(run, request, some))
    if parts.trouble is not None:
        raise parts.trouble
    refused = [
        Decision(each, Handling.REFUSED, f"it cannot be read ({error}); nothing was changed")
        for each, error in parts.unreadable.items()
    ]
    decided = [each for part in parts.read for each in part]
    return [*decided, *(_Decided(each, None, Freshness()) for each in refused)]


async def _read_and_decide(run: Run, request: HandoverRequest, subscription_ids: Sequence[str]) -> list[_Decided]:
    read = Freshness()
    fresh = await run.client.get_subscriptions(subscription_ids)
    others: list[OrderSubscription] = []
    if request.handover is Handover.ADOPT:
        sources = {each.source_order_id for each in fresh.values() if each.source_order_id is not None}
        others = await run.client.list_subscriptions_of(sorted(sources))
    return [
        _Decided(_decide_one(run, request, fresh[each], others), fresh[each], read)
        if each in fresh
        else _Decided(
            Decision(each, Handling.REFUSED, "there is no such subscription in this organization and mode"), None, read
        )
        for each in subscription_ids
    ]


def _decide_one(
    run: Run, request: HandoverRequest, subscription: OrderSubscription, others: Sequence[OrderSubscription]
) -> Decision:
    try:
        return decide(subscription, request, run.policy, run.as_of, others)
    except Exception as error:  # noqa: BLE001 - one odd subscription must not stop the others
        get_run_logger().exception("subscription %s cannot be decided on", subscription.id)
        said = f"it cannot be decided on ({type(error).__name__}: {error}); nothing was changed"
        return Decision(subscription.id, Handling.REFUSED, said)


async def _decide_and_change(
    run: Run, request: HandoverRequest, subscription_ids: Sequence[str]
) -> list[tuple[Decision, str | None]]:
    # A sweep that is renewing one of them reads it again before it charges, and sees that it was given back.
    try:
        decided = await _decide(run, request, subscription_ids)
    except CommerceLayerError as error:
        undone = f"nothing was changed: {error}"
        return [(Decision(each, Handling.CHANGE, undone), undone) for each in subscription_ids]
    problems = await asyncio.gather(*(_change(run, each) for each in decided))
    return [(each.decision, problem) for each, problem in zip(decided, problems, strict=True)]


async def _change(run: Run, decided: _Decided) -> str | None:
    """Carry out one decision; returns why it is not done, or None when it is."""
    change = decided.decision.change
    if change is None:
        return None
    try:
        return _differs(await _send(run, decided, change), change)
    except (CommerceLayerError, _Outdated) as error:
        # The answer may be lost: the subscription as it is now shows whether the change was made.
        seen = await _read(run, decided.decision.subscription_id)
        return None if seen is not None and _differs(seen, change) is None else str(error)


async def _send(run: Run, decided: _Decided, change: Change) -> OrderSubscription:
    subscription_id = decided.decision.subscription_id

    async def check() -> None:
        # A PATCH replaces all metadata: what a sweep or staff have written since would be lost.
        if not decided.read.is_over:
            return
        now = (await run.client.get_subscriptions([subscription_id])).get(subscription_id)
        if now != decided.subscription:
            raise _Outdated("it was changed a moment ago; nothing was changed: run it again")

    return await hand_over_subscription(
        run.client,
        subscription_id,
        change.trigger,
        metadata=change.metadata,
        next_run_at=change.next_run_at,
        add_tag=TAG if change.tagged is True else None,
        remove_tag=TAG if change.tagged is False else None,
        check=check,
    )


async def _read(run: Run, subscription_id: str) -> OrderSubscription | None:
    try:
        return (await run.client.get_subscriptions([subscription_id])).get(subscription_id)
    except CommerceLayerError:
        return None


def _differs(seen: OrderSubscription, change: Change) -> str | None:
    """How a subscription differs from the wanted change; None when it does not."""
    wanted = {"activate": SubscriptionStatus.ACTIVE, "deactivate": SubscriptionStatus.INACTIVE, None: seen.status}
    if seen.status is not wanted[change.trigger]:
        return f"its status is {seen.raw_status or seen.status} all the same"
    if seen.metadata != change.metadata:
        return "its metadata are not what was sent; a person or another program may have changed them just now"
    return None
