"""
Why a renewal failed, read from what Commerce Layer said about it.

The merchant's own patterns come first, then what `failure_reading` reads from each line; of several
lines the most serious one counts. The table is in docs/failures.md.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from blocks.commerce_layer.errors import (
    AccessDenied,
    ApiError,
    CommerceLayerError,
    ErrorItem,
    NotConnected,
    NotFound,
    ReadFailed,
    Throttled,
    WriteFateUnknown,
    storable,
)  # fmt: skip
from blocks.commerce_layer.resources import Order, OrderCopy
from blocks.commerce_layer.statuses import OrderCopyStatus, OrderStatus, PaymentStatus
from blocks.failure_patterns import fits
from blocks.policy import FailureClass, Policy
from flows.rules.failure_reading import Line, read_line
from flows.rules.failure_summaries import in_short


@dataclass(frozen=True, slots=True)
class Failure:
    """
    Why a renewal failed.

    `text` is what Commerce Layer said, without what cannot be stored. `permanent` failures are never retried
    automatically. `attempted` is False when the request did not reach this renewal (not connected, not authorised):
    such a failure uses up none of its attempts.
    """

    cls: FailureClass
    text: str
    permanent: bool = False
    attempted: bool = True
    lines: tuple[str, ...] = ()
    """The messages of which `text` is made, where they are known."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "text", storable(self.text))

    @property
    def in_short(self) -> str:
        """In a few words, for a person: `card declined`."""
        return in_short(self.cls, self.text, lines=self.lines, permanent=self.permanent)


_GRAVEST_FIRST = (
    FailureClass.PAYMENT, FailureClass.STOCK, FailureClass.COUPON, FailureClass.CATALOGUE, FailureClass.TRANSIENT,
    FailureClass.UNKNOWN,
)  # fmt: skip


def classify_copy(copy: OrderCopy, policy: Policy) -> Failure:
    """Why an order copy failed, from its `errors_log`."""
    lines = list(_lines_of_log(copy.errors_log or {}))
    if lines:
        return _gravest(lines, policy)
    said = "was aborted" if copy.status is OrderCopyStatus.ABORTED else f"ended as {copy.raw_status or copy.status}"
    return _gravest([_our_own(f"order copy {copy.id} {said} without saying why")], policy, only_patterns=True)


def classify_error(error: CommerceLayerError, policy: Policy) -> Failure:
    """Why a request was not carried out, or may not have been."""
    if isinstance(error, AccessDenied):
        return Failure(FailureClass.CATALOGUE, str(error), attempted=False)
    if isinstance(error, (NotConnected, Throttled, ReadFailed)):
        return Failure(FailureClass.TRANSIENT, str(error), attempted=False)
    if isinstance(error, WriteFateUnknown):
        return Failure(FailureClass.TRANSIENT, str(error))
    if isinstance(error, NotFound):
        return Failure(FailureClass.CATALOGUE, str(error), permanent=True)
    if isinstance(error, ApiError):
        return _classify_refusal(error, policy)
    return Failure(FailureClass.UNKNOWN, str(error))


def classify_order(order: Order, policy: Policy) -> Failure:
    """Why a target order is not placed although Commerce Layer reported no error."""
    name = f"order {order.number or order.id}"
    text = f"{name} is {order.raw_status or order.status} and {order.payment_status}, not placed"
    if order.status is OrderStatus.CANCELLED:
        return Failure(FailureClass.CATALOGUE, f"{name} was cancelled", permanent=True)
    failure = _gravest([_our_own(text)], policy, only_patterns=True)
    if failure.cls is FailureClass.UNKNOWN and order.payment_status is PaymentStatus.UNPAID:
        return Failure(FailureClass.PAYMENT, text)
    return failure


# What a refusal means when its words say nothing. 409 and 423: the resource is locked for the moment.
_BY_HTTP_STATUS = {
    400: FailureClass.CATALOGUE, 403: FailureClass.CATALOGUE, 405: FailureClass.CATALOGUE, 406: FailureClass.CATALOGUE,
    409: FailureClass.TRANSIENT, 415: FailureClass.CATALOGUE, 423: FailureClass.TRANSIENT,
}  # fmt: skip


def _classify_refusal(error: ApiError, policy: Policy) -> Failure:
    failure = _gravest([_line_of_item(item) for item in error.errors] or [_our_own(str(error))], policy)
    if failure.cls is not FailureClass.UNKNOWN:
        return failure
    by_status = _BY_HTTP_STATUS.get(error.status, FailureClass.UNKNOWN)
    return replace(failure, cls=by_status)


def _our_own(text: str) -> Line:
    return Line("", storable(text), text)


def _line_of_item(item: ErrorItem) -> Line:
    words = dict.fromkeys(str(part) for part in (item.title, item.detail, item.code, item.meta.get("error")) if part)
    said = " - ".join(words)
    # The gateway's message may be in `meta`; `value` repeats what we sent.
    beside = {key: value for key, value in item.meta.items() if key not in {"error", "value"}}
    text = storable(said) or "refused without a reason"
    return Line(item.pointer.rpartition("/")[2], text, [said, beside])


def _lines_of_log(log: Mapping[str, Any]) -> Iterator[Line]:
    for attribute, messages in log.items():
        for message in messages if isinstance(messages, (list, tuple)) else [messages]:
            yield Line(storable(attribute), storable(_in_words(message)), message)


def _in_words(message: object) -> str:
    return json.dumps(message, default=str, ensure_ascii=False) if isinstance(message, (dict, list)) else str(message)


def _gravest(lines: Iterable[Line], policy: Policy, *, only_patterns: bool = False) -> Failure:
    """The most serious reading of all lines; the text keeps every line. `only_patterns`: the words are our own."""
    lines = list(lines)
    readings = [_reading(line, policy, only_patterns=only_patterns) for line in lines]
    permanent = [cls for cls, is_permanent in readings if is_permanent]
    cls = min(permanent or [cls for cls, _ in readings], key=_GRAVEST_FIRST.index)
    said = tuple(map(str, lines))
    return Failure(cls, "; ".join(said), permanent=bool(permanent), lines=said)


def _reading(line: Line, policy: Policy, *, only_patterns: bool) -> tuple[FailureClass, bool]:
    ours = (FailureClass.UNKNOWN, False) if only_patterns else read_line(line)
    for pattern, meaning in policy.failure_patterns.items():
        if fits(pattern, str(line)):
            # A pattern with a class alone does not make a hard decline soft.
            return meaning.cls, ours[1] if meaning.permanent is None else meaning.permanent
    return ours
