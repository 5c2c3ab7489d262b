"""Creates one subscription with explicit fields, its customer and its source order."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import orjson

from blocks.sandbox.control.seeding import SeedPlan, seed
from blocks.sandbox.shop.database import Row
from blocks.sandbox.shop.failure_kinds import is_count, set_failure
from blocks.sandbox.shop.run_dates import MONTHS, STEPS, is_frequency
from blocks.sandbox.shop.shop import Shop
from blocks.sandbox.shop.subscriptions import NativeEngine
from blocks.sandbox.shop.virtual_clock import instant_of, text_of
from blocks.sandbox.shop.wallet_cards import set_last_month

_ALL = orjson.dumps([*STEPS, *MONTHS]).decode()
_TIMES = ("next_run_at", "starts_at", "expires_at", "last_run_at")
_PLAIN = (
    "status",
    "frequency",
    "reference",
    "reference_origin",
    "errors_count",
    "occurrencies",
    "succeeded_on_last_run",
)
_OTHERS = (
    "metadata",
    "adopted",
    "automatic",
    "wallet",
    "card_ends",
    "failure",
    "times",
    "total_cents",
    "source_order_id",
)
_MEMBERS = {*_TIMES, *_PLAIN, *_OTHERS}


def create_subscription(shop: Shop, engine: NativeEngine, given: dict[str, Any]) -> dict[str, Any]:
    """
    Create a subscription; returns its id and those of its order, customer and payment source.

    Members, all optional: status (inactive), frequency (monthly), next_run_at, starts_at, expires_at, last_run_at,
    metadata (default: adopted by Perennial; `adopted: false` leaves it empty), reference, reference_origin,
    source_order_id (default: a new placed order), wallet (true), card_ends (the last month of its card, such as
    2026-02), failure and times, total_cents, automatic (false; true = with a subscription model, so that the native
    engine makes recurring order copies), and the counters.

    Raises:
        ValueError: names the member and the value.
    """
    unknown = sorted(set(given) - _MEMBERS)
    if unknown:
        raise ValueError(f"a subscription has no {unknown[0]!r} here; it may have {', '.join(sorted(_MEMBERS))}")
    frequency = given.get("frequency", "monthly")
    # Any text is stored, so that clients can be tested with unknown frequencies. The native engine never runs those.
    known = frequency if is_frequency(str(frequency)) else "monthly"
    due = given.get("next_run_at") or text_of(shop.now().replace(second=0, microsecond=0) - timedelta(minutes=1))
    made = seed(shop, engine, SeedPlan(subscriptions=1, due=due, frequencies={str(known): 1}))
    subscription_id, order_id = made["subscription_ids"][0], made["source_order_ids"][0]
    _apply_order_options(shop, order_id, given)
    columns = {**_columns(given), **_of_source_order(shop, given)}
    if given.get("automatic"):
        columns["subscription_model_id"] = _subscription_model(shop)
    if columns:
        shop.database.update("order_subscriptions", subscription_id, columns)
    if given.get("failure") is not None:
        set_failure(shop, given.get("source_order_id") or order_id, given["failure"], given.get("times"))
    subscription = shop.database.find("order_subscriptions", subscription_id)
    assert subscription is not None
    engine.schedule(subscription)
    names = ("source_order_id", "customer_id", "customer_payment_source_id", "next_run_at", "starts_at")
    return {"id": subscription_id, **{name: subscription[name] for name in names}}


def _apply_order_options(shop: Shop, order_id: str, given: dict[str, Any]) -> None:
    if given.get("total_cents") is not None:
        cents = int(given["total_cents"])
        names = (
            "subtotal_amount_cents",
            "total_amount_cents",
            "total_amount_with_taxes_cents",
            "place_total_amount_cents",
        )
        shop.database.update("orders", order_id, dict.fromkeys(names, cents))
    if given.get("card_ends") is not None:
        source = shop.database.find("orders", order_id)
        assert source is not None
        set_last_month(shop, source["payment_source_id"], str(given["card_ends"]))
    if given.get("wallet", True) is False:
        order = shop.database.find("orders", order_id)
        assert order is not None
        shop.database.execute("DELETE FROM customer_payment_sources WHERE customer_id = ?", (order["customer_id"],))


def _columns(given: dict[str, Any]) -> Row:
    columns: Row = {name: given[name] for name in _PLAIN if name in given}
    for name in ("errors_count", "occurrencies"):
        if not is_count(columns.get(name, 0)):
            raise ValueError(f"{name} is {columns[name]!r}; it is a number from 0 on")
    for name in _TIMES:
        if name in given:
            columns[name] = None if given[name] is None else text_of(instant_of(given[name]))
    if columns.get("starts_at"):
        columns["_anchor_day"] = instant_of(columns["starts_at"]).day
    if "metadata" in given:
        if not isinstance(given["metadata"], dict):
            raise ValueError(f"metadata is {given['metadata']!r}; it is an object")
        columns["metadata"] = orjson.dumps(given["metadata"]).decode()
    elif given.get("adopted", True) is False:
        columns["metadata"] = "{}"
    if given.get("wallet", True) is False:
        columns["customer_payment_source_id"] = None
    return columns


def _of_source_order(shop: Shop, given: dict[str, Any]) -> Row:
    """Another source order than the new one, with its customer and card."""
    order_id = given.get("source_order_id")
    if order_id is None:
        return {}
    order = shop.database.find("orders", str(order_id))
    if order is None:
        return {"source_order_id": order_id}
    own = {name: order[name] for name in ("customer_id", "customer_email")}
    card = None if given.get("wallet", True) is False else order["_customer_payment_source_id"]
    return {"source_order_id": order_id, **own, "customer_payment_source_id": card}


def _subscription_model(shop: Shop) -> str:
    now = shop.now_text()
    row = {"id": shop.database.new_id(), "name": "Sandbox model", "strategy": "by_frequency", "frequencies": _ALL}
    flags = {"auto_activate": 1, "auto_cancel": 0, "metadata": "{}", "created_at": now, "updated_at": now}
    shop.database.insert("subscription_models", {**row, **flags})
    return str(row["id"])
