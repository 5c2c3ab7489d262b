"""The card of an order that is about to be placed: compared with the subscription's before each attempt."""

from __future__ import annotations

from blocks.commerce_layer.client import CommerceLayer
from blocks.commerce_layer.resources import Order, OrderSubscription
from blocks.policy import Policy
from flows.rules.cards import card_to_set, is_confirmed


class OtherCard(Exception):  # noqa: N818 - the name says what happened
    """The order is not paid with `card`, which is the subscription's: nothing must be sent before it is."""

    def __init__(self, card: str) -> None:
        super().__init__(card)
        self.card = card


class OrderCard:
    """
    What one order is paid with while a run attempts to place it.

    `charged` is the subscription's card that the last comparison let pass, or that the order was told to use; None
    when the customer has chosen another one.
    """

    def __init__(self, client: CommerceLayer, policy: Policy, order_id: str) -> None:
        self._client, self._policy, self._order_id = client, policy, order_id
        self._told: str | None = None
        self.charged: str | None = None

    def compare(self, subscription: OrderSubscription, order: Order) -> None:
        """Raises OtherCard unless the order is paid with the card that the subscription has now, or has none."""
        card = self._to_set(subscription, order)
        if card is not None:
            raise OtherCard(card)
        self.charged = None if is_confirmed(order) else subscription.customer_payment_source_id

    async def use(self, card: str) -> None:
        """Have the order paid with this card. Charges nothing; may be repeated. Raises as the client does."""
        self._told = self.charged = card
        await self._client.use_payment_source(self._order_id, card)

    def _to_set(self, subscription: OrderSubscription, order: Order) -> str | None:
        if self._told is None:
            return card_to_set(self._policy, subscription, order)
        # A list may still show the order as it was before.
        card = subscription.customer_payment_source_id
        return None if card == self._told else card
