"""How far lists lag behind the database."""

from __future__ import annotations

from collections.abc import Collection

from blocks.sandbox.resources.resource_types import RESOURCE_TYPES
from blocks.sandbox.shop.shop import Shop

LONGEST_LAG_SECONDS = 86_400


def lag_lists(shop: Shop, seconds: float, resource_types: Collection[str] | None = None) -> None:
    """
    Let all lists, or those of these types, show the data of this many seconds ago; 0 ends it.

    Raises:
        ValueError: a negative time, one of more than a day, or an unknown type.
    """
    if not 0 <= seconds <= LONGEST_LAG_SECONDS:
        raise ValueError(f"list_lag_seconds is {seconds!r}; it lies between 0 and {LONGEST_LAG_SECONDS}")
    listed = {kind.name for kind in RESOURCE_TYPES.values() if "l" in kind.actions}
    for name in resource_types or ():
        if name not in listed:
            raise ValueError(f"resources: {name!r} is not known; lists are {', '.join(sorted(listed))}")
    shop.database.lag_lists(seconds, frozenset(resource_types or listed), shop.scheduler)
