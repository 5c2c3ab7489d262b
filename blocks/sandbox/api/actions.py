"""What create, update, triggers and delete do to each resource type."""

from __future__ import annotations

from typing import Any

from blocks.sandbox.api import checks
from blocks.sandbox.resources.definitions import TAG_TRIGGERS, ResourceType
from blocks.sandbox.shop import (
    addresses,
    catalogue,
    customers,
    order_lines,
    orders,
    payments,
    problems,
    subscriptions,
    tags,
    transactions,
    wallet_cards,
)
from blocks.sandbox.shop.database import Row
from blocks.sandbox.shop.run_dates import is_frequency
from blocks.sandbox.shop.shop import Shop
from blocks.sandbox.shop.subscriptions import NativeEngine
from blocks.sandbox.shop.virtual_clock import instant_of, text_of

_MAX_ALERT_HOURS = 720


def create(shop: Shop, engine: NativeEngine, kind: ResourceType, columns: Row) -> str:
    """Store a new resource with its defaults; returns its id."""
    if kind.name == "order_copies":
        checks.source_order(shop, columns["source_order_id"])
        return engine.worker.create(
            "order_copies", {name: value for name, value in columns.items() if value is not None}
        )
    now = shop.now_text()
    row = {**columns, "id": shop.database.new_id(), "created_at": now, "updated_at": now}
    row["metadata"] = row.get("metadata") or "{}"
    checks.values(shop, kind, row["id"], columns)
    defaults = _DEFAULTS.get(kind.name)
    if defaults is not None:
        row = {**row, **defaults(shop, row)}
    shop.database.insert(kind.table, row)
    shop.publish(f"{kind.name}.create", kind.name, row["id"])
    if kind.name == "order_subscriptions":
        engine.schedule(row)
    elif kind.name == "line_items":
        order_lines.sum_up(shop, row["order_id"])
    return str(row["id"])


def _new_subscription(shop: Shop, row: Row) -> Row:
    _check_frequency(row["frequency"])
    source = shop.database.find("orders", row["source_order_id"])
    assert source is not None
    by_source = row.get("activate_by_source_order") in {None, 1}
    if not by_source and row.get("starts_at") is None:
        raise problems.invalid("starts_at", "can't be blank", "blank")
    starts_at = row.get("starts_at") or (source["placed_at"] if by_source else None) or shop.now_text()
    _check_expiry(row.get("expires_at"), starts_at)
    active = by_source and source["placed_at"] is not None
    first_run = instant_of(starts_at)
    next_run = subscriptions.next_run(
        {"next_run_at": starts_at, "_anchor_day": first_run.day, "frequency": row["frequency"]}, shop.now()
    )
    place = row.get("place_target_order")
    return {
        "number": str(shop.database.next_number("order_subscriptions")),
        "status": "active" if active else "draft",
        "activate_by_source_order": int(by_source),
        "place_target_order": 1 if place is None else place,
        "renewal_alert_period": _alert_period(row.get("renewal_alert_period")),
        "customer_email": source["customer_email"],
        "customer_id": source["customer_id"],
        "customer_payment_source_id": _inherited_card(shop, source),
        "market_id": row.get("market_id") or source["market_id"],
        "starts_at": starts_at,
        "next_run_at": None if next_run is None else text_of(next_run),
        "occurrencies": 0,
        "errors_count": 0,
        "succeeded_on_last_run": 1,
        "_anchor_day": first_run.day,
    }


def _inherited_card(shop: Shop, source: Row) -> str | None:
    """The source order's card for a new subscription, if it is still in the wallet."""
    if shop.settings.created_card == "none":
        return None
    card = wallet_cards.card_of(shop, source["_customer_payment_source_id"], source["customer_id"])
    return None if card is None else str(card["id"])


