"""A TCP proxy that can cut all connections."""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from types import TracebackType
from urllib.parse import urlsplit, urlunsplit


class CuttableProxy:
    """Forwards a local port to `target` (a URL). `cut` drops all connections and refuses new ones until `restore`."""

    def __init__(self, target: str) -> None:
        self._target = urlsplit(target)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._writers: set[asyncio.StreamWriter] = set()
        self._is_cut = False
        self.cuts = 0
        self._server: asyncio.Server
        self.port = 0

    def __enter__(self) -> CuttableProxy:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(10)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.cut()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    def url(self, path: str | None = None) -> str:
        """The target's address through this proxy."""
        return urlunsplit((self._target.scheme, f"127.0.0.1:{self.port}", path or self._target.path, "", ""))

    def cut(self) -> None:
        """Drop every connection, and refuse new ones."""
        self._is_cut, self.cuts = True, self.cuts + 1
        done = threading.Event()
        self._loop.call_soon_threadsafe(self._drop_all, done)
        done.wait(10)

    def restore(self) -> None:
        """Accept connections again."""
        self._is_cut = False

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._forward, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    def _drop_all(self, done: threading.Event) -> None:
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()
        done.set()

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._is_cut:
            writer.transport.abort()
            return
        try:
            far_reader, far_writer = await asyncio.open_connection(self._target.hostname, self._target.port)
        except OSError:
            writer.transport.abort()
            return
        self._writers |= {writer, far_writer}
        await asyncio.gather(self._pump(reader, far_writer), self._pump(far_reader, writer))
        self._writers -= {writer, far_writer}

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while some := await reader.read(65536):
                writer.write(some)
                await writer.drain()
        with suppress(OSError, RuntimeError):
            writer.close()
