"""What `perennial probe` asks about Commerce Layer's own engine: subscriptions that it runs, and one that expires."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from blocks.commerce_layer import jsonapi
from blocks.commerce_layer.clock import current_clock
from blocks.commerce_layer.resources import CustomerPaymentSource, Order, OrderSubscription
from blocks.commerce_layer.statuses import SubscriptionStatus
from flows.cli.probe_work import ProbeWork, until
from flows.rules import observations
from flows.rules.observations import Cards
from flows.rules.probing import NoAnswer, Question

SOON = timedelta(seconds=65)
"""From now until a run or an end that is asked for: Commerce Layer takes only dates in the future."""

AFTERWARDS = timedelta(minutes=2)
"""How long after its end a subscription is looked at."""


@dataclass(frozen=True)
class Expiring:
    """A subscription that was active, and its end."""

    id: str
    expires_at: datetime


async def ask_the_engine(work: ProbeWork, cards: Cards, patience: float) -> Expiring | None:
    """Let a subscription run that has another card than its order. Returns one that expires meanwhile."""
    expiring = None
    with work.asking(Question.PAST_EXPIRY):
        end = work.now() + SOON
        made = await active_subscription(work, cards.of_order, expires_at=jsonapi.instant(end))
        expiring = Expiring(made.id, end)
    with work.asking(Question.NATIVE_PAYS):
        _, other = cards.one_and_other()
        subscription = await active_subscription(work, other, place_target_order=False)
        await _run_soon(work, subscription.id)
        order = await until(lambda: _order_of_run(work, subscription.id), patience)
        await work.shop.stop_subscription(subscription.id)
        if order is None:
            raise NoAnswer(f"Commerce Layer's engine has made no order within {patience / 60:g} min")
        work.note(observations.native_pays(work.payer_of(order, cards)))
    return expiring


async def active_subscription(work: ProbeWork, card: CustomerPaymentSource, **attributes: Any) -> OrderSubscription:
    """A subscription with this card that Commerce Layer's engine runs. Raises NoAnswer if it is not active."""
    made = await work.subscribe(is_run=True, **attributes)
    subscription = await work.shop.give_card(made.id, card.id)
    if subscription.status is SubscriptionStatus.PENDING:  # until now it had no card
        work.note(observations.without_card(subscription))
        subscription = await work.shop.activate(subscription.id)
    if subscription.status is not SubscriptionStatus.ACTIVE:
        raise NoAnswer(f"a new subscription of a placed order is {subscription.raw_status}, not active")
    return subscription


async def ask_about_a_failing_run(work: ProbeWork, subscription: OrderSubscription, patience: float) -> None:
    """Let a subscription run whose card was deleted, as was that of its order."""
    with work.asking(Question.WITHOUT_CARD, Question.OCCURRENCIES):
        now = await work.shop.subscription_now(subscription.id)
        if now.status is SubscriptionStatus.PENDING:
            work.note(observations.without_card(now))
            raise NoAnswer("a subscription without a card is pending, and is not run")
        await _run_soon(work, subscription.id)
        ended = await until(lambda: _after_its_run(work, subscription.id), patience)
        if ended is None:
            raise NoAnswer(f"Commerce Layer's engine has not run a subscription within {patience / 60:g} min")
        work.note(*observations.failing_run(ended))


async def wait_for_the_end(work: ProbeWork, expiring: Expiring | None) -> None:
    """Look at the subscription that expires, once it has."""
    if expiring is None:
        return
    with work.asking(Question.PAST_EXPIRY):
        left = expiring.expires_at + AFTERWARDS - work.now()
        await current_clock().sleep(max(0.0, left.total_seconds()))
        work.note(observations.past_expiry(await work.shop.subscription_now(expiring.id)))


async def _run_soon(work: ProbeWork, subscription_id: str) -> None:
    """Let a subscription run, and wait until it is due."""
    await work.shop.run_subscription(subscription_id, work.now() + SOON)
    await current_clock().sleep(SOON.total_seconds())


async def _order_of_run(work: ProbeWork, subscription_id: str) -> Order | None:
    orders = await work.shop.orders_of_runs(subscription_id)
    work.orders += [order.id for order in orders]
    return await work.shop.client.get_order(orders[0].id) if orders else None


async def _after_its_run(work: ProbeWork, subscription_id: str) -> OrderSubscription | None:
    now = await work.shop.subscription_now(subscription_id)
    has_run = now.last_run_at is not None and now.status is not SubscriptionStatus.RUNNING
    return now if has_run or now.status is SubscriptionStatus.PENDING else None