def _new_order(shop: Shop, row: Row) -> Row:
    number = shop.database.next_number("orders")
    amounts = dict.fromkeys(
        (
            "subtotal_amount_cents",
            "discount_amount_cents",
            "shipping_amount_cents",
            "total_tax_amount_cents",
            "total_amount_cents",
            "total_amount_with_taxes_cents",
            "place_total_amount_cents",
            "skus_count",
            "circuit_failure_count",
            "errors_count",
        ),
        0,
    )
    return {
        **amounts,
        "number": str(number),
        "status": "draft",
        "payment_status": "unpaid",
        "fulfillment_status": "unfulfilled",
        "guest": int(row.get("customer_id") is None),
        "language_code": row.get("language_code") or "en",
        "currency_code": "EUR",
        "circuit_state": "closed",
    }


def _new_customer(shop: Shop, row: Row) -> Row:
    del shop, row
    return {"status": "prospect", "has_password": 0, "total_orders_count": 0}


def _new_payment_source(shop: Shop, row: Row) -> Row:
    made = wallet_cards.card_rows(row["id"], row["customer_id"], "4242", shop.now_text())
    shop.database.insert("stripe_payments", made["stripe_payments"])
    names = ("name", "payment_source_token", "payment_source_id")
    card = made["customer_payment_sources"]
    return {name: row.get(name) or card[name] for name in names}


def _new_webhook(shop: Shop, row: Row) -> Row:
    return {
        "name": row.get("name") or f"Webhook {row['id']}",
        "include_resources": row.get("include_resources") or "[]",
        "circuit_state": "closed",
        "circuit_failure_count": 0,
        "shared_secret": f"{shop.random_for(row['id']).getrandbits(128):032x}",
    }


_DEFAULTS = {
    "order_subscriptions": _new_subscription,
    "orders": _new_order,
    "customers": _new_customer,
    "customer_payment_sources": _new_payment_source,
    "webhooks": _new_webhook,
    "line_items": order_lines.new_line,
    "prices": catalogue.new_price,
    "stock_items": catalogue.with_sku,
}


def update(shop: Shop, engine: NativeEngine, kind: ResourceType, resource_id: str, columns: Row) -> None:
    """Change attributes and relationships that may be changed."""
    if "metadata" in columns and columns["metadata"] is None:
        columns["metadata"] = "{}"
    row = shop.database.find(kind.name, resource_id)
    assert row is not None
    if kind.only_triggers:
        return
    checks.values(shop, kind, resource_id, columns)
    if kind.name == "order_subscriptions":
        _check_subscription(shop, row, columns)
    elif kind.name == "line_items":
        columns = {**columns, **order_lines.changed_line(shop, row, columns)}
    elif kind.name == "addresses":
        addresses.store(shop.database, resource_id)
    shop.database.update(kind.table, resource_id, {**columns, "updated_at": shop.now_text()})
    if kind.name == "order_subscriptions":
        _after_subscription_update(engine, row, columns)
    elif kind.name == "line_items":
        order_lines.sum_up(shop, row["order_id"])


def _check_subscription(shop: Shop, row: Row, columns: Row) -> None:
    if columns.get("customer_payment_source_id") is not None:
        checks.card(shop, columns["customer_payment_source_id"], row["customer_id"])
    if "frequency" in columns:
        _check_frequency(columns["frequency"])
    if "renewal_alert_period" in columns:
        columns["renewal_alert_period"] = _alert_period(columns["renewal_alert_period"])
    if "expires_at" in columns:
        _check_expiry(columns["expires_at"], row["starts_at"])
    if "next_run_at" in columns:
        next_run_at = columns["next_run_at"]
        if next_run_at is None or next_run_at <= shop.now_text():
            raise problems.invalid("next_run_at", "must be in the future", "greater_than")


def _after_subscription_update(engine: NativeEngine, row: Row, columns: Row) -> None:
    if {"next_run_at", "renewal_alert_period", "expires_at", "customer_payment_source_id"} & columns.keys():
        engine.schedule({**row, **columns})


def _check_frequency(frequency: str | None) -> None:
    if frequency is None or not is_frequency(frequency):
        raise problems.invalid("frequency", "is not included in the list", "inclusion")


