"""The cards in customers' wallets: which card pays an order, and what the order shows of it."""

from __future__ import annotations

from datetime import datetime

import orjson

from blocks.sandbox.shop.database import Row
from blocks.sandbox.shop.shop import Shop
from blocks.sandbox.shop.virtual_clock import instant_of

_CARDS = "customer_payment_sources"
_TYPE = "stripe_payment"
_VALID_FOR = 10  # years: longer than any test runs


def card_rows(card_id: str, customer_id: str, last_digits: str, created_at: str) -> dict[str, Row]:
    """A card in a wallet and the payment source behind it, as rows by table."""
    source_id, token = card_id[::-1], f"pm_{card_id}"
    times = {"metadata": "{}", "created_at": created_at, "updated_at": created_at}
    card = {
        "id": card_id, "name": f"Visa ending in {last_digits}", "payment_source_token": token,
        "customer_id": customer_id, "payment_source_id": source_id,
    }  # fmt: skip
    source = {
        "id": source_id, "stripe_id": token, "mismatched_amounts": 0,
        "payment_method": orjson.dumps({"id": token, "type": "card"}).decode(),
        "payment_instrument": _instrument(last_digits, instant_of(created_at).year + _VALID_FOR, 12),
    }  # fmt: skip
    return {"stripe_payments": {**source, **times}, _CARDS: {**card, **times}}


def _instrument(last_digits: str, year: int, month: int) -> str:
    ends = {"card_expiry_month": month, "card_expiry_year": year}
    return orjson.dumps({"issuer_type": "visa", "card_last_digits": last_digits, **ends}).decode()


def set_last_month(shop: Shop, payment_source_id: str, month: str) -> None:
    """Print another last month, such as `2026-02`, on the card behind this payment source."""
    last = datetime.strptime(month, "%Y-%m")  # noqa: DTZ007 - a month on a card has no time zone
    changes = {"payment_instrument": _instrument("4242", last.year, last.month)}
    shop.database.update("stripe_payments", payment_source_id, changes)


def has_expired(shop: Shop, card: Row) -> bool:
    """Whether the last month on the card is over."""
    source = shop.database.find("stripe_payments", card["payment_source_id"])
    shown = orjson.loads(source["payment_instrument"] or "{}") if source is not None else {}
    now = shop.now()
    return "card_expiry_year" in shown and (shown["card_expiry_year"], shown["card_expiry_month"]) < (
        now.year,
        now.month,
    )


def card_of(shop: Shop, card_id: str | None, customer_id: str | None) -> Row | None:
    """This card, if it is still in this customer's wallet."""
    card = shop.database.find(_CARDS, card_id)
    return card if card is not None and card["customer_id"] == customer_id else None


def newest_card_of(shop: Shop, customer_id: str | None) -> Row | None:
    """The card that the customer added last."""
    sql = "SELECT * FROM customer_payment_sources WHERE customer_id = ? ORDER BY created_at DESC, id LIMIT 1"
    return shop.database.first(sql, (customer_id,))


def paid_with(card: Row | None) -> Row:
    """The columns of an order that is paid with this card (None: without a card)."""
    if card is None:
        return {"_customer_payment_source_id": None, "payment_source_id": None, "payment_source_details": None}
    details = {"type": _TYPE, "payment_method_id": card["payment_source_token"]}
    return {
        "_customer_payment_source_id": card["id"],
        "payment_source_id": card["payment_source_id"],
        "payment_source_details": orjson.dumps(details).decode(),
    }


def shown_as_paid_with(shop: Shop, order_id: str, card: Row | None) -> Row:
    """`paid_with`, where an order need not show which card of the wallet pays for it."""
    if card is None or shop.settings.shown_card == "token":
        return paid_with(card)
    source_id = order_id[::-1]
    if not shop.database.exists("stripe_payments", source_id):
        now = shop.now_text()
        own = {"id": source_id, "mismatched_amounts": 0, "metadata": "{}", "created_at": now, "updated_at": now}
        shop.database.insert("stripe_payments", own)
    details = orjson.dumps({"type": _TYPE}).decode()
    return {**paid_with(card), "payment_source_id": source_id, "payment_source_details": details}
