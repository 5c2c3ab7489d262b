"""Customers: the write-only password, and requests for anonymization."""

from __future__ import annotations

from typing import Any

from blocks.sandbox.shop.database import Row
from blocks.sandbox.shop.problems import invalid
from blocks.sandbox.shop.shop import Shop

_CANCELLABLE = {"requested", "cancelled"}


def apply_trigger(shop: Shop, customer: Row, name: str, value: Any) -> None:
    """
    Apply a write-only attribute; a requested anonymization stays requested, since the sandbox does not carry it out.

    Raises:
        Problem: 422 for a blank password, or when no anonymization can be cancelled.
    """
    if name == "password":
        if not value:
            raise invalid("password", "can't be blank", "blank")
        changes: Row = {"has_password": 1}
    elif name == "_request_anonymization":
        changes = {"anonymization_status": "requested"}
    else:
        status = customer["anonymization_status"]
        if status not in _CANCELLABLE:
            raise invalid("anonymization_status", f"cannot transition from {status} to cancelled", "invalid_transition")
        changes = {"anonymization_status": "cancelled"}
    shop.database.update("customers", customer["id"], {**changes, "updated_at": shop.now_text()})
