"""The query string of a request: filters, sort, page, include and sparse fieldsets, checked and compiled."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any
from urllib.parse import parse_qsl

from blocks.sandbox.api.filters import condition
from blocks.sandbox.resources.definitions import Relationship, ResourceType
from blocks.sandbox.resources.empty_resources import UNSUPPORTED
from blocks.sandbox.resources.resource_types import RESOURCE_TYPES
from blocks.sandbox.shop import problems
from blocks.sandbox.shop.database import Reader

DEFAULT_PAGE_SIZE = 10
MAX_PAGE_SIZE = 25
_MAX_PARAMETERS = 200
_MAX_DIGITS = 9
_MAX_INCLUDE_DEPTH = 6
_MAX_VALUES = 30_000
_MAX_SELECTIONS = 1000  # a caller that keeps asking for new fieldsets must not fill up the memory

IncludeTree = dict[str, "IncludeTree"]
Record = tuple[Any, ...]

_BRACKETED = re.compile(r"^(\w+)\[([^\[\]]*)\](?:\[([^\[\]]*)\])?$")


@dataclass(slots=True)
class Query:
    """What a caller asks for; `where` has conditions on the table with the alias `t`."""

    fields: dict[str, tuple[str, ...]] = field(default_factory=dict)
    include: IncludeTree = field(default_factory=dict)
    where: list[str] = field(default_factory=list)
    values: list[object] = field(default_factory=list)
    order: list[str] = field(default_factory=list)
    page_number: int = 1
    page_size: int = DEFAULT_PAGE_SIZE
    after: str = ""
    """The cursor, in lists that have one."""
    raw: list[tuple[str, str]] = field(default_factory=list)


def read_query(kind: ResourceType, text: str, *, is_list: bool) -> Query:
    """
    Check and compile a query string for `kind`; page, sort and filter only where a list is asked for.

    Raises:
        Problem: 400 with the code of the table in the error documentation.
    """
    query = Query()
    if not text:
        return query
    query.raw = _parameters(text)
    for name, value in query.raw:
        if name == "include":
            _read_include(kind, value, query)
        elif name == "sort" and is_list:
            _read_sort(kind, value, query)
        else:
            _read_bracketed(kind, name, value, query, is_list=is_list)
    if len(query.values) > _MAX_VALUES:
        raise problems.invalid_filters_syntax(f"more than {_MAX_VALUES} values")
    return query


def _parameters(text: str) -> list[tuple[str, str]]:
    if text.count("&") >= _MAX_PARAMETERS:
        raise problems.param_not_allowed(f"more than {_MAX_PARAMETERS} parameters")
    return parse_qsl(text, keep_blank_values=True)


def _read_bracketed(kind: ResourceType, name: str, value: str, query: Query, *, is_list: bool) -> None:
    match = _BRACKETED.match(name)
    family = match.group(1) if match else name.partition("[")[0]
    if family == "filter" and is_list:
        if match is None or match.group(2) != "q" or not match.group(3):
            raise problems.invalid_filters_syntax(name)
        sql, values = condition(kind, match.group(3), value)
        query.where.append(sql)
        query.values += values
    elif match is not None and family == "page" and is_list and match.group(3) is None:
        _read_page(kind, match.group(2), value, query)
    elif match is not None and family == "fields" and match.group(3) is None:
        _read_fields(match.group(2), value, query)
    elif name == "page" and is_list:
        raise problems.invalid_page_object()
    elif name == "fields":
        raise problems.invalid_field_format()
    else:
        raise problems.param_not_allowed(name)


def _read_page(kind: ResourceType, name: str, value: str, query: Query) -> None:
    if name == "after" and kind.by_cursor:
        query.after = value
        return
    if name not in {"number", "size"}:
        raise problems.param_not_allowed(f"page[{name}]")
    if not (value.isascii() and value.isdigit()) or len(value) > _MAX_DIGITS:
        raise problems.invalid_page_value(name, value)
    number = int(value)
    if number < 1 or (name == "size" and number > MAX_PAGE_SIZE):
        raise problems.invalid_page_value(name, value)
    if name == "number":
        query.page_number = number
    else:
        query.page_size = number


def _read_fields(type_name: str, value: str, query: Query) -> None:
    if type_name in UNSUPPORTED:
        return  # no document here shows one, so it does not matter which of its fields to show
    kind = RESOURCE_TYPES.get(type_name)
    if kind is None:
        raise problems.invalid_resource(type_name)
    names = tuple(dict.fromkeys(filter(None, value.split(","))))
    for name in names:
        if name not in kind.attributes and name not in kind.relationships and name not in {"id", "type"}:
            raise problems.invalid_field(name, type_name)
    query.fields[type_name] = names


def _read_include(kind: ResourceType, value: str, query: Query) -> None:
    for path in filter(None, value.split(",")):
        here, branch = kind, query.include
        names = path.split(".")
        if len(names) > _MAX_INCLUDE_DEPTH:
            raise problems.invalid_include(path[:200], kind.name)
        for name in names:
            relationship = here.relationships.get(name)
            if relationship is None or "x" in relationship.flags:
                raise problems.invalid_include(name, here.name)
            here = RESOURCE_TYPES[relationship.target]
            branch = branch.setdefault(name, {})


def _read_sort(kind: ResourceType, value: str, query: Query) -> None:
    for criterion in filter(None, value.split(",")):
        name = criterion.removeprefix("-")
        attribute = kind.attributes.get(name)
        relationship = kind.relationships.get(name)
        if name == "id":
            column = "id"
        elif attribute is not None and "s" in attribute.flags:
            if attribute.constant:
                continue  # all are equal
            column = attribute.of or name
        elif relationship is not None and "s" in relationship.flags:
            column = relationship.column
        else:
            raise problems.invalid_sort(name, kind.name)
        if not any(term.split()[0] == f"t.{column}" for term in query.order):
            query.order.append(f"t.{column}{' DESC' if criterion.startswith('-') else ''}")


@lru_cache(_MAX_SELECTIONS)
def selection(type_name: str, fields: tuple[str, ...] | None, related: tuple[str, ...]) -> str:
    """
    The columns of a record, as SQL names them; null in the place of those of which an answer shows nothing.

    `fields` is its fieldset, `related` has the relationships that it includes.
    """
    kind = RESOURCE_TYPES[type_name]
    shown = [each for each in kind.attributes.values() if fields is None or each.name in fields]
    needed = {"id", *(each.of or each.name for each in shown), *(kind.relationships[name].column for name in related)}
    if any(each.kind == "formatted" for each in shown):
        needed.add("currency_code")
    return ", ".join(f"t.{column}" if column in needed else "NULL" for column in kind.columns)


def list_records(reader: Reader, kind: ResourceType, query: Query) -> tuple[list[Record], int]:
    """One page of records (values in the order of `kind.columns`), and how many match in all."""
    if kind.is_empty:
        return [], 0
    where = f" WHERE {' AND '.join(query.where)}" if query.where else ""
    # Without `sort` the real API lists the newest first. The id makes the order total, so that pages do not overlap.
    order = [*(query.order or ["t.created_at DESC"]), "t.id"] if "t.id" not in query.order else query.order
    columns = selection(kind.name, query.fields.get(kind.name), tuple(query.include))
    page = f" ORDER BY {', '.join(order)} LIMIT {query.page_size} OFFSET {(query.page_number - 1) * query.page_size}"
    records = reader.execute(f"SELECT {columns} FROM {kind.name} AS t{where}{page}", query.values).fetchall()  # noqa: S608  names are ours
    if query.page_number == 1 and len(records) < query.page_size:
        return records, len(records)
    count = reader.execute(f"SELECT COUNT(*) FROM {kind.name} AS t{where}", query.values).fetchone()[0]  # noqa: S608  names are ours
    return records, int(count)


def list_by_cursor(reader: Reader, kind: ResourceType, query: Query) -> tuple[list[Record], str | None]:
    """Records after the cursor, and the cursor of those that follow; ids are in the order of time, the newest first."""
    conditions = [*query.where, "t.id < ?"] if query.after else query.where
    values = [*query.values, query.after] if query.after else query.values
    where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
    columns = selection(kind.name, None, ())
    page = f" ORDER BY t.id DESC LIMIT {query.page_size + 1}"
    records = reader.execute(f"SELECT {columns} FROM {kind.name} AS t{where}{page}", values).fetchall()  # noqa: S608  names are ours
    shown = records[: query.page_size]
    return shown, shown[-1][0] if len(records) > len(shown) else None


def find_record(reader: Reader, kind: ResourceType, resource_id: str) -> Record:
    """
    One record by id.

    Raises:
        Problem: 404.
    """
    record: Record | None = None if kind.is_empty else reader.execute(_by_id(kind), (resource_id,)).fetchone()
    if record is None:
        raise problems.not_found()
    return record


def records_with(reader: Reader, kind: ResourceType, columns: str, ids: list[str]) -> list[Record]:
    """All records with one of these ids, oldest first. `columns`: a `selection`."""
    found: list[Record] = []
    for start in range(0, len(ids), 500):
        chunk = ids[start : start + 500]
        marks = ", ".join("?" * len(chunk))
        sql = f"SELECT {columns} FROM {kind.name} AS t WHERE t.id IN ({marks}) ORDER BY t.created_at, t.id"  # noqa: S608  names are ours
        found += reader.execute(sql, chunk).fetchall()
    return found


def related_records(
    reader: Reader, relationship: Relationship, kind: ResourceType, columns: str, owners: list[str]
) -> list[tuple[str, Record]]:
    """
    All records of this type that belong to these owners, each with its owner's id, oldest first.

    `columns`: a `selection`.
    """
    if relationship.is_empty:
        return []
    tables, owner = f"{kind.name} AS t", f"t.{relationship.column}"
    if relationship.through:
        tables += f" JOIN {relationship.through} AS l ON l.{relationship.column} = t.id"
        owner = "l.resource_id"
    found: list[tuple[str, Record]] = []
    for start in range(0, len(owners), 500):
        chunk = owners[start : start + 500]
        condition = f"{owner} IN ({', '.join('?' * len(chunk))}) ORDER BY t.created_at, t.id"
        rows = reader.execute(f"SELECT {owner}, {columns} FROM {tables} WHERE {condition}", chunk)  # noqa: S608  names are ours
        found += [(row[0], row[1:]) for row in rows.fetchall()]
    return found


_BY_ID: dict[str, str] = {}


def _by_id(kind: ResourceType) -> str:
    sql = _BY_ID.get(kind.name)
    if sql is None:
        sql = _BY_ID[kind.name] = f"SELECT {', '.join(kind.columns)} FROM {kind.name} WHERE id = ?"  # noqa: S608  names are ours
    return sql


def named(kind: ResourceType, record: Record) -> Mapping[str, Any]:
    """The record as a dict."""
    return dict(zip(kind.columns, record, strict=True))
