"""Create, update and delete: checks the document, and leaves the rest to `actions.py`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from math import isfinite
from typing import Any

import orjson

from blocks.sandbox.api import actions
from blocks.sandbox.resources.definitions import Attribute, Relationship, ResourceType
from blocks.sandbox.shop import problems, tags
from blocks.sandbox.shop.database import Database, Row
from blocks.sandbox.shop.problems import Problem
from blocks.sandbox.shop.shop import Shop
from blocks.sandbox.shop.subscriptions import NativeEngine
from blocks.sandbox.shop.virtual_clock import instant_of, text_of

_INTEGER_LIMIT = 2**53


@dataclass(frozen=True, slots=True)
class Change:
    """A checked document: columns to set, triggers in the order of the document, and the ids of all tags if given."""

    columns: Row
    triggers: dict[str, Any]
    tag_ids: list[str] | None


def create(shop: Shop, engine: NativeEngine, kind: ResourceType, body: bytes) -> str:
    """
    Create a resource from a request body; returns its id.

    Raises:
        Problem: 400 for a malformed document, 422 for values that are refused.
    """
    change = _read(shop.database, kind, body, "c")
    _check_required(kind, {**dict.fromkeys(map(kind.column_of, kind.required)), **change.columns})
    with shop.database.transaction():
        resource_id = actions.create(shop, engine, kind, change.columns)
        _apply_tags_and_triggers(shop, engine, kind, resource_id, change)
    return resource_id


def update(shop: Shop, engine: NativeEngine, kind: ResourceType, resource_id: str, body: bytes) -> None:
    """
    Change a resource; `metadata`, where given, is replaced as a whole.

    Raises:
        Problem: 400, 404 or 422.
    """
    if not shop.database.exists(kind.name, resource_id):
        raise problems.not_found()
    change = _read(shop.database, kind, body, "u", resource_id)
    _check_required(kind, change.columns)
    try:
        with shop.database.transaction():
            actions.update(shop, engine, kind, resource_id, change.columns)
            refused = _apply_tags_and_triggers(shop, engine, kind, resource_id, change)
        if refused is not None:
            raise refused
    except Problem as problem:
        if problem.after_rollback is not None:
            problem.after_rollback()
        raise


def _apply_tags_and_triggers(
    shop: Shop, engine: NativeEngine, kind: ResourceType, resource_id: str, change: Change
) -> Problem | None:
    """Returns the refusal of a `_place` if what came before it in the request is to be kept."""
    if change.tag_ids is not None:
        tags.replace(shop, resource_id, change.tag_ids)
    for name, value in change.triggers.items():
        try:
            actions.apply_trigger(shop, engine, kind, resource_id, name, value)
        except Problem as refused:
            if name != "_place" or shop.settings.refused_place != "keeps":
                raise
            return refused
    return None


def delete(shop: Shop, engine: NativeEngine, kind: ResourceType, resource_id: str) -> None:
    """
    Delete a resource.

    Raises:
        Problem: 404, or 423 when others depend on it.
    """
    row = shop.database.find(kind.name, resource_id)
    if row is None:
        raise problems.not_found()
    with shop.database.transaction():
        actions.delete(shop, engine, kind, row)


def _read(database: Database, kind: ResourceType, body: bytes, flag: str, resource_id: str | None = None) -> Change:
    data = _data_of(body, kind, resource_id)
    columns: Row = {}
    triggers: dict[str, Any] = {}
    tag_ids: list[str] | None = None
    for name, value in _member(data, "attributes").items():
        if name in kind.triggers and (flag == "u" or name in kind.at_create):
            _read_trigger(kind, name, value, triggers)
            continue
        attribute = kind.attributes.get(name)
        if attribute is None or flag not in attribute.flags:
            raise problems.param_not_allowed(name[:200], pointer=f"/data/attributes/{name[:200]}")
        columns[name] = None if value is None else _cast(attribute, value)
    for name, value in _member(data, "relationships").items():
        relationship = kind.relationships.get(name)
        if relationship is None or flag not in relationship.flags:
            raise problems.param_not_allowed(name[:200], pointer=f"/data/relationships/{name[:200]}")
        if relationship.many:  # tags are the only one that may be written
            tag_ids = _linked_many(database, relationship, value)
        else:
            columns[relationship.column] = _linked(database, relationship, value)
    amount = triggers.pop("_refund_amount_cents", None)
    if amount is not None and "_refund" in triggers:
        triggers["_refund"] = amount
    return Change(columns, triggers, tag_ids)


def _check_required(kind: ResourceType, columns: Row) -> None:
    """Refuse empty values in required columns that are to be written, all in one answer."""
    empty = [name for name in kind.required if columns.get(kind.column_of(name), True) in {None, ""}]
    if empty:
        raise problems.together([_blank(kind, name) for name in empty])


def _blank(kind: ResourceType, name: str) -> Problem:
    if name in kind.relationships:
        return problems.invalid(name, "must exist", "blank", relationship=True)
    return problems.invalid(name, "can't be blank", "blank")


def _data_of(body: bytes, kind: ResourceType, resource_id: str | None) -> Mapping[str, Any]:
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise problems.invalid_data_format() from None
    if not isinstance(document, dict):
        raise problems.invalid_data_format()
    if "data" not in document:
        raise problems.param_missing("data")
    data = document["data"]
    if not isinstance(data, dict):
        raise problems.invalid_data_format()
    given = data.get("type")
    if given is None:
        raise problems.param_missing("type")
    if given != kind.name:
        raise problems.invalid_resource(_shown(given))
    if resource_id is None and data.get("id") is not None:
        raise problems.param_not_allowed("id", pointer="/data/id")
    if resource_id is not None:
        _check_id(data, resource_id)
    return data


def _check_id(data: Mapping[str, Any], resource_id: str) -> None:
    given = data.get("id")
    if given is None:
        raise problems.problem(
            400, "KEY_NOT_INCLUDED_IN_URL", "Key is not included in URL", "The URL does not support the key null"
        )
    if given != resource_id:
        detail = f"The URL does not support the key {_shown(given)}"
        raise problems.problem(400, "KEY_NOT_INCLUDED_IN_URL", "Key is not included in URL", detail)


def _shown(value: Any) -> str:
    """A value as messages quote it; an object or a list may be nested too deeply for that."""
    return type(value).__name__ if isinstance(value, dict | list) else str(value)[:200]


def _member(data: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    member = data.get(name)
    if member is None:
        return {}
    if not isinstance(member, dict):
        raise problems.invalid_data_format()
    return member


def _read_trigger(kind: ResourceType, name: str, value: Any, triggers: dict[str, Any]) -> None:
    if kind.triggers[name] == "text":
        if not isinstance(value, str):
            raise problems.invalid(name, "is invalid", "invalid")
        triggers[name] = value
    elif kind.triggers[name] == "integer" and value is not None:
        triggers[name] = _cast(Attribute(name, "integer", ""), value)
    elif value in {True, "true", "1"} if isinstance(value, bool | str | int) else False:
        triggers[name] = True


def _linked(database: Database, relationship: Relationship, value: Any) -> str | None:
    if not isinstance(value, dict) or "data" not in value:
        raise problems.invalid_links_object()
    return None if value["data"] is None else _identified(database, relationship, value["data"])


def _linked_many(database: Database, relationship: Relationship, value: Any) -> list[str]:
    if not isinstance(value, dict) or not isinstance(value.get("data"), list):
        raise problems.invalid_links_object()
    return [_identified(database, relationship, linkage) for linkage in value["data"]]


def _identified(database: Database, relationship: Relationship, linkage: Any) -> str:
    if not isinstance(linkage, dict) or "type" not in linkage or not isinstance(linkage.get("id"), str):
        raise problems.invalid_links_object()
    if linkage.get("type") != relationship.target:
        raise problems.type_mismatch(_shown(linkage.get("type")))
    if not database.exists(relationship.target, linkage["id"]):
        raise problems.invalid(relationship.name, "must exist", "blank", relationship=True)
    return str(linkage["id"])


def _cast(attribute: Attribute, value: Any) -> Any:
    """A JSON value as the column stores it; scalars are cast as leniently as Rails does."""
    cast = _CASTS[attribute.kind](value)
    if cast is None:
        raise problems.invalid(attribute.name, "is invalid", "invalid")
    return cast


def _text(value: Any) -> str | None:
    if isinstance(value, dict | list):
        return None
    return value if isinstance(value, str) else orjson.dumps(value).decode()


def _integer(value: Any) -> int | None:
    try:
        number = int(value) if isinstance(value, int | str | float) else None
    except (ValueError, OverflowError):
        return None
    return number if number is not None and abs(number) < _INTEGER_LIMIT else None


def _decimal(value: Any) -> float | None:
    try:
        number = float(value) if isinstance(value, int | str | float) else None
    except (ValueError, OverflowError):
        return None
    return number if number is not None and isfinite(number) else None


def _boolean(value: Any) -> int | None:
    if isinstance(value, dict | list):
        return None
    return int(value not in {False, "false", "f", "0", "off", ""})


def _time(value: Any) -> str | None:
    try:
        instant: datetime | None = instant_of(value) if isinstance(value, str) else None
    except ValueError:
        return None
    return None if instant is None else text_of(instant)


def _object(value: Any) -> str | None:
    try:
        return orjson.dumps(value).decode() if isinstance(value, dict) else None
    except TypeError:  # nested too deeply to be written out
        return None


def _list(value: Any) -> str | None:
    is_list = isinstance(value, list) and all(isinstance(item, str) for item in value)
    return orjson.dumps(value).decode() if is_list else None


_CASTS: dict[str, Callable[[Any], Any]] = {
    "text": _text,
    "integer": _integer,
    "decimal": _decimal,
    "boolean": _boolean,
    "time": _time,
    "json": _object,
    "list": _list,
}
