"""The OpenAPI description of the sandbox, derived from the resource types and the table of controls."""

from __future__ import annotations

from collections.abc import Mapping

from blocks.sandbox.api import response_schemas
from blocks.sandbox.api.json_schema import KINDS, Schema, array, closed, content
from blocks.sandbox.api.queries import DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE
from blocks.sandbox.api.response_schemas import JSON_API, responses
from blocks.sandbox.api.token_schemas import token_paths
from blocks.sandbox.resources.definitions import Relationship, ResourceType
from blocks.sandbox.resources.resource_types import RESOURCE_TYPES, WITH_DATA


def describe(controls: Mapping[str, Schema]) -> Schema:
    """The description; `controls` are the paths below /_sandbox."""
    paths = token_paths()
    for kind in WITH_DATA:
        paths |= _paths_of(kind)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Commerce Layer sandbox", "version": "1", "description": (__doc__ or "").strip()},
        "paths": {**paths, **controls},
        "components": {
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
            **response_schemas.components(),
        },
    }


def _paths_of(kind: ResourceType) -> dict[str, Schema]:
    if kind.singleton:
        answers = responses(200, response_schemas.document(kind), (400,), is_read=True)
        return {f"/api/{kind.path}": {"get": _operation(kind, "Retrieve", answers, _view_parameters(kind))}}
    member = f"/api/{kind.name}/{{id}}"
    related: dict[str, Schema] = {}
    for relationship in kind.relationships.values():
        related[f"{member}/{relationship.name}"] = _related(kind, relationship)
        related[f"{member}/relationships/{relationship.name}"] = _linkage(kind, relationship)
    own = {f"/api/{kind.name}": _collection(kind), member: {"parameters": [_ID], **_member(kind)}}
    return {path: item for path, item in {**own, **related}.items() if item.keys() - {"parameters"}}


def _collection(kind: ResourceType) -> Schema:
    item: Schema = {}
    if "l" in kind.actions:
        item["get"] = _operation(kind, "List", _list_answers(kind), _list_parameters(kind))
    if "c" in kind.actions:
        answers = responses(201, response_schemas.document(kind), (400, 415, 422))
        item["post"] = _operation(kind, "Create", answers, _view_parameters(kind), _document(kind, "c"))
    return item


def _member(kind: ResourceType) -> Schema:
    item: Schema = {}
    shown = response_schemas.document(kind)
    if "r" in kind.actions:
        answers = responses(200, shown, (400, 404), is_read=True)
        item["get"] = _operation(kind, "Retrieve", answers, _view_parameters(kind))
    if "u" in kind.actions:
        answers = responses(200, shown, (400, 404, 415, 422))
        item["patch"] = _operation(kind, "Update", answers, _view_parameters(kind), _document(kind, "u"))
    if "d" in kind.actions:
        item["delete"] = _operation(kind, "Delete", responses(204, None, (404, 422, 423)))
    return item


def _related(kind: ResourceType, relationship: Relationship) -> Schema:
    target = RESOURCE_TYPES[relationship.target]
    if relationship.many:
        answers, parameters = _list_answers(target, 404), _list_parameters(target)
    else:
        shown = response_schemas.document(target, may_be_missing=True)
        answers, parameters = responses(200, shown, (400, 404), is_read=True), _view_parameters(target)
    operation = _operation(kind, f"Retrieve {relationship.name} of", answers, parameters)
    return {"parameters": [_ID], "get": operation}


def _linkage(kind: ResourceType, relationship: Relationship) -> Schema:
    answers = responses(200, response_schemas.linkage_document(relationship), (404,), is_read=True)
    operation = _operation(kind, f"Retrieve the identifiers of {relationship.name} of", answers)
    return {"parameters": [_ID], "get": operation}


def _list_answers(kind: ResourceType, *refusals: int) -> Schema:
    return responses(200, response_schemas.page(kind), (400, *refusals), is_read=True)


def _operation(
    kind: ResourceType,
    verb: str,
    answers: Schema,
    parameters: list[Schema] | None = None,
    body: Schema | None = None,
) -> Schema:
    operation: Schema = {
        "summary": f"{verb} {kind.name}",
        "tags": [kind.name],
        "security": [{"bearer": []}],
        "responses": answers,
    }
    if parameters:
        operation["parameters"] = parameters
    if body is not None:
        operation["requestBody"] = {"required": True, **content(JSON_API, body)}
    return operation


def _document(kind: ResourceType, flag: str) -> Schema:
    """The document of a create (`c`) or an update (`u`)."""
    attributes = {name: KINDS[attribute.kind] for name, attribute in kind.attributes.items() if flag in attribute.flags}
    if flag == "u":
        attributes |= {name: KINDS[value_kind] for name, value_kind in kind.triggers.items()}
    else:
        attributes |= {name: KINDS[kind.triggers[name]] for name in kind.at_create}
    related = {
        name: _linkage_given(relationship)
        for name, relationship in kind.relationships.items()
        if flag in relationship.flags
    }
    required = kind.required if flag == "c" else ()
    data: Schema = {
        "type": {"const": kind.name},
        "attributes": closed(attributes, optional=attributes.keys() - required),
        "relationships": closed(related, optional=related.keys() - required),
    }
    if flag == "u":
        data["id"] = KINDS["text"]
    return closed({"data": closed(data, optional=[name for name in _PARTS if not data[name]["required"]])})


def _linkage_given(relationship: Relationship) -> Schema:
    identifier = closed({"type": {"const": relationship.target}, "id": KINDS["text"]})
    return closed({"data": array(identifier) if relationship.many else identifier})


def _list_parameters(kind: ResourceType) -> list[Schema]:
    sortable = [name for name, attribute in kind.attributes.items() if "s" in attribute.flags]
    filters = "Conditions such as filter[q][status_in]=pending,in_progress; see the documentation of filters."
    return [
        *_view_parameters(kind),
        _query_parameter("sort", f"Comma list; `-` for descending: id, {', '.join(sortable)}."),
        *_page_parameters(kind),
        {
            "name": "filter[q]",
            "in": "query",
            "style": "deepObject",
            "schema": {"type": "object"},
            "description": filters,
        },
    ]


def _page_parameters(kind: ResourceType) -> list[Schema]:
    number = {"type": "integer", "minimum": 1, "maximum": 999_999_999}
    size = {"type": "integer", "minimum": 1, "maximum": MAX_PAGE_SIZE}
    after = [_query_parameter("page[after]", "The cursor in the link `next` of another page.")]
    return [
        *(after if kind.by_cursor else []),
        _query_parameter("page[number]", "From 1 on.", number),
        _query_parameter("page[size]", f"{DEFAULT_PAGE_SIZE} when it is not given.", size),
    ]


def _view_parameters(kind: ResourceType) -> list[Schema]:
    names = [name for name, relationship in kind.relationships.items() if "x" not in relationship.flags]
    return [
        _query_parameter("include", f"Comma list, dots for deeper ones: {', '.join(names)}."),
        _query_parameter(f"fields[{kind.name}]", "Comma list of attributes and relationships to show."),
    ]


def _query_parameter(name: str, description: str, schema: Schema | None = None) -> Schema:
    return {"name": name, "in": "query", "schema": schema or KINDS["text"], "description": description}


_PARTS = ("attributes", "relationships")
_ID: Schema = {"name": "id", "in": "path", "required": True, "schema": KINDS["text"]}
