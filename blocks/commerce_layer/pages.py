"""
Pages of lists that go on past a resource which cannot be read.

Where a page cannot be read, its ids are listed alone, without the attributes that may be to blame, and its resources
are read by id in ever smaller parts.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Generic, TypeVar

from blocks.commerce_layer import jsonapi
from blocks.commerce_layer.client import CommerceLayer
from blocks.commerce_layer.errors import CommerceLayerError, ReadFailed, Refused
from blocks.commerce_layer.resources import Order, OrderCopy, OrderSubscription
from blocks.commerce_layer.splitting import read_in_parts

M = TypeVar("M", Order, OrderCopy, OrderSubscription)


@dataclass(frozen=True)
class Page(Generic[M]):
    """At most 25 resources of a list, and the ids of those that cannot be read, with the reason."""

    readable: list[M]
    unreadable: dict[str, CommerceLayerError] = field(default_factory=dict)
    dates: dict[str, datetime | None] = field(default_factory=dict)
    """Of those that cannot be read, as far as the list says (UTC): when they are due, or when they were created."""

    @property
    def complete(self) -> list[M]:
        """All resources of the page. Raises CommerceLayerError if one cannot be read: the gap might be what matters."""
        for error in self.unreadable.values():
            raise error
        return self.readable


@dataclass(frozen=True)
class Kind(Generic[M]):
    """How resources of one type are listed, and read one by one."""

    endpoint: str
    model: type[M]
    view: Mapping[str, str]
    date: str
    get: Callable[[CommerceLayer, Sequence[str]], Awaitable[dict[str, M]]]


async def iter_pages(client: CommerceLayer, kind: Kind[M], filters: Mapping[str, str]) -> AsyncIterator[Page[M]]:
    """All resources of a kind that match the filters, 25 at a time, by id."""
    after: dict[str, str] = {}
    while True:
        wanted = {**filters, **after}
        try:
            ids, is_last, found = await _page(client, kind, wanted)
            page = Page(found)
        except (ReadFailed, Refused) as error:
            dates, is_last = await _dates(client, kind, wanted)
            ids, page = list(dates), await _one_by_one(client, kind, dates, error)
        if ids:
            yield page
        if is_last or not ids:
            return
        after = {"id_gt": ids[-1]}


async def _page(client: CommerceLayer, kind: Kind[M], filters: Mapping[str, str]) -> tuple[list[str], bool, list[M]]:
    def understand(document: jsonapi.Fields) -> tuple[list[str], bool, list[M]]:
        items = [kind.model.model_validate(item) for item in jsonapi.many(document)]
        return [item.id for item in items], jsonapi.is_last_page(document), items

    params = {**kind.view, **_query(filters)}
    return await client.wire.read(kind.endpoint, understand, params=params)


def _query(filters: Mapping[str, str], **more: Any) -> dict[str, str]:
    return jsonapi.query(filters=filters, sort="id", page_size=jsonapi.PAGE_SIZE, **more)


async def _dates(
    client: CommerceLayer, kind: Kind[M], filters: Mapping[str, str]
) -> tuple[dict[str, datetime | None], bool]:
    """The ids of a page with their dates, and whether it is the last page."""

    def understand(document: jsonapi.Fields) -> tuple[dict[str, datetime | None], bool]:
        dates = {str(item["id"]): _instant_or_none(item.get(kind.date)) for item in jsonapi.many(document)}
        return dates, jsonapi.is_last_page(document)

    only_dates = _query(filters, fields={kind.endpoint: (kind.date,)})
    return await client.wire.read(kind.endpoint, understand, params=only_dates)


async def _one_by_one(
    client: CommerceLayer, kind: Kind[M], dates: Mapping[str, datetime | None], error: CommerceLayerError
) -> Page[M]:
    parts = await read_in_parts(list(dates), lambda ids: kind.get(client, ids))
    if parts.trouble is not None:
        raise parts.trouble from error
    found = {key: each for part in parts.read for key, each in part.items()}
    unreadable = dict(parts.unreadable)
    return Page(
        [found[each] for each in dates if each in found], unreadable, {each: dates[each] for each in unreadable}
    )


def _instant_or_none(text: object) -> datetime | None:
    try:
        instant = datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return instant if instant.tzinfo else None
