"""The two tasks that every renewal shows in the UI before its record: create (or find) the copy, and wait for it."""

from __future__ import annotations

from typing import Any, Protocol

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State

from blocks.commerce_layer.resources import OrderCopyStatus
from flows.rules.acts import Adopt, Create, Place
from flows.rules.evidence import (
    CopySettled,
    CreationRefused,
    Evidence,
    FateUnknown,
    NothingDone,
    PlacementRefused,
    StillRunning,
)
from flows.tasks.door import Step
from flows.tasks.shop import Shop
from flows.tasks.states import green


class Referenced(Protocol):
    """Whatever a copy is made for: a renewal, or an order that is reordered by hand."""

    @property
    def reference(self) -> str:
        """The reference of its first copy, by which a person finds its task runs."""
        ...


class OpenDoor(Protocol):
    """A door that lets each piece of work through once."""

    async def step_through(self, work: Any) -> Step[Any]:
        """Do the one thing that the work needs now."""
        ...


@task(task_run_name="create {work.reference}", cache_policy=NO_CACHE, retries=0)
async def create_order_copy(door: OpenDoor, work: Referenced) -> State[Step[Any]]:
    """
    Create the order copy, unless it exists, or place the order that an earlier copy left unplaced.

    Has no retries, whatever Prefect's settings say: the door looks before it creates, and only the next run may try
    again.
    """
    step = await door.step_through(work)
    return green(*_told(step), step)


def _told(step: Step[Any]) -> tuple[str, str]:
    if step.skipped is not None:
        return "Skipped", step.skipped.sentence
    told = ("Found", f"order copy {_id(step)} exists already; nothing was created")
    match step.evidence, step.act:
        case FateUnknown(reference), _:
            told = ("Unconfirmed", f"the answer to creating {reference} was lost, and the copy is not found yet")
        case NothingDone(hold), _:
            told = ("Held", hold.sentence)
        case ((CreationRefused(error) | PlacementRefused(error)), _):
            told = ("Refused", str(error))
        case _, Create(reference=reference):
            told = ("Created", f"order copy {_id(step)} with reference {reference}")
        case _, Place(target_order_id=target_order_id):
            told = ("Placed", f"target order {target_order_id} of order copy {_id(step)}")
    return told


def _id(step: Step[Any]) -> str:
    return step.order_copy.id if step.order_copy else "?"


@task(task_run_name="poll {step.reference}", cache_policy=NO_CACHE, retries=0)
async def poll_order_copy(shop: Shop, step: Step[Any]) -> State[Evidence]:
    """
    Wait until the order copy is final, or its deadline has passed; what came of it is the evidence.

    The watcher polls for all that wait; this task shows one copy's own waiting and result.
    """
    if step.evidence is not None:
        return green("NothingToPoll", "the end is known already", step.evidence)
    assert step.order_copy is not None, "a step has a copy or evidence"
    order_copy = await shop.watcher.wait_for(step.order_copy)
    if not order_copy.is_final:
        sentence = f"order copy {order_copy.id} is still {order_copy.raw_status}; the next sweep looks again"
        return green("StillRunning", sentence, StillRunning(order_copy))
    settled = CopySettled(order_copy, adopted=isinstance(step.act, Adopt))
    name = "Completed" if order_copy.status is OrderCopyStatus.COMPLETED else f"Copy{order_copy.raw_status.title()}"
    return green(name, f"order copy {order_copy.id} is {order_copy.raw_status}", settled)
