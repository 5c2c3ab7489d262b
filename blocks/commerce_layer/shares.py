"""Filters by which a list leaves out resources that are known, in as few calls as possible."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from itertools import groupby

from blocks.commerce_layer import jsonapi

IDS_AT_ONCE = 300
"""Ids in one filter: less than 4,000 characters of an address, half of what web servers take by default."""


def shares(known: Mapping[str, datetime | None]) -> Iterator[dict[str, str]]:
    """
    Filters that divide all resources among them, each without the known ones, of which it has at most 300.

    They divide by the time of creation, so that nothing depends on the order of ids, which is not documented. Of many
    that were created in one instant, some ids are a share: each id is between two others in any order.
    """
    dated = sorted((created_at, each) for each, created_at in known.items() if created_at is not None)
    together: list[list[tuple[datetime, str]]] = [[]]
    for _, same in groupby(dated, key=lambda pair: pair[0]):
        instant = list(same)
        if together[-1] and len(together[-1]) + len(instant) > IDS_AT_ONCE:
            together.append([])
        together[-1] += instant
    for place, group in enumerate(together):
        bounds = {"created_at_gteq": jsonapi.instant(group[0][0])} if place else {}
        if place + 1 < len(together):
            bounds["created_at_lt"] = jsonapi.instant(together[place + 1][0][0])
        yield from ({**bounds, **share} for share in _by_id([each for _, each in group]))


def _by_id(ids: Sequence[str]) -> Iterator[dict[str, str]]:
    after: dict[str, str] = {}
    for start in range(0, max(len(ids), 1), IDS_AT_ONCE):
        some = ids[start : start + IDS_AT_ONCE]
        is_last = start + IDS_AT_ONCE >= len(ids)
        without = {"id_not_in": ",".join(some)} if some else {}
        yield {**after, **without, **({} if is_last else {"id_lteq": some[-1]})}
        after = {"id_gt": some[-1]} if some else {}
