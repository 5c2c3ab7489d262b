"""How many requests the sandbox itself can answer, measured by a minimal client: bytes on sockets that stay open."""

from __future__ import annotations

import json
import socket
import time
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from typing import BinaryIO
from urllib.parse import urlsplit

from blocks.sandbox.running import RunningSandbox

CONNECTIONS = 4
MEDIA_TYPE = "application/vnd.api+json"


@dataclass(frozen=True)
class Ceiling:
    """Requests a second."""

    creations: float
    lists: float
    retrievals: float

    @property
    def sentence(self) -> str:
        """The figures for people."""
        return (
            f"The sandbox itself answers {self.creations:.0f} creations, {self.lists:.0f} lists of 25 copies or "
            f"{self.retrievals:.0f} retrievals a second."
        )


def measure(renewals: int) -> Ceiling:
    """Create a copy for each of `renewals` subscriptions, then list and retrieve them."""
    with RunningSandbox("--limits", "off", "--copy-seconds", "60") as sandbox:
        sources = sandbox.seed(renewals)["source_order_ids"]
        requests = _Requests(sandbox)
        creations, made = _per_second(requests, [requests.creation(source) for source in sources])
        ids = [json.loads(body)["data"]["id"] for body in made]
        parts = [ids[start : start + 25] for start in range(0, len(ids), 25)]
        lists, _ = _per_second(requests, [requests.listing(part) for part in parts * 4])
        retrievals, _ = _per_second(requests, [requests.retrieval(each) for each in ids])
    return Ceiling(creations, lists, retrievals)


class _Requests:
    """Requests as bytes, for one sandbox."""

    def __init__(self, sandbox: RunningSandbox) -> None:
        where = urlsplit(sandbox.api_url)
        self.host, self.port, self._path = str(where.hostname), int(where.port or 80), where.path
        fields = {"grant_type": "client_credentials", "client_id": sandbox.client_id}
        body = json.dumps({**fields, "client_secret": sandbox.client_secret}).encode()
        asked = urllib.request.Request(sandbox.auth_url, body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(asked) as answer:
            self._token = json.load(answer)["access_token"]

    def creation(self, source_order_id: str) -> bytes:
        related = {"source_order": {"data": {"type": "orders", "id": source_order_id}}}
        data = {"type": "order_copies", "attributes": {"place_target_order": False}, "relationships": related}
        return self._bytes("POST", "order_copies", json.dumps({"data": data}).encode())

    def listing(self, ids: Sequence[str]) -> bytes:
        return self._bytes("GET", f"order_copies?filter[q][id_in]={','.join(ids)}&page[size]=25&include=target_order")

    def retrieval(self, copy_id: str) -> bytes:
        return self._bytes("GET", f"order_copies/{copy_id}")

    def _bytes(self, method: str, path: str, body: bytes = b"") -> bytes:
        head = (
            f"{method} {self._path}/{path} HTTP/1.1\r\nHost: {self.host}\r\nAuthorization: Bearer {self._token}\r\n"
            f"Accept: {MEDIA_TYPE}\r\nContent-Type: {MEDIA_TYPE}\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body


def _per_second(requests: _Requests, wanted: Sequence[bytes]) -> tuple[float, list[bytes]]:
    connections = [socket.create_connection((requests.host, requests.port)) for _ in range(CONNECTIONS)]
    files = [each.makefile("rb") for each in connections]
    answers = []
    try:
        began = time.perf_counter()
        for number, request in enumerate(wanted):
            turn = number % CONNECTIONS
            if number >= CONNECTIONS:
                answers.append(_answer(files[turn]))
            connections[turn].sendall(request)
        answers += [_answer(files[number % CONNECTIONS]) for number in range(len(answers), len(wanted))]
        return len(wanted) / (time.perf_counter() - began), answers
    finally:
        for each in (*files, *connections):
            each.close()


def _answer(file: BinaryIO) -> bytes:
    status = file.readline()
    length = 0
    while (line := file.readline().strip()) != b"":
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            length = int(value)
    body = file.read(length) or b""
    if not status.split()[1].startswith(b"2"):
        raise RuntimeError(f"the sandbox answered {status!r}: {body[:200]!r}")
    return body
