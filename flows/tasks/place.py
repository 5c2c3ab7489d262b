"""The third task of a renewal, and the only one that charges the customer: the order is placed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State

from blocks.commerce_layer.changes import SubscriptionChange
from blocks.commerce_layer.charging import Placement, place_order
from blocks.commerce_layer.clock import current_clock
from blocks.commerce_layer.errors import CommerceLayerError, NotFound, ReadFailed, Refused, WriteFateUnknown
from blocks.commerce_layer.resources import Order, OrderSubscription
from blocks.commerce_layer.statuses import OrderStatus
from flows.rules.findings import HeldBack, LeftAlone, NotPlaced, OrderAnswered, PlacementRefused, StillRunning
from flows.rules.manual_copy import ManualCopy
from flows.rules.next_action import Hold, HoldReason, Place
from flows.rules.placements import Placed, may_be_placed, placement_in_words, why_withdrawn
from flows.rules.prepared_copies import may_have_been_tried
from flows.rules.references import REFERENCE_ORIGIN
from flows.rules.renewal import Renewal, Skipped, SkipReason
from flows.rules.state import Outcome, RenewalState
from flows.rules.still_wanted import price_hold
from flows.rules.work import Work, is_native, is_rescue, why_not_wanted
from flows.run.after_placing import once_it_ended, order_as_it_is, tells_what_came_of_it
from flows.run.context import Run
from flows.run.last_checks import Stop, count_charges, may_charge, place_now
from flows.run.order_card import OrderCard, OtherCard
from flows.run.states import completed
from flows.tasks.create import Created, Creation

PLACE_TRIES = 3
"""How often a placement is sent if its answer is lost. Placing a placed order changes nothing."""

CHECK_TRIES = 30
"""How often the last checks are made before one order: near a cap, each placed order needs a new count."""

PAUSE = 2.0
"""Seconds to wait after a lost answer before the order is read."""

CARD_CHANGES = 3
"""How often another card is set on an order before it is left to the next sweep."""


@task(task_run_name="place {work.reference}", cache_policy=NO_CACHE, retries=0)
async def place_target_order(run: Run, work: Work, creation: Creation, attempt: Place) -> State[Placed]:
    """
    Place the canonical copy's order, after a last look that is at most seconds old.

    The last look is taken when the rate limit lets the request go. If the renewal is no longer wanted, the order is
    cancelled instead, and the customer is not charged. If this run did not create the copy, its order may have been
    tried before, so the attempt is announced on the subscription first, unless a prepared order shows that it was not.
    Every attempt of a rescue is announced.
    """
    created_here = isinstance(creation, Created) and creation.copy.id == attempt.copy.id
    placed: Placed
    if isinstance(work, ManualCopy):
        async with run.placing:
            placed = await _send(run, attempt, lambda: _compose_manual_copy(run, work, attempt))
    else:
        # From here on, not only when its turn comes: the renewals that are next share a last look.
        with run.last_looks.waiting_to_place(work):
            async with run.placing:
                announce = is_rescue(work) or (
                    not created_here and may_have_been_tried(attempt.copy, attempt.order, work.due, work.state)
                )
                placed = await _Renewing(run, work, attempt).carry_out(announce=announce)
    if isinstance(placed, OrderAnswered):
        placed = await once_it_ended(run, work, placed)
    if isinstance(placed, OrderAnswered) and placed.order.is_placed:
        run.placements.note(attempt.copy)
    run.caps.settle(attempt.order.id, may_be_placed=may_be_placed(placed))
    if (why := why_withdrawn(placed)) is not None and not is_native(work, attempt.copy):
        await run.withdrawals.withdraw(attempt.order.id, why)
    return completed(placement_in_words(placed), placed)


class _Renewing:
    """One attempt to place the order of a renewal."""

    def __init__(self, run: Run, renewal: Renewal, attempt: Place) -> None:
        self._run, self._renewal, self._attempt = run, renewal, attempt
        self._announced: RenewalState | None = None
        self._was_sent = False
        self._card = OrderCard(run.client, renewal.policy, attempt.order.id)

    async def carry_out(self, *, announce: bool) -> Placed:
        try:
            await may_charge(self._run, self._renewal)
            if announce:
                await self._announce()
            return await self._end(await self._place())
        except Stop as stop:
            return await self._end(stop.end)
        except CommerceLayerError as error:
            return NotPlaced(self._attempt, error)

    async def _place(self) -> Placed:
        """Send the placement; if the order does not have the subscription's card, set it first."""
        for _ in range(1 + CARD_CHANGES):
            try:
                return await _send(self._run, self._attempt, self._compose)
            except OtherCard as other:
                try:
                    await self._card.use(other.card)
                except Refused as refused:
                    order = await order_as_it_is(self._run, self._attempt)
                    return PlacementRefused(self._attempt, refused, order, is_sent=False)
        return self._changed("was to be paid with another card each time it was looked at")

    async def _announce(self) -> None:
        """Record the attempt before it is made: even if this run dies then, it counts."""
        run, subscription_id, attempt = self._run, self._renewal.subscription_id, self._attempt
        key = self._renewal.state_key
        state = self._renewal.state.announcing(
            attempt.attempt, attempt.copy.id, attempt.order.id, run.now(), run.identity.flow_run_id,
            self._renewal.payment_source_id,
        )  # fmt: skip

        announced: RenewalState | None = None

        async def change() -> SubscriptionChange:
            nonlocal announced
            subscription, _ = await self._look()
            metadata = state.written_into(subscription.metadata, key)
            # As it will be read later: instants are stored in whole seconds.
            announced = RenewalState.read(metadata, key)
            return SubscriptionChange(metadata)

        try:
            await run.client.record_on_subscription(subscription_id, change)
        except Refused as refused:
            raise Stop(NotPlaced(self._attempt, refused)) from refused
        except WriteFateUnknown:
            there = (await run.client.get_subscriptions([subscription_id])).get(subscription_id)
            if there is None or RenewalState.read(there.metadata, key) != announced:
                raise
        finally:
            run.last_looks.forget(subscription_id)
        self._announced = announced

    async def _compose(self) -> Placement:
        subscription, order = await self._check()
        self._compare_the_card(subscription, order)
        if (full := self._run.caps.take(order)) is not None:
            raise Stop(self._left_alone(SkipReason.CAP_REACHED, full))
        self._was_sent = True
        return _placement(self._run, self._renewal, order)

    async def _check(self) -> tuple[OrderSubscription, Order]:
        """
        Look at everything that may forbid the placement, until all of it is fresh at the same moment.

        Each check may take seconds, in which another one becomes too old. The look comes last: a run that withdraws the
        order waits only until looks are too old to use.
        """
        caps, switch = self._run.caps, self._run.stop_switch
        order = self._attempt.order
        for _ in range(CHECK_TRIES):
            await may_charge(self._run, self._renewal)
            if not caps.is_counted(order):
                await count_charges(self._run, self._attempt)
            subscription, order = await self._look()
            if switch.is_fresh and caps.is_counted(order):
                return subscription, order
        slowly = ReadFailed("/api/orders", "what forbids a charge changes faster than it is read", CHECK_TRIES)
        raise Stop(NotPlaced(self._attempt, slowly))

    def _compare_the_card(self, subscription: OrderSubscription, order: Order) -> None:
        try:
            self._card.compare(subscription, order)
        except OtherCard:
            if self._was_sent:  # its answer was lost: the order may be placed with the previous card
                raise Stop(self._changed("is to be paid with another card since a moment ago")) from None
            raise

    async def _look(self) -> tuple[OrderSubscription, Order]:
        """The subscription and the order as they are now. Raises Stop when the order must not be placed."""
        renewal = self._renewal
        try:
            look = await self._run.last_looks.before_placing(renewal)
        except CommerceLayerError as error:
            raise Stop(NotPlaced(self._attempt, error)) from error
        place, as_of = place_now(self._run, renewal, self._attempt, look.copies), self._run.as_of
        skipped = why_not_wanted(
            renewal, look.subscription, look.rivals, look.copies, as_of, announced=self._announced, now=self._run.now()
        )
        if skipped is not None:
            raise Stop(LeftAlone(skipped))
        if place is None:
            raise Stop(self._changed("was cancelled, or another one counts, since a moment ago"))
        order = place.order
        if (order.errors_count or 0) > (self._attempt.order.errors_count or 0):
            raise Stop(self._changed("was tried by another run a moment ago"))
        if (hold := price_hold(renewal, place)) is not None:
            raise Stop(HeldBack(hold))
        if (full := self._run.caps.refusal(order)) is not None:
            raise Stop(self._left_alone(SkipReason.CAP_REACHED, full))
        assert look.subscription is not None, "one that is gone is not wanted any more"
        return look.subscription, order

    def _changed(self, what: str) -> LeftAlone:
        sentence = f"its order {self._attempt.order.id} {what}; the next sweep decides anew"
        return self._left_alone(SkipReason.CHANGED, sentence)

    def _left_alone(self, reason: SkipReason, sentence: str) -> LeftAlone:
        return LeftAlone(Skipped(self._renewal.subscription_id, self._renewal.due, reason, sentence))

    async def _end(self, end: Placed) -> Placed:
        order, may_be_made = (end.order if isinstance(end, PlacementRefused | OrderAnswered) else None), self._was_sent
        if isinstance(end, PlacementRefused | OrderAnswered):
            end = replace(end, attempt=replace(end.attempt, card=self._card.charged))
        if order is not None and order.status is OrderStatus.CANCELLED:
            end, may_be_made = self._changed("was cancelled a moment ago"), False
        if isinstance(end, LeftAlone) and self._announced is not None and not may_be_made:
            await self._take_back_the_announcement()
        return end

    async def _take_back_the_announcement(self) -> None:
        """Remove the announcement of an attempt that was not made, if it is ours still. If that fails, it counts."""
        run, subscription_id, key = self._run, self._renewal.subscription_id, self._renewal.state_key

        async def change() -> SubscriptionChange:
            subscription = (await run.client.get_subscriptions([subscription_id])).get(subscription_id)
            stored = RenewalState.read(subscription.metadata, key) if subscription is not None else None
            ours = (Outcome.PLACING, run.identity.flow_run_id)
            if subscription is None or stored is None or (stored.outcome, stored.flow_run_id) != ours:
                raise Stop(self._changed("is announced by another run"))
            without = stored.without_announcement(self._renewal.state)
            return SubscriptionChange(without.written_into(subscription.metadata, key))

        with suppress(CommerceLayerError, Stop):
            await run.client.record_on_subscription(subscription_id, change)


