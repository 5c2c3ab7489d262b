"""
Reads the structure of a gateway's answer before its prose.

Gateways pass on JSON objects, Ruby hashes or `key: value` fields inside a text. They are taken apart
here: fields go to the tables of codes, the words among their values are read one by one, and what is
left is prose. A false or empty field says nothing; what prose denies is in `failure_denials`.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

_LONGEST, _OBJECTS, _DEEPEST = 20_000, 8, 6
"""How much of a text, how many objects in it, and how deeply they are read: an answer may be a whole page."""

_NOT_OURS = frozenset(
    {"metadata", "billingdetails", "shipping", "shippingdetails", "customer", "lineitems", "items", "request"}
    | {"headers", "name", "email", "statementdescriptor", "productname"}
)
"""Fields that repeat our request."""

_TELLS = re.compile(
    r"reason|code|message|msg|error|descri|detail|cause|refus|declin|text|title|response|outcome|failure|status|raw|advice"
)
_CHECKS = re.compile(r"code|advice|fraud|risk|score|check|mac$")

_FIELD = re.compile(
    r"""(?P<quote>["']?)(?P<key>[A-Za-z]\w{1,50})(?P=quote)\s*(?P<sign>=>|:|=)\s*"""
    r"""(?:"(?P<double>[^"\\]{0,300})"|'(?P<single>[^'\\]{0,300})'|(?P<bare>[\w.+-]{1,60})(?=\s*(?:[,;|&)}\]\n]|$)))"""
)
"""A field outside of a readable object: quoted, or one word with an underscore or a capital inside, and its value."""

_NOTHING = frozenset({"false", "null", "nil", "none", "no", "n", "0", "n/a", ""})
_URL = re.compile(r"\b(?:https?://|www\.)\S+", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Body:
    """A text taken apart: `fields` are its keys and values, `phrases` what there is to read as prose."""

    fields: tuple[tuple[str, str], ...]
    phrases: tuple[str, ...]


def read_body(message: object) -> Body:
    """A message of an `errors_log` or an error item, taken apart. Never raises for any message."""
    fields: list[tuple[str, str]] = []
    phrases: list[str] = []
    _take_apart(message, fields, phrases, depth=0)
    return Body(tuple(fields), tuple(phrases))


def _take_apart(value: object, fields: list[tuple[str, str]], phrases: list[str], depth: int) -> None:
    if depth > _DEEPEST or value is None or value is False:
        return
    if isinstance(value, Mapping):
        for key, item in value.items():
            _take_field(str(key), item, fields, phrases, depth)
    elif isinstance(value, (list, tuple)):
        for item in value[:50]:
            _take_apart(item, fields, phrases, depth + 1)
    else:
        _take_text(str(value)[:_LONGEST], fields, phrases, depth)


def _take_field(key: str, value: object, fields: list[tuple[str, str]], phrases: list[str], depth: int) -> None:
    if plain_key(key) in _NOT_OURS:
        return
    if isinstance(value, (Mapping, list, tuple)):
        _take_apart(value, fields, phrases, depth + 1)
    elif value is True:
        phrases.append(_spelled_out(key))
    elif value is not None and value is not False:
        fields.append((key, str(value)))
        if isinstance(value, str) and _is_prose(key, value):
            _take_apart(value, fields, phrases, depth + 1)


def _is_prose(key: str, value: str) -> bool:
    """A word alone says something only in a field that gives reasons: `fraud` may be the name of a check."""
    if value.strip().lower() in _NOTHING or not re.search(r"[^\W\d_]{3}", value):
        return False
    return _TELLS.search(plain_key(key)) is not None or re.search(r"\w[\s_]\w|^\s*\{", value) is not None


def _take_text(text: str, fields: list[tuple[str, str]], phrases: list[str], depth: int) -> None:
    rest = _URL.sub(" ", text)
    for found, start, end in _objects(rest):
        _take_apart(found, fields, phrases, depth + 1)
        rest = rest[:start] + " " * (end - start) + rest[end:]
    prose = _FIELD.sub(lambda match: _one_field(match, fields, phrases), rest)
    if depth:
        phrases.append(prose)
    else:
        phrases.insert(0, prose)


def _one_field(match: re.Match[str], fields: list[tuple[str, str]], phrases: list[str]) -> str:
    """Takes a field out of a text, but leaves what may be a sentence with a colon in it."""
    key, value = match["key"], next(match[group] for group in ("double", "single", "bare") if match[group] is not None)
    quoted = bool(match["quote"]) or match["sign"] == "=>"
    if not (quoted or "_" in key or re.search(r"[a-z][A-Z]", key)):
        return match[0]
    if value.strip().lower() in _NOTHING:
        return " "
    if not quoted and not _CHECKS.search(plain_key(key)):
        return match[0]
    fields.append((key, value))
    if value.strip().lower() == "true":
        phrases.append(_spelled_out(key))
    elif _is_prose(key, value):
        phrases.append(value)
    return " "


def _objects(text: str) -> Iterator[tuple[Any, int, int]]:
    """JSON objects in a text, including those in Ruby's notation."""
    position = 0
    for _ in range(_OBJECTS):
        position = text.find("{", position)
        if position < 0:
            return
        found = _object_at(text, position)
        if found is None:
            position += 1
            continue
        yield found[0], position, found[1]
        position = found[1]


def _object_at(text: str, start: int) -> tuple[Any, int] | None:
    # Ruby's arrows and nil are replaced by JSON of the same length, so that positions stay the same.
    for candidate in (text, re.sub(r"\bnil\b", '"" ', text).replace("=>", ": ")):
        try:
            found, end = json.JSONDecoder().raw_decode(candidate, start)
        except (ValueError, RecursionError):
            continue
        return found, end
    return None


def _spelled_out(key: str) -> str:
    """`requiresAction` as words."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", key)


def plain_key(key: str) -> str:
    """`network_decline_code`, `networkDeclineCode` and `Network-Decline-Code` are one key."""
    return re.sub(r"[^a-z0-9]", "", key.lower())
