"""The first task of a renewal: an order copy is created or found."""

from __future__ import annotations

from dataclasses import dataclass

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State

from blocks.commerce_layer.changes import OrderCopyDraft
from blocks.commerce_layer.charging import create_order_copy as send_creation
from blocks.commerce_layer.clock import current_clock
from blocks.commerce_layer.errors import CommerceLayerError, WriteFateUnknown
from blocks.commerce_layer.resources import OrderCopy
from flows.rules.findings import NotCreated
from flows.rules.next_action import Create
from flows.rules.work import Work, copy_options, next_action_for, references_of
from flows.run.context import Run
from flows.run.states import completed

CREATE_TRIES = 3
"""How often a creation is sent if its answer is lost. The order of a surplus copy is unplaced, and is cancelled."""

PAUSE = 1.0
"""Seconds to wait after a lost answer before looking for its copy."""


@dataclass(frozen=True)
class Created:
    """This run created the copy."""

    copy: OrderCopy


@dataclass(frozen=True)
class Found:
    """A copy exists already, or nothing is to be created now; polling decides what follows."""


Creation = Created | Found | NotCreated


@task(task_run_name="create {work.reference}", cache_policy=NO_CACHE, retries=0)
async def create_order_copy(run: Run, work: Work) -> State[Creation]:
    """
    Create the order copy, unless one that counts exists. Its order is not placed, so nothing is charged.

    Any number of runs may do this at once: they choose the same copy afterwards. After a lost answer, the copy is
    looked for, and created again if it does not exist.
    """
    if not isinstance(next_action_for(work, work.found, run.as_of), Create):
        return completed("an order copy exists already, or none is to be created", Found())
    error: CommerceLayerError | None = None
    for _ in range(CREATE_TRIES):
        try:
            copy = await send_creation(run.client, _draft(run, work))
        except WriteFateUnknown as lost:
            error = lost
            await current_clock().sleep(PAUSE)
            if await _has_arrived(run, work):
                return completed(f"the answer was lost, but order copy {work.reference} was created", Found())
        except CommerceLayerError as refused:  # not sent, or refused
            return completed(str(refused), NotCreated(refused))
        else:
            return completed(f"order copy {copy.id} with reference {work.reference}", Created(copy))
    assert error is not None
    return completed(f"{CREATE_TRIES} answers were lost: {error}", NotCreated(error))


def _draft(run: Run, work: Work) -> OrderCopyDraft:
    return OrderCopyDraft(
        source_order_id=work.source_order_id,
        reference=work.reference,
        metadata={"perennial": run.tracking(work)},
        **copy_options(work),
    )


async def _has_arrived(run: Run, work: Work) -> bool:
    """Whether a copy that counts exists now. If that cannot be read, another copy may be created."""
    try:
        found = await run.client.find_order_copies(references_of(work))
    except CommerceLayerError:
        return False
    copies = [copy for each in found.values() for copy in each]
    return not isinstance(next_action_for(work, copies, run.as_of), Create)
