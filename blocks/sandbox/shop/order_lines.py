"""
Line items: what an order's amounts are made of.

An order's own columns hold the sums. As long as nobody has written one of its lines, they also imply the lines (see
`views.py`); the first write stores them.
"""

from __future__ import annotations

from collections.abc import Iterable

from blocks.sandbox.resources.order_resources import LINE_ITEMS
from blocks.sandbox.shop import catalogue
from blocks.sandbox.shop.database import Database, Row
from blocks.sandbox.shop.problems import invalid
from blocks.sandbox.shop.shop import Shop

_PROMOTIONS = "percentage_discount_promotions"
_SUMS = {
    "subtotal_amount_cents": {"skus"},
    "shipping_amount_cents": {"shipments"},
    "payment_method_amount_cents": {"payment_methods"},
    "discount_amount_cents": {_PROMOTIONS},
    "adjustment_amount_cents": {"adjustments"},
}
"""The amounts of an order, and the types of the items whose lines they sum up."""

_LARGEST = 10**12
_COLUMNS = {*LINE_ITEMS.written, "_listed"}
_PRICED = {"quantity", "unit_amount_cents", "options_amount_cents", "sku_code"}
_TYPES = {item_type for types in _SUMS.values() for item_type in types}


def new_line(shop: Shop, row: Row) -> Row:
    """
    The columns of a new line that were not given.

    Raises:
        Problem: 422 when the order cannot be changed any more, or something about the item is missing.
    """
    order = _editable(shop.database, row["order_id"])
    item_type = row.get("item_type") or "skus"
    if item_type not in _TYPES:
        raise invalid("item_type", "is not included in the list", "inclusion")
    sku = catalogue.with_sku(shop, row) if item_type == "skus" else {}
    price = _price(shop, order, row, sku)
    store(shop.database, order)
    own = {"item_type": item_type, "name": row.get("name") or sku.get("sku_code") or item_type, **sku}
    return {**own, **price, "currency_code": order["currency_code"], **_total({**row, **price})}


def _price(shop: Shop, order: Row, row: Row, sku: Row) -> Row:
    """The price that a line was given, or else that of its SKU in the market's list, which copies then ask again."""
    unit = row.get("unit_amount_cents")
    is_listed = unit is None and bool(sku)
    if is_listed:
        unit = catalogue.price_of(shop.database, order, sku["sku_id"])
    if unit is None:
        raise invalid("unit_amount_cents", "can't be blank", "blank")
    return {"unit_amount_cents": unit, "_listed": int(is_listed)}


def changed_line(shop: Shop, line: Row, columns: Row) -> Row:
    """
    The columns that follow from a change of a line, whose order's lines are stored first.

    Raises:
        Problem: 422 when the change concerns amounts, and the order cannot be changed any more.
    """
    order = shop.database.find("orders", line["order_id"])
    assert order is not None
    if _PRICED & columns.keys():
        order = _editable(shop.database, line["order_id"])
    store(shop.database, order)
    sku = catalogue.with_sku(shop, columns) if "sku_code" in columns else {}
    price = {} if columns.get("unit_amount_cents") is None else {"_listed": 0}
    return {**sku, **price, **_total({**line, **columns})}


def before_deletion(shop: Shop, line: Row) -> None:
    """
    Store the lines of an order of which one will be deleted.

    Raises:
        Problem: 422 when the order cannot be changed any more.
    """
    store(shop.database, _editable(shop.database, line["order_id"]))


def _editable(database: Database, order_id: str) -> Row:
    order = database.find("orders", order_id)
    assert order is not None
    if not order["editable"]:
        raise invalid("order", "is not editable", "not_editable", relationship=True)
    return order


def _total(line: Row) -> Row:
    if line["quantity"] is None or line["quantity"] < 0:
        raise invalid("quantity", "must be greater than or equal to 0", "greater_than_or_equal_to")
    unit = (line["unit_amount_cents"] or 0) + (line.get("options_amount_cents") or 0)
    total = line["quantity"] * unit
    if abs(total) > _LARGEST:
        raise invalid("total_amount_cents", f"must be less than or equal to {_LARGEST}", "less_than_or_equal_to")
    return {"total_amount_cents": total}


