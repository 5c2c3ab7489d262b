"""A clock for measurements that neither the machine nor its load has a part in."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from datetime import datetime
from typing import Any

import pytest

from blocks.commerce_layer.transport import Transport
from blocks.sandbox.running import RunningSandbox

TURNS = 50
"""Turns of the event loop after which whoever can go on without an answer has gone on."""


class QuietClock:
    """
    The sandbox's clock, which moves only when nobody has anything else to do than wait.

    So neither the machine nor its load decides how old order copies are when the next ones are created.
    """

    def __init__(self, sandbox: RunningSandbox, answers: Answers) -> None:
        self._answers = answers
        self._sandbox, self._at, self._numbers = sandbox, 0.0, itertools.count()
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._winder: asyncio.Task[None] | None = None

    def monotonic(self) -> float:
        return self._at

    def now(self) -> datetime:
        return self._sandbox.clock()

    async def sleep(self, seconds: float) -> None:
        future = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._at + max(seconds, 0.001), next(self._numbers), future))
        if self._winder is None or self._winder.done():
            self._winder = asyncio.create_task(self._wind())
        await future

    async def _wind(self) -> None:
        while self._sleepers:
            await self._until_nobody_works()
            at, _, future = heapq.heappop(self._sleepers)
            if at > self._at:
                self._sandbox.advance(at - self._at)
                self._at = at
            if not future.done():
                future.set_result(None)

    async def _until_nobody_works(self) -> None:
        turns = 0
        while turns < TURNS:
            await asyncio.sleep(0)
            turns = 0 if self._answers.missing else turns + 1
            await self._answers.all_there.wait()


class Answers:
    """Knows of the requests that are not answered yet."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.missing, self.all_there = 0, asyncio.Event()
        self.all_there.set()
        send = Transport.send

        async def counted(transport: Transport, *request: Any) -> Any:
            self.missing += 1
            self.all_there.clear()
            try:
                return await send(transport, *request)
            finally:
                self.missing -= 1
                if not self.missing:
                    self.all_there.set()

        monkeypatch.setattr(Transport, "send", counted)
