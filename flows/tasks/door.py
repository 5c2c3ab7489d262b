"""
The door: the only place where an order copy is created or a target order is placed.

Read it in one sitting; customers' money depends on it. What it promises:

    For one subscription and period there is never a second order copy while the first may exist,
    whoever else runs, wherever a process dies, whatever answer is lost.

The argument, step by step, with what a death right after each step leaves behind:

1.  Take the writer lease of every shard that the chunk touches (`leases.py`). Nobody else is between
    step 2 and step 5 for these subscriptions now.       *Dead here:* the lease expires; nothing happened.
2.  Read the subscriptions again and plan. Whoever was cancelled, paused or postponed a second ago drops
    out; the reference follows from subscription and period alone, so every run computes the same one.
                                                         *Dead here:* as above.
3.  Look the references up, and look for rivals (a native subscription, a foreign copy of the source
    order). A copy that is found is adopted. A look that cannot be read ends the chunk: no look, no
    create.                                              *Dead here:* as above.
4.  Right before sending, after every wait for budget and token, the fence asks when the lease was last
    confirmed, and how old the look is. A process that slept through its lease stops here; a creation that
    waited for more than ten seconds goes back to step 2 for its subscription.
5.  POST, once. Three things can come back:
    - a copy. *Dead here:* the copy carries its reference; step 3 of the next run finds it.
    - a no. Nothing was created.
    - no answer. The copy may exist or may yet appear. Look for it until the settle time is over. If it is
      not there: `unconfirmed`, and the next run starts again at step 1.
      *Dead here, or cancelled:* the lease is not given back. It expires later than the settle time, so
      the next run looks when the copy, if there is one, can be seen.
6.  What follows (polling, recording, moving `next_run_at`) only reads, or writes values that follow from
    what was read. It may be repeated and interrupted freely; `next_run_at` moves last.

Placing a target order goes the same way, and is announced first: `placements.py`.

Steps 2 and 3 may change places with each other and with step 2 and 3 of other shards; steps 1, 4 and 5 may not.

What remains, and no client can close against an API without idempotency keys: the request that is
delayed on its way for longer than the settle time (60 s) after its sender lost it, and arrives after the
next run has looked; and the process that is stopped between the fence and the socket for longer than its lease
still lives. Both end in two copies with one reference. While the period is open, the next look sees them: the
sweep then stops and asks for a person. `docs/exactly-once.md` has the whole argument and the figures.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from blocks.commerce_layer.clock import current_clock
from blocks.commerce_layer.errors import CommerceLayerError, Fenced, WriteFateUnknown
from blocks.commerce_layer.resources import OrderCopy, OrderCopyDraft, OrderSubscription
from flows.rules.acts import Act, Adopt, Create, Hold, Place, duplicate, guard, next_act
from flows.rules.by_hand import ManualCopy
from flows.rules.evidence import (
    CreationRefused,
    Evidence,
    FateUnknown,
    NothingDone,
)
from flows.rules.references import shard_of
from flows.rules.renewal import Renewal, Skipped
from flows.tasks.freshness import Freshness, LookTooOld
from flows.tasks.leases import Lease
from flows.tasks.looks import look
from flows.tasks.placements import Placement
from flows.tasks.shop import Shop

SETTLE_LOOKS = (1.0, 2.0, 4.0, 8.0, 15.0)
"""Seconds between the looks for a copy whose answer was lost; the last interval repeats."""


Work = TypeVar("Work", Renewal, ManualCopy)


@dataclass(frozen=True)
class Step(Generic[Work]):
    """
    What the door did for one piece of work.

    `order_copy` is there when a copy exists; `evidence` when the end is known already, so that there is nothing
    to wait for; `skipped` when the subscription changed at the last moment, and was left alone.
    """

    work: Work
    act: Act
    order_copy: OrderCopy | None = None
    evidence: Evidence | None = None
    skipped: Skipped | None = None

    @property
    def reference(self) -> str:
        """The reference of the first copy, by which a person finds its task runs."""
        return self.work.reference


@dataclass
class Door:
    """An open door: the leases are held, everything has been looked up; each renewal may step through once."""

    renewals: Sequence[Renewal]
    skipped: Sequence[Skipped]
    _shop: Shop
    _leases: Mapping[int, Lease]
    _found: Mapping[str, Sequence[OrderCopy]]
    _look: Freshness
    _passed: set[str] = field(default_factory=set)
    _fresh: Mapping[str, OrderSubscription] = field(default_factory=dict)
    _one_look: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def step_through(self, work: Renewal) -> Step[Renewal]:
        """
        Do the one thing that this renewal needs now: create, place, adopt, or leave it alone.

        Never raises for what the API answers: the answer is in the step.
        """
        _step_once(self._shop, work.reference)
        try:
            return await self._step_through(work, self._leases[shard_of(work.subscription_id)])
        finally:
            self._passed.add(work.subscription_id)

    async def _step_through(self, work: Renewal, lease: Lease) -> Step[Renewal]:
        act = next_act(work, self._found.get(work.reference, ()), self._shop.as_of)
        match act:
            case Create():
                draft = OrderCopyDraft(
                    source_order_id=work.source_order_id,
                    reference=act.reference,
                    metadata=self._shop.tracking_of(work, act),
                    apply_promotions=work.terms.apply_promotions,
                    ignore_invalid_coupon=work.terms.ignore_invalid_coupon,
                    reuse_wallet=work.terms.reuse_wallet,
                )
                return await self._create_upon_a_fresh_look(work, act, lease, draft)
            case Place():
                placed = await Placement(self._shop, lease, work, act, self._look).carry_out()
                return Step(placed.work, act, act.copy, placed.evidence, placed.skipped)
            case Adopt():
                return Step(work, act, act.copy)
            case Hold():
                return Step(work, act, evidence=NothingDone(act))

    async def _create_upon_a_fresh_look(
        self, work: Renewal, act: Create, lease: Lease, draft: OrderCopyDraft
    ) -> Step[Renewal]:
        while True:
            # This very look, and not one that somebody else has taken meanwhile: of that one, ours is not judged yet.
            look = self._look
            try:
                return Step(work, act, *await _create(self._shop, lease, draft, look.check))
            except LookTooOld:
                try:
                    changed = guard(work, await self._look_again(work), (), (), self._shop.as_of)
                except CommerceLayerError as error:  # no look, no create
                    return Step(work, act, evidence=CreationRefused(Fenced(str(error))))
                if changed is not None:
                    return Step(work, act, skipped=changed)

    async def _look_again(self, work: Renewal) -> OrderSubscription | None:
        # Whoever comes first reads for all who still wait here; the others find the look fresh again.
        async with self._one_look:
            if self._look.is_over:
                look = Freshness()
                waiting = [each.subscription_id for each in self.renewals if each.subscription_id not in self._passed]
                self._fresh = await self._shop.client.get_subscriptions(waiting)
                self._look = look
            return self._fresh.get(work.subscription_id)


@dataclass
class DoorByHand:
    """The same door for one copy that a person asks for: same lease, same look, same single POST."""

    _shop: Shop
    _lease: Lease
    _found: Sequence[OrderCopy]

    async def step_through(self, work: ManualCopy) -> Step[ManualCopy]:
        """Adopt the copy of this reference, or create it."""
        _step_once(self._shop, work.reference)
        if self._found:
            return Step(work, Adopt(self._found[0]), self._found[0])
        act = Create(work.reference, 1, 1)
        draft = OrderCopyDraft(
            source_order_id=work.source_order_id,
            reference=work.reference,
            metadata=self._shop.tracking_by_hand(work),
            **work.options,
        )
        return Step(work, act, *await _create(self._shop, self._lease, draft))


def _step_once(shop: Shop, reference: str) -> None:
    if reference in shop.stepped:
        raise RuntimeError(f"{reference} has stepped through a door of this run already")
    shop.stepped.add(reference)


async def _create(
    shop: Shop, lease: Lease, draft: OrderCopyDraft, last_check: Callable[[], None] = lambda: None
) -> tuple[OrderCopy | None, Evidence | None]:
    """
    The one place in this project that asks for an order copy to be created.

    Raises:
        LookTooOld: `last_check`, called right before sending, said so; nothing was sent.
    """

    def fence() -> None:
        lease.fence()
        last_check()

    with lease.request_on_its_way() as fate_is_known:
        try:
            order_copy = await shop.client.create_order_copy(draft, fence=fence)
        except LookTooOld:
            fate_is_known()
            raise
        except WriteFateUnknown:
            found = await _settle(shop, draft.reference)
            fate_is_known()
            if len(found) > 1:
                return None, NothingDone(duplicate(found))
            return (found[0], None) if found else (None, FateUnknown(draft.reference))
        except CommerceLayerError as error:  # everything else means: not sent, or answered with a no
            fate_is_known()
            return None, CreationRefused(error)
        fate_is_known()
        return order_copy, None


async def _settle(shop: Shop, reference: str) -> Sequence[OrderCopy]:
    """The copy whose answer was lost; none when it has not appeared within the settle time."""
    clock = current_clock()
    ends_at = clock.monotonic() + shop.terms.settle_seconds
    intervals = iter(SETTLE_LOOKS)
    while True:
        left = ends_at - clock.monotonic()
        await clock.sleep(min(next(intervals, SETTLE_LOOKS[-1]), max(left, 0.0)))
        try:
            found = await shop.client.find_order_copies([reference])
        except CommerceLayerError:
            found = {}
        if found.get(reference) or clock.monotonic() >= ends_at:
            return found.get(reference, ())


@asynccontextmanager
async def open_door(shop: Shop, subscription_ids: Sequence[str]) -> AsyncIterator[Door]:
    """
    Hold the leases for these subscriptions, read them again, and look up what exists for them.

    Args:
        shop: where we work; its `as_of` decides what is due.
        subscription_ids: up to 25, so that each look is one list call.

    Raises:
        NoLease: somebody else is writing for one of them. Nothing was read or written.
        CommerceLayerError: a look could not be read. Nothing was written.
    """
    async with shop.leases.holding({shard_of(each) for each in subscription_ids}) as leases:
        looked_at = Freshness()
        seen = await look(shop, subscription_ids)
        yield Door(seen.renewals, seen.skipped, shop, leases, seen.copies, looked_at)


@asynccontextmanager
async def open_door_by_hand(shop: Shop, work: ManualCopy) -> AsyncIterator[DoorByHand]:
    """
    Hold the reference's lease and look for a copy that has it already.

    Raises:
        NoLease, CommerceLayerError: as `open_door`.
        ReferenceTaken: a copy of another order has this reference.
    """
    shard = shard_of(work.reference)
    async with shop.leases.holding([shard]) as leases:
        found = (await shop.client.find_order_copies([work.reference]))[work.reference]
        work.refuse_if_taken(found)
        yield DoorByHand(shop, leases[shard], found)
