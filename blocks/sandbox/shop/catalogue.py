"""The catalogue: whether the SKUs of an order's lines exist, what they cost, and whether they are in stock."""

from __future__ import annotations

from collections.abc import Iterator

from blocks.sandbox.shop.database import Database, Row
from blocks.sandbox.shop.failure_kinds import FAILURES, Failure
from blocks.sandbox.shop.problems import invalid
from blocks.sandbox.shop.shop import Shop
from blocks.sandbox.shop.views import SKU

_PRICE = """
SELECT p.amount_cents FROM prices AS p JOIN markets AS m ON m.price_list_id = p.price_list_id
WHERE p.sku_id = {sku} AND m.id = {market} AND p.currency_code = {currency} LIMIT 1
"""
_LISTED = f"""
SELECT l.id, ({_PRICE.format(sku="l.sku_id", market="o.market_id", currency="o.currency_code")})
FROM stored_line_items AS l JOIN orders AS o ON o.id = l.order_id WHERE l.order_id = ? AND l._listed
"""  # noqa: S608  names are ours
_LINES = """
SELECT l.id, l.order_id, s.id AS sku_id, s.do_not_track, SUM(l.quantity) OVER (PARTITION BY l.sku_code) AS wanted,
       (SELECT SUM(i.quantity) FROM stock_items AS i WHERE i.sku_id = s.id) AS in_stock
FROM line_items AS l LEFT JOIN skus AS s ON s.code = l.sku_code
WHERE l.order_id = ? AND l.item_type = 'skus'
"""


def with_sku(shop: Shop, row: Row) -> Row:
    """
    The code and the id of the SKU that a price, a stock item or a line names by one of them.

    Raises:
        Problem: 422 when there is no such SKU.
    """
    if row.get("sku_id") is not None:
        found = shop.database.find("skus", row["sku_id"])
    else:
        found = shop.database.first("SELECT * FROM skus WHERE code = ?", (row.get("sku_code"),))
    if found is None:
        raise invalid("sku", "must exist", "blank", relationship=True)
    return {"sku_id": found["id"], "sku_code": found["code"]}


def new_price(shop: Shop, row: Row) -> Row:
    """
    The columns of a new price that were not given.

    Raises:
        Problem: 422 when there is no such SKU.
    """
    prices = shop.database.find("price_lists", row["price_list_id"])
    return {**with_sku(shop, row), "currency_code": None if prices is None else prices["currency_code"]}


def price_of(database: Database, order: Row, sku_id: str) -> int | None:
    """What a SKU costs in an order, in cents: the price of its market's list."""
    sql = _PRICE.format(sku="?", market="?", currency="?")
    found = database.execute(sql, (sku_id, order["market_id"], order["currency_code"])).fetchone()
    return None if found is None else int(found[0])


def prices_of_copies(shop: Shop, source: Row) -> dict[str, int | None]:
    """
    What the lines of an order that had the price of its market's list cost in a copy of it: cents by line.

    None: the list has no price of the SKU any more.
    """
    if not source["_has_lines"] or shop.settings.copy_prices != "price-list":
        return {}
    return dict(shop.database.execute(_LISTED, (source["id"],)).fetchall())


def failure_of_copies(shop: Shop, source: Row) -> Failure | None:
    """Why an order cannot be copied because of its lines."""
    found = failure_of(shop.database, source)
    if found is None and None in prices_of_copies(shop, source).values():
        return FAILURES["price_missing"]
    return found


def failing_lines(database: Database, order: Row) -> Iterator[tuple[str, Failure]]:
    """The lines of an order whose SKU is gone or not in stock, with the failure of each."""
    if not order["_has_lines"] and _is_always_there(database):
        return
    found = database.execute(_LINES, (order["id"],))
    names = [column[0] for column in found.description]
    for line in [dict(zip(names, values, strict=True)) for values in found.fetchall()]:
        if line["sku_id"] is None:
            yield str(line["id"]), FAILURES["sku_gone"]
        elif not line["do_not_track"] and line["wanted"] > (line["in_stock"] or 0):
            yield str(line["id"]), FAILURES["out_of_stock"]


def _is_always_there(database: Database) -> bool:
    """Whether the SKU of seeded orders has no stock to run out of, as it is at first."""
    sku = database.execute("SELECT do_not_track FROM skus WHERE code = ?", (SKU,)).fetchone()
    return sku is not None and bool(sku[0])


def failure_of(database: Database, order: Row) -> Failure | None:
    """Why an order can be neither copied nor placed because of its lines."""
    return next((failure for _, failure in failing_lines(database, order)), None)


def take(database: Database, order: Row) -> None:
    """Take the lines of a placed order from stock."""
    if not order["_has_lines"] and _is_always_there(database):
        return
    for sku_id, quantity in database.execute(
        "SELECT s.id, SUM(l.quantity) FROM line_items AS l JOIN skus AS s ON s.code = l.sku_code "
        "WHERE l.order_id = ? AND l.item_type = 'skus' AND NOT s.do_not_track GROUP BY s.id",
        (order["id"],),
    ).fetchall():
        _take(database, sku_id, quantity)


def _take(database: Database, sku_id: str, quantity: int) -> None:
    for item_id, there in database.execute(
        "SELECT id, quantity FROM stock_items WHERE sku_id = ? ORDER BY created_at, id", (sku_id,)
    ).fetchall():
        taken = min(quantity, max(there, 0))
        database.update("stock_items", item_id, {"quantity": there - taken})
        quantity -= taken
