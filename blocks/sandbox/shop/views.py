"""
The resources that are not stored, because they follow from others: views of the database.

Most orders of a shop are made by seeds and by copies, and most of their details are never read. So an order has no rows
for what its own columns tell: its line item, its shipment, the transactions of its payment. Lines and addresses that
are written are rows of `stored_line_items` and `stored_addresses`, authorizations that were declined and
refunds rows of `stored_authorizations` and `stored_refunds`.
"""

from __future__ import annotations

from collections.abc import Mapping

from blocks.sandbox.resources.derived_ids import derived_id_sql
from blocks.sandbox.resources.resource_types import RESOURCE_TYPES

SKU, SKU_NAME = "BOX", "The monthly box"
"""What every seeded order is of."""

_SKU_ID = f"(SELECT s.id FROM skus AS s WHERE s.code = '{SKU}')"  # noqa: S608  a name of ours
SEEDED, STORED = "seeded", "stored"
"""What becomes of a seeded customer's address."""


def _select(type_name: str, source: str, **expressions: str) -> str:
    """Rows of a type: each column from its expression, and null where there is none."""
    columns = RESOURCE_TYPES[type_name].columns
    shown = ", ".join(f"{expressions.get(column, 'NULL')} AS {column}" for column in columns)
    return f"SELECT {shown} FROM {source}"  # noqa: S608  names are ours


def _rows(type_name: str) -> str:
    kind = RESOURCE_TYPES[type_name]
    return f"SELECT {', '.join(kind.columns)} FROM {kind.table}"  # noqa: S608  names are ours


def _order_factories() -> str:
    columns = ", ".join(RESOURCE_TYPES["order_factories"].columns)
    return " UNION ALL ".join(f"SELECT {columns} FROM {name}" for name in ("order_copies", "recurring_order_copies"))  # noqa: S608  names are ours


_TIMES = {"created_at": "o.created_at", "updated_at": "o.updated_at", "metadata": "'{}'"}
_OF_ORDER = {**_TIMES, "order_id": "o.id", "currency_code": "o.currency_code"}


def _implied_line(what: str, condition: str, quantity: str, unit: str, **more: str) -> str:
    amounts = {"quantity": quantity, "unit_amount_cents": unit, "total_amount_cents": f"({quantity}) * ({unit})"}
    zeros = {**dict.fromkeys(("options_amount_cents", "discount_cents", "tax_amount_cents"), "0"), "tax_rate": "0.0"}
    circuit = {"circuit_state": "'closed'", "circuit_failure_count": "0"}
    source = f"orders AS o WHERE o._has_lines IS NULL AND {condition}"
    return _select(
        "line_items", source, **_OF_ORDER, id=derived_id_sql("o.id", what), **amounts, **zeros, **circuit, **more
    )


def _line_items() -> str:
    """
    The stored lines; and for each order whose lines are not stored, those that its amounts imply.

    What cannot be divided by the number of items is the price of one of them.
    """
    items, subtotal = "max(o.skus_count, 1)", "o.subtotal_amount_cents"
    remains = f"({subtotal} % {items} <> 0)"
    sku = {"sku_code": f"'{SKU}'", "name": f"'{SKU_NAME}'", "item_type": "'skus'", "sku_id": _SKU_ID}
    promotion = {"name": "'Promotion'", "item_type": "'percentage_discount_promotions'"}
    has_items = f"(o.skus_count > 0 OR {subtotal} <> 0)"
    return " UNION ALL ".join(
        [
            _rows("line_items"),
            _implied_line("line_items", has_items, f"{items} - {remains}", f"{subtotal} / {items}", **sku),
            _implied_line("rests", remains, "1", f"{subtotal} - ({items} - 1) * ({subtotal} / {items})", **sku),
            _implied_line("discounts", "o.discount_amount_cents <> 0", "1", "o.discount_amount_cents", **promotion),
        ]
    )


_EXAMPLE = "Jane Doe, Unter den Linden 1, 10117 Berlin DE"


