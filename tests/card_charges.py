"""For tests about cards: see which card was charged, and attach another card to a subscription."""

from __future__ import annotations

from typing import Any

from meanwhile import patch
from merchant import Merchant

Made = dict[str, Any]
DAY, QUARTER = 86_400, 900
COPY_EXISTS = "SELECT 1 FROM order_copies"
COPY_ENDED = "SELECT 1 FROM order_copies WHERE target_order_id IS NOT NULL"


def attach_card(merchant: Merchant, made: Made, card: str | None = None) -> str:
    """Attach a card to the subscription, as its customer would: a new one unless `card` names one. Returns its id."""
    card = card or merchant.sandbox.add_payment_source(made["customer_id"])
    link = {"customer_payment_source": {"data": {"type": "customer_payment_sources", "id": card}}}
    patch(merchant, "order_subscriptions", made["id"], relationships=link)
    return card


def charges(merchant: Merchant) -> list[tuple[str, int]]:
    """Every attempt to charge a card, as the sandbox recorded it: the card's id, and 1 if it was accepted."""
    rows = merchant.rows("SELECT card_id, accepted FROM sandbox_charges ORDER BY rowid")
    return [(row["card_id"], row["accepted"]) for row in rows]


def card_of(merchant: Merchant, made: Made) -> str | None:
    card: str | None = merchant.subscription(made["id"])["customer_payment_source_id"]
    return card


def open_order(merchant: Merchant) -> str:
    (row,) = merchant.rows("SELECT target_order_id FROM order_copies")
    return str(row["target_order_id"])


async def declined(merchant: Merchant, kind: str = "declined") -> Made:
    """A subscription whose card was declined once."""
    made: Made = merchant.sandbox.create_subscription(failure=kind)
    await merchant.sweep()
    assert charges(merchant) == [(made["customer_payment_source_id"], 0)]
    return made
