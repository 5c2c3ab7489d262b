"""A server on loopback that answers exactly as a test says, down to single bytes and resets."""

from __future__ import annotations

import asyncio
import base64
import heapq
import itertools
import json
import socket
import struct
import threading
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from pydantic import SecretStr

from blocks.commerce_layer.client import CommerceLayer
from blocks.commerce_layer.transport import Timeouts

SECRET = "s3cret-of-the-integration"
MEDIA_TYPE = "application/vnd.api+json"


@dataclass(frozen=True)
class Seen:
    """A request as it arrived."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: Any


class Connection:
    """The server's side of one request: every way to answer, or not to answer."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def send(self, status: int, body: bytes, headers: dict[str, str], *, promise: int | None = None) -> None:
        head = {"Content-Length": str(len(body) if promise is None else promise), "Content-Type": MEDIA_TYPE, **headers}
        lines = "".join(f"{name}: {value}\r\n" for name, value in head.items())
        self.writer.write(f"HTTP/1.1 {status} Odd\r\n{lines}\r\n".encode() + body)
        await self.writer.drain()

    def close(self) -> None:
        self.writer.close()

    def reset(self) -> None:
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


Reply = Callable[[Connection, Seen], Awaitable[None]]


def answer(status: int, document: Any = None, **headers: str) -> Reply:
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}

    async def reply(connection: Connection, _: Seen) -> None:
        await connection.send(status, body, named)

    return reply


async def reset(connection: Connection, _: Seen) -> None:
    connection.reset()


async def hang_up(connection: Connection, _: Seen) -> None:
    connection.close()


async def silence(connection: Connection, _: Seen) -> None:
    await asyncio.sleep(30)
    connection.close()


async def truncated(connection: Connection, _: Seen) -> None:
    await connection.send(201, b'{"data": {"id"', {}, promise=5000)
    connection.close()


async def slow_body(connection: Connection, _: Seen) -> None:
    await connection.send(201, b"{", {}, promise=5000)
    for _ in range(100):
        await asyncio.sleep(0.1)
        connection.writer.write(b" ")


def refusal(status: int, code: str, detail: str = "", pointer: str = "") -> Reply:
    item = {
        "title": code.title(),
        "code": code,
        "detail": detail,
        "status": str(status),
        "source": {"pointer": pointer},
    }
    return answer(status, {"errors": [item]})


def throttled(remaining: int = 0, interval: int = 60) -> Reply:
    """The 429 as recorded: `errors` is an object, not an array as elsewhere, and `Retry-After` is meaningless."""
    return answer(
        429,
        {"errors": {"title": "Too Many Requests", "code": "THROTTLED", "status": 429}},
        X_Ratelimit_Limit="100",
        X_Ratelimit_Interval=str(interval),
        X_Ratelimit_Remaining=str(remaining),
        Retry_After="0",
    )


def jwt(*, slug: str = "acme", test: bool = True, exp: float = 4e9, nonce: int = 0) -> str:
    payload = {
        "organization": {"id": "orgOrgOrgO", "slug": slug, "enterprise": False},
        "application": {"id": "appAppAppA", "kind": "integration"},
        "test": test,
        "exp": exp,
        "rand": nonce,
    }
    encoded = base64.urlsafe_b64encode(json.dumps(payload).encode()).rstrip(b"=").decode()
    return f"eyJhbGciOiJIUzUxMiJ9.{encoded}.c2ln{nonce}"


def token_answer(token: str, expires_in: float = 7200) -> Reply:
    return answer(200, {"access_token": token, "token_type": "Bearer", "expires_in": expires_in, "created_at": 1})


