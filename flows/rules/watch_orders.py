"""What the watch finds among order copies: two placed orders of one period, and orders that no renewal needs."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from blocks.commerce_layer.resources import OrderCopy, OrderSubscription
from blocks.policy import Policy
from flows.rules.next_action import duplicate
from flows.rules.order_copies import CopiesOfPeriod, is_open
from flows.rules.references import parse_reference
from flows.rules.renewal import Renewal, SkipReason, plan
from flows.rules.state import RESCUE_KEY, RenewalState
from flows.rules.watching import Alarm, WatchFinding


def charged_twice(copies: Iterable[OrderCopy]) -> Iterator[WatchFinding]:
    """An alarm for each reference with several placed orders."""
    by_reference: dict[str, list[OrderCopy]] = {}
    for copy in copies:
        by_reference.setdefault(copy.reference or "", []).append(copy)
    for reference, same in by_reference.items():
        placed = CopiesOfPeriod.of(same).placed
        if len(placed) > 1:
            parsed = parse_reference(reference)
            whose = parsed.subscription_id if parsed else reference
            order = placed[-1].target_order
            sentence = f"{reference}: {duplicate(placed).sentence}"
            yield WatchFinding(
                Alarm.CHARGED_TWICE, whose, sentence, placed[-1].created_at,
                order.customer_email if order else None, order.id if order else None,
            )  # fmt: skip


def placed_late(copies: Iterable[OrderCopy], since: datetime) -> set[str]:
    """
    The references of those copies whose period was due before `since`.

    Another order of the period may have been placed before `since` as well, so that a list of later ones lacks it.
    """
    references = {copy.reference: parse_reference(copy.reference) for copy in copies if copy.reference is not None}
    return {reference for reference, parsed in references.items() if parsed is not None and parsed.due < since}


@dataclass(frozen=True, slots=True)
class OpenWork:
    """
    What a subscription may still need an order for: the copy that its state names, and the period that is due, or next.
    """

    order_copy_id: str | None
    due: datetime | None

    @classmethod
    def of(cls, subscription: OrderSubscription, policy: Policy, as_of: datetime) -> "OpenWork | None":
        """The open work of a subscription; None when it is neither adopted nor rescued."""
        state = RenewalState.read(subscription.metadata)
        if state is None:
            rescue = RenewalState.read(subscription.metadata, RESCUE_KEY)
            return None if rescue is None else cls(rescue.order_copy_id, None)
        planned = plan(subscription, policy, as_of)
        is_awaited = isinstance(planned, Renewal) or planned.reason is SkipReason.NOT_DUE
        return cls(state.order_copy_id, planned.due if is_awaited else None)

    def waits_with(self, copy: OrderCopy, period: datetime) -> bool:
        """Whether this copy of `period` is the recorded one, or a sweep would go on with it."""
        return copy.id == self.order_copy_id or period == self.due


def left_unplaced(copy: OrderCopy, known: Mapping[str, OpenWork]) -> WatchFinding | None:
    """
    The alarm about an old unplaced order of ours; None when its renewal still waits, or is due.

    A due renewal that no sweep attempts has an alarm of its own. `known` has each adopted subscription that is not
    cancelled.
    """
    parsed = parse_reference(copy.reference)
    if not is_open(copy) or parsed is None:
        return None
    work = known.get(parsed.subscription_id)
    if work is not None and work.waits_with(copy, parsed.due):
        return None
    sentence = (
        f"order {copy.target_order_id} of {copy.reference} is not placed, and no renewal waits with it: the next sweep "
        "cancels it unless it is older than 31 days; then cancel it in the dashboard"
    )
    order = copy.target_order
    return WatchFinding(
        Alarm.UNPLACED, parsed.subscription_id, sentence, copy.created_at,
        order.customer_email if order else None, copy.target_order_id,
    )  # fmt: skip
