"""Requests as bytes: what HTTP/1.1 allows, although clients seldom send it."""

from __future__ import annotations

import json
import socket
from contextlib import closing

import pytest


@pytest.fixture
def exchange(sandbox):
    """Sends bytes and a last request that closes the connection; returns the heads and bodies of all answers."""
    host, port = sandbox.url.removeprefix("http://").split(":")

    def send(*pieces: bytes) -> list[tuple[list[str], bytes]]:
        with closing(socket.create_connection((host, int(port)), timeout=60)) as connection:
            for piece in pieces:
                connection.sendall(piece)
            connection.sendall(b"GET /_sandbox/clock HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            received = b"".join(iter(lambda: connection.recv(65_536), b""))
        return list(_answers(received))

    return send


def _answers(received):
    while received:
        head, _, rest = received.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        length = next((int(line.split(":")[1]) for line in lines if line.lower().startswith("content-length:")), 0)
        yield lines, rest[:length]
        received = rest[length:]


def statuses(answers):
    return [head[0].split(" ")[1] for head, _ in answers]


CHUNKED = b"POST /_sandbox/clock HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    "pieces",
    [
        pytest.param([b"2\r\n{}\r\n0\r\nChecksum: abc\r\n\r\n"], id="one field"),
        pytest.param([b"2\r\n{}\r\n0\r\nChecksum: abc\r\nExpires: never\r\n\r\n"], id="two fields"),
        pytest.param([b"2\r\n{}\r\n0\r\nCheck", b"sum: abc\r\n", b"\r\n"], id="in pieces"),
        pytest.param([b"2;name=value\r\n{}\r\n0\r\n", b"\r", b"\n"], id="no field, in pieces"),
    ],
)
def test_a_chunked_body_may_have_a_trailer(exchange, pieces):
    assert statuses(exchange(CHUNKED + pieces[0], *pieces[1:])) == ["200", "200"]


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        pytest.param(b"GET /_sandbox/clock HTTP/1.1\r\nX: " + b"a" * 40_000 + b"\r\n\r\n", "431", id="long head"),
        pytest.param(CHUNKED + b"0\r\nX: " + b"a" * 40_000 + b"\r\n\r\n", "431", id="long trailer"),
        pytest.param(CHUNKED + b"2" + b";" * 40_000, "400", id="long line before a chunk"),
        pytest.param(CHUNKED + b"-2\r\n{}\r\n0\r\n\r\n", "400", id="negative chunk"),
    ],
)
def test_what_is_too_long_or_no_number_is_refused_also_where_it_comes_in_one_piece(exchange, raw, status):
    assert statuses(exchange(raw)) == [status]


def test_a_request_line_may_have_an_absolute_uri(exchange):
    answers = exchange(
        b"GET http://one.example:80/_sandbox/clock?x=1 HTTP/1.1\r\nHost: two.example\r\n\r\n",
        b"GET HTTPS://one.example?x=1 HTTP/1.1\r\nHost: two.example\r\n\r\n",
    )

    assert statuses(answers) == ["200", "404", "200"]


def test_links_are_those_of_the_host_in_the_absolute_uri(exchange, caller):
    token = caller.http.headers["Authorization"].encode()
    head = b"GET http://one.example/api/markets HTTP/1.1\r\nHost: two.example\r\nAuthorization: " + token
    (_, body), _ = exchange(head + b"\r\n\r\n")

    assert json.loads(body)["links"]["first"].startswith("http://one.example/api/markets?")
