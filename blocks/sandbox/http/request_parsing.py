"""Parses HTTP/1.1 requests from the bytes of a connection."""

from __future__ import annotations

import re
from collections.abc import Callable
from urllib.parse import unquote

from blocks.sandbox.http.messages import Request

_VERSIONED = re.compile(r"/api(/\d{4}-\d{2})(?=/)")

MAX_HEAD_BYTES = 32 * 1024
MAX_BODY_BYTES = 16 * 1024 * 1024
_HEXADECIMAL = re.compile(rb"[0-9A-Fa-f]{1,16}")
_ENCODED_SLASH = re.compile("%2f", re.IGNORECASE)
_ABSOLUTE = re.compile(r"https?://([^/?#]*)(.*)", re.IGNORECASE)


class MalformedRequestError(Exception):
    """The bytes are not an HTTP request that is accepted here; `status` is the answer to them."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(status, message)
        self.status, self.message = status, message


def parse_request(buffer: bytearray, peer: str, send_continue: Callable[[], None]) -> Request | None:
    """
    Take one request out of `buffer`; None while it is incomplete.

    Raises:
        MalformedRequestError: the head is too long, malformed, or announces a body that is too long.
    """
    end = buffer.find(b"\r\n\r\n")
    if (end if end >= 0 else len(buffer)) > MAX_HEAD_BYTES:
        raise MalformedRequestError(431, "request head too long")
    if end < 0:
        return None
    method, target, protocol, headers = _parse_head(bytes(buffer[:end]))
    if "chunked" in headers.get("transfer-encoding", "").lower():
        taken = _take_chunks(buffer, end + 4)
    else:
        taken = _take_body(buffer, end + 4, headers)
    if taken is None:
        if headers.get("expect", "").lower() == "100-continue" and len(buffer) == end + 4:
            send_continue()
        return None
    body, after = taken
    del buffer[:after]
    path, _, query = target.partition("?")
    if "%" in path:
        path = unquote(_ENCODED_SLASH.sub("%252F", path))  # it is part of a segment, and separates none
    connection = headers.get("connection", "").lower()
    keep_alive = "close" not in connection and (protocol != "HTTP/1.0" or "keep-alive" in connection)
    path, version = _without_version(path)
    return Request(method, path, query, headers, body, peer, keep_alive, version)


def _without_version(path: str) -> tuple[str, str]:
    found = _VERSIONED.match(path)
    return (path, "") if found is None else (f"/api{path[found.end() :]}", found[1])


def _parse_head(head: bytes) -> tuple[str, str, str, dict[str, str]]:
    lines = head.decode("latin-1").split("\r\n")
    try:
        method, target, version = lines[0].split(" ")
    except ValueError:
        raise MalformedRequestError(400, "malformed request line") from None
    if not version.startswith("HTTP/1."):
        raise MalformedRequestError(505, "only HTTP/1.0 and HTTP/1.1 are supported")
    headers: dict[str, str] = {}
    for line in lines[1:]:
        name, colon, value = line.partition(":")
        if not colon:
            raise MalformedRequestError(400, "malformed header line")
        headers[name.strip().lower()] = value.strip()
    if not target.startswith("/"):
        target = _origin_form(target, headers)
    return method, target, version, headers


def _origin_form(target: str, headers: dict[str, str]) -> str:
    """The path and query of an absolute URI; its authority counts instead of the header Host (RFC 9112, 3.2.2)."""
    absolute = _ABSOLUTE.fullmatch(target)
    if absolute is None:
        return target
    headers["host"], rest = absolute.groups()
    return rest if rest.startswith("/") else f"/{rest}"


def _take_body(buffer: bytearray, start: int, headers: dict[str, str]) -> tuple[bytes, int] | None:
    announced = headers.get("content-length", "0")
    if not (announced.isascii() and announced.isdigit()):
        raise MalformedRequestError(400, "malformed Content-Length")
    length = int(announced)
    if length > MAX_BODY_BYTES:
        raise MalformedRequestError(413, "request body too long")
    if len(buffer) < start + length:
        return None
    return bytes(buffer[start : start + length]), start + length


def _take_chunks(buffer: bytearray, start: int) -> tuple[bytes, int] | None:
    body = bytearray()
    while (line_end := buffer.find(b"\r\n", start)) >= 0:
        size = _chunk_size(bytes(buffer[start:line_end]))
        if len(body) + size > MAX_BODY_BYTES:
            raise MalformedRequestError(413, "request body too long")
        start = line_end + 2
        if size == 0:
            after = _end_of_trailer(buffer, start)
            return None if after is None else (bytes(body), after)
        if len(buffer) < start + size + 2:
            return None
        body += buffer[start : start + size]
        start += size + 2
    if len(buffer) - start > MAX_HEAD_BYTES:
        raise MalformedRequestError(400, "malformed chunk")
    return None


def _chunk_size(line: bytes) -> int:
    digits = line.partition(b";")[0].strip()
    if not _HEXADECIMAL.fullmatch(digits):
        raise MalformedRequestError(400, "malformed chunk")
    return int(digits, 16)


def _end_of_trailer(buffer: bytearray, start: int) -> int | None:
    """Where the trailer after the last chunk ends; its fields, if there are any, mean nothing here."""
    if buffer.startswith(b"\r\n", start):
        return start + 2
    end = buffer.find(b"\r\n\r\n", start)
    if (end if end >= 0 else len(buffer)) - start > MAX_HEAD_BYTES:
        raise MalformedRequestError(431, "trailer too long")
    return None if end < 0 else end + 4
