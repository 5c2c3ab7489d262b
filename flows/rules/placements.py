"""How placing an order can end, and what follows from that."""

from blocks.commerce_layer.errors import WriteFateUnknown
from blocks.commerce_layer.resources import Order
from flows.rules.findings import (
    CopyEnded,
    HeldBack,
    LeftAlone,
    NotPlaced,
    OrderAnswered,
    PlacementRefused,
    StillRunning,
)
from flows.rules.next_action import HoldReason
from flows.rules.order_copies import is_moving

Placed = OrderAnswered | PlacementRefused | NotPlaced | CopyEnded | StillRunning | HeldBack | LeftAlone
"""How placing can end."""


def may_be_placed(placed: Placed) -> bool:
    """Whether the order is placed, or may be: it counts for the caps of the day."""
    match placed:
        case OrderAnswered(_, order) | PlacementRefused(_, _, Order() as order) if order.is_placed or is_moving(order):
            return True
        case PlacementRefused(_, WriteFateUnknown()) | CopyEnded() | StillRunning():
            return True
    return False


def why_withdrawn(placed: Placed) -> str | None:
    """Why the unplaced order is cancelled; None when it is left as it is."""
    match placed:
        case LeftAlone(skipped) if skipped.reason.ends_the_renewal:
            return skipped.sentence
        # After staff correct the price and release the subscription, a new copy has the new price.
        case HeldBack(hold) if hold.reason is HoldReason.PRICE:
            return hold.sentence
    return None


def placement_in_words(placed: Placed) -> str:
    """How it ended, for the task run."""
    match placed:
        case OrderAnswered(_, order):
            return f"order {order.id} is {order.raw_status}"
        case PlacementRefused(_, error) | NotPlaced(_, error):
            return str(error)
        case CopyEnded(copy):
            return f"the order of order copy {copy.id} is placed already"
        case StillRunning(copy):
            return f"another request may place the order of order copy {copy.id}"
        case HeldBack(hold):
            return hold.sentence
        case LeftAlone(skipped):
            return skipped.sentence
