"""Scenarios for a sweep of a campaign, undisturbed or disturbed. When one ends, none of its processes still runs."""

from __future__ import annotations

import asyncio
import random
import signal
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

from chaos.customer_actions import Customers
from chaos.own_prefect import OwnPrefect
from chaos.proxy import CuttableProxy
from chaos.worker_launcher import Worker, WorkerLauncher
from chaos.worker_process import KILL_POINTS, RARE_KILL_POINTS
from merchant import UNLIMITED, Merchant

from flows.cli.installation import credentials_for, install

Scenario = Callable[[], Awaitable[None]]


class SweepScenarios:
    """All scenarios, for one merchant. Pass `prefect` if its server may be killed."""

    def __init__(
        self,
        merchant: Merchant,
        launcher: WorkerLauncher,
        customers: Customers,
        random: random.Random,
        prefect: OwnPrefect | None,
    ) -> None:
        self._merchant, self._launcher, self._customers, self._random = merchant, launcher, customers, random
        self._prefect = prefect
        self.sweeps = 0
        self.kills: Counter[str] = Counter()
        self.counts: Counter[str] = Counter()

    async def run(self, name: str) -> None:
        """Run this scenario once."""
        self.counts[name] += 1
        await self._by_name()[name]()

    def draw(self) -> str:
        """Draw a random scenario. Most are one undisturbed sweep."""
        names = [name for name in SHARES if name != "Prefect killed" or self._prefect is not None]
        return self._random.choices(names, [SHARES[name] for name in names])[0]

    def _by_name(self) -> dict[str, Scenario]:
        return {
            "alone": self.alone,
            "killed": self._killed,
            "several at once": self._several_at_once,
            "stopped and continued": self._stopped_and_continued,
            "beside reorders": self._beside_reorders,
            "connection cut": self._connection_cut,
            "worker's clock jumps": self._with_a_clock_that_jumps,
            "shop's clock set back": self._with_the_shops_clock_set_back,
            "shop restarted": self._restarted,
            "Prefect killed": self._prefect_killed,
        }

    async def alone(self) -> None:
        """One undisturbed sweep, in this process."""
        await self._merchant.sweep()
        self.sweeps += 1

    def _start_worker(self, **job: Any) -> Worker:
        prefect = {} if self._prefect is None else {"prefect": self._prefect.api_url}
        self.sweeps += job.get("flow", "sweep") == "sweep"
        return self._launcher.start(self._merchant, **prefect, **job)

    async def _kill_at_any_moment(self, worker: Worker) -> None:
        await asyncio.sleep(self._random.uniform(0.1, 1.5))
        worker.send(signal.SIGKILL)
        if await worker.wait() is None:
            self.kills["at any moment"] += 1

    async def _killed(self) -> None:
        point = self._random.choice(sorted(KILL_POINTS | RARE_KILL_POINTS))
        worker = self._start_worker(kill_at=point, nth=self._random.choice([1, 1, 2, 3]))
        if self._random.random() < 0.3:  # at a random moment instead
            await self._kill_at_any_moment(worker)
            return
        if await worker.wait() is None:
            self.kills[point] += 1

    async def _several_at_once(self) -> None:
        workers = [self._start_worker() for _ in range(self._random.choice([2, 2, 3, 4]))]
        if self._random.random() < 0.5:
            await self._kill_at_any_moment(self._random.choice(workers))
        await asyncio.gather(*(worker.wait(400) for worker in workers))

    async def _stopped_and_continued(self) -> None:
        point, nth = self._random.choice(sorted(KILL_POINTS | RARE_KILL_POINTS)), self._random.choice([1, 2])
        worker = self._start_worker(kill_at=point, nth=nth, signal=signal.SIGSTOP)
        if await worker.until_stopped():
            self._merchant.sandbox.advance(self._random.uniform(1, 3600))
            await self.alone()
            worker.send(signal.SIGCONT)
        await worker.wait(300)

    async def _beside_reorders(self) -> None:
        asked = [self._customers.ask_for_a_copy() for _ in range(2)]
        asked.append(self._random.choice(asked))  # as if a person clicked twice
        workers = [self._start_worker(flow="reorder", parameters=each) for each in asked]
        workers.append(self._start_worker())
        if self._random.random() < 0.4:
            await self._kill_at_any_moment(self._random.choice(workers))
        await asyncio.gather(*(worker.wait(400) for worker in workers))

    async def _connection_cut(self) -> None:
        box = self._merchant.sandbox
        with CuttableProxy(box.url) as proxy:
            urls = (proxy.url("/api"), proxy.url("/oauth/token"))
            credentials = credentials_for(box.organization, box.client_id, box.client_secret, "test", *urls, UNLIMITED)
            name = f"{self._merchant.name}-proxy"
            await install(credentials, credentials_name=name, policy_name=self._merchant.name)
            worker = self._start_worker(parameters={"credentials": name})
            while not worker.ended.is_set():
                await asyncio.sleep(self._random.uniform(0.2, 0.8))
                proxy.cut()
                await asyncio.sleep(self._random.uniform(0.01, 0.2))
                proxy.restore()
        await _ends(worker, 60)

    async def _with_a_clock_that_jumps(self) -> None:
        by = timedelta(hours=self._random.choice([-30, -1, 1, 30]))
        await self._start_worker(clock_jumps_by=by.total_seconds()).wait()

    async def _with_the_shops_clock_set_back(self) -> None:
        now = self._merchant.sandbox.clock()
        self._merchant.sandbox.set_clock(now - timedelta(minutes=self._random.uniform(1, 180)))
        await self.alone()
        self._merchant.sandbox.set_clock(max(now, self._merchant.sandbox.clock()))

    async def _restarted(self) -> None:
        """Restart the sandbox during a sweep in real time: a stopped sandbox's clock cannot be advanced."""
        self._merchant.sandbox.resume()
        worker = self._start_worker(advance_clock=False)
        await asyncio.sleep(self._random.uniform(0.1, 1.5))
        await asyncio.to_thread(self._merchant.sandbox.restart, kill=True)
        await _ends(worker, 200)
        self._merchant.sandbox.freeze()

    async def _prefect_killed(self) -> None:
        assert self._prefect is not None
        worker = self._start_worker()
        await asyncio.sleep(self._random.uniform(0.1, 1.5))
        self._prefect.kill()
        self._prefect.start()
        await _ends(worker, 90)


SHARES = {
    "alone": 0.63, "killed": 0.11, "several at once": 0.07, "stopped and continued": 0.04, "beside reorders": 0.04,
    "connection cut": 0.02, "worker's clock jumps": 0.03, "shop's clock set back": 0.03, "shop restarted": 0.015,
    "Prefect killed": 0.015,
}  # fmt: skip
"""How often each scenario is drawn."""


async def _ends(worker: Worker, seconds: float) -> None:
    """Wait for the worker, and kill it if it takes too long. Under such faults it may also fail."""
    if not await asyncio.to_thread(worker.ended.wait, seconds):
        worker.send(signal.SIGKILL)
        await asyncio.to_thread(worker.ended.wait, 20)
