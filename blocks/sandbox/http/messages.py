"""HTTP requests and responses, as the rest of the sandbox uses them."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

BODYLESS = frozenset({204, 304})
"""Statuses whose responses never have a body."""


class Delivery(Enum):
    """How a response reaches the caller."""

    WHOLE = "whole"
    RESET = "reset"
    """No byte is sent; the connection ends with a TCP reset."""
    CLOSE = "close"
    """No byte is sent; the connection is closed in the ordinary way."""
    TRUNCATED = "truncated"
    """Half of the announced body is sent, then the connection is reset."""
    NEVER = "never"
    """No byte is sent, and the connection stays open until the caller ends it."""
    SLOW = "slow"
    """The body is sent in pieces, spread over `seconds`."""


@dataclass(slots=True)
class Request:
    """One request as it arrived: `path` is decoded except for slashes, `query` is not, header names are lower case."""

    method: str
    path: str
    query: str
    headers: dict[str, str]
    body: bytes
    peer: str
    keep_alive: bool = True
    version: str = ""
    """The date-stamped version that stood behind `/api`, such as `/2026-05`; `path` is without it."""


@dataclass(slots=True)
class Response:
    """One response; `headers` come after Content-Type and Content-Length."""

    status: int
    body: bytes = b""
    content_type: str = "application/vnd.api+json"
    headers: dict[str, str] = field(default_factory=dict)
    delivery: Delivery = Delivery.WHOLE
    seconds: float = 0.0
