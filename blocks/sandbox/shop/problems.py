"""Refusals of the API: one exception, and a constructor for every documented code."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any


class Problem(Exception):  # noqa: N818  RFC 9457 calls it so
    """A request that is refused: HTTP `status`, and the error objects of the body."""

    def __init__(self, status: int, errors: list[dict[str, Any]]) -> None:
        super().__init__(status, errors)
        self.status, self.errors = status, errors
        self.after_rollback: Callable[[], None] | None = None
        """Runs after the changes of the refused request are rolled back."""
        self.headers: dict[str, str] = {}
        """Headers of the response."""


def problem(
    status: int,
    code: str,
    title: str,
    detail: str,
    *,
    pointer: str | None = None,
    meta: Mapping[str, str] | None = None,
) -> Problem:
    """One error; `status` is a text inside the body, as the Core API writes it."""
    error: dict[str, Any] = {"title": title, "detail": detail, "code": code, "status": str(status)}
    if pointer is not None:
        error["source"] = {"pointer": pointer}
    if meta is not None:
        error["meta"] = dict(meta)
    return Problem(status, [error])


def invalid(field: str, message: str, error: str, *, relationship: bool = False, base: bool = False) -> Problem:
    """422 VALIDATION_ERROR on one attribute or relationship, as Rails words it."""
    pointer = "/data" if base else f"/data/{'relationships' if relationship else 'attributes'}/{field}"
    detail = message if base else f"{field} - {message}"
    return problem(422, "VALIDATION_ERROR", message, detail, pointer=pointer, meta={"error": error})


def together(refusals: Sequence[Problem]) -> Problem:
    """Several refusals with the same status as one."""
    return Problem(refusals[0].status, [error for refused in refusals for error in refused.errors])


def not_found() -> Problem:
    """404, as recorded."""
    detail = "The requested resource was not found. Please double-check the resource id."
    return problem(404, "RECORD_NOT_FOUND", "Record not found", detail)


def unsupported(resource_type: str) -> Problem:
    """404: Commerce Layer has this resource type, and the sandbox has not."""
    detail = f"The resource type {resource_type} exists in Commerce Layer, but the sandbox does not have it."
    return problem(404, "RECORD_NOT_FOUND", "Record not found", detail)


def invalid_token(*, expired: bool = False) -> Problem:
    """401: the bearer token is missing, unknown, revoked or expired."""
    detail = "The access token you provided is invalid." + (" (has expired)" if expired else "")
    return problem(401, "INVALID_TOKEN", "Invalid token", detail)


def unauthorized() -> Problem:
    """401: the token is valid, but has no permission."""
    detail = "You are not authorized to perform this action on the requested resource."
    return problem(401, "UNAUTHORIZED", "Access denied", detail)


def method_not_allowed(method: str, allowed: Iterable[str] = ()) -> Problem:
    """405: this resource has no such action; `allowed` are the methods that it has."""
    detail = f"{method[:20]} is not allowed on this resource."
    refused = problem(405, "METHOD_NOT_ALLOWED", "Method not allowed", detail)
    refused.headers["Allow"] = ", ".join(allowed)
    return refused


def always_empty(resource_type: str, method: str, allowed: Iterable[str]) -> Problem:
    """405: Commerce Layer can write resources of this type, and the sandbox cannot."""
    refused = method_not_allowed(method, allowed)
    refused.errors[0]["detail"] = f"{method[:20]} is not allowed: {resource_type} are always empty in the sandbox."
    return refused


def param_not_allowed(name: str, *, pointer: str | None = None) -> Problem:
    """400: a parameter, attribute or relationship that is not allowed here."""
    return problem(400, "PARAM_NOT_ALLOWED", "Param not allowed", f"{name} is not allowed.", pointer=pointer)


def filter_not_allowed(name: str) -> Problem:
    """400: unknown attribute or predicate in a filter."""
    return problem(400, "FILTER_NOT_ALLOWED", "Filter not allowed", f"{name} is not allowed.")


def invalid_filter_value(name: str, value: str) -> Problem:
    """400: the value cannot be read as the attribute's kind."""
    return problem(
        400, "INVALID_FILTER_VALUE", "Invalid filter value", f"{value[:200]} is not a valid value for {name}."
    )


