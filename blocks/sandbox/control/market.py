"""The market of demo data, and what belongs to it: a price list, a payment method, the SKU of seeded orders."""

from __future__ import annotations

from blocks.sandbox.resources.derived_ids import derived_id
from blocks.sandbox.shop.database import Row
from blocks.sandbox.shop.shop import Shop
from blocks.sandbox.shop.views import SKU, SKU_NAME

_MARKET = "Europe"


def market(shop: Shop) -> str:
    """The only market, made on first use. It has no subscription model, so subscriptions are manual."""
    found = shop.database.execute("SELECT id FROM markets WHERE name = ?", (_MARKET,)).fetchone()
    if found is not None:
        return str(found[0])
    now, market_id = shop.now_text(), shop.database.new_id()
    row = {"id": market_id, "name": _MARKET, "code": "EU", "number": 1, "metadata": "{}"}
    more = {"private": 0, "shared_secret": f"{shop.random_for(market_id).getrandbits(128):032x}"}
    shop.database.insert("markets", {**row, **more, "created_at": now, "updated_at": now})
    equip_market(shop)
    return market_id


def equip_market(shop: Shop) -> None:
    """Give the market what it lacks, as in the file of an older sandbox: prices, a payment method, the seeded SKU."""
    found = shop.database.execute(
        "SELECT id FROM markets WHERE price_list_id IS NULL AND name = ?", (_MARKET,)
    ).fetchone()
    if found is None:
        return
    market_id, now = str(found[0]), shop.now_text()
    method = {"name": "Credit card", "payment_source_type": "stripe_payments", "market_id": market_id}
    rows: dict[str, Row] = {
        "price_lists": {"name": _MARKET, "currency_code": "EUR"},
        "payment_methods": method,
        "skus": {"code": SKU, "name": SKU_NAME, "do_not_track": 1},
    }
    for table, row in rows.items():
        own = {"id": derived_id(market_id, table), "metadata": "{}", "created_at": now, "updated_at": now}
        shop.database.insert(table, {**row, **own})
    shop.database.update("markets", market_id, {"price_list_id": derived_id(market_id, "price_lists")})
