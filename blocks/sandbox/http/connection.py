"""
HTTP/1.1 on a bare asyncio transport.

The sandbox does what a web server is built to prevent: it resets a connection instead of answering, stops in the middle
of a body, and announces more bytes than it sends. So it implements HTTP itself. That is also fast: a request costs
tens of microseconds here.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable
from http import HTTPStatus

from blocks.sandbox.http.messages import BODYLESS, Delivery, Request, Response
from blocks.sandbox.http.request_parsing import MalformedRequestError, parse_request

_LINGER_ZERO = struct.pack("ii", 1, 0)  # close() then sends RST instead of FIN
_DISCARD_SECONDS = 2.0
_REASONS = {status.value: status.phrase for status in HTTPStatus}

Handler = Callable[[Request], "Response | Awaitable[Response]"]


class HttpConnection(asyncio.Protocol):
    """One connection. Requests are answered in order; pipelined ones wait."""

    def __init__(self, handler: Handler, connections: set[HttpConnection]) -> None:
        self._handler = handler
        self._connections = connections
        self._buffer = bytearray()
        self._busy = False
        self._is_refused = False
        self._task: asyncio.Task[None] | None = None
        self._lost = asyncio.Event()
        self._transport: asyncio.Transport
        self._peer = ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport and the address of the peer."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        peer = transport.get_extra_info("peername")
        self._peer = peer[0] if isinstance(peer, tuple) else "local"
        self._connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """
        Forget the connection.

        A request that is being handled goes on: a real server also finishes a request after its client has gone.
        """
        del exc
        self._connections.discard(self)
        self._lost.set()

    def data_received(self, data: bytes) -> None:
        """Collect bytes and answer every complete request in them."""
        if self._is_refused:
            return
        self._buffer += data
        if not self._busy:
            self._serve_buffer()

    def close(self) -> None:
        """End the connection now."""
        self._transport.abort()

    def _serve_buffer(self) -> None:
        while not self._busy and self._buffer:
            try:
                request = parse_request(self._buffer, self._peer, self._send_continue)
            except MalformedRequestError as bad:
                self._refuse(bad)
                return
            if request is None:
                return
            self._serve(request)

    def _refuse(self, bad: MalformedRequestError) -> None:
        """Answer, then read and discard for a while: closing with unread bytes resets, and may destroy the answer."""
        self._buffer.clear()
        self._is_refused = True
        self._transport.write(_head(bad.status, "text/plain", len(bad.message), {"Connection": "close"}))
        self._transport.write(bad.message.encode())
        self._transport.write_eof()
        asyncio.get_running_loop().call_later(_DISCARD_SECONDS, self._transport.close)

    def _send_continue(self) -> None:
        self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _serve(self, request: Request) -> None:
        answer = self._handler(request)
        if isinstance(answer, Response) and answer.delivery is Delivery.WHOLE:
            self._send(request, answer)
            return
        self._busy = True
        self._task = asyncio.ensure_future(self._serve_slowly(request, answer))

    async def _serve_slowly(self, request: Request, answer: Response | Awaitable[Response]) -> None:
        try:
            response = answer if isinstance(answer, Response) else await answer
            if not self._transport.is_closing():
                await self._deliver(request, response)
        finally:
            self._busy = False
        if not self._transport.is_closing():
            self._serve_buffer()

    async def _deliver(self, request: Request, response: Response) -> None:
        match response.delivery:
            case Delivery.WHOLE:
                self._send(request, response)
            case Delivery.RESET:
                self._reset()
            case Delivery.CLOSE:
                self._transport.close()
            case Delivery.NEVER:
                await self._lost.wait()
            case Delivery.TRUNCATED:
                await self._send_half(response)
            case Delivery.SLOW:
                await self._send_slowly(request, response)

    def _send(self, request: Request, response: Response) -> None:
        body = b"" if request.method == "HEAD" or response.status in BODYLESS else response.body
        headers = response.headers if request.keep_alive else {**response.headers, "Connection": "close"}
        self._transport.write(_head(response.status, response.content_type, len(response.body), headers) + body)
        if not request.keep_alive:
            self._transport.close()

    def _reset(self) -> None:
        sock = self._transport.get_extra_info("socket")
        if sock is not None and sock.family != getattr(socket, "AF_UNIX", None):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_ZERO)
        self._transport.abort()

    async def _send_half(self, response: Response) -> None:
        head = _head(response.status, response.content_type, len(response.body), response.headers)
        self._transport.write(head + response.body[: len(response.body) // 2])
        await asyncio.sleep(0.02)  # after a reset, the peer's kernel discards what it has not delivered yet
        self._reset()

    async def _send_slowly(self, request: Request, response: Response) -> None:
        self._transport.write(_head(response.status, response.content_type, len(response.body), response.headers))
        pieces = 10
        size = max(1, -(-len(response.body) // pieces))
        for start in range(0, len(response.body), size):
            await asyncio.sleep(response.seconds / pieces)
            if self._transport.is_closing():
                return
            self._transport.write(response.body[start : start + size])
        if not request.keep_alive:
            self._transport.close()


def _head(status: int, content_type: str, length: int, headers: dict[str, str]) -> bytes:
    lines = [f"HTTP/1.1 {status} {_REASONS.get(status, 'Unknown')}"]
    if status not in BODYLESS:
        lines.append(f"Content-Type: {content_type}\r\nContent-Length: {length}")
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1", "replace")