def store(database: Database, order: Row) -> None:
    """Store the lines that an order's amounts imply, unless its lines are stored already."""
    if order["_has_lines"]:
        return
    columns = ", ".join(LINE_ITEMS.written)
    sql = f"INSERT INTO stored_line_items ({columns}) SELECT {columns} FROM line_items WHERE order_id = ?"  # noqa: S608  names are ours
    database.execute(sql, (order["id"],))
    database.update("orders", order["id"], {"_has_lines": 1})


def drop_failing(shop: Shop, order_id: str) -> None:
    """Drop the lines of an order whose SKU is gone or not in stock."""
    order = shop.database.find("orders", order_id)
    assert order is not None
    failing = list(catalogue.failing_lines(shop.database, order))
    if failing:
        store(shop.database, order)
        for line_id, _ in failing:
            shop.database.delete("stored_line_items", line_id)
        sum_up(shop, order_id)


def sum_up(shop: Shop, order_id: str) -> None:
    """Set an order's amounts to the sums of its lines."""
    by_type = "SELECT item_type, SUM(total_amount_cents), SUM(tax_amount_cents), SUM(quantity)"
    rows = shop.database.execute(
        f"{by_type} FROM stored_line_items WHERE order_id = ? GROUP BY item_type",
        (order_id,),
    ).fetchall()
    changes = {name: sum(row[1] for row in rows if row[0] in types) for name, types in _SUMS.items()}
    total, tax = sum(changes.values()), sum(row[2] or 0 for row in rows)
    changes |= {"total_amount_cents": total, "total_tax_amount_cents": tax}
    changes |= dict.fromkeys(("total_amount_with_taxes_cents", "place_total_amount_cents"), total + tax)
    changes["skus_count"] = sum(row[3] for row in rows if row[0] == "skus")
    shop.database.update("orders", order_id, {**changes, "updated_at": shop.now_text()})


def copy(shop: Shop, source: Row, target_id: str, currency: str, *, recompute: bool) -> None:
    """
    Copy the stored lines of an order to its target order, at the present prices of the market's list.

    The discount is the present one as well if `recompute`. A line of a SKU that has no price any more is left out.
    """
    found = shop.database.execute("SELECT * FROM stored_line_items WHERE order_id = ? ORDER BY rowid", (source["id"],))
    names = [column[0] for column in found.description]
    lines: Iterable[Row] = [dict(zip(names, row, strict=True)) for row in found.fetchall()]
    present = catalogue.prices_of_copies(shop, source)
    priced = ((line, present.get(line["id"], line["unit_amount_cents"])) for line in lines)
    lines = [_at_price(line, cents) for line, cents in priced if cents is not None]
    if recompute:
        lines = [line for line in lines if line["item_type"] != _PROMOTIONS]
        lines += _promotion(shop, lines)
    for line in lines:
        _add(shop, target_id, {**line, "currency_code": currency})
    shop.database.update("orders", target_id, {"_has_lines": 1})
    sum_up(shop, target_id)


def _at_price(line: Row, unit_cents: int) -> Row:
    if unit_cents == line["unit_amount_cents"]:
        return line
    return {**line, "unit_amount_cents": unit_cents, **_total({**line, "unit_amount_cents": unit_cents})}


def _promotion(shop: Shop, lines: Iterable[Row]) -> list[Row]:
    subtotal = sum(line["total_amount_cents"] for line in lines if line["item_type"] == "skus")
    discount = -round(subtotal * shop.settings.promotion_percent / 100)
    line = {"item_type": _PROMOTIONS, "name": "Promotion", "quantity": 1, "unit_amount_cents": discount}
    return [{**line, **_total(line)}] if discount else []


def adjust(shop: Shop, order_id: str, total_cents: int) -> None:
    """Add a line to an order whose lines are stored, so that it costs this much."""
    order = shop.database.find("orders", order_id)
    assert order is not None
    difference = total_cents - order["total_amount_with_taxes_cents"]
    line = {"item_type": "adjustments", "name": "Price change", "quantity": 1, "unit_amount_cents": difference}
    _add(shop, order_id, {**line, **_total(line), "currency_code": order["currency_code"]})
    sum_up(shop, order_id)


def _add(shop: Shop, order_id: str, line: Row) -> None:
    now = shop.now_text()
    own = {"id": shop.database.new_id(), "order_id": order_id, "metadata": "{}", "created_at": now, "updated_at": now}
    columns = {name: value for name, value in line.items() if name in _COLUMNS and value is not None}
    shop.database.insert("stored_line_items", {**columns, **own})
