"""The third step of a renewal, and the only one that charges the customer: the order is placed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State

from blocks.commerce_layer.charging import Placement, place_order
from blocks.commerce_layer.client import SubscriptionChange
from blocks.commerce_layer.clock import current_clock
from blocks.commerce_layer.errors import CommerceLayerError, Refused, WriteFateUnknown
from blocks.commerce_layer.resources import Order, OrderCopy, OrderStatus, OrderSubscription
from flows.rules.by_hand import ManualCopy
from flows.rules.evidence import CopyEnded, HeldBack, LeftAlone, NotPlaced, OrderAnswered, PlacementRefused
from flows.rules.next_action import Hold, Place, duplicate, is_of_period
from flows.rules.order_copies import MOVING_STATUSES, CopiesOfPeriod
from flows.rules.references import REFERENCE_ORIGIN
from flows.rules.renewal import Renewal, Skipped, SkipReason
from flows.rules.state import RenewalState
from flows.rules.still_wanted import still_wanted
from flows.rules.work import Work, references_of
from flows.run.context import Run
from flows.run.states import green
from flows.tasks.create import Created, Creation

PLACE_TRIES = 3
"""How often a placement is sent whose answer is lost. Placing a placed order changes nothing."""

PAUSE = 2.0
"""Seconds after a lost answer before the order is read."""

Placed = OrderAnswered | PlacementRefused | NotPlaced | CopyEnded | HeldBack | LeftAlone
"""What placing can end with."""


class _Stop(Exception):  # noqa: N818 - says what it does
    """The last look says that nothing is to be sent, and how the renewal ends instead."""

    def __init__(self, end: CopyEnded | HeldBack | LeftAlone | NotPlaced) -> None:
        super().__init__(end)
        self.end = end


@task(task_run_name="place {work.reference}", cache_policy=NO_CACHE, retries=0)
async def place_target_order(run: Run, work: Work, creation: Creation, attempt: Place) -> State[Placed]:
    """
    Place the canonical copy's order, upon a last look that is seconds old.

    The last look is taken when the rate limit lets the request go. If the renewal is no longer wanted, the order is
    cancelled instead, and nobody is charged. An order whose copy this run did not create may have been tried before,
    so the attempt is announced on the subscription first.
    """
    created_here = isinstance(creation, Created) and creation.copy.id == attempt.copy.id
    placed: Placed
    async with run.placing:
        if isinstance(work, ManualCopy):
            placed = await _send(run, attempt, lambda: _compose_by_hand(run, work, attempt))
        else:
            placed = await _Renewing(run, work, attempt).carry_out(announce=not created_here)
    if isinstance(placed, OrderAnswered):
        placed = await _once_it_ended(run, work, placed)
    if isinstance(placed, LeftAlone) and placed.skipped.reason.ends_the_renewal:
        await run.withdrawals.withdraw(attempt.order.id, placed.skipped.sentence)
    return _told(placed)


class _Renewing:
    """One attempt to place the order of a renewal."""

    def __init__(self, run: Run, renewal: Renewal, attempt: Place) -> None:
        self._run, self._renewal, self._attempt = run, renewal, attempt
        self._announced: RenewalState | None = None

    async def carry_out(self, *, announce: bool) -> Placed:
        try:
            if announce:
                await self._announce()
            await self._use_new_payment_source()
        except _Stop as stop:
            return await self._end(stop.end)
        except Refused as refused:  # the payment source: the order cannot be paid with it
            return PlacementRefused(self._attempt, refused)
        except CommerceLayerError as error:
            return NotPlaced(self._attempt, error)
        async with self._run.last_looks.waiting(self._renewal):
            return await self._end(await _send(self._run, self._attempt, self._compose))

    async def _announce(self) -> None:
        """Write the attempt down before it is made: whatever happens to us then, it counts as made."""
        run, subscription_id = self._run, self._renewal.subscription_id
        state = self._renewal.state.announcing(self._attempt.attempt, run.now(), run.identity.flow_run_id)

        async def change() -> SubscriptionChange:
            subscription, _ = await self._look()
            return SubscriptionChange(state.written_into(subscription.metadata))

        try:
            await run.client.record_on_subscription(subscription_id, change)
        except Refused as refused:
            raise _Stop(NotPlaced(self._attempt, refused)) from refused
        except WriteFateUnknown:
            there = (await run.client.get_subscriptions([subscription_id])).get(subscription_id)
            if there is None or RenewalState.read(there.metadata) != state:
                raise
        finally:
            run.last_looks.forget(subscription_id)
        self._announced = state

    async def _use_new_payment_source(self) -> None:
        source, tried = self._renewal.payment_source_id, self._renewal.state.payment_source_id
        if tried is not None and source is not None and source != tried:
            await self._run.client.use_payment_source(self._attempt.order.id, source)

    async def _compose(self) -> Placement:
        _, order = await self._look()
        return _placement(self._run, self._renewal, order)

    async def _look(self) -> tuple[OrderSubscription, Order]:
        """The subscription and the order as they are now. Raises _Stop when the order must not be placed."""
        renewal = self._renewal
        try:
            look = await self._run.last_looks.of(renewal)
        except CommerceLayerError as error:
            raise _Stop(NotPlaced(self._attempt, error)) from error
        copies = [copy for copy in look.copies if is_of_period(renewal, copy)]
        order = _order_to_place(self._attempt, copies)
        as_of = self._run.as_of
        skipped = still_wanted(renewal, look.subscription, look.rivals, look.copies, as_of, announced=self._announced)
        if skipped is not None:
            raise _Stop(LeftAlone(skipped))
        if order.status is OrderStatus.CANCELLED:
            raise _Stop(self._changed("was cancelled a moment ago"))
        if (order.errors_count or 0) > (self._attempt.order.errors_count or 0):
            raise _Stop(self._changed("was tried by another run a moment ago"))
        assert look.subscription is not None, "one that is gone is not wanted any more"
        return look.subscription, order

    def _changed(self, what: str) -> LeftAlone:
        sentence = f"its order {self._attempt.order.id} {what}; the next sweep decides anew"
        return LeftAlone(Skipped(self._renewal.subscription_id, self._renewal.due, SkipReason.CHANGED, sentence))

    async def _end(self, end: Placed) -> Placed:
        if isinstance(end, PlacementRefused) and end.order is not None and end.order.status is OrderStatus.CANCELLED:
            end = self._changed("was cancelled a moment ago")
        if isinstance(end, LeftAlone) and self._announced is not None:
            await self._take_back_the_announcement()
        return end

    async def _take_back_the_announcement(self) -> None:
        """The attempt was not made after all: say so, or it would count. Should that fail, it counts."""
        client, subscription_id = self._run.client, self._renewal.subscription_id
        with suppress(CommerceLayerError):
            fresh = (await client.get_subscriptions([subscription_id])).get(subscription_id)
            if fresh is not None and RenewalState.read(fresh.metadata) == self._announced:
                metadata = self._renewal.state.written_into(fresh.metadata)
                await client.update_subscription(subscription_id, metadata=metadata)


def _order_to_place(attempt: Place, copies: list[OrderCopy]) -> Order:
    """The order as the last look shows it. Raises _Stop when it, or another one of the period, is placed already."""
    placed = CopiesOfPeriod.of(copies).placed
    if len(placed) > 1:
        raise _Stop(HeldBack(duplicate(placed)))
    if placed and placed[0].target_order is not None and placed[0].target_order.is_placed:
        raise _Stop(CopyEnded(placed[0]))
    seen = next((copy.target_order for copy in copies if copy.id == attempt.copy.id), None)
    return seen or attempt.order


async def _compose_by_hand(run: Run, work: ManualCopy, attempt: Place) -> Placement:
    try:
        found = await run.client.find_order_copies([work.reference])
    except CommerceLayerError as error:
        raise _Stop(NotPlaced(attempt, error)) from error
    return _placement(run, work, _order_to_place(attempt, found[work.reference]))


def _placement(run: Run, work: Work, order: Order) -> Placement:
    return Placement(work.reference, REFERENCE_ORIGIN, {**order.metadata, "perennial": run.tracking(work)})


async def _send(run: Run, attempt: Place, compose: Callable[[], Awaitable[Placement]]) -> Placed:
    """Send the placement. After a lost answer the order tells what came of it; if it tells nothing, send it again."""
    lost: CommerceLayerError | None = None
    order: Order | None = None
    for _ in range(PLACE_TRIES):
        try:
            answer = await place_order(run.client, attempt.order.id, compose)
        except _Stop as stop:
            return stop.end
        except WriteFateUnknown as error:
            lost = error
            await current_clock().sleep(PAUSE)
            order = await _order_as_it_is(run, attempt)
            if order is not None and _tells_what_came_of_it(attempt, order):
                return OrderAnswered(attempt, order)
        except CommerceLayerError as error:
            return PlacementRefused(attempt, error, await _order_as_it_is(run, attempt))
        else:
            return OrderAnswered(attempt, answer)
    assert lost is not None
    return PlacementRefused(attempt, lost, order)


def _tells_what_came_of_it(attempt: Place, order: Order) -> bool:
    has_new_errors = (order.errors_count or 0) > (attempt.order.errors_count or 0)
    return order.is_placed or has_new_errors or order.status in MOVING_STATUSES | {OrderStatus.CANCELLED}


async def _once_it_ended(run: Run, work: Work, answered: OrderAnswered) -> OrderAnswered:
    """The answer once the order is no longer `placing`, which is how a market answers that places in the background."""
    if answered.order.status not in MOVING_STATUSES:
        return answered
    attempt = answered.attempt

    def is_done(copies: Sequence[OrderCopy]) -> bool:
        order = _order_in(copies, attempt)
        return order is not None and order.status not in MOVING_STATUSES and _tells_what_came_of_it(attempt, order)

    polled = await run.poller.wait_for(references_of(work), attempt.copy, is_done)
    return OrderAnswered(attempt, _order_in(polled.copies, attempt) or answered.order) if polled.is_done else answered


def _order_in(copies: Sequence[OrderCopy], attempt: Place) -> Order | None:
    return next((copy.target_order for copy in copies if copy.id == attempt.copy.id), None)


async def _order_as_it_is(run: Run, attempt: Place) -> Order | None:
    """The order, or `None` when it cannot be read."""
    try:
        return await run.client.get_order(attempt.order.id)
    except CommerceLayerError:
        return None


def _told(placed: Placed) -> State[Placed]:
    match placed:
        case OrderAnswered(_, order):
            return green(
                "Placed" if order.is_placed else "NotPlaced", f"order {order.id} is {order.raw_status}", placed
            )
        case PlacementRefused(_, error) | NotPlaced(_, error):
            return green("Refused", str(error), placed)
        case CopyEnded(copy):
            return green("PlacedAlready", f"the order of order copy {copy.id} is placed already", placed)
        case HeldBack(Hold() as hold):
            return green("Held", hold.sentence, placed)
        case LeftAlone(skipped):
            return green("Skipped", skipped.sentence, placed)
