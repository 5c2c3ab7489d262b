"""Attempts of one renewal, as the rules see them."""

from rules.making import POLICY, at, copy, order, planned, subscription

from blocks.commerce_layer.errors import (
    ErrorItem,
    Refused,
    WriteFateUnknown,
)
from flows.rules.findings import (
    CopyEnded,
    PlacementRefused,
)
from flows.rules.next_action import Place

NOW = at("2026-03-01T06:10")
REF = "SubAbcdefg@2026-03-01T06:00Z"
DECLINED = {"payment_source": ["was declined"]}
DECLINE = Refused(422, (ErrorItem(detail="was declined", pointer="/data/attributes/payment_source"),), "PATCH", "/x")
LOST = WriteFateUnknown("PATCH", "/api/orders/TgtAbcdefg", "timeout")


def renewal(policy=POLICY, as_of="2026-03-01T06:05", **state):
    begun = {"period": "2026-03-01T06:00Z"} if state else {}
    return planned(subscription(begun | state), as_of, policy)


def begun(policy=POLICY, **state):
    recorded = {"attempt": 1, "outcome": "retry_scheduled", "order_copy_id": "CpyAbcdefb", "failures": {"payment": 1}}
    return renewal(policy, "2026-03-02T07:00", **recorded | {"target_order_id": "TgtAbcdefg"} | state)


def announced(**state):
    """A renewal as the next sweep finds it after a run announced its attempt and then died."""
    return begun(outcome="placing", attempt=2, attempts=["2026-03-02T06:59Z"], **state)


def place(attempt=1):
    return Place(copy(REF, "completed", order("pending")), order("pending"), attempt)


def refused_with(error, order=None, attempt=1):
    return PlacementRefused(place(attempt), error, order)


def declined(attempt=1):
    """The shop answered the request to place the order with a decline."""
    return refused_with(DECLINE, order("pending"), attempt)


def copy_failed(log, **fields):
    """An order copy of Perennial failed before it made an order."""
    return CopyEnded(copy(REF, "failed", errors_log=log, **fields))
