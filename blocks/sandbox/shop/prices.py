"""Changes what orders cost: the prices of a source order's items, or of an unplaced order. Also changes payments."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from blocks.sandbox.shop import order_lines
from blocks.sandbox.shop.database import Row
from blocks.sandbox.shop.shop import Shop

_LARGEST = 10**12
_PAYMENT_STATUSES = {
    *("unpaid", "authorized", "partially_authorized", "paid", "partially_paid", "voided", "partially_voided"),
    *("refunded", "partially_refunded", "free"),
}


def change(shop: Shop, order: Row, given: Mapping[str, Any]) -> Row:
    """
    Change what an order costs (`total_cents`, `currency_code`) or how many items it has (`skus_count`).

    An unplaced order is changed at once. A placed one stays as it is: its later copies are made at the new prices.

    Raises:
        ValueError: names the member and the value.
    """
    changes = _changes(given)
    if order["status"] in {"draft", "pending"}:
        _change_now(shop, order, changes)
    else:
        new = {**of_copies(shop, order["id"]), **changes}
        shop.database.set_state(f"prices:{order['id']}", orjson.dumps(new).decode())
    return changes


def _change_now(shop: Shop, order: Row, changes: Row) -> None:
    if order["_has_lines"] and "total_amount_cents" in changes:
        order_lines.adjust(shop, order["id"], changes["total_amount_cents"])
        changes = {name: value for name, value in changes.items() if not name.endswith("_cents")}
    shop.database.update("orders", order["id"], {**changes, "updated_at": shop.now_text()})


def of_copies(shop: Shop, source_order_id: str) -> Row:
    """The price changes for later copies of this order, as columns of the copied order."""
    stored: Row = orjson.loads(shop.database.state(f"prices:{source_order_id}", "{}"))
    return stored


def set_payment_status(shop: Shop, order: Row, status: str) -> None:
    """
    Set the status that the gateway reports for a payment later, such as `unpaid` after a chargeback.

    Raises:
        ValueError: no such status.
    """
    if status not in _PAYMENT_STATUSES:
        raise ValueError(f"payment_status is {status!r}; it is one of {', '.join(sorted(_PAYMENT_STATUSES))}")
    now = shop.now_text()
    shop.database.update(
        "orders", order["id"], {"payment_status": status, "payment_updated_at": now, "updated_at": now}
    )


def _changes(given: Mapping[str, Any]) -> Row:
    changes: Row = {}
    for name in ("total_cents", "skus_count"):
        number = given.get(name)
        if number is None:
            continue
        if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number <= _LARGEST:
            raise ValueError(f"{name} is {number!r}; it lies between 0 and {_LARGEST}")
        changes |= {"skus_count": number} if name == "skus_count" else _amounts(number)
    currency = given.get("currency_code")
    if currency is not None:
        if not isinstance(currency, str) or len(currency) != 3:  # noqa: PLR2004  ISO 4217
            raise ValueError(f"currency_code is {currency!r}; it is three letters")
        changes["currency_code"] = currency
    if not changes:
        raise ValueError("nothing is changed: give total_cents, currency_code or skus_count")
    return changes


def _amounts(total: int) -> Row:
    totals = ("subtotal_amount_cents", "total_amount_cents", "total_amount_with_taxes_cents")
    others = ("discount_amount_cents", "shipping_amount_cents", "total_tax_amount_cents")
    return {**dict.fromkeys((*totals, "place_total_amount_cents"), total), **dict.fromkeys(others, 0)}
