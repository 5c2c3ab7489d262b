"""The headers that every answer of the API has beside those of the rate limits, as recorded."""

from __future__ import annotations

import hashlib
from http import HTTPStatus
from random import Random
from uuid import UUID

from blocks.sandbox.http.messages import Request, Response

_VARY = "Accept, Accept-Encoding, Origin"
_TAGGED = {HTTPStatus.OK, HTTPStatus.CREATED}


class StandardHeaders:
    """Adds them; the ids of requests are the same for the same seed."""

    def __init__(self, seed: int) -> None:
        self._random = Random(f"{seed}:request ids")  # noqa: S311  reproducible, not secret

    def add(self, request: Request, response: Response) -> None:
        """Add the headers; a caller that names the ETag in `If-None-Match` has the document, and gets 304."""
        response.headers["X-Request-Id"] = str(UUID(int=self._random.getrandbits(128), version=4))
        response.headers["Vary"] = _VARY
        if response.status not in _TAGGED:
            response.headers["Cache-Control"] = "no-cache"
            return
        response.headers["Cache-Control"] = "max-age=0, private, must-revalidate"
        tag = response.headers["ETag"] = _tag(response.body)
        if request.method in {"GET", "HEAD"} and _is_named(tag, request.headers.get("if-none-match", "")):
            response.status, response.body = HTTPStatus.NOT_MODIFIED.value, b""


def _tag(body: bytes) -> str:
    """A weak tag of 32 hexadecimal digits."""
    return f'W/"{hashlib.sha1(body, usedforsecurity=False).hexdigest()[:32]}"'


def _is_named(tag: str, given: str) -> bool:
    return bool(given) and (given == "*" or tag in (one.strip() for one in given.split(",")))
