"""The second task of a renewal: wait until the order copy, or another copy of the period that counts, has ended."""

from __future__ import annotations

from collections.abc import Sequence

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State

from blocks.commerce_layer.errors import ReadFailed
from blocks.commerce_layer.resources import OrderCopy
from flows.rules.findings import CopyEnded, HeldBack, NotCreated, StillRunning
from flows.rules.next_action import Conclude, Create, Hold, NextAction, Place, Wait
from flows.rules.order_copies import CopiesOfPeriod
from flows.rules.work import Work, is_native, next_action_for, references_of
from flows.run.context import Run
from flows.run.states import completed
from flows.tasks.create import Created, Creation

Polled = Place | CopyEnded | StillRunning | NotCreated | HeldBack
"""How polling can end: with an order to place, or with the end of the renewal."""


@task(task_run_name="poll {work.reference}", cache_policy=NO_CACHE, retries=0)
async def poll_order_copy(run: Run, work: Work, creation: Creation) -> State[Polled]:
    """
    Wait until the canonical copy has ended and is so old that every earlier copy must be visible.

    The copies are read by reference, so it does not matter which run created them. One poller reads for all waiting
    renewals; this task shows the waiting and the result of one.
    """
    if isinstance(creation, NotCreated):
        return completed("no order copy was created", creation)
    action = next_action_for(work, work.found, run.as_of)
    if not isinstance(creation, Created) and isinstance(action, (Conclude, Hold)):
        return _as_state(_ended(action))
    if isinstance(action, Place) and is_native(work, action.copy):
        return _as_state(action)  # it has ended, and none of ours is made beside it

    def is_done(copies: Sequence[OrderCopy]) -> bool:
        action = next_action_for(work, copies, run.as_of)
        if isinstance(action, Place):
            return run.poller.has_settled(action.copy)
        return isinstance(action, (Conclude, Hold))

    known = creation.copy if isinstance(creation, Created) else CopiesOfPeriod.of(work.found).canonical
    polled = await run.poller.wait_for(references_of(work), known, is_done)
    if not polled.is_done:
        return _as_state(_under_way(work, next_action_for(work, polled.copies, run.as_of)))
    await run.withdrawals.cancel_surplus(CopiesOfPeriod.of(polled.copies))
    return _as_state(_ended(next_action_for(work, polled.copies, run.as_of)))


def _ended(action: NextAction) -> Polled:
    match action:
        case Place():
            return action
        case Conclude(copy):
            return CopyEnded(copy)
        case Hold():
            return HeldBack(action)
        case Create() | Wait():
            raise AssertionError(f"polling does not end with {action}")


def _under_way(work: Work, action: NextAction) -> Polled:
    if isinstance(action, (Wait, Place)):
        return StillRunning(action.copy)
    return NotCreated(ReadFailed("/api/order_copies", f"no order copy {work.reference} could be seen"))


def _as_state(polled: Polled) -> State[Polled]:
    match polled:
        case Place(copy, order):
            return completed(f"order copy {copy.id} is completed, its order {order.id} is not placed", polled)
        case CopyEnded(copy):
            status = copy.raw_status or copy.status.value
            return completed(f"order copy {copy.id} is {status}", polled)
        case StillRunning(copy):
            sentence = f"order copy {copy.id} is still {copy.raw_status}; the next sweep looks again"
            return completed(sentence, polled)
        case NotCreated(error):
            return completed(str(error), polled)
        case HeldBack(hold):
            return completed(hold.sentence, polled)
