"""The headers that every answer of the API has beside those of the rate limits, as recorded."""

from __future__ import annotations

from http import HTTPStatus
from itertools import count
from random import Random
from uuid import UUID
from zlib import crc32

from blocks.sandbox.http.messages import Request, Response

_LAST_GROUP = "000000000000"  # of a UUID
_VARY = "Accept, Accept-Encoding, Origin"
_TAGGED = {200, 201}


class StandardHeaders:
    """Adds them; the ids of requests are the same for the same seed, and each is another."""

    def __init__(self, seed: int) -> None:
        bits = Random(f"{seed}:request ids").getrandbits(128)  # noqa: S311  reproducible, not secret
        self._id_prefix = str(UUID(int=bits, version=4))[: -len(_LAST_GROUP)]
        self._requests = count(1)

    def add(self, request: Request, response: Response) -> None:
        """Add the headers; a caller that names the ETag in `If-None-Match` has the document, and gets 304."""
        response.headers["X-Request-Id"] = f"{self._id_prefix}{next(self._requests):012x}"
        response.headers["Vary"] = _VARY
        if response.status not in _TAGGED:
            response.headers["Cache-Control"] = "no-cache"
            return
        response.headers["Cache-Control"] = "max-age=0, private, must-revalidate"
        tag = response.headers["ETag"] = _tag(response.body)
        if request.method in {"GET", "HEAD"} and _is_named(tag, request.headers.get("if-none-match", "")):
            response.status, response.body = HTTPStatus.NOT_MODIFIED.value, b""


def _tag(body: bytes) -> str:
    """A weak tag of 32 hexadecimal digits: checksum and length, since a digest would slow down long lists."""
    return f'W/"{crc32(body):08x}{len(body):024x}"'


def _is_named(tag: str, given: str) -> bool:
    return bool(given) and (given == "*" or tag in (one.strip() for one in given.split(",")))
