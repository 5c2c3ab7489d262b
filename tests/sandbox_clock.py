"""The sandbox's clock for all code that waits: it moves only when every task waits."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from datetime import datetime
from typing import Any

import httpx

from blocks.sandbox.running import RunningSandbox

TURNS = 50
"""Turns of the event loop in which every task that waits for no answer gets as far as it can."""


class SandboxClock:
    """
    A clock on which waiting takes no real time: once every request is answered, it jumps to the task that wakes first.

    Tasks that wait at the same time wait through the same time. So neither the machine nor its load decides what
    happens first.

    The sandbox must be frozen, and controlled by this process alone: its clock is then read only after a control.
    """

    def __init__(self, sandbox: RunningSandbox) -> None:
        self._sandbox = sandbox
        self._controls_seen, self._present = sandbox.controls_sent, sandbox.clock()
        self._start = self._present
        self._numbers = itertools.count()
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._winder: asyncio.Task[None] | None = None

    def monotonic(self) -> float:
        return (self._read() - self._start).total_seconds()

    def now(self) -> datetime:
        return self._read()

    def _read(self) -> datetime:
        if self._controls_seen != (sent := self._sandbox.controls_sent):
            self._controls_seen, self._present = sent, self._sandbox.clock()
        return self._present

    async def sleep(self, seconds: float) -> None:
        future = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self.monotonic() + max(seconds, 0.001), next(self._numbers), future))
        if self._winder is None or self._winder.done():
            self._winder = asyncio.create_task(self._wind())
        await future

    def before_a_task_wakes(self) -> None:
        """Subclasses act here, while all tasks wait."""

    async def _wind(self) -> None:
        while self._sleepers:
            await _until_all_tasks_wait()
            at, _, future = heapq.heappop(self._sleepers)
            if future.done() or future.get_loop() is not asyncio.get_running_loop():
                continue
            try:
                self.before_a_task_wakes()
                if (left := at - self.monotonic()) > 0:
                    self._sandbox.advance(left)
            except BaseException as error:  # noqa: BLE001 - a task must not wait for ever
                future.set_exception(error)
            else:
                future.set_result(None)


class _Requests:
    """Counts the requests of this process that are not answered yet, those to Prefect included."""

    under_way = 0


async def _until_all_tasks_wait() -> None:
    turns = 0
    while turns < TURNS:
        await asyncio.sleep(0.001 if _Requests.under_way else 0)
        turns = 0 if _Requests.under_way else turns + 1


_send = httpx.AsyncClient.send


async def _send_and_count(client: httpx.AsyncClient, *given: Any, **more: Any) -> httpx.Response:
    _Requests.under_way += 1
    try:
        return await _send(client, *given, **more)
    finally:
        _Requests.under_way -= 1


httpx.AsyncClient.send = _send_and_count  # type: ignore[method-assign]  # only in tests, to count requests
