"""The attributes and relationships that the client asks for: only what renewals need."""

from __future__ import annotations

from blocks.commerce_layer import jsonapi

COPIES, SUBSCRIPTIONS, ORDERS = "order_copies", "order_subscriptions", "orders"
WALLET = "customer_payment_sources"

_BASICS = ("reference", "reference_origin", "metadata", "created_at", "updated_at")
_ORDER_FIELDS = (
    *("number", "status", "payment_status", "fulfillment_status", "placed_at", "approved_at", "cancelled_at"),
    *("total_amount_with_taxes_cents", "currency_code", "skus_count", "customer_email", "errors_count"),
    *(*_BASICS, "payment_source", "payment_source_details"),
)
_COPY_FIELDS = (
    *("type", "status", "started_at", "completed_at", "failed_at", "errors_log", "errors_count"),
    *("place_target_order", "cancel_source_order", "reuse_wallet", "apply_promotions", "skip_errors"),
    *("ignore_invalid_coupon", *_BASICS, "source_order", "target_order"),
)
_SUBSCRIPTION_FIELDS = (
    *("number", "status", "frequency", "starts_at", "expires_at", "next_run_at", "last_run_at", "occurrencies"),
    *("errors_count", "succeeded_on_last_run", "customer_email", *_BASICS, "source_order", "customer_payment_source"),
    "tags",
)
_CARD_FIELDS = ("payment_source_token", "payment_source", "created_at")
COPY_VIEW = jsonapi.query(
    include=("source_order", "target_order", "target_order.payment_source"),
    fields={COPIES: _COPY_FIELDS, ORDERS: _ORDER_FIELDS},
)
# The subscription of a copy is one of its source order: Commerce Layer links a copy only to that of its own engine.
RENEWAL_VIEW = jsonapi.query(
    include=("target_order", "source_order.order_subscriptions"),
    fields={COPIES: _COPY_FIELDS, ORDERS: (*_ORDER_FIELDS, "order_subscriptions"), SUBSCRIPTIONS: _SUBSCRIPTION_FIELDS},
)
LAST_LOOK_VIEW = jsonapi.query(
    include=(
        *("source_order", "target_order", "target_order.payment_source", "source_order.order_subscriptions"),
        "source_order.order_subscriptions.customer_payment_source",
        "source_order.order_subscriptions.customer_payment_source.payment_source",
        "source_order.order_subscriptions.tags",
    ),
    fields={
        COPIES: _COPY_FIELDS,
        ORDERS: (*_ORDER_FIELDS, "order_subscriptions"),
        SUBSCRIPTIONS: _SUBSCRIPTION_FIELDS,
        WALLET: _CARD_FIELDS,
        "tags": ("name",),
    },
)
NATIVE_COPY_VIEW = jsonapi.query(
    include=("source_order", "target_order", "target_order.payment_source", "order_subscription"),
    fields={COPIES: (*_COPY_FIELDS, "order_subscription"), ORDERS: _ORDER_FIELDS, SUBSCRIPTIONS: ("number",)},
)
# Orders and payment sources are included for their ids alone: without `include` the API sends no linkage.
SUBSCRIPTION_VIEW = jsonapi.query(
    include=("source_order", "customer_payment_source", "customer_payment_source.payment_source", "tags"),
    fields={SUBSCRIPTIONS: _SUBSCRIPTION_FIELDS, ORDERS: ("number",), WALLET: _CARD_FIELDS, "tags": ("name",)},
)
ORDER_VIEW = jsonapi.query(include=("payment_source",), fields={ORDERS: _ORDER_FIELDS})
WALLET_VIEW = jsonapi.query(include=("payment_source",), fields={WALLET: _CARD_FIELDS})
