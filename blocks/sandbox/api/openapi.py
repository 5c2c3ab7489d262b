"""The OpenAPI description of the sandbox, derived from the resource types and the list of controls."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from blocks.sandbox.resources.definitions import Attribute, ResourceType
from blocks.sandbox.resources.resource_types import RESOURCE_TYPES

Schema = dict[str, Any]

_KINDS: dict[str, Schema] = {
    "text": {"type": "string"},
    "integer": {"type": "integer"},
    "boolean": {"type": "boolean"},
    "time": {"type": "string", "format": "date-time"},
    "json": {"type": "object"},
    "list": {"type": "array", "items": {"type": "string"}},
}
_ERRORS = {"default": {"description": "What was refused, as JSON:API error objects."}}


def describe(controls: Iterable[tuple[str, str, str]]) -> Schema:
    """The description; `controls` are method, path below /_sandbox and one sentence each."""
    paths: dict[str, Schema] = {
        "/oauth/token": {"post": _operation("Exchange client credentials for an access token.", "auth")},
        "/oauth/revoke": {"post": _operation("Revoke an access token.", "auth")},
        "/.well-known/jwks.json": {"get": _operation("The keys that tokens are checked with.", "auth")},
        "/oauth/tokeninfo": {"get": _operation("The claims of the bearer's token.", "auth")},
    }
    for kind in RESOURCE_TYPES.values():
        paths |= _paths_of(kind)
    for method, path, sentence in controls:
        paths.setdefault(f"/_sandbox/{path}", {})[method.lower()] = _operation(sentence, "controls")
    return {
        "openapi": "3.1.0",
        "info": {"title": "Commerce Layer sandbox", "version": "1", "description": (__doc__ or "").strip()},
        "paths": paths,
        "components": {
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
            "schemas": {kind.name: _schema_of(kind) for kind in RESOURCE_TYPES.values()},
        },
    }


def _operation(summary: str, tag: str) -> Schema:
    return {"summary": summary, "tags": [tag], "responses": {"200": {"description": "Done."}, **_ERRORS}}


def _paths_of(kind: ResourceType) -> dict[str, Schema]:
    if kind.singleton:
        return {f"/api/{kind.path}": {"get": _api_operation(kind, "Retrieve", "200")}}
    collection, member = f"/api/{kind.name}", f"/api/{kind.name}/{{id}}"
    listing = {"get": _api_operation(kind, "List", "200", _list_parameters(kind))} if "l" in kind.actions else {}
    creating = {"post": _api_operation(kind, "Create", "201", body="c")} if "c" in kind.actions else {}
    own: Schema = {"parameters": [_path_parameter("id")]}
    if "r" in kind.actions:
        own["get"] = _api_operation(kind, "Retrieve", "200", _view_parameters(kind))
    if "u" in kind.actions:
        own["patch"] = _api_operation(kind, "Update", "200", body="u")
    if "d" in kind.actions:
        own["delete"] = _api_operation(kind, "Delete", "204")
    related = {
        f"{member}/{name}": {
            "parameters": [_path_parameter("id")],
            "get": _api_operation(kind, f"Retrieve {name} of", "200"),
        }
        for name in kind.relationships
    }
    return {collection: listing | creating, member: own, **related}


def _api_operation(
    kind: ResourceType, verb: str, status: str, parameters: list[Schema] | None = None, body: str = ""
) -> Schema:
    operation: Schema = {
        "summary": f"{verb} {kind.name}",
        "tags": [kind.name],
        "security": [{"bearer": []}],
        "responses": {status: {"description": "Done."}, **_ERRORS},
    }
    if parameters:
        operation["parameters"] = parameters
    if body:
        content = {"application/vnd.api+json": {"schema": _document_schema(kind, body)}}
        operation["requestBody"] = {"required": True, "content": content}
    return operation


def _document_schema(kind: ResourceType, flag: str) -> Schema:
    attributes = {
        name: _KINDS[attribute.kind] for name, attribute in kind.attributes.items() if flag in attribute.flags
    }
    if flag == "u":
        attributes |= {name: _KINDS[value_kind] for name, value_kind in kind.triggers.items()}
    else:
        attributes |= {name: _KINDS[kind.triggers[name]] for name in kind.at_create}
    related = {
        name: _linkage(relationship.target, many=relationship.many)
        for name, relationship in kind.relationships.items()
        if flag in relationship.flags
    }
    data: Schema = {
        "type": "object",
        "required": ["type"] if flag == "c" else ["type", "id"],
        "properties": {
            "type": {"const": kind.name},
            "attributes": {"type": "object", "properties": attributes},
            "relationships": {"type": "object", "properties": related},
        },
    }
    if flag == "u":
        data["properties"]["id"] = {"type": "string"}
    return {"type": "object", "required": ["data"], "properties": {"data": data}}


def _linkage(target: str, *, many: bool) -> Schema:
    identifier: Schema = {"type": "object", "properties": {"type": {"const": target}, "id": {"type": "string"}}}
    return {"type": "object", "properties": {"data": {"type": "array", "items": identifier} if many else identifier}}


def _schema_of(kind: ResourceType) -> Schema:
    return {"type": "object", "properties": {name: _shown(attribute) for name, attribute in kind.attributes.items()}}


def _shown(attribute: Attribute) -> Schema:
    schema = dict(_KINDS[attribute.kind])
    words = {"c": "may be given at create", "u": "may be updated", "f": "filterable", "s": "sortable", "r": "required"}
    said = [words[flag] for flag in attribute.flags if flag in words]
    return {**schema, "description": f"{', '.join(said) or 'read-only'}.".capitalize()}


def _list_parameters(kind: ResourceType) -> list[Schema]:
    sortable = [name for name, attribute in kind.attributes.items() if "s" in attribute.flags]
    filters = "Conditions such as filter[q][status_in]=pending,in_progress; see the documentation of filters."
    return [
        *_view_parameters(kind),
        _query_parameter("sort", f"Comma list; `-` for descending: id, {', '.join(sortable)}."),
        _query_parameter("page[number]", "From 1 on."),
        _query_parameter("page[size]", "From 1 to 25; 10 when it is not given."),
        {
            "name": "filter[q]",
            "in": "query",
            "style": "deepObject",
            "schema": {"type": "object"},
            "description": filters,
        },
    ]


def _view_parameters(kind: ResourceType) -> list[Schema]:
    names = [name for name, relationship in kind.relationships.items() if "x" not in relationship.flags]
    return [
        _query_parameter("include", f"Comma list, dots for deeper ones: {', '.join(names)}."),
        _query_parameter(f"fields[{kind.name}]", "Comma list of attributes and relationships to show."),
    ]


def _query_parameter(name: str, description: str) -> Schema:
    return {"name": name, "in": "query", "schema": {"type": "string"}, "description": description}


def _path_parameter(name: str) -> Schema:
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
