"""Routes requests under /api to lists, single resources, related resources and writes."""

from __future__ import annotations

from collections.abc import Sequence

import orjson

from blocks.sandbox.api import writes
from blocks.sandbox.api.documents import Writer
from blocks.sandbox.api.methods import methods_of
from blocks.sandbox.api.queries import (
    Query,
    Record,
    find_record,
    list_by_cursor,
    list_records,
    read_query,
    records_with,
    related_records,
    selection,
)
from blocks.sandbox.http.messages import Request, Response
from blocks.sandbox.resources.definitions import Relationship, ResourceType
from blocks.sandbox.resources.empty_resources import UNSUPPORTED
from blocks.sandbox.resources.resource_types import BY_PATH, RESOURCE_TYPES
from blocks.sandbox.shop import problems
from blocks.sandbox.shop.problems import Problem
from blocks.sandbox.shop.shop import Shop
from blocks.sandbox.shop.subscriptions import NativeEngine

JSON_API = "application/vnd.api+json"
_LISTED, _ONE, _RELATED = 1, 2, 3  # segments of a path after /api


class Router:
    """Answers requests whose token is valid."""

    def __init__(self, shop: Shop, engine: NativeEngine) -> None:
        self._shop = shop
        self._engine = engine
        self._writer = Writer(shop.database, shop.organization_id, shop.settings)
        self._started_at = shop.now_text()

    def answer(self, request: Request) -> Response:
        """
        Answer one request.

        Raises:
            Problem: the API refuses the request, with this status and these error objects.
        """
        segments = request.path.strip("/").split("/")[1:]
        kind = BY_PATH.get(segments[0]) if segments else None
        if kind is None:
            raise problems.unsupported(segments[0]) if segments and segments[0] in UNSUPPORTED else problems.not_found()
        allowed = methods_of(kind, segments)
        if not allowed:
            raise problems.not_found()
        if request.method == "OPTIONS":
            return Response(204, headers={"Allow": ", ".join(allowed)})
        if request.method not in allowed:
            raise _refused(kind, request.method, allowed)
        _check_media_types(request)
        return self._at(kind, segments, request)

    def _at(self, kind: ResourceType, segments: list[str], request: Request) -> Response:
        if kind.singleton:
            return self._singleton(kind, request)
        if len(segments) == _LISTED:
            return self._collection(kind, request)
        if len(segments) == _ONE:
            return self._member(kind, request, segments[1])
        if len(segments) == _RELATED:
            return self._related(kind, request, segments[1], segments[2])
        return self._linkage(kind, request, segments[1], segments[3])

    def _collection(self, kind: ResourceType, request: Request) -> Response:
        if request.method != "POST":
            query = read_query(kind, request.query, is_list=True)
            return self._list(kind, query, request)
        query = read_query(kind, request.query, is_list=False)
        resource_id = writes.create(self._shop, self._engine, kind, request.body)
        record = find_record(self._shop.database, kind, resource_id)
        return Response(201, self._writer.one(kind, record, query, _base(request)))

    def _list(self, kind: ResourceType, query: Query, request: Request) -> Response:
        reader = self._shop.database.reader_of(kind.name)
        if kind.by_cursor:
            shown, after = list_by_cursor(reader, kind, query)
            url = f"{_base(request)}{request.path.removeprefix('/api')}"
            return Response(200, self._writer.by_cursor(kind, shown, after, query, url, _base(request)))
        records, total = list_records(reader, kind, query)
        writer = self._writer.reading(reader)
        return Response(
            200, writer.many(kind, records, total, query, _base(request), request.path.removeprefix("/api"))
        )

    def _member(self, kind: ResourceType, request: Request, resource_id: str) -> Response:
        if request.method == "DELETE":
            writes.delete(self._shop, self._engine, kind, resource_id)
            return Response(204)
        query = read_query(kind, request.query, is_list=False)
        if request.method == "PATCH":
            writes.update(self._shop, self._engine, kind, resource_id, request.body)
        record = find_record(self._shop.database, kind, resource_id)
        return Response(200, self._writer.one(kind, record, query, _base(request)))

    def _related(self, kind: ResourceType, request: Request, resource_id: str, name: str) -> Response:
        """GET /api/order_copies/{id}/target_order and other relationships."""
        record = find_record(self._shop.database, kind, resource_id)
        relationship = kind.relationships[name]
        other = RESOURCE_TYPES[relationship.target]
        query = read_query(other, request.query, is_list=relationship.many)
        if relationship.many:
            query.where.append(relationship.belongs("t", "?"))
            query.values.append(resource_id)
            return self._list(other, query, request)
        target_id = _target_id(kind, record, relationship)
        columns = selection(other.name, query.fields.get(other.name), tuple(query.include))
        found = records_with(self._shop.database, other, columns, [target_id]) if target_id else []
        return Response(200, self._writer.one(other, found[0] if found else None, query, _base(request)))

    def _linkage(self, kind: ResourceType, request: Request, resource_id: str, name: str) -> Response:
        """GET /api/order_copies/{id}/relationships/target_order: identifiers only."""
        record = find_record(self._shop.database, kind, resource_id)
        relationship = kind.relationships[name]
        other = RESOURCE_TYPES[relationship.target]
        own = f"{_base(request)}/{kind.name}/{resource_id}"
        links = {"self": f"{own}/relationships/{name}", "related": f"{own}/{name}"}
        if relationship.many:
            reader, ids_only = self._shop.database.reader_of(other.name), selection(other.name, (), ())
            found = related_records(reader, relationship, other, ids_only, [resource_id])
            data: object = [{"type": other.name, "id": row[0]} for _, row in found]
        else:
            target_id = _target_id(kind, record, relationship)
            data = {"type": other.name, "id": target_id} if target_id else None
        return Response(200, orjson.dumps({"links": links, "data": data}))

    def _singleton(self, kind: ResourceType, request: Request) -> Response:
        query = read_query(kind, request.query, is_list=False)
        return Response(200, self._writer.one(kind, self._singleton_record(kind), query, _base(request)))

    def _singleton_record(self, kind: ResourceType) -> Record:
        settings = self._shop.settings
        values = {
            "id": "sandboxApp" if kind.path == "application" else self._shop.organization_id,
            "name": "Sandbox integration" if kind.path == "application" else "Sandbox",
            "kind": "integration",
            "public_access": 0,
            "scopes": "market:all",
            "slug": settings.organization,
            "domain": f"{settings.organization}.commercelayer.io",
            "region": "eu-west-1",
            "can_switch_live": int(settings.mode == "live"),
            "created_at": self._started_at,
            "updated_at": self._started_at,
            "metadata": "{}",
        }
        return tuple(values.get(column) for column in kind.columns)


def _refused(kind: ResourceType, method: str, allowed: Sequence[str]) -> Problem:
    if kind.is_empty:
        return problems.always_empty(kind.name, method, allowed)
    return problems.method_not_allowed(method, allowed)


def _target_id(kind: ResourceType, record: Record, relationship: Relationship) -> str | None:
    return None if relationship.is_empty else record[kind.index_of[relationship.column]]


def _base(request: Request) -> str:
    return f"http://{request.headers.get('host', '127.0.0.1')}/api{request.version}"


def _check_media_types(request: Request) -> None:
    accept = request.headers.get("accept") or "*/*"
    accepted = (part.split(";")[0].strip() for part in accept.lower().split(","))
    if accept != JSON_API and not any(each in {JSON_API, "*/*"} for each in accepted):
        raise problems.not_acceptable(accept)
    if request.method in {"POST", "PATCH"}:
        given = request.headers.get("content-type", "")
        if given.split(";")[0].strip().lower() != JSON_API:
            raise problems.unsupported_media_type(given)
