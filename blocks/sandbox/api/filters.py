"""
Filters: `filter[q][source_order_id_in]=a,b` becomes a condition in SQL.

The name is one or more attributes joined by `_or_`, each possibly of a related resource (`target_order_status`),
followed by one of the documented predicates. Comparisons treat null as Ransack on PostgreSQL does: `not_eq` leaves
nulls out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from math import isfinite

import orjson

from blocks.sandbox.resources.definitions import Relationship, ResourceType
from blocks.sandbox.resources.resource_types import RESOURCE_TYPES
from blocks.sandbox.shop import problems
from blocks.sandbox.shop.virtual_clock import instant_of, text_of

Condition = tuple[str, list[object]]

_COMPARISONS = {"eq": "=", "not_eq": "<>", "lt": "<", "lteq": "<=", "gt": ">", "gteq": ">="}
_PATTERNS = {
    "matches": ("LIKE", "{}"),
    "does_not_match": ("NOT LIKE", "{}"),
    "start": ("LIKE", "{}%"),
    "not_start": ("NOT LIKE", "{}%"),
    "end": ("LIKE", "%{}"),
    "not_end": ("NOT LIKE", "%{}"),
    "cont": ("LIKE", "%{}%"),
    "not_cont": ("NOT LIKE", "%{}%"),
    "i_cont": ("LIKE", "%{}%"),
}
_FLAGS = {"present", "blank", "null", "not_null", "true", "false"}
_LISTS = {"in", "in_or_null", "not_in", "not_in_or_null", "not_eq_all"}
_QUANTIFIED = {f"{name}_{how}" for name in [*_PATTERNS, "lt", "lteq", "gt", "gteq"] for how in ("any", "all")} - {
    "i_cont_any",
    "i_cont_all",
}
PREDICATES = sorted(
    {*_COMPARISONS, *_PATTERNS, *_FLAGS, *_LISTS, *_QUANTIFIED, "eq_or_null", "not_eq_or_null", "jcont"},
    key=len,
    reverse=True,
)
_MAX_PATH, _MAX_DEPTH, _MAX_ALTERNATIVES = 500, 3, 300
_TRUE, _FALSE = {"true", "t", "1", "yes"}, {"false", "f", "0", "no"}


@dataclass(frozen=True)
class _Operand:
    """
    An attribute in SQL: an expression with one `{}` for a test of its value, and the kind of the value.

    `outer` is `wrap` for tests that null passes: as in an outer join, a missing related resource has only nulls.
    """

    wrap: str
    outer: str
    column: str
    kind: str


def condition(kind: ResourceType, name: str, value: str) -> Condition:
    """
    The SQL condition (about the table aliased `t`) and its values for one filter.

    Raises:
        Problem: unknown attribute or predicate, or a value that the attribute cannot have.
    """
    operands, predicate = _resolve(kind.name, name)
    tests: list[str] = []
    values: list[object] = []
    for operand in operands:
        sql, own = _test(operand, predicate, name, value)
        tests.append((operand.outer if _takes_null(predicate, value) else operand.wrap).replace("{}", sql))
        values += own
    return (tests[0] if len(tests) == 1 else f"({' OR '.join(tests)})"), values


@lru_cache(maxsize=4096)
def _resolve(type_name: str, name: str) -> tuple[tuple[_Operand, ...], str]:
    """
    Split a filter's name into attributes and a predicate; of several predicates, the longest wins.
    """
    kind = RESOURCE_TYPES[type_name]
    for predicate in PREDICATES:
        if not name.endswith(f"_{predicate}"):
            continue
        path = name[: -len(predicate) - 1]
        operands = _alternatives(kind, path)
        if operands and all(
            (operand.kind == "json") == (predicate == "jcont") or predicate in _FLAGS for operand in operands
        ):
            return operands, predicate
    raise problems.filter_not_allowed(name[:200])


def _alternatives(kind: ResourceType, path: str) -> tuple[_Operand, ...]:
    if len(path) > _MAX_PATH:
        return ()
    whole = _operand(kind, path, "t", 0)
    if whole is not None:
        return (whole,)
    # A name could also contain `_or_` (none does here), so every part has to be known.
    parts = [_operand(kind, part, "t", 0) for part in path.split("_or_")]
    return tuple(part for part in parts if part is not None) if all(parts) else ()


def _operand(kind: ResourceType, path: str, alias: str, depth: int) -> _Operand | None:
    attribute = kind.attributes.get(path)
    if attribute is not None:
        column = attribute.constant or f"{alias}.{attribute.of or path}"
        return _Operand("{}", "{}", column, attribute.kind) if "f" in attribute.flags else None
    if path == "id":
        return _Operand("{}", "{}", f"{alias}.id", "text")
    if depth > _MAX_DEPTH:
        return None
    for relationship in kind.relationships.values():
        if "f" in relationship.flags and path.startswith(f"{relationship.name}_"):
            operand = _across(relationship, path[len(relationship.name) + 1 :], alias, depth)
            if operand is not None:
                return operand
    return None


def _across(relationship: Relationship, path: str, alias: str, depth: int) -> _Operand | None:
    """An attribute of a related resource."""
    if path == "id" and not (relationship.many or relationship.is_empty):
        return _Operand("{}", "{}", f"{alias}.{relationship.column}", "text")
    inner_alias = f"{alias}{depth}"
    inner = _operand(RESOURCE_TYPES[relationship.target], path, inner_alias, depth + 1)
    if inner is None:
        return None
    if relationship.is_empty:
        return _Operand("(0 AND {})", "({} OR 1)", "NULL", inner.kind)
    join = (
        relationship.belongs(inner_alias, f"{alias}.id")
        if relationship.many
        else f"{inner_alias}.id = {alias}.{relationship.column}"
    )
    related = f"EXISTS (SELECT 1 FROM {relationship.target} AS {inner_alias} WHERE {join}"  # noqa: S608  names are ours
    outer = f"({related} AND {inner.outer}) OR NOT {related}))"
    return _Operand(f"{related} AND {inner.wrap})", outer, inner.column, inner.kind)


def _takes_null(predicate: str, value: str) -> bool:
    if predicate in {"null", "blank", "not_null", "present"}:
        return (value.lower() in _TRUE) == (predicate in {"null", "blank"})
    return predicate.endswith("_or_null")


def _test(operand: _Operand, predicate: str, name: str, value: str) -> Condition:
    column = operand.column
    if predicate in _FLAGS:
        return _flag_test(column, operand.kind, predicate, name, value)
    if predicate == "jcont":
        return f"jcont({column}, ?)", [_json_text(name, value)]
    if predicate in _LISTS:
        return _list_test(column, predicate, [_cast(operand.kind, name, item) for item in value.split(",")])
    if predicate in _QUANTIFIED:
        base, how = predicate.rsplit("_", 1)
        items = value.split(",")
        if len(items) > _MAX_ALTERNATIVES:
            raise problems.invalid_filter_value(name, value)
        tests = [_simple_test(operand, base, name, item) for item in items]
        joiner = " OR " if how == "any" else " AND "
        return f"({joiner.join(sql for sql, _ in tests)})", [bound for _, values in tests for bound in values]
    if predicate.endswith("_or_null"):
        sql, values = _simple_test(operand, predicate.removesuffix("_or_null"), name, value)
        return f"({sql} OR {column} IS NULL)", values
    return _simple_test(operand, predicate, name, value)


def _simple_test(operand: _Operand, predicate: str, name: str, value: str) -> Condition:
    if predicate in _COMPARISONS:
        return f"{operand.column} {_COMPARISONS[predicate]} ?", [_cast(operand.kind, name, value)]
    operator, shape = _PATTERNS[predicate]
    text = value if predicate in {"matches", "does_not_match"} else _escaped(value)
    return f"CAST({operand.column} AS TEXT) {operator} ? ESCAPE '\\'", [shape.replace("{}", text)]


def _list_test(column: str, predicate: str, values: list[object]) -> Condition:
    negated = predicate.startswith("not_")
    test = f"{column} {'NOT IN' if negated else 'IN'} ({', '.join('?' * len(values))})"
    return (f"({test} OR {column} IS NULL)" if predicate.endswith("_or_null") else test), values


def _flag_test(column: str, kind: str, predicate: str, name: str, value: str) -> Condition:
    wanted = _boolean(name, value)
    if predicate in {"true", "false"}:
        if kind != "boolean":
            raise problems.filter_not_allowed(name)
        is_true = (predicate == "true") == wanted
        return f"{column} = ?", [int(is_true)]
    empty = f"({column} IS NULL OR {column} = '')" if predicate in {"present", "blank"} else f"{column} IS NULL"
    wants_empty = wanted == (predicate in {"blank", "null"})
    return (empty if wants_empty else f"NOT {empty}"), []


def _cast(kind: str, name: str, value: str) -> object:
    reader = _READERS.get(kind)
    if reader is None:
        return value
    try:
        return reader(value)
    except (ValueError, OverflowError):
        raise problems.invalid_filter_value(name, value) from None


def _integer(value: str) -> int:
    number = int(value)
    if not -(2**63) <= number < 2**63:
        raise ValueError(value)
    return number


def _decimal(value: str) -> float:
    number = float(value)
    if not isfinite(number):
        raise ValueError(value)
    return number


def _boolean(name: str, value: str) -> bool:
    if value.lower() in _TRUE:
        return True
    if value.lower() in _FALSE:
        return False
    raise problems.invalid_filter_value(name, value)


_READERS: dict[str, Callable[[str], object]] = {
    "integer": _integer,
    "decimal": _decimal,
    "time": lambda value: text_of(instant_of(value)),
    "boolean": lambda value: int(_boolean("boolean", value)),
}


def _json_text(name: str, value: str) -> str:
    try:
        orjson.loads(value)
    except orjson.JSONDecodeError:
        raise problems.invalid_filter_value(name, value) from None
    return value


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
