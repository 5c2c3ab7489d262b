"""SKUs, their prices and their stock: what they do to lines, copies and placings."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest


@pytest.fixture
def location(caller) -> str:
    return str(caller.create("stock_locations", {"name": "Milan"}).json()["data"]["id"])


@pytest.fixture
def stocked(caller, source, location, request) -> dict[str, str]:
    """A SKU of its own with three pieces in stock."""
    code = request.node.name[:40]
    sku_id = caller.create("skus", {"code": code, "name": "Tea"}).json()["data"]["id"]
    stock = caller.create(
        "stock_items", {"sku_code": code, "quantity": 3}, stock_location=("stock_locations", location)
    )
    return {"code": code, "id": sku_id, "stock": stock.json()["data"]["id"]}


def unplaced_copy(caller, sandbox, source) -> str:
    copy_id = caller.copy(source["source_order_id"], place_target_order=False)
    sandbox.advance(10)
    return str(caller.target(copy_id)["id"])


def order_of(caller, sandbox, source, code: str, quantity: int) -> str:
    """An unplaced copy of the source order, with this SKU in the place of the box."""
    order_id = unplaced_copy(caller, sandbox, source)
    [box] = caller.get(f"/orders/{order_id}/line_items").json()["data"]
    caller.http.delete(f"/line_items/{box['id']}")
    given = {"sku_code": code, "quantity": quantity, "unit_amount_cents": 500}
    assert caller.create("line_items", given, order=("orders", order_id)).status_code == 201
    return order_id


def copied(caller, sandbox, order_id: str, **options: Any) -> dict[str, Any]:
    copy_id = caller.copy(order_id, **options)
    sandbox.advance(10)
    return dict(caller.attributes("order_copies", copy_id), id=copy_id)


def in_stock(caller, stocked) -> int:
    return int(caller.attributes("stock_items", stocked["stock"])["quantity"])


def test_a_line_costs_what_the_price_list_of_its_market_says(caller, source, stocked):
    market = caller.get("/markets", include="price_list").json()["data"][0]
    prices = market["relationships"]["price_list"]["data"]["id"]
    order = caller.create("orders", market=("markets", market["id"])).json()["data"]["id"]
    line = {"sku_code": stocked["code"], "quantity": 2}
    without_price = caller.create("line_items", line, order=("orders", order))
    price = caller.create(
        "prices", {"amount_cents": 750}, sku=("skus", stocked["id"]), price_list=("price_lists", prices)
    )

    priced = caller.create("line_items", line, order=("orders", order)).json()["data"]

    assert without_price.json()["errors"][0]["source"]["pointer"] == "/data/attributes/unit_amount_cents"
    assert price.json()["data"]["attributes"]["formatted_amount"] == "€7,50"
    assert price.json()["data"]["attributes"]["sku_code"] == stocked["code"]
    assert priced["attributes"]["total_amount_cents"] == 1500
    assert caller.get(f"/line_items/{priced['id']}/sku").json()["data"]["id"] == stocked["id"]
    assert caller.attributes("orders", order)["total_amount_cents"] == 1500


def test_placing_takes_the_lines_from_stock_and_what_is_not_there_is_not_placed(caller, sandbox, source, stocked):
    first, second = (order_of(caller, sandbox, source, stocked["code"], 2) for _ in range(2))

    placed = caller.update("orders", first, _place=True)
    refused = caller.update("orders", second, _place=True)

    assert (placed.status_code, refused.status_code) == (200, 422)
    assert refused.json()["errors"][0]["code"] == "OUT_OF_STOCK"
    assert in_stock(caller, stocked) == 1
    assert caller.attributes("orders", second)["status"] == "pending"
    caller.update("stock_items", stocked["stock"], quantity=2)
    assert caller.update("orders", second, _place=True).status_code == 200
    assert in_stock(caller, stocked) == 0


def test_a_copy_fails_when_a_line_is_out_of_stock_and_with_skip_errors_it_goes_without_the_line(
    caller, sandbox, source, stocked
):
    order_id = order_of(caller, sandbox, source, stocked["code"], 2)
    caller.create(
        "line_items", {"sku_code": "BOX", "quantity": 1, "unit_amount_cents": 900}, order=("orders", order_id)
    )
    caller.update("orders", order_id, _place=True)

    failed = copied(caller, sandbox, order_id)
    skipped = copied(caller, sandbox, order_id, skip_errors=True)

    assert (failed["status"], failed["errors_log"]) == ("failed", {"line_items": ["is out of stock"]})
    assert caller.target(failed["id"]) is None
    assert (skipped["status"], skipped["errors_count"]) == ("completed", 1)
    target = caller.target(skipped["id"])
    assert (target["attributes"]["status"], target["attributes"]["total_amount_cents"]) == ("placed", 900)


def test_a_copy_fails_when_the_sku_of_a_line_is_gone(caller, sandbox, source, stocked):
    order_id = order_of(caller, sandbox, source, stocked["code"], 1)
    caller.update("orders", order_id, _place=True)
    assert caller.http.delete(f"/skus/{stocked['id']}").status_code == 204

    failed = copied(caller, sandbox, order_id, skip_errors=True)

    assert (failed["status"], failed["errors_log"]) == ("failed", {"line_items": ["sku_code not found"]})


@pytest.fixture
def box(caller, source) -> Iterator[str]:
    """The SKU of seeded orders, tracked in stock while the test runs."""
    [sku] = caller.filtered("/skus", code_eq="BOX")
    caller.update("skus", sku["id"], do_not_track=False)
    yield sku["id"]
    caller.update("skus", sku["id"], do_not_track=True)


def test_seeded_orders_run_out_of_stock_too_once_their_sku_is_tracked(caller, sandbox, source, box, location):
    before = copied(caller, sandbox, source["source_order_id"])
    caller.create("stock_items", {"quantity": 1}, sku=("skus", box), stock_location=("stock_locations", location))
    with_one = copied(caller, sandbox, source["source_order_id"])
    after = copied(caller, sandbox, source["source_order_id"])

    assert [one["status"] for one in (before, with_one, after)] == ["failed", "completed", "failed"]
    assert caller.target(with_one["id"])["attributes"]["status"] == "placed"


@pytest.fixture
def priced(caller, sandbox, source, stocked) -> dict[str, str]:
    """A placed order of a box at a price of its own and of one piece of the SKU, which costs 7.50 in the price list."""
    prices = caller.get("/price_lists").json()["data"][0]["id"]
    related = {"sku": ("skus", stocked["id"]), "price_list": ("price_lists", prices)}
    price = caller.create("prices", {"amount_cents": 750}, **related).json()["data"]["id"]
    order_id = unplaced_copy(caller, sandbox, source)
    line = {"sku_code": stocked["code"], "quantity": 1}
    assert caller.create("line_items", line, order=("orders", order_id)).status_code == 201
    assert caller.update("orders", order_id, _place=True).status_code == 200
    total = caller.attributes("orders", order_id)["total_amount_cents"]
    return {"order": order_id, "price": price, "box": total - 750}


def test_a_copy_costs_what_the_price_list_says_now_and_lines_with_a_price_of_their_own_what_they_did(
    caller, sandbox, priced
):
    caller.update("prices", priced["price"], amount_cents=900)

    copy = copied(caller, sandbox, priced["order"])

    target = caller.target(copy["id"])["attributes"]
    assert (copy["status"], target["total_amount_cents"]) == ("completed", priced["box"] + 900)
    assert caller.attributes("orders", priced["order"])["total_amount_cents"] == priced["box"] + 750


def test_a_copy_fails_when_the_price_of_a_line_is_gone_and_with_skip_errors_it_goes_without_the_line(
    caller, sandbox, priced
):
    assert caller.http.delete(f"/prices/{priced['price']}").status_code == 204

    failed = copied(caller, sandbox, priced["order"])
    skipped = copied(caller, sandbox, priced["order"], skip_errors=True)

    assert (failed["status"], failed["errors_log"]) == ("failed", {"line_items": ["price can't be found"]})
    assert caller.target(failed["id"]) is None
    assert (skipped["status"], skipped["errors_log"]) == ("completed", failed["errors_log"])
    target = caller.target(skipped["id"])["attributes"]
    assert (target["status"], target["total_amount_cents"]) == ("placed", priced["box"])


def test_a_copy_of_a_copy_asks_the_price_list_again(caller, sandbox, priced):
    first = caller.target(copied(caller, sandbox, priced["order"])["id"])["id"]
    caller.update("prices", priced["price"], amount_cents=900)

    assert caller.target(copied(caller, sandbox, first)["id"])["attributes"]["total_amount_cents"] == (
        priced["box"] + 900
    )


def test_a_line_that_is_given_a_price_later_keeps_it_in_copies(caller, sandbox, source, stocked, priced):
    order_id = caller.target(copied(caller, sandbox, priced["order"], place_target_order=False)["id"])["id"]
    [line] = caller.filtered("/line_items", order_id_eq=order_id, sku_code_eq=stocked["code"])
    assert caller.update("line_items", line["id"], unit_amount_cents=600).status_code == 200
    caller.http.delete(f"/prices/{priced['price']}")

    copy = copied(caller, sandbox, order_id)

    assert copy["status"] == "completed"
    assert caller.target(copy["id"])["attributes"]["total_amount_cents"] == priced["box"] + 600


def test_a_missing_price_is_found_also_where_another_failure_waits_for_the_placing(caller, sandbox, priced):
    caller.http.delete(f"/prices/{priced['price']}")
    sandbox.set_failure(priced["order"], "declined", times=1)

    first = copied(caller, sandbox, priced["order"])
    failures = caller.filtered("/order_copies", source_order_id_eq=priced["order"], status_eq="failed")

    assert first["errors_log"] == {"line_items": ["price can't be found"]}
    assert len(failures) == 1
    skipped = copied(caller, sandbox, priced["order"], skip_errors=True)  # the decline was not used up
    assert "Your card was declined." in skipped["errors_log"]["payment_source"]


def test_two_skus_cannot_have_one_code(caller, source, stocked):
    assert caller.create("skus", {"code": stocked["code"], "name": "Another"}).status_code == 422
    assert caller.create("skus", {"code": "BOX", "name": "Another"}).json()["errors"][0]["meta"] == {"error": "taken"}
