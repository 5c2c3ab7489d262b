"""Line items: an order's amounts are made of them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

FEW = settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
SUMS = {
    "subtotal_amount_cents": {"skus"},
    "shipping_amount_cents": {"shipments"},
    "payment_method_amount_cents": {"payment_methods"},
    "discount_amount_cents": {"percentage_discount_promotions"},
    "adjustment_amount_cents": {"adjustments"},
}


@pytest.fixture(autouse=True)
def tea(caller) -> None:
    """A SKU without stock to run out of; it is there already after the first test."""
    caller.create("skus", {"code": "TEA", "name": "Tea", "do_not_track": True})


def lines_of(caller, order_id: str) -> list[dict[str, Any]]:
    """The lines in the order of the types of their items."""
    data = caller.get(f"/orders/{order_id}/line_items", **{"page[size]": 25}).json()["data"]
    return sorted(({**one["attributes"], "id": one["id"]} for one in data), key=lambda line: str(line["item_type"]))


def add_line(caller, order_id: str, **attributes: Any):
    given = {"sku_code": "TEA", "quantity": 1, "unit_amount_cents": 500, **attributes}
    return caller.create("line_items", given, order=("orders", order_id))


def assert_made_of_its_lines(caller, order_id: str) -> None:
    order, lines = caller.attributes("orders", order_id), lines_of(caller, order_id)
    for line in lines:
        assert line["total_amount_cents"] == line["quantity"] * line["unit_amount_cents"]
    for name, types in SUMS.items():
        assert order[name] == sum(line["total_amount_cents"] for line in lines if line["item_type"] in types), name
    total = sum(line["total_amount_cents"] for line in lines)
    assert order["total_amount_cents"] == order["total_amount_with_taxes_cents"] == total
    assert order["skus_count"] == sum(line["quantity"] for line in lines if line["item_type"] == "skus")


line = st.fixed_dictionaries(
    {
        "quantity": st.integers(0, 9),
        "unit_amount_cents": st.integers(-1000, 10**6),
        "item_type": st.sampled_from(sorted(set().union(*SUMS.values()))),
    }
)
change = st.tuples(st.integers(0, 9), st.one_of(st.none(), st.integers(0, 9)))


@FEW
@given(lines=st.lists(line, max_size=4), changes=st.lists(change, max_size=3), is_copy=st.booleans())
def test_the_amounts_of_an_order_are_the_sums_of_its_lines(caller, source, lines, changes, is_copy):
    if is_copy:
        copy_id = caller.copy(source["source_order_id"], place_target_order=False)
        caller.sandbox.advance(10)
        order_id = caller.target(copy_id)["id"]
    else:
        order_id = caller.create("orders").json()["data"]["id"]
    for attributes in lines:
        assert add_line(caller, order_id, **attributes).status_code == 201
    for position, quantity in changes:
        there = [one["id"] for one in lines_of(caller, order_id)]
        if position < len(there) and quantity is None:
            assert caller.http.delete(f"/line_items/{there[position]}").status_code == 204
        elif position < len(there):
            assert caller.update("line_items", there[position], quantity=quantity).status_code == 200

    assert_made_of_its_lines(caller, order_id)


@FEW
@given(total=st.integers(0, 10**7), items=st.integers(1, 40))
def test_a_changed_price_is_divided_among_the_items_to_the_cent(caller, sandbox, source, total, items):
    copy_id = caller.copy(source["source_order_id"], place_target_order=False)
    sandbox.advance(10)
    order_id = caller.target(copy_id)["id"]

    sandbox.change_price(order_id, total_cents=total, skus_count=items)

    assert caller.attributes("orders", order_id)["total_amount_cents"] == total
    assert_made_of_its_lines(caller, order_id)


def written_order(caller, sandbox, source) -> str:
    """A placed order with lines that were written through the API: tea, and a discount."""
    copy_id = caller.copy(source["source_order_id"], place_target_order=False)
    sandbox.advance(10)
    order_id = str(caller.target(copy_id)["id"])
    [box] = lines_of(caller, order_id)
    assert caller.http.delete(f"/line_items/{box['id']}").status_code == 204
    add_line(caller, order_id, quantity=3)
    add_line(caller, order_id, item_type="percentage_discount_promotions", unit_amount_cents=-200)
    assert caller.update("orders", order_id, _place=True).status_code == 200
    return order_id


def copied(caller, sandbox, order_id: str, **options: Any) -> str:
    copy_id = caller.copy(order_id, **options)
    sandbox.advance(10)
    return str(caller.target(copy_id)["id"])


def test_a_copy_has_lines_of_its_own_like_those_of_its_source_order(caller, sandbox, source):
    order_id = written_order(caller, sandbox, source)

    target_id = copied(caller, sandbox, order_id)

    before, after = lines_of(caller, order_id), lines_of(caller, target_id)
    shown = ("sku_code", "item_type", "quantity", "unit_amount_cents", "total_amount_cents", "name")
    assert [[one[name] for name in shown] for one in after] == [[one[name] for name in shown] for one in before]
    assert not {one["id"] for one in after} & {one["id"] for one in before}
    assert caller.attributes("orders", target_id)["total_amount_cents"] == 1300
    assert_made_of_its_lines(caller, target_id)


def test_promotions_of_today_take_the_place_of_the_discount_line(caller, sandbox, source):
    target_id = copied(caller, sandbox, written_order(caller, sandbox, source), apply_promotions=True)

    assert [one["item_type"] for one in lines_of(caller, target_id)] == ["skus"]
    assert caller.attributes("orders", target_id)["total_amount_cents"] == 1500


def test_a_new_price_of_an_order_with_written_lines_is_one_line_more(caller, sandbox, source):
    order_id = written_order(caller, sandbox, source)
    sandbox.change_price(order_id, total_cents=1000, currency_code="USD")

    target_id = copied(caller, sandbox, order_id, place_target_order=False)

    order, line = caller.attributes("orders", target_id), lines_of(caller, target_id)[0]
    assert (order["total_amount_cents"], order["formatted_total_amount"]) == (1000, "$10.00")
    assert (line["item_type"], line["total_amount_cents"], line["currency_code"]) == ("adjustments", -300, "USD")
    sandbox.change_price(target_id, total_cents=900)
    assert_made_of_its_lines(caller, target_id)


def test_lines_of_a_placed_order_keep_their_amounts_and_take_metadata(caller, sandbox, source):
    [box] = lines_of(caller, source["source_order_id"])

    refused = [
        caller.update("line_items", box["id"], quantity=2),
        caller.http.delete(f"/line_items/{box['id']}"),
        add_line(caller, source["source_order_id"]),
    ]
    noted = caller.update("line_items", box["id"], metadata={"gift": True})

    assert [response.status_code for response in refused] == [422, 422, 422]
    assert refused[0].json()["errors"][0]["detail"] == "order - is not editable"
    assert noted.json()["data"]["attributes"]["metadata"] == {"gift": True}
    assert [one["id"] for one in lines_of(caller, source["source_order_id"])] == [box["id"]]
    assert_made_of_its_lines(caller, source["source_order_id"])


@pytest.mark.parametrize(
    ("attributes", "field"),
    [
        ({"unit_amount_cents": None}, "unit_amount_cents"),
        ({"sku_code": None}, "sku"),
        ({"sku_code": "NO-SUCH-SKU"}, "sku"),
        ({"quantity": -1}, "quantity"),
        ({"quantity": None}, "quantity"),
        ({"quantity": 10**9, "unit_amount_cents": 10**9}, "total_amount_cents"),
        ({"item_type": "wishes"}, "item_type"),
    ],
)
def test_a_line_without_what_makes_its_amount_is_refused(caller, attributes, field):
    order_id = caller.create("orders").json()["data"]["id"]

    response = add_line(caller, order_id, **attributes)

    assert response.status_code == 422
    assert response.json()["errors"][0]["source"]["pointer"].endswith(f"/{field}")
    assert lines_of(caller, order_id) == []


def test_orders_are_found_by_their_lines_and_lines_by_their_orders(caller, sandbox, source):
    order_id = written_order(caller, sandbox, source)

    found = caller.filtered("/orders", line_items_sku_code_eq="TEA", line_items_quantity_eq="3")
    boxes = caller.filtered("/line_items", order_id_eq=source["source_order_id"], order_status_eq="placed")

    assert order_id in {one["id"] for one in found}
    assert [one["attributes"]["sku_code"] for one in boxes] == ["BOX"]


def test_lines_of_an_automatic_subscription_are_its_items(caller, sandbox):
    manual, automatic = sandbox.create_subscription(), sandbox.create_subscription(automatic=True)

    items = caller.filtered("/order_subscription_items", order_subscription_id_eq=automatic["id"])
    line = caller.get(f"/order_subscription_items/{items[0]['id']}/source_line_item").json()["data"]

    assert [one["attributes"]["sku_code"] for one in items] == ["BOX"]
    assert items[0]["attributes"]["total_amount_cents"] == line["attributes"]["total_amount_cents"]
    assert caller.filtered("/order_subscription_items", order_subscription_id_eq=manual["id"]) == []