def invalid_filters_syntax(text: str) -> Problem:
    """400: not `filter[q][...]`."""
    return problem(400, "INVALID_FILTERS_SYNTAX", "Invalid filters syntax", f"{text} is not a valid syntax.")


def invalid_field(name: str, resource_type: str) -> Problem:
    """400: a sparse fieldset names a field that the type does not have."""
    return problem(400, "INVALID_FIELD", "Invalid field", f"{name} is not a valid field for {resource_type}.")


def invalid_resource(name: str) -> Problem:
    """400: no such resource type."""
    return problem(400, "INVALID_RESOURCE", "Invalid resource", f"{name} is not a valid resource.")


def invalid_include(name: str, resource_type: str) -> Problem:
    """400: an include names something that is not an includable relationship."""
    detail = f"{name} is not a valid association of {resource_type}"
    return problem(400, "INVALID_INCLUDE", "Invalid include", detail)


def invalid_sort(name: str, resource_type: str) -> Problem:
    """400: sorting by this is not offered."""
    detail = f"{name} is not a valid sort criteria for {resource_type}"
    return problem(400, "INVALID_SORT_CRITERIA", "Invalid sort criteria", detail)


def invalid_page_object() -> Problem:
    """400: `page` without a bracketed name."""
    return problem(400, "INVALID_PAGE_OBJECT", "Invalid page object", "Invalid page object.")


def invalid_field_format() -> Problem:
    """400: `fields` without a bracketed type."""
    return problem(400, "INVALID_FIELD_FORMAT", "Invalid field format", "Fields must specify a type.")


def invalid_links_object() -> Problem:
    """400: a relationship that is not `{"data": {"type": ..., "id": ...}}` or `{"data": null}`."""
    return problem(400, "INVALID_LINKS_OBJECT", "Invalid links object", "Data is not a valid links object.")


def invalid_page_value(name: str, value: str) -> Problem:
    """400: page number or size out of range."""
    detail = f"{value[:200]} is not a valid value for {name} page parameter."
    return problem(400, "INVALID_PAGE_VALUE", "Invalid page value", detail)


def invalid_data_format() -> Problem:
    """400: the body is not a JSON:API document."""
    return problem(400, "INVALID_DATA_FORMAT", "Invalid data format", "Data should be a hash.")


def param_missing(name: str) -> Problem:
    """400: a required member is missing."""
    return problem(400, "PARAM_MISSING", "Missing Parameter", f"The required parameter, {name}, is missing.")


def type_mismatch(given: str) -> Problem:
    """400: the linked resource is of another type."""
    return problem(400, "TYPE_MISMATCH", "Type Mismatch", f"{given[:200]} is not a valid type for this operation.")


def not_acceptable(accept: str) -> Problem:
    """406: the caller does not accept JSON:API."""
    detail = (
        f"All requests must use the 'Accept' of 'application/vnd.api+json'. This request specified '{accept[:200]}'."
    )
    return problem(406, "NOT_ACCEPTABLE", "Not acceptable", detail)


def unsupported_media_type(given: str) -> Problem:
    """415: the content type is not JSON:API's."""
    detail = (
        "All requests that create or update must use the 'Content-Type' of 'application/vnd.api+json'. "
        f"This request specified '{given[:200]}'."
    )
    return problem(415, "UNSUPPORTED_MEDIA_TYPE", "Unsupported media type", detail)


def locked(resource_type: str, resource_id: str) -> Problem:
    """423: other resources depend on it."""
    detail = f"Failed to destroy {resource_type} with id={resource_id}"
    return problem(423, "LOCKED", "Locked resource", detail)