def _addresses() -> str:
    """The stored addresses, and those of seeded customers."""
    example = {
        "first_name": "'Jane'", "last_name": "'Doe'", "line_1": "'Unter den Linden 1'", "city": "'Berlin'",
        "zip_code": "'10117'", "country_code": "'DE'", "phone": "'+49 30 0000000'", "email": "o.email",
        "full_name": "'Jane Doe'", "full_address": "'Unter den Linden 1, 10117 Berlin DE'", "name": f"'{_EXAMPLE}'",
        **dict.fromkeys(("business", "is_localized", "is_geocoded"), "0"),
    }  # fmt: skip
    seeded = f"customers AS o WHERE o._address = '{SEEDED}'"
    implied = _select("addresses", seeded, id=derived_id_sql("o.id", "addresses"), **example, **_TIMES)
    return f"{_rows('addresses')} UNION ALL {implied}"


def _customer_addresses() -> str:
    address_id = derived_id_sql("o.id", "addresses")
    ids = {"id": derived_id_sql("o.id", "customer_addresses"), "customer_id": "o.id", "address_id": address_id}
    name = f"COALESCE((SELECT a.name FROM stored_addresses AS a WHERE a.id = {address_id}), '{_EXAMPLE}')"  # noqa: S608  names are ours
    source = "customers AS o WHERE o._address IS NOT NULL"
    return _select("customer_addresses", source, **ids, name=name, customer_email="o.email", **_TIMES)


_SHIPMENT_STATUS = """
CASE WHEN o.status = 'cancelled' THEN 'cancelled' WHEN o.fulfillment_status = 'fulfilled' THEN 'shipped'
     WHEN o.status = 'approved' THEN 'picking' WHEN o.status = 'placed' THEN 'on_hold' ELSE 'draft' END
"""


def _shipments() -> str:
    """An order with items and a shipping address has one shipment, whose status follows from the order's."""
    ids = {"id": derived_id_sql("o.id", "shipments"), "shipping_address_id": "o.shipping_address_id"}
    shown = {"number": "o.number || '/S/001'", "status": _SHIPMENT_STATUS, "skus_count": "o.skus_count"}
    times = {"on_hold_at": "o.placed_at", "picking_at": "o.approved_at"}
    source = "orders AS o WHERE o.skus_count > 0 AND o.shipping_address_id IS NOT NULL"
    return _select(
        "shipments", source, **ids, **_OF_ORDER, **shown, **times, cost_amount_cents="o.shipping_amount_cents"
    )


def _transactions(type_name: str, letter: str, statuses: str, at: str, **more: str) -> str:
    """One transaction for each order whose payment has come so far, over its whole amount."""
    shown = {
        "id": derived_id_sql("o.id", type_name), "number": f"o.number || '/{letter}/001'",
        "payment_method_type": "'stripe_payments'", "amount_cents": "o.total_amount_with_taxes_cents", "succeeded": "1",
        "payment_source_id": "o.payment_source_id", **_OF_ORDER, "created_at": at, "updated_at": at, **more,
    }  # fmt: skip
    return _select(type_name, f"orders AS o WHERE o.payment_status IN ({statuses})", **shown)


_REFUNDED = "'refunded', 'partially_refunded'"
_PAID = f"'paid', 'partially_paid', {_REFUNDED}"
_VOIDED = "'voided', 'partially_voided'"
_AUTHORIZED = f"'authorized', 'partially_authorized', {_PAID}, {_VOIDED}"
_PLACED, _CHANGED = "COALESCE(o.placed_at, o.payment_updated_at)", "o.payment_updated_at"


_AUTHORIZATION, _CAPTURE = derived_id_sql("o.id", "authorizations"), derived_id_sql("o.id", "captures")


