"""A product whose price, stock or SKU goes after the source order was placed: what becomes of its renewal."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from meanwhile import copy_order, create, delete, patch
from merchant import Merchant


@dataclass(frozen=True)
class Product:
    """A SKU with a price in the market's list and with stock, by their ids; and a subscription of one piece of it."""

    sku: str
    price: str
    stock: str
    subscription: str


def link(**related: tuple[str, str]) -> dict[str, Any]:
    return {name: {"data": {"type": kind, "id": key}} for name, (kind, key) in related.items()}


@pytest.fixture
def tea(merchant: Merchant) -> Product:
    box = merchant.sandbox
    copy_order(merchant, box.create_subscription(adopted=False)["source_order_id"])
    box.advance(10)
    (order,) = merchant.target_orders()
    (prices,) = merchant.rows("SELECT id FROM price_lists")
    location = create(merchant, "stock_locations", name="Milan")
    sku = ("skus", create(merchant, "skus", code="TEA", name="Tea"))
    in_list = link(sku=sku, price_list=("price_lists", prices["id"]))
    price = create(merchant, "prices", amount_cents=500, relationships=in_list)
    stock = create(
        merchant, "stock_items", quantity=9, relationships=link(sku=sku, stock_location=("stock_locations", location))
    )
    in_order = link(order=("orders", order["id"]))
    create(merchant, "line_items", sku_code="TEA", quantity=1, relationships=in_order)
    patch(merchant, "orders", order["id"], _place=True)
    made = box.create_subscription(source_order_id=order["id"])
    return Product(sku[1], price, stock, made["id"])


def without_price(merchant: Merchant, product: Product) -> None:
    delete(merchant, "prices", product.price)


def without_stock(merchant: Merchant, product: Product) -> None:
    patch(merchant, "stock_items", product.stock, quantity=0)


def without_sku(merchant: Merchant, product: Product) -> None:
    delete(merchant, "skus", product.sku)


@pytest.mark.parametrize(
    ("goes", "failure_class"),
    [(without_price, "catalogue"), (without_stock, "stock"), (without_sku, "catalogue")],
)
async def test_a_product_that_has_lost_its_price_its_stock_or_its_sku_is_not_charged_and_the_reason_is_recorded(
    merchant: Merchant, tea: Product, goes: Callable[[Merchant, Product], None], failure_class: str
) -> None:
    goes(merchant, tea)

    ended = await merchant.sweep()

    state = merchant.subscription(tea.subscription)["metadata"]["perennial"]
    assert (sum(ended.outcomes.values()), ended.outcomes.get("renewed", 0)) == (1, 0)
    assert state["error_class"] == failure_class
    assert merchant.placed() == [None]  # only the source order, which a copy without a reference has made


async def test_a_product_that_costs_more_than_when_its_source_order_was_placed_is_held_and_not_charged(
    merchant: Merchant, tea: Product
) -> None:
    patch(merchant, "prices", tea.price, amount_cents=700)

    ended = await merchant.sweep()

    state = merchant.subscription(tea.subscription)["metadata"]["perennial"]
    assert (ended.outcomes, state["held"]) == ({"needs_attention": 1}, True)
    assert merchant.placed() == [None]
