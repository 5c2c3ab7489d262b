"""The schemas of what the API answers: documents, resource objects, refusals; from the same tables as the answers."""

from __future__ import annotations

from collections.abc import Iterable

from blocks.sandbox.api.json_schema import KINDS, Schema, array, closed, content, nullable, reference, schema_named
from blocks.sandbox.api.queries import MAX_PAGE_SIZE
from blocks.sandbox.resources.definitions import Attribute, Relationship, ResourceType
from blocks.sandbox.resources.resource_types import RESOURCE_TYPES

JSON_API = "application/vnd.api+json"

_TEXT, _COUNT = KINDS["text"], {"type": "integer", "minimum": 0}
_ERROR = {"title": _TEXT, "detail": _TEXT, "code": _TEXT}
_SOURCE = closed({"pointer": {"type": "string", "pattern": "^/data"}})
_META = closed({"error": _TEXT})

_REFUSALS = {
    400: "The query or the document is not what the API reads.",
    401: "The access token is missing, unknown, revoked or expired.",
    404: "There is no such resource.",
    406: "The caller does not accept JSON:API.",
    415: "The body is not announced as JSON:API.",
    422: "Values are refused.",
    423: "Others depend on the resource.",
}

_HEADERS = {
    "X-Request-Id": {"type": "string", "format": "uuid"},
    "X-Ratelimit-Limit": {"type": "integer"},
    "X-Ratelimit-Interval": {"type": "integer"},
    "X-Ratelimit-Remaining": {"type": "integer"},
    "ETag": {"type": "string", "pattern": '^W/"[0-9a-f]{32}"$'},
    "Cache-Control": _TEXT,
}


def components() -> dict[str, Schema]:
    """What the descriptions of all operations refer to."""
    refused = {f"refused_{status}": _refused(sentence) for status, sentence in _REFUSALS.items()}
    not_modified = {"description": "`If-None-Match` names this document's ETag.", "headers": _headers()}
    throttled = {"description": "Too many requests; `errors` is an object here."}
    return {
        "schemas": _schemas(),
        "headers": {name: {"schema": schema} for name, schema in _HEADERS.items()},
        "responses": {
            **refused,
            "not_modified": not_modified,
            "throttled": {**throttled, **content("application/json", schema_named("throttled"))},
        },
    }


def _refused(sentence: str) -> Schema:
    return {"description": sentence, "headers": _headers(), **content(JSON_API, schema_named("errors"))}


def _headers() -> Schema:
    return {name: reference("headers", name) for name in _HEADERS}


def _schemas() -> dict[str, Schema]:
    throttled = closed({"title": _TEXT, "code": {"const": "THROTTLED"}, "status": {"const": 429}})
    return {
        **{kind.name: resource_object(kind) for kind in RESOURCE_TYPES.values()},
        "any_resource": {"anyOf": [schema_named(name) for name in RESOURCE_TYPES]},
        "resource_meta": closed({"mode": {"enum": ["test", "live"]}, "organization_id": _TEXT, "trace_id": _TEXT}),
        "relationship_links": closed({"self": _TEXT, "related": _TEXT}),
        "page_links": closed(dict.fromkeys(("first", "prev", "next", "last"), _TEXT), optional=("prev", "next")),
        "page_counts": closed({"record_count": _COUNT, "page_count": _COUNT}),
        "errors": closed({"errors": array(closed(_api_error(), optional=("source", "meta")), minItems=1)}),
        "throttled": closed({"errors": throttled}),
    }


def _api_error() -> dict[str, Schema]:
    return {**_ERROR, "status": {"type": "string", "pattern": "^[45][0-9]{2}$"}, "source": _SOURCE, "meta": _META}


def resource_object(kind: ResourceType) -> Schema:
    """One resource, as every document shows it; a sparse fieldset leaves members out."""
    members = {
        "id": _TEXT,
        "type": {"const": kind.name},
        "links": closed({"self": _TEXT}),
        "attributes": closed(
            {name: _attribute(attribute) for name, attribute in kind.attributes.items()}, optional=kind.attributes
        ),
        "relationships": closed(
            {name: _relationship(one) for name, one in kind.relationships.items()}, optional=kind.relationships
        ),
        "meta": schema_named("resource_meta"),
    }
    return closed(members, optional=("attributes", "relationships"))


def _attribute(attribute: Attribute) -> Schema:
    words = {"c": "may be given at create", "u": "may be updated", "f": "filterable", "s": "sortable", "r": "required"}
    said = [words[flag] for flag in attribute.flags if flag in words]
    return {**nullable(KINDS[attribute.kind]), "description": f"{', '.join(said) or 'read-only'}.".capitalize()}


def _relationship(relationship: Relationship) -> Schema:
    members = {"links": schema_named("relationship_links"), "data": linkage_schema(relationship)}
    return closed(members, optional=("data",))


def linkage_schema(relationship: Relationship) -> Schema:
    """The identifiers of what a relationship leads to."""
    identifier = closed({"type": {"const": relationship.target}, "id": _TEXT})
    return array(identifier) if relationship.many else nullable(identifier)


def document(kind: ResourceType, *, may_be_missing: bool = False) -> Schema:
    """A document with one resource."""
    data = schema_named(kind.name)
    return closed({"data": nullable(data) if may_be_missing else data, **_included()}, optional=("included",))


def page(kind: ResourceType) -> Schema:
    """A document with a page of resources."""
    data = array(schema_named(kind.name), maxItems=MAX_PAGE_SIZE)
    if kind.by_cursor:
        return closed({"data": data, "meta": closed({}), "links": closed({"next": _TEXT}, optional=("next",))})
    members: dict[str, Schema] = {
        "data": data,
        "meta": schema_named("page_counts"),
        "links": schema_named("page_links"),
        **_included(),
    }
    return closed(members, optional=("included",))


def _included() -> dict[str, Schema]:
    return {"included": array(schema_named("any_resource"))}


def linkage_document(relationship: Relationship) -> Schema:
    """A document with identifiers only."""
    return closed({"links": schema_named("relationship_links"), "data": linkage_schema(relationship)})


def responses(status: int, schema: Schema | None, refusals: Iterable[int], *, is_read: bool = False) -> Schema:
    """The responses of one operation of the API: it succeeds with `status`, or is refused in one of these ways."""
    done = {"description": "Done.", "headers": _headers(), **(content(JSON_API, schema) if schema is not None else {})}
    refused = {str(each): reference("responses", f"refused_{each}") for each in sorted({401, 406, *refusals})}
    unchanged = {"304": reference("responses", "not_modified")} if is_read else {}
    return {str(status): done, **unchanged, **refused, "429": reference("responses", "throttled")}
