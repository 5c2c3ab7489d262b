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
_DATA = "\x01"  # stands for linkage
_FIGURES = {"integer", "boolean", "decimal", "amount", "formatted"}
_MAX_FIGURES = 4096  # of some hundred bytes each, those of an order have three thousand
_MANY = 50  # figures, such as the eighty of an order; fewer are shown as fast one by one
_MAX_PLANS = 1000  # a caller that keeps asking for new fieldsets must not fill up the memory


def attributes_of(kind: ResourceType, record: Record, fields: Fields) -> dict[str, Any] | orjson.Fragment:
    """The attributes of a record, all or those of a fieldset; an empty dict if there are none. Figures come first."""
    if fields is not None or len(_figures_of(kind.name)) < _MANY:
        return _attributes(_plan(kind.name, fields), record)
    figures = _figures_with(kind.name, _figures_in(kind.name)(record))
    return orjson.Fragment(figures + orjson.dumps(_attributes(_plan_of_words(kind.name), record))[1:])


Plan = tuple[dict[str, Any], list[tuple[str, Show]]]
"""Attributes in their order with the value of the constant ones, and how to show the others."""


def _attributes(plan: Plan, record: Record) -> dict[str, Any]:
    constants, shows = plan
    attributes = constants.copy()
    for name, show in shows:
        attributes[name] = show(record)
    return attributes


@lru_cache(_MAX_PLANS)
def _plan(type_name: str, names: Fields) -> Plan:
    kind = RESOURCE_TYPES[type_name]
    shows = {each.name: _show(kind, each) for each in kind.attributes.values() if names is None or each.name in names}
    constants = {name: None if callable(show) else show for name, show in shows.items()}
    return constants, [(name, show) for name, show in shows.items() if callable(show)]


@lru_cache
def _figures_of(type_name: str) -> tuple[str, ...]:
    """The attributes that are numbers or yes and no: two thirds of an order's."""
    return tuple(name for name, each in RESOURCE_TYPES[type_name].attributes.items() if each.kind in _FIGURES)


@lru_cache
def _columns_of_figures(type_name: str) -> tuple[int, ...]:
    """Positions of the columns that these attributes follow from."""
    kind = RESOURCE_TYPES[type_name]
    names = {kind.attributes[name].of or name for name in _figures_of(type_name)} | {"currency_code"}
    return tuple(index for column, index in kind.index_of.items() if column in names)


@lru_cache
def _figures_in(type_name: str) -> Callable[[Record], tuple[Any, ...]]:
    return itemgetter(*_columns_of_figures(type_name))


@lru_cache
def _plan_of_words(type_name: str) -> Plan:
    """The plan of all other attributes."""
    figures = _figures_of(type_name)
    return _plan(type_name, tuple(name for name in RESOURCE_TYPES[type_name].attributes if name not in figures))


@lru_cache(_MAX_FIGURES)
def _figures_with(type_name: str, values: tuple[Any, ...]) -> bytes:
    """
    The beginning of a JSON object, with the figures that follow from these values.

    Many orders cost the same and are in the same state, so this is written once for all of them.
    """
    kind, figures = RESOURCE_TYPES[type_name], _figures_of(type_name)
    record = [None] * len(kind.columns)
    for index, value in zip(_columns_of_figures(type_name), values, strict=True):
        record[index] = value
    return orjson.dumps(_attributes(_plan(type_name, figures), tuple(record)))[:-1] + b","


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
    here = tuple([name for name in linked if (resource_id, name) in linkage and (fields is None or name in fields)])
    before, *others = _template(kind.name, collection, fields, here)
    own_id = resource_id.encode()
    text = own_id.join(before)
    for name, after in zip(here, others, strict=True):
        text += orjson.dumps(linkage[(resource_id, name)]) + own_id.join(after)
    return orjson.Fragment(text) if text != b"{}" else None


@lru_cache(_MAX_PLANS)
def _template(type_name: str, collection: str, fields: Fields, here: tuple[str, ...]) -> list[list[bytes]]:
    """What stands before, between and after the linkage of the included relationships, each split at the id."""
    kind = RESOURCE_TYPES[type_name]
    own = collection if kind.singleton else f"{collection}/{_ID}"
    names = [name for name in (kind.relationships if fields is None else fields) if name in kind.relationships]
    shown: dict[str, Any] = {name: {"links": _links(own, name)} for name in names if name not in here}
    shown |= {name: {"links": _links(own, name), "data": _DATA} for name in here}
    return [part.split(_ID.encode()) for part in orjson.dumps(shown).split(orjson.dumps(_DATA))]


def _links(own: str, name: str) -> dict[str, str]:
    return {"self": f"{own}/relationships/{name}", "related": f"{own}/{name}"}
