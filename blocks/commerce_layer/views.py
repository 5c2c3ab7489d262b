"""Which attributes and relationships the client asks for: what renewals need, and no more."""

from __future__ import annotations

from blocks.commerce_layer import jsonapi

COPIES, SUBSCRIPTIONS, ORDERS = "order_copies", "order_subscriptions", "orders"

_BASICS = ("reference", "reference_origin", "metadata", "created_at", "updated_at")
_ORDER_FIELDS = (
    *("number", "status", "payment_status", "fulfillment_status", "placed_at", "approved_at", "cancelled_at"),
    *("total_amount_with_taxes_cents", "currency_code", "skus_count", "customer_email", "errors_count", *_BASICS),
)
_COPY_FIELDS = (
    *("type", "status", "started_at", "completed_at", "failed_at", "errors_log", "errors_count"),
    *("place_target_order", "cancel_source_order", "reuse_wallet", "apply_promotions", "skip_errors"),
    *("ignore_invalid_coupon", *_BASICS, "source_order", "target_order"),
)
_SUBSCRIPTION_FIELDS = (
    *("number", "status", "frequency", "starts_at", "expires_at", "next_run_at", "last_run_at", "occurrencies"),
    *("errors_count", "succeeded_on_last_run", "customer_email", *_BASICS, "source_order", "customer_payment_source"),
)
COPY_VIEW = jsonapi.query(
    include=("source_order", "target_order"), fields={COPIES: _COPY_FIELDS, ORDERS: _ORDER_FIELDS}
)
# The others are included for their ids alone: without `include` the API sends no linkage.
SUBSCRIPTION_VIEW = jsonapi.query(
    include=("source_order", "customer_payment_source"),
    fields={SUBSCRIPTIONS: _SUBSCRIPTION_FIELDS, ORDERS: ("number",), "customer_payment_sources": ("created_at",)},
)
ORDER_VIEW = jsonapi.query(fields={ORDERS: _ORDER_FIELDS})
