"""Reading a customer's wallet: the cards that subscriptions and orders may be paid with."""

from __future__ import annotations

from blocks.commerce_layer import jsonapi
from blocks.commerce_layer.client import CommerceLayer
from blocks.commerce_layer.resources import CustomerPaymentSource
from blocks.commerce_layer.views import WALLET, WALLET_VIEW


async def wallet_of(client: CommerceLayer, customer_email: str) -> list[CustomerPaymentSource]:
    """The newest 25 payment sources in the wallet of the customer with this address. Raises as `CommerceLayer` does."""
    filters = {"customer_email_eq": customer_email}
    params = {**WALLET_VIEW, **jsonapi.query(filters=filters, sort="-created_at", page_size=jsonapi.PAGE_SIZE)}
    return await client.wire.read(WALLET, _cards, params=params)


def _cards(document: jsonapi.Fields) -> list[CustomerPaymentSource]:
    return [CustomerPaymentSource.model_validate(item) for item in jsonapi.many(document)]
