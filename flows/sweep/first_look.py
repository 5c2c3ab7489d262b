"""The first look at 25 due subscriptions: which renewals go on, which do not and why, and which copies exist."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import NamedTuple

from prefect.logging import get_logger

from blocks.commerce_layer.client import CommerceLayer
from blocks.commerce_layer.errors import AccessDenied
from blocks.commerce_layer.resources import Order, OrderCopy, OrderSubscription
from blocks.commerce_layer.splitting import read_in_parts
from flows.rules.cards import is_to_be_placed_now
from flows.rules.next_action import is_of_period, references_to_look_up
from flows.rules.order_copies import is_open
from flows.rules.preparing import OutOfDate, out_of_date
from flows.rules.renewal import Renewal, Skipped, SkipReason, plan
from flows.rules.skips import waits_for_payment
from flows.rules.state import RenewalState
from flows.rules.still_wanted import still_wanted
from flows.rules.unrecorded import stale_copies, unrecorded_period
from flows.run.context import Run
from flows.run.reads import look_at_copies, look_at_subscriptions
from flows.sweep.lost_copies import charged_without_a_copy
from flows.sweep.overwritten_states import with_counts_of_the_shop

_LOGGER = get_logger("perennial.first_look")


class Due(NamedTuple):
    """
    A due subscription, with its source order and its date (UTC) where they are known.

    If the source order is known, the same list call reads its rivals. `as_of` is set to look ahead: it is planned as a
    sweep at that instant (UTC) will plan it.
    """

    subscription_id: str
    source_order_id: str | None = None
    next_run_at: datetime | None = None
    as_of: datetime | None = None


@dataclass(frozen=True)
class FirstLook:
    """
    The result of the look. `stale` are copies whose unplaced orders are no longer wanted.

    `out_of_date` are prepared copies, by subscription, with the reason why their orders must not be used. Once these
    are cancelled, their renewals go on with new copies.
    """

    renewals: Sequence[Renewal]
    skipped: Sequence[Skipped]
    stale: Sequence[OrderCopy]
    out_of_date: Mapping[str, OutOfDate]


async def take_first_look(run: Run, due: Sequence[Due]) -> FirstLook:
    """
    Read the subscriptions again, plan, and look for rivals and for order copies.

    Raises:
        CommerceLayerError: something could not be read; then none of them is renewed.
    """
    fresh, rivals = await look_at_subscriptions(
        run.client, {each.subscription_id: each.source_order_id for each in due}
    )
    paid = await paid_meanwhile(run.client, fresh.values())
    as_of = {each.subscription_id: each.as_of or run.as_of for each in due}
    planned = [_plan_one(run, each, at, fresh, paid) for each, at in as_of.items()]
    skipped = [each for each in planned if isinstance(each, Skipped)]
    renewals = [each for each in planned if isinstance(each, Renewal)]
    copies = await look_at_copies(run.client, renewals)
    stale = [copy for renewal in renewals for copy in stale_copies(renewal, copies)]
    renewals = [_unrecorded_period_first(each, copies) for each in renewals]
    refusals = [refusal_of(run, each, as_of[each.subscription_id], fresh, rivals, copies) for each in renewals]
    for renewal, refusal in zip(renewals, refusals, strict=True):
        if refusal is not None and refusal.reason.ends_the_renewal:
            stale += [copy for copy in copies if is_open(copy) and is_of_period(renewal, copy)]
    wanted = [renewal for renewal, refusal in zip(renewals, refusals, strict=True) if refusal is None]
    skipped += [refusal for refusal in refusals if refusal is not None]
    wanted = await _with_their_copies(run, wanted, copies)
    charged = await charged_without_a_copy(run, wanted)
    to_skip = {each.subscription_id for each in charged}
    wanted = [each for each in wanted if each.subscription_id not in to_skip]
    outdated = {
        each.subscription_id: found for each in wanted if (found := out_of_date(each, fresh[each.subscription_id]))
    }
    wanted = [_without(each, outdated.get(each.subscription_id)) for each in wanted]
    return FirstLook(await with_counts_of_the_shop(run, wanted), [*skipped, *charged], stale, outdated)


def _without(renewal: Renewal, outdated: OutOfDate | None) -> Renewal:
    """The renewal as it goes on once the order of this copy is cancelled."""
    if outdated is None:
        return renewal
    return replace(renewal, found=tuple(copy for copy in renewal.found if copy.id != outdated.copy.id))


async def paid_meanwhile(client: CommerceLayer, subscriptions: Iterable[OrderSubscription]) -> frozenset[str]:
    """
    Those that wait after a failure and whose customer has paid the order at the checkout since: they go on.

    They include those whose customer confirmed the payment and closed the page before the order was placed.

    Costs one list call for 25 that wait, and none while no subscription waits.
    """
    waiting = _waiting_for_payment(subscriptions)
    return _paid(waiting, await client.get_orders(_order_ids(waiting)) if waiting else {})


async def known_as_paid(client: CommerceLayer, subscriptions: Iterable[OrderSubscription]) -> frozenset[str]:
    """
    Those of `paid_meanwhile` whose orders can be read. The first look reads them again, and reports what it cannot.

    Raises:
        AccessDenied: the API client may not read orders.
    """
    waiting = _waiting_for_payment(subscriptions)
    if not waiting:
        return frozenset()
    parts = await read_in_parts(_order_ids(waiting), client.get_orders)
    if isinstance(parts.trouble, AccessDenied):
        raise parts.trouble
    if unread := [*parts.unreadable, *parts.left]:
        why = parts.trouble or next(iter(parts.unreadable.values()))
        _LOGGER.warning("orders %s cannot be read, so they count as not paid: %s", ", ".join(unread), why)
    return _paid(waiting, {order_id: order for part in parts.read for order_id, order in part.items()})


def _waiting_for_payment(subscriptions: Iterable[OrderSubscription]) -> dict[str, RenewalState]:
    states = {each.id: RenewalState.read(each.metadata) for each in subscriptions}
    return {each: state for each, state in states.items() if state and waits_for_payment(state)}


def _order_ids(waiting: Mapping[str, RenewalState]) -> list[str]:
    return [state.target_order_id for state in waiting.values() if state.target_order_id]


def _paid(waiting: Mapping[str, RenewalState], orders: Mapping[str, Order]) -> frozenset[str]:
    return frozenset(
        each
        for each, state in waiting.items()
        if (order := orders.get(state.target_order_id or "")) and (order.is_placed or is_to_be_placed_now(state, order))
    )


def _plan_one(
    run: Run, subscription_id: str, as_of: datetime, fresh: Mapping[str, OrderSubscription], paid: frozenset[str]
) -> Renewal | Skipped:
    subscription = fresh.get(subscription_id)
    if subscription is None:
        sentence = "the subscription is gone since the due list was read"
        return Skipped(subscription_id, None, SkipReason.GONE, sentence)
    return plan(subscription, run.policy, as_of, paid=subscription_id in paid)


def _unrecorded_period_first(renewal: Renewal, copies: Iterable[OrderCopy]) -> Renewal:
    """The renewal of an earlier charged period that no run has recorded, if there is one: it must be settled first."""
    period = unrecorded_period(renewal, copies)
    return renewal if period is None else renewal.for_due(period)


def refusal_of(
    run: Run,
    renewal: Renewal,
    as_of: datetime,
    fresh: Mapping[str, OrderSubscription],
    rivals: Iterable[OrderSubscription],
    copies: Iterable[OrderCopy],
) -> Skipped | None:
    """Why this renewal must not go on, from the subscriptions and copies of this look; None when it may."""
    source = renewal.source_order_id
    return still_wanted(
        renewal,
        fresh.get(renewal.subscription_id),
        [each for each in rivals if each.source_order_id == source],
        [each for each in copies if each.source_order_id == source],
        as_of,
        now=run.now(),
    )


async def _with_their_copies(run: Run, renewals: Sequence[Renewal], copies: Iterable[OrderCopy]) -> list[Renewal]:
    """
    The renewals with the copies of their periods.

    If a recorded copy is not among those of the source order, it is looked up by its reference.
    """
    copies = list(copies)
    seen = {copy.id for copy in copies}
    missing = [each for each in renewals if each.state.order_copy_id not in seen | {None}]
    if missing:
        wanted = [reference for each in missing for reference in references_to_look_up(each)]
        found = await run.client.find_order_copies(wanted)
        copies += [copy for each in found.values() for copy in each]
    return [replace(each, found=tuple(copy for copy in copies if is_of_period(each, copy))) for each in renewals]
