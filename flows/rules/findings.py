"""What creating, polling and placing found: the input of `outcomes.result_of`."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from blocks.commerce_layer.errors import CommerceLayerError
from blocks.commerce_layer.resources import Order, OrderCopy
from flows.rules.next_action import Hold, Place
from flows.rules.skips import Skipped


@dataclass(frozen=True, slots=True)
class NotCreated:
    """No order copy was created, and Commerce Layer or the network said why."""

    error: CommerceLayerError


@dataclass(frozen=True, slots=True)
class StillRunning:
    """The copy, or its order, was still under way when the sweep stopped waiting."""

    copy: OrderCopy


@dataclass(frozen=True, slots=True)
class CopyEnded:
    """The copy has ended, and this run sent no request to place its order."""

    copy: OrderCopy


@dataclass(frozen=True, slots=True)
class OrderAnswered:
    """Commerce Layer answered the request to place the order with this order."""

    attempt: Place
    order: Order


@dataclass(frozen=True, slots=True)
class PlacementRefused:
    """
    The request to place the order failed; `order` is the order as read afterwards, if it was read.

    `is_sent` is False when the subscription's card could not be set on the order: then no placement was sent.
    """

    attempt: Place
    error: CommerceLayerError
    order: Order | None = None
    is_sent: bool = True


@dataclass(frozen=True, slots=True)
class NotPlaced:
    """No request to place the order was sent, for this reason."""

    attempt: Place
    error: CommerceLayerError


@dataclass(frozen=True, slots=True)
class HeldBack:
    """Nothing was sent, and the hold says why."""

    hold: Hold


Finding = NotCreated | StillRunning | CopyEnded | OrderAnswered | PlacementRefused | NotPlaced | HeldBack


@dataclass(frozen=True, slots=True)
class LeftAlone:
    """The last look before the charge showed that the renewal must not go on. Nothing is recorded."""

    skipped: Skipped


_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)


def times_in(finding: Finding) -> list[datetime]:
    """When, by the shop's clock, this happened, UTC; a time long ago when it does not say."""
    return [_LONG_AGO, *(moment for moment in _stamps(finding) if moment is not None)]


def _stamps(finding: Finding) -> Iterator[datetime | None]:
    match finding:
        case CopyEnded(copy=copy) | StillRunning(copy=copy):
            yield from (copy.created_at, copy.failed_at, copy.completed_at)
        case OrderAnswered(order=order) | PlacementRefused(order=Order() as order):
            yield order.placed_at
