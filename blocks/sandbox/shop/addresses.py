"""Addresses: those of seeded customers are not stored until they are changed (see `views.py`)."""

from __future__ import annotations

from blocks.sandbox.resources.derived_ids import origin_of
from blocks.sandbox.resources.detail_resources import ADDRESSES
from blocks.sandbox.shop.database import Database
from blocks.sandbox.shop.views import STORED


def store(database: Database, address_id: str) -> None:
    """Store a seeded customer's address, unless it is stored already."""
    if database.exists(ADDRESSES.table, address_id):
        return
    columns = ", ".join(ADDRESSES.written)
    sql = f"INSERT INTO stored_addresses ({columns}) SELECT {columns} FROM addresses WHERE id = ?"  # noqa: S608  names are ours
    database.execute(sql, (address_id,))
    database.update("customers", origin_of(address_id, "addresses"), {"_address": STORED})


def forget(database: Database, address_id: str) -> None:
    """Take a deleted address from the customer who was seeded with it, if there is one."""
    database.update("customers", origin_of(address_id, "addresses"), {"_address": None})
