"""A server with strict limits, on a clock that is advanced by hand."""

from __future__ import annotations

import asyncio
import random
from collections import Counter, defaultdict
from dataclasses import dataclass, field

from odd_shop import HandClock

from blocks.commerce_layer.rate_limit import RateBudget
from blocks.commerce_layer.rate_limit.budget import Kind

METHODS: dict[str, str] = {"create": "POST", "write": "PATCH", "read": "GET", "token": "POST"}


@dataclass
class StrictServer:
    """Counts arrivals in exact sliding windows, as documented, and answers after a random latency."""

    clock: HandClock
    limit: int = 100
    seconds: float = 60.0
    latency: tuple[float, float] = (0.02, 0.4)
    per_method: bool = False
    headers: bool = True
    seed: int = 7
    taken: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    times: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))

    def __post_init__(self) -> None:
        self._arrivals: list[tuple[float, str, str]] = []
        self._random = random.Random(self.seed)

    def arrive(self, method: str, endpoint: str) -> tuple[int, int]:
        now = self.clock.monotonic()
        self._arrivals = [seen for seen in self._arrivals if seen[0] > now - self.seconds]
        counted = [seen for seen in self._arrivals if not self.per_method or seen[1] == method]
        burst = [seen for seen in counted if seen[2] == endpoint and seen[0] > now - self.seconds / 6]
        if len(counted) >= self.limit or len(burst) >= self.limit // 4:
            self.refused[endpoint] += 1
            return 429, max(0, self.limit - len(counted))
        self._arrivals.append((now, method, endpoint))
        self.taken[endpoint] += 1
        self.times[endpoint].append(now)
        return 200, self.limit - len(counted) - 1

    async def request(self, budget: RateBudget, kind: Kind, endpoint: str) -> int:
        async with budget.take(kind, endpoint) as slot:
            slot.sent()
            await self.clock.sleep(self._random.uniform(*self.latency))
            status, remaining = self.arrive(METHODS[kind], endpoint)
            await self.clock.sleep(self._random.uniform(*self.latency))
            headers = {
                "x-ratelimit-limit": str(self.limit),
                "x-ratelimit-interval": str(round(self.seconds)),
                "x-ratelimit-remaining": str(remaining),
            }
            slot.observe(status, headers if self.headers else {})
        return status

    async def keep_busy(self, budget: RateBudget, kind: Kind, endpoint: str, *, workers: int = 40) -> None:
        async def work() -> None:
            while True:
                await self.request(budget, kind, endpoint)

        await asyncio.gather(*(work() for _ in range(workers)))


async def run_for(clock: HandClock, seconds: float, *work) -> None:
    tasks = [asyncio.ensure_future(one) for one in work]
    await clock.sleep(seconds)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
