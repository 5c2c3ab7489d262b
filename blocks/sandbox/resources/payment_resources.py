"""The resource types that an order is paid with: cards in a customer's wallet, and the payment sources behind them."""

from __future__ import annotations

from blocks.sandbox.resources.definitions import resource_type

CUSTOMER_PAYMENT_SOURCES = resource_type(
    "customer_payment_sources",
    """
    name                    text  -
    customer_token          text  cu
    payment_source_token    text  cuf
    """,
    """
    customer        -> customers        customer_id        cufr
    payment_method  -> payment_methods  -                  f
    payment_source  -> stripe_payments  payment_source_id  f
    events          => events           resource_id        f
    event_stores    => event_stores     resource_id        x
    """,
)

# One of the types that a payment source may have; every card here is Stripe's.
STRIPE_PAYMENTS = resource_type(
    "stripe_payments",
    """
    stripe_id            text     -
    client_secret        text     -
    connected_account    text     -
    charge_id            text     -
    publishable_key      text     -
    on_behalf_of         text     -
    transfer_group       text     -
    options              json     -
    payment_method       json     -
    mismatched_amounts   boolean  -
    return_url           text     -
    receipt_email        text     -
    payment_instrument   json     -
    """,
    """
    order            -> orders            -            f
    payment_gateway  -> payment_gateways  -            f
    event_stores     => event_stores      resource_id  x
    """,
    actions="lr",
)
