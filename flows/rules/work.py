"""What an order copy is made for: a subscription's renewal, a rescue, or an order that a person wants copied."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from blocks.commerce_layer.resources import OrderCopy, OrderSubscription
from flows.rules.manual_copy import ManualCopy
from flows.rules.next_action import NextAction, next_action, references_to_look_up
from flows.rules.renewal import Renewal, Skipped, SkipReason
from flows.rules.rescue import Rescue, refusal_of_rescue
from flows.rules.state import RenewalState
from flows.rules.still_wanted import still_wanted
from flows.rules.stop_switch import StopSwitch

Work = Renewal | ManualCopy


def next_action_for(work: Work, found: Iterable[OrderCopy], as_of: datetime) -> NextAction:
    """What to do next, given the order copies as just read."""
    if isinstance(work, Rescue):
        found = work.of_its_run(found)
    return next_action(work, found, as_of) if isinstance(work, Renewal) else work.next_action(list(found))


def references_of(work: Work) -> list[str]:
    """Every reference that its order copies can have."""
    return references_to_look_up(work) if isinstance(work, Renewal) else [work.reference]


def is_rescue(work: Work) -> bool:
    """Whether it repairs a failed native run. Its attempts are all announced: none is made that cannot be recorded."""
    return isinstance(work, Rescue)


def is_native(work: Work, copy: OrderCopy) -> bool:
    """Whether Commerce Layer's own engine made the copy: it has ended, and its order is never cancelled by us."""
    return isinstance(work, Rescue) and copy.id == work.native.id


def why_not_wanted(
    renewal: Renewal,
    fresh: OrderSubscription | None,
    rivals: Sequence[OrderSubscription],
    copies: Sequence[OrderCopy],
    as_of: datetime,
    *,
    announced: RenewalState | None,
    now: datetime,
) -> Skipped | None:
    """Why a renewal or a rescue must not go on, given a last look; None when it may. See `still_wanted`."""
    if isinstance(renewal, Rescue):
        return refusal_of_rescue(renewal, fresh, rivals, copies, now, announced)
    return still_wanted(renewal, fresh, rivals, copies, as_of, announced=announced, now=now)


def copy_options(work: Work) -> Mapping[str, bool]:
    """The options of its order copy."""
    if isinstance(work, ManualCopy):
        return work.options
    policy = work.policy
    return {
        "apply_promotions": policy.apply_promotions,
        "ignore_invalid_coupon": policy.ignore_invalid_coupon,
        "reuse_wallet": policy.reuse_wallet,
    }


def attempts_made(work: Work) -> int:
    """How many recorded attempts were made before."""
    return work.state.attempt if isinstance(work, Renewal) else 0


def not_charged(work: Work, switch: StopSwitch) -> Skipped:
    """The skip because a person has stopped charging: the unplaced order stays, and no attempt is counted."""
    if isinstance(work, Renewal):
        sentence = f"not charged: {switch.sentence}; its order stays unplaced, and the next sweep goes on with it"
        return Skipped(work.subscription_id, work.due, SkipReason.CHARGING_STOPPED, sentence)
    then = f"run this again with reference {work.reference} once it is on"
    sentence = f"{switch.sentence}; order {work.source_order_id} was copied and left unplaced; {then}"
    return Skipped(work.source_order_id, None, SkipReason.CHARGING_STOPPED, sentence)
