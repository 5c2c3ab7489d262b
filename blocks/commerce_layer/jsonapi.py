"""Commerce Layer's JSON:API: builds bodies and parameters, and reads flat resources and errors."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

from blocks.commerce_layer.errors import ErrorItem

MEDIA_TYPE = "application/vnd.api+json"
T = TypeVar("T")

PAGE_SIZE = 25
"""The API's maximum number of resources in a page. Source: API reference, "Pagination"."""

Fields = dict[str, Any]


class MalformedDocument(ValueError):  # noqa: N818 - the name says what happened
    """An answer that is not the JSON:API document it should be."""


def parse(body: bytes) -> Fields:
    """The document in a 2xx answer. Raises MalformedDocument on anything but a JSON object with `data`."""
    try:
        document = json.loads(body)
    except ValueError as error:
        raise MalformedDocument(f"the answer is not JSON ({len(body)} bytes)") from error
    if not isinstance(document, dict) or "data" not in document:
        raise MalformedDocument("the answer has no `data`")
    return document


def one(document: Fields) -> Fields:
    """The one resource of a document, flat: attributes, `{relationship}_id`, and included resources."""
    return _flat(document["data"], _included(document), document)


def many(document: Fields) -> list[Fields]:
    """The resources of a list document, each flat as in `one`."""
    data = document["data"]
    if not isinstance(data, list):
        raise MalformedDocument("a list was expected")
    included = _included(document)
    return [_flat(item, included, document) for item in data]


def included(document: Fields, kind: str) -> list[Fields]:
    """The included resources of one type, each flat as in `one`."""
    there = _included(document)
    return [_flat(item, there, document) for (its_type, _), item in there.items() if its_type == kind]


def is_last_page(document: Fields) -> bool:
    """Whether a page holds everything that matches: by the record count if there is one, else by the page's size."""
    meta = document.get("meta")
    count = meta.get("record_count") if isinstance(meta, dict) else None
    here = len(document["data"])
    return here >= count if isinstance(count, int) else here < PAGE_SIZE


def error_items(body: bytes) -> tuple[ErrorItem, ...]:
    """The errors of an answer. A 429 has an object where all others have an array, and a proxy may send HTML."""
    try:
        document = json.loads(body)
    except ValueError:
        return ()
    errors = document.get("errors") if isinstance(document, dict) else None
    listed = [errors] if isinstance(errors, dict) else errors
    return tuple(_error_item(item) for item in listed if isinstance(item, dict)) if isinstance(listed, list) else ()


def body_of(
    kind: str,
    attributes: Mapping[str, Any],
    *,
    resource_id: str | None = None,
    related: Mapping[str, tuple[str, str]] | None = None,
) -> Fields:
    """A request body. `related` maps a relationship's name to (type, id). Attributes that are None are left out."""
    data: Fields = {
        "type": kind,
        "attributes": {name: value for name, value in attributes.items() if value is not None},
    }
    if resource_id is not None:
        data["id"] = resource_id
    if related:
        data["relationships"] = {
            name: {"data": {"type": its_type, "id": its_id}} for name, (its_type, its_id) in related.items()
        }
    return {"data": data}


def query(
    *,
    filters: Mapping[str, str] | None = None,
    include: Sequence[str] = (),
    fields: Mapping[str, Sequence[str]] | None = None,
    sort: str | None = None,
    page_size: int | None = None,
) -> dict[str, str]:
    """Query parameters. `filters` maps `{attribute}_{predicate}` to its value."""
    params = {f"filter[q][{name}]": value for name, value in (filters or {}).items()}
    params |= {f"fields[{kind}]": ",".join(names) for kind, names in (fields or {}).items()}
    if include:
        params["include"] = ",".join(include)
    if sort:
        params["sort"] = sort
    if page_size:
        params |= {"page[number]": "1", "page[size]": str(page_size)}
    return params


def instant(moment: datetime) -> str:
    """A moment as the API writes it: UTC, milliseconds, `Z`. Raises ValueError when it has no time zone."""
    if moment.tzinfo is None:
        raise ValueError("a moment without a time zone cannot be sent")
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _included(document: Fields) -> dict[tuple[str, str], Fields]:
    listed = document.get("included")
    items = listed if isinstance(listed, list) else []
    return {_key(item): item for item in items if isinstance(item, dict)}


def _flat(item: object, included: Mapping[tuple[str, str], Fields], document: Fields) -> Fields:
    if not isinstance(item, dict) or not isinstance(item.get("id"), str):
        raise MalformedDocument("a resource without an id")
    # Since September 2026 `meta.mode` may stand at the document instead of at the resource.
    modes = (_object(_object(place).get("meta")).get("mode") for place in (item, document))
    flat: Fields = {"mode": next((mode for mode in modes if mode in {"test", "live"}), None)}
    flat["url"] = _object(item.get("links")).get("self")
    flat |= {"type": item.get("type"), **_object(item.get("attributes")), "id": item["id"]}
    for name, relationship in _object(item.get("relationships")).items():
        flat |= _linked(name, _object(relationship).get("data"), included, document)
    return flat


def _linked(name: str, linkage: object, included: Mapping[tuple[str, str], Fields], document: Fields) -> Fields:
    """What a relationship adds: `{name}_id` and the resource, or `{singular}_ids` and them; nothing without linkage."""
    if isinstance(linkage, list):
        there = [included.get(_key(_object(entry))) for entry in linkage]
        resources = [_flat(item, {}, document) for item in there if item is not None]
        return {f"{name.removesuffix('s')}_ids": tuple(_identifiers(linkage)), name: resources}
    if not isinstance(linkage, dict) or "id" not in linkage:
        return {}
    found = included.get(_key(linkage))
    # We read only one level. It also keeps inclusions that form a circle from recursing without end.
    return {f"{name}_id": linkage["id"]} | ({name: _flat(found, {}, document)} if found else {})


def _key(item: Fields) -> tuple[str, str]:
    return str(item.get("type")), str(item.get("id"))


def _identifiers(linkage: Iterable[object]) -> Iterable[str]:
    return (str(entry["id"]) for entry in linkage if isinstance(entry, dict) and "id" in entry)


def _object(value: object) -> Fields:
    return value if isinstance(value, dict) else {}


def _error_item(item: Fields) -> ErrorItem:
    texts = {name: str(item.get(name) or "") for name in ("title", "detail", "code")}
    return ErrorItem(
        **texts, pointer=str(_object(item.get("source")).get("pointer") or ""), meta=_object(item.get("meta"))
    )


def pages_of(values: Iterable[T]) -> Iterator[list[T]]:
    """Distinct values, 25 at a time: as many as one page of an answer holds."""
    distinct = list(dict.fromkeys(values))
    for start in range(0, len(distinct), PAGE_SIZE):
        yield distinct[start : start + PAGE_SIZE]


def reference_filters(references: Iterable[str]) -> Iterator[dict[str, str]]:
    """Filters that find copies with these references, 25 references in each if possible."""
    # The API splits lists at commas and trims them, so a reference that a caller chose may need a filter of its own.
    plain = [reference for reference in references if reference and not set(reference) & set(", \t\n")]
    for some in pages_of(plain):
        yield {"reference_in": ",".join(some)}
    for reference in set(references) - set(plain):
        yield {"reference_eq": reference}
