"""What came of an act: the evidence on which a renewal is judged."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from blocks.commerce_layer.errors import CommerceLayerError
from blocks.commerce_layer.resources import Order, OrderCopy
from flows.rules.acts import Hold


@dataclass(frozen=True, slots=True)
class CopySettled:
    """The copy is final. `adopted`: this run did not create it. Its `target_order` should be included."""

    copy: OrderCopy
    adopted: bool = False


@dataclass(frozen=True, slots=True)
class OrderPlaced:
    """The request to place the target order was answered with this order."""

    order: Order


@dataclass(frozen=True, slots=True)
class PlacementRefused:
    """The request to place the target order failed; `order` is how the order was found afterwards, if it was read."""

    error: CommerceLayerError
    order: Order | None = None


@dataclass(frozen=True, slots=True)
class CreationRefused:
    """The copy was not created, and Commerce Layer or the network said why."""

    error: CommerceLayerError


@dataclass(frozen=True, slots=True)
class FateUnknown:
    """The copy may have been created under `reference`, but was not found within the settle time."""

    reference: str


@dataclass(frozen=True, slots=True)
class StillRunning:
    """The copy was not final when the sweep stopped waiting."""

    copy: OrderCopy


@dataclass(frozen=True, slots=True)
class NothingDone:
    """The act was a `Hold`: nothing was sent."""

    hold: Hold


Evidence = CopySettled | OrderPlaced | PlacementRefused | CreationRefused | FateUnknown | StillRunning | NothingDone

_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)


def times_in(evidence: Evidence) -> list[datetime]:
    """When the shop says that the evidence came about, UTC; a time long ago when it does not say."""
    return [_LONG_AGO, *(moment for moment in _stamps(evidence) if moment is not None)]


def _stamps(evidence: Evidence) -> Iterator[datetime | None]:
    match evidence:
        case CopySettled(copy=copy) | StillRunning(copy=copy):
            yield from (copy.created_at, copy.failed_at, copy.completed_at)
        case OrderPlaced(order=order):
            yield order.placed_at
        case PlacementRefused(order=Order() as order):
            yield order.placed_at