class Shop:
    """A server on loopback. `on(...)` queues replies for a request; the last one stays."""

    def __init__(self) -> None:
        self.seen: list[Seen] = []
        self.connections = 0
        self._replies: dict[tuple[str, str], deque[Reply]] = defaultdict(deque)
        self._nonce = itertools.count()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)
        self._thread.start()
        self._ready.wait(5)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def on(self, method: str, path: str, *replies: Reply) -> None:
        self._replies[method, path] = deque(replies)

    def requests(self, method: str, path: str) -> list[Seen]:
        return [seen for seen in self.seen if (seen.method, seen.path) == (method, path)]

    def stop(self) -> None:
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stopped.set)
            self._thread.join(5)

    async def _serve(self) -> None:
        self._loop, self._stopped = asyncio.get_running_loop(), asyncio.Event()
        server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stopped.wait()
        server.close()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        connection = Connection(reader, writer)
        try:
            while not writer.is_closing():
                seen = await self._request(reader)
                self.seen.append(seen)
                await self._reply_to(seen)(connection, seen)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def _request(self, reader: asyncio.StreamReader) -> Seen:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        start, *lines = head.strip().split("\r\n")
        method, target, _ = start.split(" ")
        headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        parts = urlsplit(target)
        return Seen(method, parts.path, dict(parse_qsl(parts.query)), headers, json.loads(body) if body else None)

    def _reply_to(self, seen: Seen) -> Reply:
        replies = self._replies.get((seen.method, seen.path))
        if replies:
            return replies.popleft() if len(replies) > 1 else replies[0]
        if seen.path == "/oauth/token":
            return token_answer(jwt(nonce=next(self._nonce)))
        return refusal(404, "RECORD_NOT_FOUND")


class HandClock:
    """A clock on which waiting takes no time: once every task waits, it jumps to when the first one wakes."""

    def __init__(self) -> None:
        self._seconds, self._order = 1000.0, itertools.count()
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._winder: asyncio.Task[None] | None = None
        self.slept: list[float] = []

    def monotonic(self) -> float:
        return self._seconds

    def now(self) -> datetime:
        return datetime(2026, 3, 1, tzinfo=UTC) + timedelta(seconds=self._seconds)

    def advance(self, seconds: float) -> None:
        self._seconds += seconds

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        future = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._seconds + seconds, next(self._order), future))
        if self._winder is None or self._winder.done():
            self._winder = asyncio.create_task(self._wind())
        await future

    async def _wind(self) -> None:
        while self._sleepers:
            for _ in range(20):  # let every task run that can
                await asyncio.sleep(0)
            at, _, future = heapq.heappop(self._sleepers)
            self._seconds = max(self._seconds, at)
            if not future.done():
                future.set_result(None)


def client_of(shop: Shop, **changes: Any) -> CommerceLayer:
    return CommerceLayer(
        **{
            "api_url": f"{shop.url}/api",
            "auth_url": f"{shop.url}/oauth/token",
            "organization": "acme",
            "client_id": "client-id",
            "client_secret": SecretStr(SECRET),
            "mode": "test",
            "timeouts": Timeouts(connect=2, read=0.5, write=2, whole=1),
            **changes,
        }
    )


def resource(kind: str, name: str, *, links: dict[str, Any] | None = None, **attributes: Any) -> dict[str, Any]:
    """A resource as the API sends it; `links` maps relationships to their linkage."""
    related = {name: {"links": {"self": "..."}, "data": data} for name, data in (links or {}).items()}
    return {
        "id": name,
        "type": kind,
        "links": {"self": f"https://acme.commercelayer.io/api/{kind}/{name}"},
        "attributes": attributes,
        "relationships": {"events": {"links": {"related": "..."}}, **related},
        "meta": {"mode": "test", "organization_id": "orgOrgOrgO", "trace_id": "0" * 64},
    }


def copy_document(name: str = "copyCopyCo", **attributes: Any) -> dict[str, Any]:
    return {"data": resource("order_copies", name, **{"status": "pending", "metadata": None, **attributes})}


def page(
    *resources: dict[str, Any], included: list[dict[str, Any]] | None = None, count: int | None = None
) -> dict[str, Any]:
    return {
        "data": list(resources),
        "included": included or [],
        "meta": {"record_count": len(resources) if count is None else count, "page_count": 1},
    }
