"""Checks of the values that a create or an update gives."""

from __future__ import annotations

import re

from blocks.sandbox.resources.definitions import ResourceType
from blocks.sandbox.resources.topics import TOPICS
from blocks.sandbox.shop import problems, wallet_cards
from blocks.sandbox.shop.database import Row
from blocks.sandbox.shop.shop import Shop

_UNIQUE = {"customers": ("email",), "tags": ("name",), "skus": ("code",)}
_EMAILS = ("email", "customer_email")
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+")  # as lenient as Rails applications usually are


def values(shop: Shop, kind: ResourceType, resource_id: str, columns: Row) -> None:
    """
    The checks that hold at create and at update.

    Raises:
        Problem: 422 with the field.
    """
    address, topic = columns.get("callback_url"), columns.get("topic")
    if address is not None and not str(address).startswith(("http://", "https://")):
        raise problems.invalid("callback_url", "is not a valid URL", "invalid")
    if topic is not None and topic not in TOPICS:
        raise problems.invalid("topic", "is not included in the list", "inclusion")
    for name in _EMAILS:
        if columns.get(name) is not None and not _EMAIL.fullmatch(columns[name]):
            raise problems.invalid(name, "is invalid", "invalid")
    for name in _UNIQUE.get(kind.name, ()):
        same = f"{name} = ?{' COLLATE NOCASE' if name == 'email' else ''}"
        sql = f"SELECT 1 FROM {kind.name} WHERE {same} AND id <> ?"  # noqa: S608  names are ours
        if name in columns and shop.database.execute(sql, (columns[name], resource_id)).fetchone():
            raise problems.invalid(name, "has already been taken", "taken")


def card(shop: Shop, card_id: str, customer_id: str | None) -> None:
    """
    A subscription is paid with a card of its customer's wallet.

    Raises:
        Problem: 422 for a card of somebody else.
    """
    if wallet_cards.card_of(shop, card_id, customer_id) is None:
        raise problems.invalid("customer_payment_source", "must exist", "blank", relationship=True)


def source_order(shop: Shop, order_id: str) -> None:
    """
    A draft order cannot be copied: it has no items yet.

    Raises:
        Problem: 422 for a draft.
    """
    found = shop.database.execute("SELECT status FROM orders WHERE id = ?", (order_id,)).fetchone()
    if found is not None and found[0] == "draft":
        raise problems.invalid("source_order", "cannot be a draft", "invalid", relationship=True)
