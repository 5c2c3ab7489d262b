"""The last checks before an order is placed. Each of them stops the placement by raising `Stop`."""

from __future__ import annotations

from collections.abc import Sequence

from blocks.commerce_layer.errors import CommerceLayerError
from blocks.commerce_layer.resources import OrderCopy
from flows.rules.findings import CopyEnded, HeldBack, LeftAlone, NotPlaced, StillRunning
from flows.rules.next_action import Conclude, Hold, HoldReason, Place, Wait
from flows.rules.preparing import of_another_source
from flows.rules.renewal import Renewal
from flows.rules.skips import Skipped, SkipReason
from flows.rules.work import Work, next_action_for, not_charged
from flows.run.context import Run


class Stop(Exception):  # noqa: N818 - the name says what happened
    """The last look shows that nothing may be sent; `end` says how the renewal ends instead."""

    def __init__(self, end: CopyEnded | StillRunning | HeldBack | LeftAlone | NotPlaced) -> None:
        super().__init__(end)
        self.end = end


def place_now(run: Run, work: Work, attempt: Place, shown: Sequence[OrderCopy]) -> Place | None:
    """
    The copy and its order as the last look shows them; None when they no longer count.

    Raises Stop when it, or another one of the period, is placed or being placed already, and when it was made ahead and
    its source order has changed since.
    """
    copies = {copy.id: copy for copy in (*work.found, attempt.copy, *shown)}
    action = next_action_for(work, copies.values(), run.as_of)
    match action:
        case Place() if action.copy.id == attempt.copy.id:
            if isinstance(work, Renewal) and (why := of_another_source(work, action.copy)) is not None:
                sentence = f"{why}: its order is cancelled, and the next sweep copies it again"
                raise Stop(LeftAlone(Skipped(work.subscription_id, work.due, SkipReason.OUT_OF_DATE, sentence)))
            return action
        case Conclude(copy):
            raise Stop(CopyEnded(copy))
        case Wait(copy):
            raise Stop(StillRunning(copy))
        case Hold(HoldReason.DUPLICATE):
            raise Stop(HeldBack(action))
    return None


async def count_charges(run: Run, attempt: Place) -> None:
    """Count what was charged today. Raises Stop if that cannot be read: then nothing is charged."""
    try:
        await run.caps.count()
    except CommerceLayerError as error:
        raise Stop(NotPlaced(attempt, error)) from error


async def may_charge(run: Run, work: Work) -> None:
    """Read the stop switch. Raises Stop if a person has stopped charging, or may have: nothing is sent or counted."""
    switch = await run.stop_switch.look()
    if switch.is_stopped:
        raise Stop(LeftAlone(not_charged(work, switch)))
