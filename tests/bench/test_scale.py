"""A sweep costs as much per renewal when it is large as when it is small, and keeps no more of it in memory."""

from __future__ import annotations

import asyncio
import gc
import heapq
import itertools
import time
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pytest
from bench.figures import READS, WRITES
from merchant import Merchant, open_merchant

from blocks.commerce_layer.clock import use_clock
from blocks.commerce_layer.transport import Transport
from blocks.sandbox.running import RunningSandbox
from flows.cli.prefect_server import PrefectServer
from flows.rules.renewal import Renewal
from flows.run.report import Report, watched_by
from flows.sweep import pacing

pytestmark = [pytest.mark.server, pytest.mark.slow, pytest.mark.timeout(900)]

FEW, MANY = 50, 200
WARMING_UP = 10
TURNS = 50
"""Turns of the event loop after which whoever can go on without an answer has gone on."""


class QuietClock:
    """
    The sandbox's clock, which moves only when nobody has anything else to do than wait.

    So neither the machine nor its load decides how old copies are when the next ones are created.
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


@dataclass
class Cost:
    """What one sweep took."""

    reads_each: float
    writes_each: float
    cpu_each: float
    most_alive: int


async def sweep_of(renewals: int, answers: Answers) -> Cost:
    async with open_merchant(first_wave=1000, second_wave=1000) as merchant:
        with use_clock(QuietClock(merchant.sandbox, answers)):
            await renew(merchant, WARMING_UP)
            merchant.sandbox.reset_counters()
            began, most_alive = time.process_time(), [0]

            def count(report: Report) -> None:
                if report.done % 10 == 0:
                    alive = sum(isinstance(each, Renewal) for each in gc.get_objects())
                    most_alive.append(alive)

            with watched_by(count):
                await renew(merchant, renewals)
            cpu = time.process_time() - began
        requests = merchant.sandbox.counters()["requests"]
    reads = sum(number for name, number in requests.items() if name.startswith("GET /api"))
    writes = sum(number for name, number in requests.items() if name.startswith(("POST /api", "PATCH /api")))
    return Cost(reads / renewals, writes / renewals, cpu / renewals, max(most_alive))


async def renew(merchant: Merchant, renewals: int) -> None:
    merchant.sandbox.seed(renewals)
    ended = await merchant.sweep()
    assert ended.outcomes == {"renewed": renewals}


async def test_a_large_sweep_costs_no_more_per_renewal_than_a_small_one(
    server: PrefectServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pacing, "PAGES_UNDER_WAY", 2)

    answers = Answers(monkeypatch)

    few, many = await sweep_of(FEW, answers), await sweep_of(MANY, answers)

    assert many.writes_each <= WRITES
    assert many.reads_each <= READS
    assert many.reads_each <= 1.1 * few.reads_each
    assert many.cpu_each <= 1.3 * few.cpu_each  # a busy machine moves CPU times a little; a leak of cost grows with N
    assert many.most_alive <= 2 * 2 * pacing.PAGE  # what is under way, and what is about to be collected
