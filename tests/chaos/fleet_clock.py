"""
One clock for several processes, for which waiting takes no real time: once all of them wait, it jumps to the first that
wakes.

`SharedClock` advances by a tenth of a second, whether anybody wakes then or not. This clock skips what nobody waits
for, which makes a sweep several times as fast.

A process counts as waiting when its event loop has nothing to do and none of its requests is under way. So what happens
between two jumps depends on no real second. Requests of several processes meet the sandbox at the same instant of its
clock, and the machine decides in which order.
"""

from __future__ import annotations

import asyncio
import gc
import heapq
import http.client
import itertools
import json
import math
import os
import selectors
import socket
import traceback
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NoReturn
from urllib.parse import urlsplit

from blocks.sandbox.running import RunningSandbox

GRID = 0.25
"""Seconds: the clock stops only at multiples, so that processes that wake almost together wake together."""

ROUNDING = 1e-4
"""Seconds by which instants may differ that are meant to be the same: the sandbox's clock counts milliseconds."""

SILENCE = 600.0
"""Real seconds after which a process that does not say that it waits counts as hung."""

Work = Callable[["ProcessClock"], Awaitable[dict[str, Any]]]


@dataclass
class ForkedProcess:
    """A process on the clock, as its parent sees it."""

    pid: int
    connection: socket.socket
    wakes_at: float | None = None
    """When the first of its tasks wakes (POSIX seconds); None while it works."""
    unread: bytes = b""
    result: dict[str, Any] | None = None
    """What its work returned; None if it was killed or failed."""
    exit_code: int = field(default=0)
    """Minus the signal that killed it, or its exit status."""


class CommonClock:
    """
    The parent's side: it forks processes and advances the sandbox's clock until they have ended.

    The sandbox must be frozen, and nobody else may move its clock meanwhile.
    """

    def __init__(self, sandbox: RunningSandbox) -> None:
        self._sandbox = sandbox
        # `RunningSandbox.set_clock` takes a millisecond, and a sweep needs a hundred jumps.
        self._control = http.client.HTTPConnection(urlsplit(sandbox.url).netloc, timeout=SILENCE)
        self._running: list[ForkedProcess] = []
        self._selector = selectors.DefaultSelector()

    def fork(self, work: Work) -> ForkedProcess:
        """Start a process that does this work. It waits on a `ProcessClock`, and may be killed at any time."""
        ours, theirs = socket.socketpair()
        now = self._sandbox.clock().timestamp()
        pid = os.fork()
        if pid == 0:
            # A process that kept these would hide from the others that their parent has died.
            for connection in [ours, *(each.connection for each in self._running)]:
                connection.close()
            _work_and_exit(work, theirs, now)
        theirs.close()
        process = ForkedProcess(pid, ours)
        self._running.append(process)
        self._selector.register(ours, selectors.EVENT_READ, process)
        return process

    def run(self) -> None:
        """
        Advance the clock until all processes have ended.

        Raises:
            TimeoutError: a process neither works nor says that it waits.
        """
        while self._running:
            working = any(each.wakes_at is None for each in self._running)
            if working or self._next_stop() == math.inf:
                self._receive()
            else:
                self._jump()
        self._control.close()
        self._selector.close()

    def _next_stop(self) -> float:
        first = min(each.wakes_at for each in self._running if each.wakes_at is not None)
        return math.ceil((first - ROUNDING) / GRID) * GRID if first < math.inf else math.inf

    def _jump(self) -> None:
        now = self._move_to(datetime.fromtimestamp(self._next_stop(), UTC))
        for process in self._running:
            if process.wakes_at is not None and process.wakes_at <= now + ROUNDING:
                process.wakes_at = None
                with suppress(OSError):  # it was killed; the end of its connection says so
                    process.connection.sendall(f"{now!r}\n".encode())

    def _move_to(self, instant: datetime) -> float:
        self._control.request("POST", "/_sandbox/clock", json.dumps({"set": instant.isoformat()}))
        answer = json.loads(self._control.getresponse().read())
        return datetime.fromisoformat(answer["now"]).timestamp()

    def _receive(self) -> None:
        ready = self._selector.select(SILENCE)
        if not ready:
            raise TimeoutError("a process neither works nor says that it waits")
        for key, _ in ready:
            process: ForkedProcess = key.data
            said = b""
            with suppress(OSError):
                said = process.connection.recv(65536)
            if not said:
                self._has_ended(process)
                continue
            *lines, process.unread = (process.unread + said).split(b"\n")
            for line in lines:
                self._understand(process, json.loads(line))

    def _understand(self, process: ForkedProcess, said: dict[str, Any]) -> None:
        if "result" in said:
            process.result, process.wakes_at = said["result"], None
        else:
            process.wakes_at = said["wakes_at"] if said["wakes_at"] is not None else math.inf

    def _has_ended(self, process: ForkedProcess) -> None:
        self._selector.unregister(process.connection)
        process.connection.close()
        self._running.remove(process)
        process.exit_code = os.waitstatus_to_exitcode(os.waitpid(process.pid, 0)[1])


