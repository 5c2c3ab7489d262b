"""Look before you create: what is read, 25 subscriptions at a time, while the writer leases are held."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from blocks.commerce_layer.resources import OrderCopy, OrderSubscription, SubscriptionStatus
from flows.rules.acts import guard, references_to_look_up
from flows.rules.references import parse_reference, reference_of
from flows.rules.renewal import Renewal, Settlement, Skipped, SkipReason, plan
from flows.rules.skips import waits_for_payment
from flows.rules.state import RenewalState
from flows.rules.unrecorded import looked_back_to, recorded_reference, unrecorded_period
from flows.tasks.shop import Shop

NATIVE_ENGINE_RUNS = (SubscriptionStatus.ACTIVE, SubscriptionStatus.RUNNING, SubscriptionStatus.PENDING)
"""A native subscription in one of these may make an order copy by itself."""


@dataclass(frozen=True)
class Seen:
    """What the looks brought: who may go on, who may not and why, and the copies of each first reference."""

    renewals: Sequence[Renewal]
    skipped: Sequence[Skipped]
    copies: Mapping[str, Sequence[OrderCopy]]


async def look(shop: Shop, subscription_ids: Sequence[str]) -> Seen:
    """
    Read the subscriptions again, plan, and look for copies and for rivals.

    Raises:
        CommerceLayerError: one of the looks could not be read; then nobody may create anything.
    """
    fresh = await shop.client.get_subscriptions(subscription_ids)
    paid = await paid_meanwhile(shop, fresh.values())
    planned = [_plan_one(shop, subscription_id, fresh, paid) for subscription_id in subscription_ids]
    skipped = [each for each in planned if isinstance(each, Skipped)]
    of_sources = await _copies_of_sources(shop, [each for each in planned if isinstance(each, Renewal)])
    renewals = [_go_back(each, of_sources) for each in planned if isinstance(each, Renewal)]
    copies = await _copies_of(shop, renewals)
    refused = await _ask_the_guard(shop, renewals, fresh, of_sources)
    stopped = {each.subscription_id for each in refused}
    allowed = [each for each in renewals if each.subscription_id not in stopped]
    return Seen(allowed, [*skipped, *refused], copies)


async def paid_meanwhile(shop: Shop, subscriptions: Iterable[OrderSubscription]) -> frozenset[str]:
    """
    Which of these were held after a failure, and their customer has paid the order at the checkout since: they go on.

    Costs nothing while nobody is held, and one list call for 25 who are.
    """
    states = {each.id: RenewalState.read(each.metadata) for each in subscriptions}
    waiting = {each: state.target_order_id for each, state in states.items() if state and waits_for_payment(state)}
    if not waiting:
        return frozenset()
    orders = await shop.client.get_orders(order_id for order_id in waiting.values() if order_id)
    return frozenset(each for each, order_id in waiting.items() if order_id in orders and orders[order_id].is_placed)


def _plan_one(
    shop: Shop, subscription_id: str, fresh: Mapping[str, OrderSubscription], paid: frozenset[str]
) -> Renewal | Skipped:
    subscription = fresh.get(subscription_id)
    if subscription is None:
        sentence = "the subscription is gone since the due list was read"
        return Skipped(subscription_id, None, SkipReason.GONE, sentence)
    planned = plan(subscription, shop.terms, shop.as_of, shop.instance, paid=subscription_id in paid)
    return _signed(planned, shop.instance)


def _signed(planned: Renewal | Skipped, instance: str) -> Renewal | Skipped:
    """The plan with our installation's id in what will be written: from the first record on, no other one renews it."""
    if isinstance(planned, Renewal):
        return replace(planned, state=planned.state.model_copy(update={"instance": instance}))
    if planned.settlement is None:
        return planned
    state, next_run_at = planned.settlement
    return replace(planned, settlement=Settlement(state.model_copy(update={"instance": instance}), next_run_at))


async def _copies_of(shop: Shop, renewals: Sequence[Renewal]) -> Mapping[str, Sequence[OrderCopy]]:
    wanted = [reference for renewal in renewals for reference in references_to_look_up(renewal)]
    found = await shop.client.find_order_copies(wanted) if wanted else {}
    by_period: dict[str, list[OrderCopy]] = defaultdict(list)
    for reference, copies in found.items():
        parsed = parse_reference(reference)
        if parsed is not None:
            by_period[reference_of(parsed.subscription_id, parsed.due)].extend(copies)
    return by_period


async def _copies_of_sources(shop: Shop, renewals: Sequence[Renewal]) -> list[OrderCopy]:
    """What others made of the same source orders, and what was made of them by runs that died before the record."""
    if not renewals:
        return []
    sources = sorted({renewal.source_order_id for renewal in renewals})
    since = min(min(renewal.due, looked_back_to(renewal)) for renewal in renewals)
    known = [reference for renewal in renewals if (reference := recorded_reference(renewal))]
    return await shop.client.list_order_copies_of(sources, since, without=known)


def _go_back(renewal: Renewal, copies: Iterable[OrderCopy]) -> Renewal:
    """The renewal of a period that was begun and never recorded, where there is one: it must be settled first."""
    period = unrecorded_period(renewal, copies)
    return renewal if period is None else renewal.for_due(period)


async def _ask_the_guard(
    shop: Shop,
    renewals: Sequence[Renewal],
    fresh: Mapping[str, OrderSubscription],
    of_sources: Sequence[OrderCopy],
) -> list[Skipped]:
    if not renewals:
        return []
    sources = sorted({renewal.source_order_id for renewal in renewals})
    rivals = await shop.client.find_subscriptions_by_source_orders(sources, NATIVE_ENGINE_RUNS)
    answers = (
        guard(
            renewal,
            fresh[renewal.subscription_id],
            [each for each in rivals if each.source_order_id == renewal.source_order_id],
            [each for each in of_sources if each.source_order_id == renewal.source_order_id],
            shop.as_of,
        )
        for renewal in renewals
    )
    return [answer for answer in answers if answer is not None]
