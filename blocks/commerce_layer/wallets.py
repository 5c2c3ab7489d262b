"""Reading a customer's wallet: the cards that subscriptions and orders may be paid with."""

from __future__ import annotations

from collections.abc import Iterable

from blocks.commerce_layer import jsonapi
from blocks.commerce_layer.client import CommerceLayer
from blocks.commerce_layer.resources import CustomerPaymentSource
from blocks.commerce_layer.views import WALLET, WALLET_VIEW


async def wallet_of(client: CommerceLayer, customer_email: str) -> list[CustomerPaymentSource]:
    """The newest 25 payment sources in the wallet of the customer with this address. Raises as `CommerceLayer` does."""
    filters = {"customer_email_eq": customer_email}
    params = {**WALLET_VIEW, **jsonapi.query(filters=filters, sort="-created_at", page_size=jsonapi.PAGE_SIZE)}
    return await client.wire.read(WALLET, _cards, params=params)


async def cards_by_id(client: CommerceLayer, ids: Iterable[str]) -> dict[str, CustomerPaymentSource]:
    """The payment sources by id, 25 in a call; those that are in no wallet any more are absent."""
    found: dict[str, CustomerPaymentSource] = {}
    for some in jsonapi.pages_of(ids):
        params = {**WALLET_VIEW, **jsonapi.query(filters={"id_in": ",".join(some)}, page_size=jsonapi.PAGE_SIZE)}
        found |= {card.id: card for card in await client.wire.read(WALLET, _cards, params=params)}
    return found


def _cards(document: jsonapi.Fields) -> list[CustomerPaymentSource]:
    return [CustomerPaymentSource.model_validate(item) for item in jsonapi.many(document)]