async def _compose_manual_copy(run: Run, work: ManualCopy, attempt: Place) -> Placement:
    if not run.caps.is_counted(attempt.order):
        await count_charges(run, attempt)
    try:
        found = await run.client.find_order_copies([work.reference])
    except CommerceLayerError as error:
        raise Stop(NotPlaced(attempt, error)) from error
    place = place_now(run, work, attempt, found[work.reference])
    if place is None:
        raise Stop(StillRunning(attempt.copy))
    await may_charge(run, work)
    if (full := run.caps.take(place.order)) is not None:
        raise Stop(HeldBack(Hold(HoldReason.CAP, full)))
    return _placement(run, work, place.order)


def _placement(run: Run, work: Work, order: Order) -> Placement:
    return Placement(work.reference, REFERENCE_ORIGIN, {**order.metadata, "perennial": run.tracking(work)})


async def _send(run: Run, attempt: Place, compose: Callable[[], Awaitable[Placement]]) -> Placed:
    """
    Send the placement. After a lost answer, the order shows the result; if it does not, the placement is sent again.

    If the result cannot be found out, it stays unknown: the placement may have been carried out.
    """
    lost: WriteFateUnknown | None = None
    order: Order | None = None
    for _ in range(PLACE_TRIES):
        try:
            answer = await place_order(run.client, attempt.order.id, compose)
        except Stop as stop:
            return stop.end if lost is None else await _after_a_lost_answer(run, attempt, lost, stop.end)
        except WriteFateUnknown as error:
            lost = error
            await current_clock().sleep(PAUSE)
            order = await order_as_it_is(run, attempt)
            if order is None:
                break
            if tells_what_came_of_it(attempt, order):
                return OrderAnswered(attempt, order)
        except CommerceLayerError as error:
            if lost is not None and not isinstance(error, (Refused, NotFound)):
                break
            return PlacementRefused(attempt, error, await order_as_it_is(run, attempt))
        else:
            return OrderAnswered(attempt, answer)
    assert lost is not None
    return PlacementRefused(attempt, lost, order)


async def _after_a_lost_answer(run: Run, attempt: Place, lost: WriteFateUnknown, end: Placed) -> Placed:
    """How the attempt ends if it is not sent again: the request with the lost answer may have been carried out."""
    order = await order_as_it_is(run, attempt)
    if order is not None and order.status is not OrderStatus.CANCELLED and tells_what_came_of_it(attempt, order):
        return OrderAnswered(attempt, order)
    is_withdrawn = isinstance(end, LeftAlone) and end.skipped.reason.ends_the_renewal
    if isinstance(end, NotPlaced | LeftAlone) and not is_withdrawn:
        return PlacementRefused(attempt, lost, order)
    return end