class ProcessClock:
    """The process's side: the clock on which its tasks wait."""

    def __init__(self, connection: socket.socket, now: float) -> None:
        self._connection, self._now = connection, now
        self._loop = asyncio.get_running_loop()
        self._numbers = itertools.count()
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._requests_under_way = 0
        self._said: float | None = None
        """What the parent knows about the next waking; None while it thinks that this process works."""
        self._is_checking = False
        self._loop.add_reader(connection.fileno(), self._receive)

    def monotonic(self) -> float:
        return self._now

    def now(self) -> datetime:
        return datetime.fromtimestamp(self._now, UTC)

    async def sleep(self, seconds: float) -> None:
        future = self._loop.create_future()
        heapq.heappush(self._sleepers, (self._now + max(seconds, 0.001), next(self._numbers), future))
        self._check_soon()
        await future

    @contextmanager
    def request_under_way(self) -> Iterator[None]:
        """The clock stands still while this context is open in any process."""
        self._requests_under_way += 1
        try:
            yield
        finally:
            self._requests_under_way -= 1
            self._check_soon()

    def _check_soon(self) -> None:
        if not self._is_checking:
            self._is_checking = True
            self._loop.call_soon(self._check)

    def _check(self) -> None:
        """Say that this process waits, if all its tasks do."""
        if self._loop._ready:  # type: ignore[attr-defined]  # tasks that can go on: there is no public name for it
            self._loop.call_soon(self._check)
            return
        self._is_checking = False
        while self._sleepers and self._sleepers[0][2].done():
            heapq.heappop(self._sleepers)
        wakes_at = self._sleepers[0][0] if self._sleepers else math.inf
        if not self._requests_under_way and wakes_at != self._said:
            self._said = wakes_at
            self._send({"wakes_at": wakes_at if wakes_at < math.inf else None})

    def _receive(self) -> None:
        said = self._connection.recv(4096)
        if not said:
            os._exit(1)  # the parent has died
        self._now, self._said = float(said.split()[-1]), None
        while self._sleepers and self._sleepers[0][0] <= self._now + ROUNDING:
            sleeper = heapq.heappop(self._sleepers)[2]
            if not sleeper.done():
                sleeper.set_result(None)
        self._check_soon()

    def _send(self, said: dict[str, Any]) -> None:
        self._connection.sendall(json.dumps(said).encode() + b"\n")

    def report(self, result: dict[str, Any]) -> None:
        """Tell the parent what came of the work."""
        self._loop.remove_reader(self._connection.fileno())
        self._send({"result": result})


def _work_and_exit(work: Work, connection: socket.socket, now: float) -> NoReturn:
    async def on_the_clock() -> None:
        clock = ProcessClock(connection, now)
        clock.report(await work(clock))

    status = 1
    gc.disable()  # it lives for seconds, and the collector would copy the memory that it shares with its parent
    try:
        asyncio.run(on_the_clock())
        status = 0
    except BaseException:  # noqa: BLE001 - the shard's log shows the error
        traceback.print_exc()
    finally:
        os._exit(status)
