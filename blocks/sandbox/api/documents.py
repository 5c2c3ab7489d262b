"""JSON:API documents: resource objects made of records, with linkage only for what was included."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any
from urllib.parse import quote, urlencode

import orjson

from blocks.sandbox.api.members import Linkage, attributes_of, relationships_of
from blocks.sandbox.api.queries import IncludeTree, Query, Record, records_with, related_records, selection
from blocks.sandbox.resources.definitions import Relationship, ResourceType
from blocks.sandbox.resources.resource_types import RESOURCE_TYPES
from blocks.sandbox.settings import Settings
from blocks.sandbox.shop.database import Reader

_PAGE_NUMBER, _PAGE_SIZE = (quote(name) for name in ("page[number]", "page[size]"))
_VERSION = "2017-08"
"""The version of the API that requests without one mean."""


class Writer:
    """Writes documents for one organization and mode."""

    def __init__(self, reader: Reader, organization_id: str, settings: Settings) -> None:
        self._reader = reader
        self._organization_id = organization_id
        self._settings = settings

    def reading(self, reader: Reader) -> Writer:
        """A writer that reads included resources there."""
        return self if reader is self._reader else Writer(reader, self._organization_id, self._settings)

    def one(self, kind: ResourceType, record: Record | None, query: Query, base: str) -> bytes:
        """A document with one resource, or with null."""
        if record is None:
            return orjson.dumps({"data": None, **self._document_meta({})})
        objects, included = self._resources(kind, [record], query, base)
        document: dict[str, Any] = {"data": objects[0], **self._document_meta({})}
        if query.include:
            document["included"] = included
        return orjson.dumps(document)

    def many(
        self, kind: ResourceType, records: Sequence[Record], total: int, query: Query, base: str, path: str
    ) -> bytes:
        """A document with a page of resources, `meta` counts and page links."""
        objects, included = self._resources(kind, records, query, base)
        pages = -(-total // query.page_size)
        document: dict[str, Any] = {
            "data": objects,
            **self._document_meta({"record_count": total, "page_count": pages}),
            "links": _page_links(query, pages, f"{base}{path}"),
        }
        if query.include:
            document["included"] = included
        return orjson.dumps(document)

    def by_cursor(
        self, kind: ResourceType, records: Sequence[Record], after: str | None, query: Query, url: str, base: str
    ) -> bytes:
        """A document with resources, without counts; the link `next` has the cursor of those that follow."""
        objects, _ = self._resources(kind, records, query, base)
        others = [(name, value) for name, value in query.raw if name != "page[after]"]
        links = (
            {} if after is None else {"next": f"{url}?{urlencode([*others, ('page[after]', after)], quote_via=quote)}"}
        )
        return orjson.dumps({"data": objects, "meta": {}, **self._document_meta({}), "links": links})

    def _document_meta(self, counts: dict[str, int]) -> dict[str, dict[str, Any]]:
        """The member `meta` of a document, if it has one."""
        own = self._origin(self._organization_id) if self._settings.meta == "document" else {}
        return {"meta": {**counts, **own}} if counts or own else {}

    def _resource_meta(self, resource_id: str) -> dict[str, str]:
        return {"created_with_version": _VERSION} if self._settings.meta == "document" else self._origin(resource_id)

    def _origin(self, key: str) -> dict[str, str]:
        """Where a resource or a document comes from; two runs give the same trace ids."""
        trace_id = (key.encode().hex() * 4)[:64]
        return {"mode": self._settings.mode, "organization_id": self._organization_id, "trace_id": trace_id}

    def _resources(
        self, kind: ResourceType, records: Sequence[Record], query: Query, base: str
    ) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        linkage: dict[tuple[str, str], Any] = {}
        included: dict[tuple[str, str], tuple[ResourceType, Record]] = {}
        if query.include:
            self._collect(kind, records, query, query.include, linkage, included)
        linked = dict.fromkeys(name for _, name in linkage)
        objects = [self._object(kind, record, query, base, linkage, linked) for record in records]
        extra = [self._object(other, record, query, base, linkage, linked) for other, record in included.values()]
        return objects, extra

    def _object(
        self,
        kind: ResourceType,
        record: Record,
        query: Query,
        base: str,
        linkage: Linkage,
        linked: Iterable[str],
    ) -> dict[str, Any]:
        resource_id, fields = record[0], query.fields.get(kind.name)
        collection = f"{base}/{kind.path}"
        own = collection if kind.singleton else f"{collection}/{resource_id}"
        shown: dict[str, Any] = {"id": resource_id, "type": kind.name, "links": {"self": own}}
        attributes = attributes_of(kind, record, fields)
        relationships = relationships_of(kind, record, collection, fields, linkage, linked)
        # As the Ruby gem behind the API does: an empty member is left out.
        if attributes:
            shown["attributes"] = attributes
        if relationships is not None:
            shown["relationships"] = relationships
        shown["meta"] = self._resource_meta(resource_id)
        return shown

    def _collect(
        self,
        kind: ResourceType,
        records: Sequence[Record],
        query: Query,
        tree: IncludeTree,
        linkage: dict[tuple[str, str], Any],
        included: dict[tuple[str, str], tuple[ResourceType, Record]],
    ) -> None:
        """Fetch what `tree` names, level by level: one SELECT per relationship, however many records."""
        for name, below in tree.items():
            relationship = kind.relationships[name]
            target = RESOURCE_TYPES[relationship.target]
            linkage |= {(record[0], name): [] if relationship.many else None for record in records}
            for other in (RESOURCE_TYPES[member] for member in target.members or (target.name,)):
                columns = selection(other.name, query.fields.get(other.name), tuple(below))
                if relationship.many:
                    found = self._relate_many(records, relationship, other, columns, linkage)
                else:
                    found = self._relate_one(kind, records, relationship, other, columns, linkage)
                for record in found:
                    included.setdefault((other.name, record[0]), (other, record))
                if below:
                    self._collect(other, found, query, below, linkage, included)

    def _relate_many(
        self,
        records: Sequence[Record],
        relationship: Relationship,
        other: ResourceType,
        columns: str,
        linkage: dict[tuple[str, str], Any],
    ) -> list[Record]:
        owners = list(dict.fromkeys(record[0] for record in records))
        pairs = related_records(self._reader, relationship, other, columns, owners)
        for owner, record in pairs:
            linkage[(owner, relationship.name)].append({"type": other.name, "id": record[0]})
        return list({record[0]: record for _, record in pairs}.values())

    def _relate_one(
        self,
        kind: ResourceType,
        records: Sequence[Record],
        relationship: Relationship,
        other: ResourceType,
        columns: str,
        linkage: dict[tuple[str, str], Any],
    ) -> list[Record]:
        if relationship.is_empty:
            return []
        at = kind.index_of[relationship.column]
        wanted = list(dict.fromkeys(record[at] for record in records if record[at] is not None))
        found = records_with(self._reader, other, columns, wanted)
        known = {record[0] for record in found}
        for record in records:
            if record[at] in known:
                linkage[(record[0], relationship.name)] = {"type": other.name, "id": record[at]}
        return found


def _page_links(query: Query, pages: int, url: str) -> dict[str, str]:
    others = [(name, value) for name, value in query.raw if not name.startswith("page[")]
    last, address = max(pages, 1), f"{url}?{urlencode(others, quote_via=quote)}{'&' if others else ''}"

    def link(number: int) -> str:
        return f"{address}{_PAGE_NUMBER}={number}&{_PAGE_SIZE}={query.page_size}"

    links = {"first": link(1)}
    if query.page_number > 1:
        links["prev"] = link(query.page_number - 1)
    if query.page_number < pages:
        links["next"] = link(query.page_number + 1)
    links["last"] = link(last)
    return links
