"""
Which card pays an order: the subscription's, and what follows when the customer changes it.

A copy takes over the card of its *source order*. So before each attempt the order's card is compared with the
subscription's.
"""

from collections.abc import Iterable
from datetime import datetime

from blocks.commerce_layer.resources import CustomerPaymentSource, Order, OrderCopy, OrderSubscription
from blocks.commerce_layer.statuses import OrderStatus, PaymentStatus
from blocks.policy import FailureClass, Policy
from flows.rules.retries import ON_THE_CARD
from flows.rules.state import FAILED_BEFORE, KEY, Outcome, RenewalState

_TOKEN = "payment_method_id"  # noqa: S105 - the name of a key
_PAID_BEFOREHAND = frozenset({PaymentStatus.AUTHORIZED, PaymentStatus.PAID})
_PLACEABLE = frozenset({OrderStatus.DRAFT, OrderStatus.PENDING})


def is_paid_with(order: Order, card: CustomerPaymentSource | None) -> bool:
    """
    Whether an order is known to be paid with this wallet card.

    If both show a token, the token decides, else the payment source, which an order may share with the wallet.
    """
    if card is None:
        return False
    token = (order.payment_source_details or {}).get(_TOKEN)
    if token is not None and card.payment_source_token is not None:
        return bool(token == card.payment_source_token)
    return order.payment_source_id is not None and order.payment_source_id == card.payment_source_id


def another_card_of(order: Order, card: CustomerPaymentSource | None) -> str | None:
    """
    The token of the card that an order is paid with, if it is known to be another one than this wallet card; else None.

    Only two tokens can show that: an order may have a payment source of its own for the same card.
    """
    token = (order.payment_source_details or {}).get(_TOKEN)
    is_another = isinstance(token, str) and card is not None and card.payment_source_token not in {None, token}
    return token if is_another else None


def is_confirmed(order: Order) -> bool:
    """
    Whether the customer has confirmed the payment of an unplaced order, but closed the page before it was placed.

    Placing it charges nothing more, and another card would undo the customer's confirmation.
    """
    return order.status in _PLACEABLE and order.payment_status in _PAID_BEFOREHAND


def is_to_be_placed_now(state: RenewalState, order: Order) -> bool:
    """Whether the customer has confirmed the payment since the last attempt; after another failure it waits again."""
    return is_confirmed(order) and state.confirmed_order_id != order.id


def card_to_set(policy: Policy, subscription: OrderSubscription, order: Order) -> str | None:
    """
    The subscription's card, if it must be set on the order before the order is placed; else None.

    It is also set on an order that does not show its card. An order that costs nothing, or whose payment the customer
    has confirmed, stays as it is. So does every order of a subscription without a card, or if the policy does not use
    wallets.
    """
    source, card = subscription.customer_payment_source_id, subscription.customer_payment_source
    return source if source is not None and takes_another_card(policy, card, order) else None


def takes_another_card(policy: Policy, card: CustomerPaymentSource | None, order: Order) -> bool:
    """Whether an order is to be paid with a card of the wallet, and is not known to be paid with this one."""
    if not policy.reuse_wallet or is_confirmed(order) or order.total_amount_with_taxes_cents == 0:
        return False
    return not is_paid_with(order, card)


def has_new_card(subscription: OrderSubscription, state: RenewalState) -> bool:
    """
    Whether the open period failed because of its card, or may have, and the customer has changed the card since.

    Holds for a price, a date or another order stay: no card changes them.
    """
    return failed_with_another(subscription.customer_payment_source_id, state)


def failed_with_another(source: str | None, state: RenewalState) -> bool:
    """`has_new_card` for a subscription that has this card now."""
    # Version 0.1 did not record the card, so a missing one there says nothing.
    is_new = source not in {None, state.payment_source_id} and "payment_source_id" in state.model_fields_set
    if not (is_new and state.is_unsettled):
        return False
    if state.held:
        # If the retries are used up, each of them may have failed because of the card.
        may_be_its_card = ON_THE_CARD if state.outcome is Outcome.EXHAUSTED else {FailureClass.PAYMENT}
        return state.error_class in may_be_its_card
    # A period without a failure waits for a card network's limit.
    return state.outcome is Outcome.RETRY_SCHEDULED and state.error_class in {None, *ON_THE_CARD}


def charges_on(state: RenewalState, card: str | None, as_of: datetime) -> list[datetime]:
    """
    The failed charges of the last 30 days that count for this card, oldest first: card networks count per card.

    Charges without a recorded card count for every card.
    """
    charges = state.attempts_until(as_of)
    return [moment for moment in charges if card is None or state.card_of(moment) in {card, None}]


def paid_at_checkout(state: RenewalState, card: str | None, copy: OrderCopy, order: Order) -> bool:
    """
    Whether the customer paid our order at the checkout while the subscription had this card.

    None of our requests placed it, and an earlier attempt used this card. So the customer has not changed the
    subscription's card since, and the card of the checkout is meant for later renewals as well.
    """
    if state.order_copy_id != copy.id:
        return False
    if state.outcome in FAILED_BEFORE:
        return state.payment_source_id == card
    is_tried = state.outcome in {Outcome.PLACING, Outcome.UNCONFIRMED} and state.attempts
    # The request that places an order writes this key.
    return bool(is_tried) and KEY not in order.metadata and state.card_of(max(state.attempts)) == card


def card_in(wallet: Iterable[CustomerPaymentSource], order: Order) -> str | None:
    """The id of the wallet card that paid an order; None when no card of the wallet did."""
    return next((card.id for card in wallet if is_paid_with(order, card)), None)
