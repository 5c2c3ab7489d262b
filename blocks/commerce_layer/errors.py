"""What can go wrong between us and Commerce Layer, classed by what the caller may do next.

    CommerceLayerError
      NotConnected           nothing was sent; safe to repeat
      WriteFateUnknown       a write was sent and no usable answer came; read before you repeat
      ReadFailed             a read got no usable answer, even after its retries
      ApiError               Commerce Layer answered with an error
        Throttled            429: not carried out; wait for the window, then repeat
        NotFound             404
        Refused              every other 4xx: repeating does not help
      AccessDenied           every request will be refused, until a person corrects the credentials
        InvalidToken         401 INVALID_TOKEN: a new token was refused as well (also an ApiError)
        Unauthorized         any other 401: this API client lacks the permission (also an ApiError)
        AuthenticationFailed the token endpoint refused the client's credentials
        WrongShop            the token belongs to another organization or mode than expected

No message carries a secret, a token or a request body, nor a control character out of an answer. Every error survives
pickling, because Prefect stores and moves them: all arguments are handed to `super().__init__`.
"""

# ruff: noqa: N818 - each name says what happened; a suffix would only lengthen `except` lines
from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


def storable(text: str) -> str:
    """The text without what neither Commerce Layer nor Prefect can store: NUL, and halves of an emoji."""
    return _LONE_SURROGATE.sub("", text.replace("\0", ""))


def _on_one_line(text: str) -> str:
    """The text without what moves a terminal's cursor, forges a line of a log, or hides or reverses what follows."""
    return "".join(each if each.isprintable() else " " for each in text)


@dataclass(frozen=True, slots=True)
class ErrorItem:
    """One entry of an error answer's `errors`. Texts are Commerce Layer's own, as far as they can be stored."""

    title: str = ""
    detail: str = ""
    code: str = ""
    pointer: str = ""
    meta: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("title", "detail", "code", "pointer"):
            object.__setattr__(self, name, storable(getattr(self, name)))

    def __str__(self) -> str:
        """`CODE: detail`, or the part of it that exists."""
        text = self.detail or self.title
        return _on_one_line(": ".join(part for part in (self.code, text) if part)) or "no reason given"


class CommerceLayerError(Exception):
    """The base class of all errors that this package raises on purpose."""


class NotConnected(CommerceLayerError):
    """The request never left: refused, unreachable, no such host, or no free connection. Safe to repeat."""

    def __init__(self, method: str, path: str, reason: str) -> None:
        super().__init__(method, path, reason)
        self.method, self.path, self.reason = method, path, reason

    def __str__(self) -> str:
        return f"{self.method} {self.path} was not sent: {self.reason}"


class WriteFateUnknown(CommerceLayerError):
    """
    The write was sent, and no usable answer came. It may have been carried out, or may be carried out later.

    Never repeat it blindly: first read what it wrote, by its reference.
    """

    def __init__(self, method: str, path: str, reason: str, reference: str | None = None) -> None:
        super().__init__(method, path, reason, reference)
        self.method, self.path, self.reason, self.reference = method, path, reason, reference

    def __str__(self) -> str:
        about = f" (reference {self.reference!r})" if self.reference else ""
        return f"{self.method} {self.path}{about} may have been carried out: {self.reason}"


class ReadFailed(CommerceLayerError):
    """A read got no usable answer in `tries` tries. It changed nothing."""

    def __init__(self, path: str, reason: str, tries: int = 1) -> None:
        super().__init__(path, reason, tries)
        self.path, self.reason, self.tries = path, reason, tries

    def __str__(self) -> str:
        return f"GET {self.path} got no usable answer in {self.tries} tries: {self.reason}"


class AccessDenied(CommerceLayerError):
    """The API client may not do this. Every request will be refused, until a person corrects the credentials."""


class ApiError(CommerceLayerError):
    """Commerce Layer answered with `status` (HTTP) and `errors`. A write that gets this answer was not carried out."""

    def __init__(self, status: int, errors: tuple[ErrorItem, ...], method: str, path: str) -> None:
        super().__init__(status, errors, method, path)
        self.status, self.errors, self.method, self.path = status, errors, method, path

    @property
    def first(self) -> ErrorItem:
        """The first error; an empty one when the answer named none."""
        return self.errors[0] if self.errors else ErrorItem()

    @property
    def code(self) -> str:
        """E.g. `VALIDATION_ERROR`; empty when the answer had none."""
        return self.first.code

    @property
    def title(self) -> str:
        """Short text of the first error."""
        return self.first.title

    @property
    def detail(self) -> str:
        """Long text of the first error."""
        return self.first.detail

    @property
    def pointer(self) -> str:
        """JSON pointer into the request, e.g. `/data/attributes/status`."""
        return self.first.pointer

    def __str__(self) -> str:
        reasons = "; ".join(str(item) for item in self.errors) or "no reason given"
        return f"{self.method} {self.path} was answered {self.status}: {reasons}"


class Throttled(ApiError):
    """429: the rate limit refused the request. It was not carried out."""


class InvalidToken(ApiError, AccessDenied):
    """401 INVALID_TOKEN, even with a token that was just issued."""


class Unauthorized(ApiError, AccessDenied):
    """A 401 that a new token does not solve: the API client may not do this."""


class NotFound(ApiError):
    """404: there is no such resource for this API client, in this mode."""


class Refused(ApiError):
    """400, 403, 405, 406, 409, 415, 422, 423 and similar: repeating the request does not help."""


class AuthenticationFailed(AccessDenied):
    """The token endpoint refused the client. The message names the block's fields to check, never their values."""

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message, status)
        self.message, self.status = message, status

    def __str__(self) -> str:
        return self.message


class WrongShop(AccessDenied):
    """The token's `field` is `got`, but the block expects `expected`. Only the token request was sent."""

    def __init__(self, field: str, expected: str, got: str, way_out: str) -> None:
        super().__init__(field, expected, got, way_out)
        self.field, self.expected, self.got, self.way_out = field, expected, got, way_out

    def __str__(self) -> str:
        return f"the token's {self.field} is {self.got!r}, but {self.expected!r} is expected. {self.way_out}"


def error_for_answer(status: int, errors: tuple[ErrorItem, ...], method: str, path: str) -> ApiError:
    """The error class for an HTTP status between 400 and 499 and its errors."""
    kinds: dict[int, type[ApiError]] = {HTTPStatus.NOT_FOUND: NotFound, HTTPStatus.TOO_MANY_REQUESTS: Throttled}
    kind = kinds.get(status, Refused)
    if status == HTTPStatus.UNAUTHORIZED:
        invalid = any(item.code == "INVALID_TOKEN" for item in errors)
        kind = InvalidToken if invalid else Unauthorized
    return kind(status, errors, method, path)
