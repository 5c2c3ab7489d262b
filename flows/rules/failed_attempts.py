"""
The failed attempts that the shop itself keeps: failed order copies, and the errors of orders that were not placed.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from blocks.commerce_layer.errors import ErrorItem, error_for_answer
from blocks.commerce_layer.resource_errors import ResourceError
from blocks.commerce_layer.resources import OrderCopy
from blocks.policy import Policy
from flows.rules.failures import Failure, classify_copy, classify_error
from flows.rules.order_copies import FAILED_STATUSES

ONE_ATTEMPT = timedelta(seconds=30)
"""Errors that are closer together belong to one attempt: two lines that are out of stock are two errors."""


class FailedAttempt(NamedTuple):
    """One failed attempt of a period that the shop shows."""

    at: datetime
    failure: Failure


def failed_copies(copies: Iterable[OrderCopy], policy: Policy) -> list[FailedAttempt]:
    """The attempts that failed while the order was copied, in the order of `copies`."""
    return [
        FailedAttempt(each.failed_at or each.created_at, classify_copy(each, policy))
        for each in copies
        if each.status in FAILED_STATUSES and each.created_at is not None
    ]


def attempts_on_order(errors: Sequence[ResourceError], policy: Policy) -> list[FailedAttempt]:
    """The attempts to place an order that failed; `errors` are those of the order, oldest first."""
    attempts: list[list[ResourceError]] = []
    last: datetime | None = None
    for error in errors:
        if error.created_at is None:
            continue
        if last is None or error.created_at - last > ONE_ATTEMPT:
            attempts.append([])
        attempts[-1].append(error)
        last = error.created_at
    return [FailedAttempt(each[0].created_at, _failure(each, policy)) for each in attempts if each[0].created_at]


def _failure(errors: Sequence[ResourceError], policy: Policy) -> Failure:
    items = tuple(
        ErrorItem(detail=error.message or "", code=error.code or "", pointer=f"/data/attributes/{error.name or ''}")
        for error in errors
    )
    return classify_error(error_for_answer(422, items, "PATCH", "/api/orders"), policy)
