"""
Ids of resources that follow from others: the letters of the other's id, turned by as many places as the type has here.

So they are unique, the same in every run, and SQLite computes them faster than an index would find them.
"""

from __future__ import annotations

_TURNS = {
    "line_items": 1,
    "shipments": 2,
    "authorizations": 3,
    "captures": 4,
    "addresses": 5,
    "voids": 6,
    "refunds": 7,
    "discounts": 8,
    "rests": 9,
    "customer_addresses": 4,
    "payment_methods": 1,
    "skus": 2,
    "price_lists": 3,
}
"""Several types share a number where they follow from different types."""


def derived_id(known_id: str, what: str) -> str:
    """The id of what follows from the resource with the known id."""
    places = _TURNS[what]
    return known_id[places:] + known_id[:places]


def origin_of(made_id: str, what: str) -> str:
    """The id of the resource from which this one follows."""
    places = len(made_id) - _TURNS[what]
    return made_id[places:] + made_id[:places]


def derived_id_sql(column: str, what: str) -> str:
    """`derived_id` in SQL, from the id in this column."""
    places = _TURNS[what]
    return f"substr({column}, {places + 1}) || substr({column}, 1, {places})"
