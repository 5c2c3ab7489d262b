"""The attributes and relationships of resource objects, by plans that are made once for each type and fieldset."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache, partial
from operator import itemgetter
from typing import Any

import orjson

from blocks.sandbox.api.queries import Record
from blocks.sandbox.resources.definitions import Attribute, ResourceType
from blocks.sandbox.resources.resource_types import RESOURCE_TYPES

Fields = tuple[str, ...] | None
Linkage = Mapping[tuple[str, str], Any]
Show = Callable[[Record], Any]

_ID = "\x7f"  # stands for the id in a template
_MAX_PLANS = 1000  # a caller that keeps asking for new fieldsets must not fill up the memory


def attributes_of(kind: ResourceType, record: Record, fields: Fields) -> dict[str, Any]:
    """The attributes of a record, all or those of a fieldset."""
    constants, shows = _plan(kind.name, fields)
    attributes = constants.copy()
    for name, show in shows:
        attributes[name] = show(record)
    return attributes


@lru_cache(_MAX_PLANS)
def _plan(type_name: str, fields: Fields) -> tuple[dict[str, Any], list[tuple[str, Show]]]:
    """All attributes in their order with the value of the constant ones, and how to show the others."""
    kind = RESOURCE_TYPES[type_name]
    chosen = [attribute for attribute in kind.attributes.values() if fields is None or attribute.name in fields]
    shows = {attribute.name: _show(kind, attribute) for attribute in chosen}
    constants = {name: None if callable(show) else show for name, show in shows.items()}
    return constants, [(name, show) for name, show in shows.items() if callable(show)]


def _show(kind: ResourceType, attribute: Attribute) -> Show | Any:
    """A function of a record, or the value of a constant attribute."""
    currency = kind.index_of.get("currency_code")
    if attribute.constant:
        value = orjson.loads(attribute.constant.lower())
        constants = {"boolean": bool, "amount": float}
        if attribute.kind == "formatted":
            return partial(_formatted_constant, value, currency)
        return None if value is None else constants.get(attribute.kind, int)(value)
    index = kind.index_of[attribute.of or attribute.name]
    if attribute.kind == "formatted":
        return partial(_formatted, index, currency)
    shows: dict[str, Callable[[int, Record], Any]] = {
        "amount": _amount, "boolean": _boolean, "json": _json, "list": _json
    }  # fmt: skip
    show = shows.get(attribute.kind)
    return itemgetter(index) if show is None else partial(show, index)


def _boolean(index: int, record: Record) -> bool | None:
    value = record[index]
    return None if value is None else bool(value)


def _json(index: int, record: Record) -> orjson.Fragment | None:
    value = record[index]
    return None if value is None else orjson.Fragment(value)


def _amount(index: int, record: Record) -> float | None:
    cents = record[index]
    return None if cents is None else cents / 100


def _formatted(index: int, currency_index: int | None, record: Record) -> str | None:
    cents = record[index]
    return None if cents is None else formatted(cents, "EUR" if currency_index is None else record[currency_index])


def _formatted_constant(cents: int, currency_index: int | None, record: Record) -> str:
    return formatted(cents, "EUR" if currency_index is None else record[currency_index])


_FORMATS = {"EUR": ("€", ".", ","), "USD": ("$", ",", "."), "GBP": ("£", ",", ".")}


@lru_cache(4096)
def formatted(cents: int, currency: str | None) -> str:
    """An amount as the API writes it: €1.234,50 and $1,234.50, other currencies with their code."""
    symbol, thousands, decimal = _FORMATS.get(currency or "EUR") or (f"{currency} ", ",", ".")
    whole, rest = divmod(abs(cents), 100)
    return f"{'-' if cents < 0 else ''}{symbol}{whole:,}".replace(",", thousands) + f"{decimal}{rest:02}"


def relationships_of(
    kind: ResourceType, record: Record, collection: str, fields: Fields, linkage: Linkage, linked: Iterable[str]
) -> orjson.Fragment | None:
    """
    The relationships of a resource with their links, and the linkage of those that were included; None: there are none.

    `collection` is the address of its type, `linked` has the names that occur in `linkage`.
    """
    resource_id = record[0]
    own = collection if kind.singleton else f"{collection}/{resource_id}"
    here = tuple(name for name in linked if (resource_id, name) in linkage and (fields is None or name in fields))
    text = _template(kind.name, collection, fields, here).replace(_ID.encode(), resource_id.encode())
    if here:
        found = {name: {"links": _links(own, name), "data": linkage[(resource_id, name)]} for name in here}
        text = text[:-1] + (b"," if text != b"{}" else b"") + orjson.dumps(found)[1:]
    return orjson.Fragment(text) if text != b"{}" else None


@lru_cache(_MAX_PLANS)
def _template(type_name: str, collection: str, fields: Fields, without: tuple[str, ...]) -> bytes:
    kind = RESOURCE_TYPES[type_name]
    own = collection if kind.singleton else f"{collection}/{_ID}"
    names = [name for name in (kind.relationships if fields is None else fields) if name in kind.relationships]
    return orjson.dumps({name: {"links": _links(own, name)} for name in names if name not in without})


def _links(own: str, name: str) -> dict[str, str]:
    return {"self": f"{own}/relationships/{name}", "related": f"{own}/{name}"}
