"""
One clock for many processes. It advances by a small step once every process has handled the step before.

So a worker does as much between two steps on a busy machine as on an idle one, and the sandbox's time between a read
and the request that follows it does not depend on real seconds.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import selectors
import socket
import tempfile
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType

from blocks.sandbox.running import RunningSandbox

STEP = 0.1
"""Seconds by which each step advances the clock."""

LOOP_ROUNDS = 5
"""Rounds of a worker's event loop before the clock may advance again, so that the tasks that wake up can act."""

TIMEOUT = 120.0
"""Real seconds after which a process that does not respond counts as hung."""


class SharedClock:
    """
    A context manager that advances a sandbox's clock while processes use it.

    The clock stands still while no process uses it. It does not wait for processes that have ended.
    """

    def __init__(self, sandbox: RunningSandbox) -> None:
        self._sandbox = sandbox
        self._folder = tempfile.TemporaryDirectory(prefix="clock-")
        self.address = str(Path(self._folder.name) / "socket")
        """Where processes connect; see `TickingClock`."""
        self._selector = selectors.DefaultSelector()
        self._server = socket.socket(socket.AF_UNIX)
        self._unanswered: set[socket.socket] = set()
        self._is_over = False
        self._failed: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._now = sandbox.clock()
        self._sleeping = 0

    def __enter__(self) -> SharedClock:
        self._server.bind(self.address)
        self._server.listen(64)
        self._selector.register(self._server, selectors.EVENT_READ)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._is_over = True
        self._thread.join(TIMEOUT)
        for connection in self._processes:
            connection.close()
        self._server.close()
        self._selector.close()
        self._folder.cleanup()

    async def sleep(self, seconds: float) -> None:
        """Sleep for `seconds` of the sandbox's time."""
        start = self._now
        self._sleeping += 1
        try:
            while (self._now - start).total_seconds() < seconds:
                if self._failed is not None:
                    raise RuntimeError("the clock has stopped") from self._failed
                await asyncio.sleep(0.005)
        finally:
            self._sleeping -= 1

    @property
    def _processes(self) -> list[socket.socket]:
        listening = self._selector.get_map().values()
        return [key.fileobj for key in listening if isinstance(key.fileobj, socket.socket) and key.data == "process"]

    def _run(self) -> None:
        try:
            while not self._is_over:
                is_used = bool(self._processes) or self._sleeping > 0
                self._receive(0.0 if is_used else 0.02)
                if is_used:
                    self._move()
        except BaseException as error:  # noqa: BLE001 - raised in every task that sleeps
            self._failed = error

    def _move(self) -> None:
        self._now = self._sandbox.advance(STEP)
        for connection in self._processes:
            try:
                connection.sendall(f"{self._now.timestamp()}\n".encode())
                self._unanswered.add(connection)
            except OSError:
                self._drop(connection)
        deadline = time.monotonic() + TIMEOUT
        while self._unanswered and not self._is_over:
            if time.monotonic() > deadline:
                raise TimeoutError("a process does not respond to the clock")
            self._receive(0.05)

    def _receive(self, timeout: float) -> None:
        for key, _ in self._selector.select(timeout):
            connection = key.fileobj
            assert isinstance(connection, socket.socket)
            if connection is self._server:
                self._selector.register(self._server.accept()[0], selectors.EVENT_READ, "process")
                continue
            said = b""
            with suppress(OSError):
                said = connection.recv(4096)
            if said:
                self._unanswered.discard(connection)
            else:
                self._drop(connection)

    def _drop(self, connection: socket.socket) -> None:
        self._selector.unregister(connection)
        self._unanswered.discard(connection)
        connection.close()


class TickingClock:
    """A process's side of a `SharedClock`: it wakes the tasks of this process as the shared clock advances."""

    def __init__(self) -> None:
        self._seconds = 0.0
        self._order = itertools.count()
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []

    def monotonic(self) -> float:
        return self._seconds

    def now(self) -> datetime:
        return datetime.fromtimestamp(self._seconds, UTC)

    async def sleep(self, seconds: float) -> None:
        future = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._seconds + seconds, next(self._order), future))
        await future

    async def follow(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Handle every step of the shared clock until it ends."""
        while await self.handle_step(reader, writer):
            pass

    async def handle_step(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Handle one step. Returns False if the shared clock has ended."""
        line = await reader.readline()
        if not line:
            return False
        self._seconds = float(line)
        while self._sleepers and self._sleepers[0][0] <= self._seconds:
            sleeper = heapq.heappop(self._sleepers)[2]
            if not sleeper.done():
                sleeper.set_result(None)
        for _ in range(LOOP_ROUNDS):
            await asyncio.sleep(0)
        writer.write(b"\n")
        await writer.drain()
        return True


@asynccontextmanager
async def following(address: str) -> AsyncIterator[TickingClock]:
    """A clock that follows the `SharedClock` at this address."""
    reader, writer = await asyncio.open_unix_connection(address)
    clock = TickingClock()
    await clock.handle_step(reader, writer)
    follower = asyncio.create_task(clock.follow(reader, writer))
    try:
        yield clock
    finally:
        follower.cancel()
        writer.close()
