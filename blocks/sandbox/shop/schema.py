"""The tables of the database: one per resource type, and those of the sandbox itself."""

from __future__ import annotations

from blocks.sandbox.resources.definitions import ResourceType
from blocks.sandbox.resources.resource_types import WITH_DATA

_SQL_KINDS = {
    "text": "TEXT",
    "integer": "INTEGER",
    "decimal": "REAL",
    "boolean": "INTEGER",
    "time": "TEXT",
    "json": "TEXT",
    "list": "TEXT",
}

OWN_TABLES = """
CREATE TABLE IF NOT EXISTS sandbox_state (name TEXT PRIMARY KEY, value TEXT);
CREATE TABLE IF NOT EXISTS sandbox_failures (order_id TEXT PRIMARY KEY, kind TEXT NOT NULL, remaining INTEGER);
CREATE TABLE IF NOT EXISTS sandbox_charges (order_id TEXT, card_id TEXT, made_at TEXT, accepted INTEGER);
CREATE TABLE IF NOT EXISTS sandbox_revoked_tokens (token TEXT PRIMARY KEY);
CREATE TABLE IF NOT EXISTS taggings (resource_id TEXT, tag_id TEXT, PRIMARY KEY (resource_id, tag_id)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS taggings_tag ON taggings (tag_id);
CREATE INDEX IF NOT EXISTS order_copies_reference ON order_copies (reference);
CREATE INDEX IF NOT EXISTS order_copies_source ON order_copies (source_order_id);
CREATE INDEX IF NOT EXISTS order_copies_target ON order_copies (target_order_id);
CREATE INDEX IF NOT EXISTS order_copies_subscription ON order_copies (order_subscription_id);
CREATE INDEX IF NOT EXISTS order_copies_due ON order_copies (_due_at) WHERE _due_at IS NOT NULL;
CREATE INDEX IF NOT EXISTS recurring_source ON recurring_order_copies (source_order_id);
CREATE INDEX IF NOT EXISTS recurring_subscription ON recurring_order_copies (order_subscription_id);
CREATE INDEX IF NOT EXISTS recurring_due ON recurring_order_copies (_due_at) WHERE _due_at IS NOT NULL;
CREATE INDEX IF NOT EXISTS subscriptions_due ON order_subscriptions (status, id, next_run_at);
CREATE INDEX IF NOT EXISTS subscriptions_source ON order_subscriptions (source_order_id);
CREATE INDEX IF NOT EXISTS subscriptions_customer ON order_subscriptions (customer_id);
CREATE INDEX IF NOT EXISTS orders_subscription ON orders (order_subscription_id);
CREATE INDEX IF NOT EXISTS order_copies_newest ON order_copies (created_at DESC, id);
CREATE INDEX IF NOT EXISTS orders_newest ON orders (created_at DESC, id);
CREATE INDEX IF NOT EXISTS subscriptions_newest ON order_subscriptions (created_at DESC, id);
CREATE INDEX IF NOT EXISTS events_newest ON events (created_at DESC, id);
CREATE INDEX IF NOT EXISTS orders_customer ON orders (customer_id);
CREATE INDEX IF NOT EXISTS orders_reference ON orders (reference);
CREATE INDEX IF NOT EXISTS payment_sources_customer ON customer_payment_sources (customer_id);
CREATE UNIQUE INDEX IF NOT EXISTS skus_code ON skus (code);
CREATE INDEX IF NOT EXISTS stock_sku ON stock_items (sku_id);
CREATE INDEX IF NOT EXISTS lines_order ON stored_line_items (order_id);
CREATE INDEX IF NOT EXISTS authorizations_order ON stored_authorizations (order_id);
CREATE INDEX IF NOT EXISTS refunds_order ON stored_refunds (order_id);
CREATE INDEX IF NOT EXISTS events_resource ON events (resource_id);
CREATE INDEX IF NOT EXISTS errors_resource ON resource_errors (resource_id);
CREATE INDEX IF NOT EXISTS callbacks_webhook ON event_callbacks (webhook_id);
CREATE INDEX IF NOT EXISTS callbacks_event ON event_callbacks (event_id);
"""


def column_definitions(kind: ResourceType) -> list[str]:
    """The definitions of all columns but the id."""
    stored = (kind.attributes[name] for name in kind.stored)
    columns = [f"{attribute.name} {_SQL_KINDS[attribute.kind]} {attribute.column}" for attribute in stored]
    defined = {"id", *kind.attributes, *(column.split()[0] for column in kind.private)}
    columns += [f"{column} TEXT" for column in kind.columns if column not in defined]
    return [*columns, *kind.private]


def _ddl(kind: ResourceType) -> str:
    if kind.is_view or kind.singleton:
        return ""
    columns = ", ".join(["id TEXT PRIMARY KEY", *column_definitions(kind)])
    return f"CREATE TABLE IF NOT EXISTS {kind.table} ({columns});\n"


TABLES = "".join(map(_ddl, WITH_DATA))
