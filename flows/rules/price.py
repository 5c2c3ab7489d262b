"""
What a renewal costs, and whether that price may be charged.

A copied order has the shop's current prices. Before it is placed, its total is compared with the price of the last
renewal, else with the source order. A price that the customer did not agree to is not charged: it waits for a person,
and so does one that cannot be compared with any other.
"""

from typing import Self

from pydantic import BaseModel, ConfigDict

from blocks.commerce_layer.resources import Order
from flows.rules.amounts import money


class Price(BaseModel):
    """What an order costs, and how many items it has."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    cents: int | None
    """Grand total including taxes, in the smallest unit of the currency; None when the shop did not say."""
    currency: str | None
    """ISO 4217, e.g. `EUR`; None when the shop did not say."""
    items: int | None = None
    """The order's `skus_count`; None when the shop did not say."""

    @classmethod
    def of(cls, order: Order) -> Self:
        """The price of an order."""
        return cls(cents=order.total_amount_with_taxes_cents, currency=order.currency_code, items=order.skus_count)

    @property
    def is_known(self) -> bool:
        """Whether it can be compared with another one."""
        return self.cents is not None and self.currency is not None

    def __str__(self) -> str:
        """`12.00 EUR`."""
        return money(self.cents, self.currency)


def expected_price(last: Price | None, source_order: Order | None) -> Price | None:
    """What a renewal may cost: the price of the last one, else of the source order; None when neither is known."""
    known = (last, Price.of(source_order) if source_order else None)
    return next((price for price in known if price is not None and price.is_known), None)


def objection(order: Order, expected: Price | None, accepted: Price | None, tolerance: float) -> str | None:
    """
    Why a person must see the price of this order before it is charged; None when it may be charged.

    `tolerance` is the increase in percent that needs no person. A lower price needs none either, unless it is 0 or is
    for fewer items. What cannot be compared needs one. `accepted` is the price that a person has accepted for this
    renewal.
    """
    reason = unexpected(order, expected, accepted, tolerance)
    if reason is None:
        return None
    return (
        f"{reason}: no one is charged. If that is wrong, mend the price; then release the subscription. Releasing it "
        f"accepts {Price.of(order)} for this renewal, and no other price"
    )


def unexpected(order: Order, expected: Price | None, accepted: Price | None, tolerance: float) -> str | None:
    """What is wrong with the price, as `objection` says it, without what to do about it."""
    price = Price.of(order)
    if price == accepted:
        return None
    return _nothing_to_compare(price) if expected is None else deviation(price, expected, tolerance)


def difference(price: Price, expected: Price | None) -> str:
    """`, for 8.00 EUR instead of 10.00 EUR`, if a renewal did not have the expected price; empty if it did."""
    if expected is None or not price.is_known or (price.cents, price.currency) == (expected.cents, expected.currency):
        return ""
    return f", for {price} instead of {expected}"


def _nothing_to_compare(price: Price) -> str:
    return f"its order costs {price}, and neither the last renewal's price nor the source order's is known"


def deviation(price: Price, expected: Price, tolerance: float) -> str | None:
    """How an order's price differs from the expected one by more than needs no person; None when it does not."""
    if price.cents is None or price.currency is None or expected.cents is None:
        return f"its order costs an unknown amount instead of {expected}"
    if price.currency != expected.currency:
        return f"its order is in another currency: it costs {price} instead of {expected}"
    if (fewer := _fewer_items(price, expected)) is not None:
        return f"its order has {fewer}: it costs {price} instead of {expected}"
    if price.cents == 0 != expected.cents:
        return f"its order costs nothing: {price} instead of {expected}"
    if (price.cents - expected.cents) * 100 > tolerance * expected.cents:
        return f"its order costs {price} instead of {expected} (price_tolerance is {tolerance:g} %)"
    return None


def _fewer_items(price: Price, expected: Price) -> str | None:
    """`1 of 2 items`, if some are missing or that cannot be seen."""
    if expected.items is None:
        return None
    if price.items is None:
        return f"an unknown number of items instead of {expected.items}"
    return f"{price.items} of {expected.items} items" if price.items < expected.items else None
