"""A shop that shares no logic with the rules: lists of copies and orders, and the errors that it answers with."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from rules.making import copy, order

from blocks.commerce_layer.errors import ErrorItem, NotConnected, Refused, Unauthorized, WriteFateUnknown
from blocks.commerce_layer.resources import Order, OrderCopy
from flows.rules.references import parse_reference

LOGS = {
    "payment": {"payment_source": ["was declined"]},
    "hard": {"payment_source": ["stolen_card"]},
    "stock": {"line_items": ["is out of stock"]},
    "coupon": {"coupon_code": ["is invalid"]},
    "transient": {"base": ["temporarily unavailable"]},
    "unknown": {"status": ["cannot transition from draft to placed"]},
}
REFUSALS = {
    name: Refused(422, (ErrorItem(detail=f"{attribute}: {texts[0]}"),), "PATCH", "/x")
    for name, log in LOGS.items()
    for attribute, texts in log.items()
}
NOT_SENT = [
    NotConnected("POST", "/x", "refused"),
    Unauthorized(401, (ErrorItem(code="UNAUTHORIZED"),), "POST", "/x"),
]
LOST = WriteFateUnknown("POST", "/x", "timeout")
DAY, MONTH = timedelta(days=1), timedelta(days=30)


@dataclass
class Shop:
    """Copies and orders by id, and the failed charges that a run could know of."""

    copies: dict[str, OrderCopy] = field(default_factory=dict)
    orders: dict[str, Order] = field(default_factory=dict)
    charges: list[datetime] = field(default_factory=list)

    def create(self, reference: str, now: datetime) -> str:
        name = f"Cpy{len(self.copies):07d}"
        made_at = now + timedelta(milliseconds=len(self.copies))
        self.copies[name] = copy(reference, "in_progress", id=name, created_at=made_at)
        return name

    def end_copy(self, name: str, how: str, log: str) -> None:
        """End a copy without placing its order. `how` is completed, failed, or failed with an order."""
        target = None
        if how != "failed":
            target = f"Tgt{len(self.orders):07d}"
            self.orders[target] = order("draft", id=target, number=str(len(self.orders)))
        status = "completed" if how == "completed" else "failed"
        errors = LOGS[log] if status == "failed" else None
        changes = {"status": status, "raw_status": status, "target_order_id": target, "errors_log": errors}
        self.copies[name] = OrderCopy.model_validate(self.copies[name].model_dump() | changes)

    def copy(self, name: str) -> OrderCopy:
        found = self.copies[name]
        return found.model_copy(update={"target_order": self.orders.get(found.target_order_id or "")})

    def of_period(self, due: datetime) -> list[OrderCopy]:
        return [self.copy(name) for name, found in self.copies.items() if period_of(found) == due]

    def under(self, references: list[str]) -> list[OrderCopy]:
        return [self.copy(name) for name, found in self.copies.items() if found.reference in references]

    def set_order(self, name: str, status: str, **fields) -> None:
        before = self.orders[name]
        given = {"placed_at": before.placed_at, "metadata": before.metadata} | fields
        self.orders[name] = order(status, id=name, number=before.number, **given)

    def withdraw(self, name: str | None) -> None:
        if name in self.orders and self.orders[name].status in {"draft", "pending"}:
            self.set_order(name, "cancelled", metadata={"perennial": {"withdrawn": "because"}})


def period_of(found: OrderCopy) -> datetime:
    reference = parse_reference(found.reference)
    assert reference is not None
    return reference.due