def _authorizations() -> str:
    total, is_open = "o.total_amount_with_taxes_cents", "o.payment_status IN ('authorized', 'partially_authorized')"
    captured = f"CASE WHEN o.payment_status IN ({_PAID}) THEN {total} ELSE 0 END"
    balance = f"CASE WHEN {is_open} THEN {total} ELSE 0 END"
    amounts = {"capture_amount_cents": captured, "capture_balance_cents": balance, "void_balance_cents": balance}
    declined = "SELECT COUNT(*) FROM stored_authorizations AS a WHERE a.order_id = o.id AND NOT a.succeeded"
    number = f"o.number || printf('/A/%03d', 1 + ({declined}))"
    made = _transactions("authorizations", "A", _AUTHORIZED, _PLACED, **amounts, number=number)
    return f"{_rows('authorizations')} UNION ALL {made}"


def _captures() -> str:
    stored = "SELECT SUM(r.amount_cents) FROM stored_refunds AS r WHERE r.order_id = o.id"
    implied = f"CASE WHEN o.payment_status IN ({_REFUNDED}) THEN o.total_amount_with_taxes_cents ELSE 0 END"
    refunded = f"COALESCE(({stored}), {implied})"
    amounts = {"refund_amount_cents": refunded, "refund_balance_cents": f"o.total_amount_with_taxes_cents - {refunded}"}
    return _transactions("captures", "C", _PAID, _CHANGED, reference_authorization_id=_AUTHORIZATION, **amounts)


def _refunds() -> str:
    """The stored refunds; and for an order that was set to be refunded, one of its whole amount."""
    stored = "SELECT 1 FROM stored_refunds AS r WHERE r.order_id = o.id"
    implied = _transactions("refunds", "R", _REFUNDED, _CHANGED, reference_capture_id=_CAPTURE)
    return f"{_rows('refunds')} UNION ALL {implied} AND NOT EXISTS ({stored})"


def _all_transactions() -> str:
    columns = ", ".join(RESOURCE_TYPES["transactions"].columns)
    return " UNION ALL ".join(f"SELECT {columns} FROM {name}" for name in RESOURCE_TYPES["transactions"].members)  # noqa: S608  names are ours


_SUBSCRIPTION_ITEMS = _select(
    "order_subscription_items",
    "order_subscriptions AS s JOIN line_items AS l ON l.order_id = s.source_order_id "
    "WHERE s.subscription_model_id IS NOT NULL AND l.item_type = 'skus'",
    **{column: f"l.{column}" for column in ("sku_code", "quantity", "unit_amount_cents", "sku_id")},
    **{column: f"s.{column}" for column in ("created_at", "updated_at")},
    id="substr(s.id, 1, 5) || substr(l.id, 1, 5)",
    total_amount_cents="l.total_amount_cents",
    metadata="'{}'",
    order_subscription_id="s.id",
    source_line_item_id="l.id",
)

_WALLETS = """
SELECT orders.id AS resource_id, cards.id AS card_id
FROM orders JOIN customer_payment_sources AS cards ON cards.customer_id = orders.customer_id
"""
_EVENT_WEBHOOKS = """
SELECT events.id AS resource_id, webhooks.id AS webhook_id FROM events JOIN webhooks ON webhooks.topic = events.name
"""
_ORDER_METHODS = """
SELECT orders.id AS resource_id, methods.id AS payment_method_id
FROM orders JOIN payment_methods AS methods ON methods.market_id = orders.market_id
"""

VIEWS: Mapping[str, str] = {
    "order_factories": _order_factories(),
    "line_items": _line_items(),
    "addresses": _addresses(),
    "customer_addresses": _customer_addresses(),
    "shipments": _shipments(),
    "authorizations": _authorizations(),
    "captures": _captures(),
    "voids": _transactions("voids", "V", _VOIDED, _CHANGED, reference_authorization_id=_AUTHORIZATION),
    "refunds": _refunds(),
    "transactions": _all_transactions(),
    "order_subscription_items": _SUBSCRIPTION_ITEMS,
    "order_wallets": _WALLETS,
    "event_webhooks": _EVENT_WEBHOOKS,
    "order_payment_methods": _ORDER_METHODS,
}
"""Their definitions by name, each after those that it needs."""
