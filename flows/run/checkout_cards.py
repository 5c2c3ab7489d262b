"""The card that a customer has paid a renewal with at the checkout becomes the subscription's."""

from __future__ import annotations

from prefect.logging import get_run_logger

from blocks.commerce_layer.errors import CommerceLayerError
from blocks.commerce_layer.wallets import wallet_of
from flows.rules.cards import card_in
from flows.rules.results import RenewalResult
from flows.run.context import Run


async def follow_the_card(run: Run, result: RenewalResult) -> RenewalResult:
    """
    The result with the card that is to be recorded on the subscription, where the customer has paid with another one.

    Costs one read, and only where a customer has paid at the checkout. A card that is not in the wallet, or a wallet
    that cannot be read, changes nothing: the renewal is recorded all the same.
    """
    order, renewal = result.paid_by_customer, result.renewal
    if order is None or order.customer_email is None or not renewal.policy.follow_checkout_card:
        return result
    try:
        card = card_in(await wallet_of(run.client, order.customer_email), order)
    except CommerceLayerError as error:
        message = "%s: the card that its customer has paid with could not be looked up: %s"
        get_run_logger().warning(message, renewal.reference, error)
        return result
    return result if card in {None, renewal.payment_source_id} else result.with_new_card(card)
