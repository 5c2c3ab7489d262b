"""JSON schemas in the words that the descriptions here need."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

Schema = dict[str, Any]

KINDS: dict[str, Schema] = {
    "text": {"type": "string"},
    "integer": {"type": "integer"},
    "number": {"type": "number"},
    "decimal": {"type": "number"},
    "amount": {"type": "number"},
    "formatted": {"type": "string"},
    "boolean": {"type": "boolean"},
    "time": {"type": "string", "format": "date-time"},
    "json": {"type": "object"},
    "list": {"type": "array", "items": {"type": "string"}},
    "integers": {"type": "array", "items": {"type": "integer"}},
    "mix": {"type": "object", "additionalProperties": {"type": "number", "minimum": 0}},
    "counts": {"type": "object", "additionalProperties": {"type": "integer"}},
}
"""The schema of each kind of value, those of attributes and those of controls."""


def closed(properties: Mapping[str, Schema], optional: Collection[str] = ()) -> Schema:
    """An object with these members and no others."""
    return {
        "type": "object",
        "properties": dict(properties),
        "required": [name for name in properties if name not in optional],
        "additionalProperties": False,
    }


def nullable(schema: Schema) -> Schema:
    """The same, or null."""
    if "type" in schema and "const" not in schema:
        return {**schema, "type": [schema["type"], "null"]}
    return {"anyOf": [schema, {"type": "null"}]}


def array(items: Schema, **more: Any) -> Schema:
    """A list of these."""
    return {"type": "array", "items": items, **more}


def reference(section: str, name: str) -> Schema:
    """The component of this name."""
    return {"$ref": f"#/components/{section}/{name}"}


def schema_named(name: str) -> Schema:
    """The schema of this name."""
    return reference("schemas", name)


def content(media_type: str, schema: Schema) -> Schema:
    """The content of a request or a response."""
    return {"content": {media_type: {"schema": schema}}}