def _alert_period(hours: int | None) -> int:
    if hours is not None and not 1 <= hours <= _MAX_ALERT_HOURS:
        raise problems.invalid("renewal_alert_period", "is not included in the list", "inclusion")
    return hours or 1


def _check_expiry(expires_at: str | None, starts_at: str | None) -> None:
    if expires_at is not None and starts_at is not None and expires_at <= starts_at:
        raise problems.invalid("expires_at", "must be after starts_at", "greater_than")


def apply_trigger(
    shop: Shop, engine: NativeEngine, kind: ResourceType, resource_id: str, name: str, value: Any
) -> None:
    """Apply one write-only attribute."""
    row = shop.database.find(kind.name, resource_id)
    assert row is not None
    if name in TAG_TRIGGERS:
        tags.apply_trigger(shop, kind.name, resource_id, name, str(value))
    elif kind.name == "customers":
        customers.apply_trigger(shop, row, name, value)
    elif kind.name == "orders":
        orders.apply_trigger(shop, row, name, value)
    elif kind.only_triggers:
        payments.apply_trigger(shop, row, name, cents=None if value is True else value)
    elif kind.name == "order_subscriptions":
        subscriptions.apply_trigger(shop, engine, row, name)
    elif kind.name == "webhooks":
        shop.database.update("webhooks", resource_id, _webhook_trigger(shop, name))
    elif kind.name == "line_items":
        shop.database.update(kind.table, resource_id, {"circuit_state": "closed", "circuit_failure_count": 0})
    elif kind.name == "events":
        shop.publish_again(row)


def _webhook_trigger(shop: Shop, name: str) -> Row:
    if name == "_reset_circuit":
        return {"circuit_state": "closed", "circuit_failure_count": 0}
    return {"disabled_at": shop.now_text() if name == "_disable" else None}


def delete(shop: Shop, engine: NativeEngine, kind: ResourceType, row: Row) -> None:
    """Delete a resource unless others depend on it."""
    resource_id = row["id"]
    placed = kind.name == "orders" and row["status"] not in {"draft", "pending", "cancelled"}
    if placed or any(
        shop.database.execute(f"SELECT 1 FROM {table} WHERE {column} = ? LIMIT 1", (resource_id,)).fetchone()  # noqa: S608  ours
        for table, column in _DEPENDENTS.get(kind.name, ())
    ):
        raise problems.locked(kind.name, resource_id)
    if kind.name == "line_items":
        order_lines.before_deletion(shop, row)
    shop.publish(f"{kind.name}.destroy", kind.name, resource_id)
    shop.database.delete(kind.table, resource_id)
    tags.forget(shop, resource_id)
    _after_deletion(shop, kind, row)
    if kind.name == "order_copies" and row["order_subscription_id"] is not None:
        engine.abandon_run(row["order_subscription_id"], resource_id)
    if kind.name == "customer_payment_sources":
        engine.check_cards(row["customer_id"])


def _after_deletion(shop: Shop, kind: ResourceType, row: Row) -> None:
    if kind.name == "line_items":
        order_lines.sum_up(shop, row["order_id"])
    elif kind.name == "addresses":
        addresses.forget(shop.database, row["id"])
    elif kind.name == "orders":
        shop.database.execute("DELETE FROM stored_line_items WHERE order_id = ?", (row["id"],))
        transactions.forget(shop, row["id"])


_DEPENDENTS: dict[str, tuple[tuple[str, str], ...]] = {
    "orders": (
        ("order_copies", "source_order_id"),
        ("order_copies", "target_order_id"),
        ("recurring_order_copies", "source_order_id"),
        ("recurring_order_copies", "target_order_id"),
        ("order_subscriptions", "source_order_id"),
    ),
    "order_subscriptions": (
        ("order_copies", "order_subscription_id"),
        ("recurring_order_copies", "order_subscription_id"),
    ),
    "customers": (("orders", "customer_id"), ("order_subscriptions", "customer_id")),
    "addresses": (("orders", "billing_address_id"), ("orders", "shipping_address_id")),
}
