"""Cards, and subscriptions and orders that have them, for tests of the rules."""

from __future__ import annotations

from typing import Any

from rules.making import order, subscription

from blocks.commerce_layer.errors import ErrorItem, Refused
from blocks.commerce_layer.resources import CustomerPaymentSource, Order, OrderSubscription
from blocks.policy import Policy

OLD, NEW = "cardOldOld", "cardNewNew"
REF = "SubAbcdefg@2026-03-01T06:00Z"
DECLINE = Refused(422, (ErrorItem(detail="was declined", pointer="/data/attributes/payment_source"),), "PATCH", "/x")
PERIOD = {"period": "2026-03-01T06:00Z", "order_copy_id": "CpyAbcdefb", "target_order_id": "TgtAbcdefg"}
WAITING = {
    **PERIOD, "outcome": "retry_scheduled", "attempt": 1, "failures": {"payment": 1}, "error_class": "payment",
    "next_attempt_at": "2026-03-31T06:00Z", "payment_source_id": OLD, "attempts": ["2026-03-01T06:00Z"],
}  # fmt: skip
FIVE = [f"2026-03-{day:02}T06:00Z" for day in (1, 2, 3, 4, 5)]
LIMITED = Policy(max_attempts_per_month=5, max_attempts_per_day=5)
USED_UP = {**WAITING, "attempt": 5, "failures": {"payment": 5}, "attempts": FIVE}


def card(card_id: str = OLD, **fields: Any) -> CustomerPaymentSource:
    given = {"id": card_id, "payment_source_token": f"pm_{card_id}", "payment_source_id": f"src_{card_id}"}
    return CustomerPaymentSource.model_validate(given | fields)


def with_card(card_id: str | None, state: dict[str, Any] | None = None, **fields: Any) -> OrderSubscription:
    its_card = None if card_id is None else card(card_id)
    return subscription(state, customer_payment_source_id=card_id, customer_payment_source=its_card, **fields)


def paid_by(card_id: str, status: str = "pending", **fields: Any) -> Order:
    details = {"payment_method_id": f"pm_{card_id}"}
    return order(status, payment_source_details=details, payment_source_id=f"src_{card_id}", **fields)
