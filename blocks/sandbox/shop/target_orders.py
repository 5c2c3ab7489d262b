"""The target order of a copy, and what it copies from the source order."""

from __future__ import annotations

from blocks.sandbox.shop import failure_kinds, order_lines, prices, wallet_cards
from blocks.sandbox.shop.database import Row
from blocks.sandbox.shop.shop import Shop


def create(shop: Shop, source: Row, copy: Row) -> str:
    """
    Clone the source order into a pending target order; returns its id.

    It does not get the source's reference and metadata; whether the real API copies them is not documented.
    """
    target_id = shop.database.new_id()
    number = shop.database.next_number("orders")
    now = shop.now_text()
    amounts = _amounts(shop, source, recompute=bool(copy.get("apply_promotions")))
    subscription_id = copy["order_subscription_id"]
    card = card_of_copy(shop, source, subscription_id) if copy["reuse_wallet"] else None
    shop.database.insert(
        "orders",
        {
            **{column: source[column] for column in _CLONED},
            **amounts,
            **prices.of_copies(shop, source["id"]),
            "id": target_id,
            "number": str(number),
            "status": "pending",
            "payment_status": "unpaid",
            "fulfillment_status": "unfulfilled",
            "coupon_code": None if _drops_coupon(shop, source, copy) else source["coupon_code"],
            "metadata": "{}",
            "order_subscription_id": subscription_id,
            "subscription_created_at": now if subscription_id else None,
            "circuit_state": "closed",
            "circuit_failure_count": 0,
            "errors_count": 0,
            "created_at": now,
            "updated_at": now,
            "_source_order_id": source["id"],
            **wallet_cards.shown_as_paid_with(shop, target_id, card),
            "_ignored_failure": _ignored_failure(shop, source, copy),
        },
    )
    if source["_has_lines"]:
        _copy_lines(shop, source, target_id, recompute=bool(copy.get("apply_promotions")))
    if copy.get("skip_errors"):
        order_lines.drop_failing(shop, target_id)
    if shop.settings.copied_source == "changes":
        shop.database.update("orders", source["id"], {"updated_at": now})
    shop.publish("orders.create", "orders", target_id)
    return target_id


def _copy_lines(shop: Shop, source: Row, target_id: str, *, recompute: bool) -> None:
    changed = prices.of_copies(shop, source["id"])
    currency = str(changed.get("currency_code", source["currency_code"]))
    order_lines.copy(shop, source, target_id, currency, recompute=recompute)
    if "total_amount_cents" in changed:
        order_lines.adjust(shop, target_id, changed["total_amount_cents"])
    if "skus_count" in changed:
        shop.database.update("orders", target_id, {"skus_count": changed["skus_count"]})


_CLONED = (
    "market_id",
    "customer_id",
    "customer_email",
    "guest",
    "language_code",
    "currency_code",
    "skus_count",
    "gift_card_code",
    "billing_address_id",
    "shipping_address_id",
)


def _amounts(shop: Shop, source: Row, *, recompute: bool) -> dict[str, int]:
    subtotal, shipping, tax = (
        int(source[name] or 0) for name in ("subtotal_amount_cents", "shipping_amount_cents", "total_tax_amount_cents")
    )
    discount = int(source["discount_amount_cents"] or 0)
    if recompute:
        discount = -round(subtotal * shop.settings.promotion_percent / 100)
    total = subtotal + discount + shipping + tax
    return {
        "subtotal_amount_cents": subtotal,
        "shipping_amount_cents": shipping,
        "total_tax_amount_cents": tax,
        "discount_amount_cents": discount,
        "total_amount_cents": total,
        "total_amount_with_taxes_cents": total,
        "place_total_amount_cents": total,
    }


def _drops_coupon(shop: Shop, source: Row, copy: Row) -> bool:
    found = failure_kinds.failure_of(shop, source["id"])
    return found is not None and failure_kinds.is_ignored(found[0], copy)


def _ignored_failure(shop: Shop, source: Row, copy: Row) -> str | None:
    """The failure that this copy ignores: the target order can also be placed in spite of it."""
    found = failure_kinds.failure_of(shop, source["id"])
    if found is None or not failure_kinds.is_skipped(found[0], copy) or found[0].name in failure_kinds.NEVER_PLACED:
        return None
    return found[0].name


def has_no_usable_card(shop: Shop, subscription: Row) -> bool:
    """Whether a run of this subscription would find no card that can pay."""
    source = shop.database.find("orders", subscription["source_order_id"])
    if source is None or not source["total_amount_with_taxes_cents"]:
        return False
    card = card_of_copy(shop, source, subscription["id"])
    return card is None or wallet_cards.has_expired(shop, card)


def card_of_copy(shop: Shop, source: Row, run_of: str | None) -> Row | None:
    """
    The card that pays for the target order, if it is in the wallet of the source order's customer.

    `run_of` is the subscription of a run of the native engine; None for a copy that was made through the API.
    """
    customer_id = source["customer_id"]
    whose = shop.settings.copy_pays if run_of is None else shop.settings.native_pays
    card_id = source["_customer_payment_source_id"] if whose == "source-order" else None
    if whose == "subscription" and (subscription := _subscription(shop, source, run_of)) is not None:
        card_id = subscription["customer_payment_source_id"]
    card = wallet_cards.card_of(shop, card_id, customer_id)
    if card is None and "newest" in {whose, shop.settings.missing_card}:
        return wallet_cards.newest_card_of(shop, customer_id)
    return card


def _subscription(shop: Shop, source: Row, subscription_id: str | None) -> Row | None:
    """The subscription of a run, or the first one of the source order."""
    if subscription_id is not None:
        return shop.database.find("order_subscriptions", subscription_id)
    is_of_source = "source_order_id = ? AND status <> 'cancelled'"
    sql = f"SELECT * FROM order_subscriptions WHERE {is_of_source} ORDER BY created_at, id LIMIT 1"  # noqa: S608  ours
    return shop.database.first(sql, (source["id"],))
