"""Short functions that make input for the rules."""

from datetime import UTC, datetime
from typing import Any

from blocks.commerce_layer.resources import Order, OrderCopy, OrderSubscription
from blocks.policy import Policy
from flows.rules.renewal import Renewal, plan
from flows.rules.state import RenewalState

POLICY = Policy()


def at(text: str) -> datetime:
    """`2026-03-01` or `2026-03-01T06:00` as an instant in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def subscription(state: dict[str, Any] | RenewalState | None = None, **fields: Any) -> OrderSubscription:
    """An adopted monthly subscription, due on 1 March 2026 at 06:00 UTC."""
    stored = state.model_dump(mode="json") if isinstance(state, RenewalState) else (state or {})
    given = {
        "id": "SubAbcdefg",
        "status": "inactive",
        "frequency": "monthly",
        "starts_at": "2026-01-01T06:00:00.000Z",
        "next_run_at": "2026-03-01T06:00:00.000Z",
        "source_order_id": "SrcAbcdefg",
        "metadata": {"perennial": stored, "crm": {"id": 7}},
    }
    return OrderSubscription.model_validate(given | fields)


def order(status: str = "placed", **fields: Any) -> Order:
    given = {"id": "TgtAbcdefg", "number": "1001", "status": status, "payment_status": "authorized"}
    if status in {"draft", "pending"}:
        given["payment_status"] = "unpaid"
    return Order.model_validate(given | fields)


def copy(reference: str, status: str = "completed", target: Order | None = None, **fields: Any) -> OrderCopy:
    """A copy made one second after the due instant, or `n` seconds after it if its reference ends in `#n`."""
    number = int(reference.partition("#")[2] or 1)
    given = {
        "id": f"CpyAbcdef{'abcdefghij'[number]}",
        "status": status,
        "reference": reference,
        "reference_origin": "perennial",
        "source_order_id": "SrcAbcdefg",
        "target_order": target,
        "target_order_id": target.id if target else None,
        "created_at": f"2026-03-01T06:00:0{number}Z",
    }
    return OrderCopy.model_validate(given | fields)


def legacy(reference: str, status: str = "completed", target: Order | None = None, **fields: Any) -> OrderCopy:
    """A copy of version 0.1, which places its order itself."""
    return copy(reference, status, target, place_target_order=True, **fields)


def withdrawn(**fields: Any) -> Order:
    """An order that Perennial cancelled before it was placed."""
    return order("cancelled", payment_status="unpaid", metadata={"perennial": {"withdrawn": "postponed"}}, **fields)


def planned(sub: OrderSubscription | None = None, as_of: str = "2026-03-01T06:05", policy: Policy = POLICY) -> Renewal:
    renewal = plan(sub or subscription(), policy, at(as_of))
    assert isinstance(renewal, Renewal), renewal
    return renewal
