from __future__ import annotations

import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest
from cluster.balancer import Balancer

from flows.cli.prefect_server import free_port


def serving(answer: str) -> ThreadingHTTPServer:
    class Answers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(answer.encode())

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    Thread(target=server.serve_forever, daemon=True).start()
    return server


def ask(balancer: Balancer) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{balancer.port}/", timeout=30) as answer:
        return str(answer.read().decode())


def close(server: ThreadingHTTPServer) -> None:
    server.shutdown()
    server.server_close()


def test_connections_take_turns_and_go_on_to_the_server_that_is_left() -> None:
    one, other = serving("one"), serving("other")
    with Balancer([one.server_port, other.server_port], free_port()) as balancer:
        assert {ask(balancer), ask(balancer)} == {"one", "other"}

        close(one)
        assert {ask(balancer), ask(balancer)} == {"other"}

        close(other)
        with pytest.raises((urllib.error.URLError, ConnectionError)):
            ask(balancer)
