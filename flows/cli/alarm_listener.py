"""A webhook on this machine, so that alarms can be seen without a chat to send them to."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@contextmanager
def listening(heard: Callable[[dict[str, Any]], None]) -> Iterator[str]:
    """
    Listen on a free port of the loopback interface until the block ends; yields the URL.

    `heard` is called, in another thread, with what is posted as JSON; anything else is answered 400.
    """

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            said: Any = None
            with suppress(ValueError):
                said = json.loads(body)
            if isinstance(said, dict):
                heard(said)
            self.send_response(HTTPStatus.NO_CONTENT if isinstance(said, dict) else HTTPStatus.BAD_REQUEST)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Keep the terminal for what is heard."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, name="perennial-alarms", daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/alarms"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
