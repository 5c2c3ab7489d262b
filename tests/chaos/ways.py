"""The ways in which a run of a campaign ends, or is ended. None leaves anything running."""

from __future__ import annotations

import asyncio
import random
import signal
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

from chaos.crew import Crew, Worker
from chaos.customer_actions import Customers
from chaos.own_prefect import OwnPrefect
from chaos.proxy import CableProxy
from chaos.worker_process import PLACES, SIDE_PLACES
from merchant import UNLIMITED, Merchant

from flows.cli.installation import credentials_for, install

Way = Callable[[], Awaitable[None]]


class Ways:
    """All of them, for one merchant. `prefect` is given when its server may be killed."""

    def __init__(
        self, merchant: Merchant, crew: Crew, customers: Customers, dice: random.Random, prefect: OwnPrefect | None
    ) -> None:
        self._merchant, self._crew, self._customers, self._dice = merchant, crew, customers, dice
        self._prefect = prefect
        self.sweeps = 0
        self.kills: Counter[str] = Counter()
        self.taken: Counter[str] = Counter()

    async def take(self, name: str) -> None:
        """Run once in this way."""
        self.taken[name] += 1
        await self._known()[name]()

    def draw(self) -> str:
        """A random one; most runs are alone and undisturbed."""
        names = [name for name in SHARES if name != "Prefect killed" or self._prefect is not None]
        return self._dice.choices(names, [SHARES[name] for name in names])[0]

    def _known(self) -> dict[str, Way]:
        return {
            "alone": self.alone,
            "killed": self._killed,
            "several at once": self._several_at_once,
            "stopped and continued": self._stopped_and_continued,
            "beside reorders": self._beside_reorders,
            "cable cut": self._cable_cut,
            "worker's clock jumps": self._with_a_clock_that_jumps,
            "shop's clock set back": self._with_the_shops_clock_set_back,
            "shop restarted": self._restarted,
            "Prefect killed": self._prefect_killed,
        }

    async def alone(self) -> None:
        """In this process."""
        await self._merchant.sweep()
        self.sweeps += 1

    def _hire(self, **job: Any) -> Worker:
        prefect = {} if self._prefect is None else {"prefect": self._prefect.api_url}
        self.sweeps += job.get("flow", "sweep") == "sweep"
        return self._crew.hire(self._merchant, **prefect, **job)

    async def _kill_at_any_moment(self, worker: Worker) -> None:
        await asyncio.sleep(self._dice.uniform(0.1, 1.5))
        worker.send(signal.SIGKILL)
        if await worker.wait() is None:
            self.kills["at any moment"] += 1

    async def _killed(self) -> None:
        place = self._dice.choice(sorted(PLACES | SIDE_PLACES))
        worker = self._hire(die_at=place, nth=self._dice.choice([1, 1, 2, 3]))
        if self._dice.random() < 0.3:  # at a random moment in between
            await self._kill_at_any_moment(worker)
            return
        if await worker.wait() is None:
            self.kills[place] += 1

    async def _several_at_once(self) -> None:
        workers = [self._hire() for _ in range(self._dice.choice([2, 2, 3, 4]))]
        if self._dice.random() < 0.5:
            await self._kill_at_any_moment(self._dice.choice(workers))
        await asyncio.gather(*(worker.wait(400) for worker in workers))

    async def _stopped_and_continued(self) -> None:
        place, nth = self._dice.choice(sorted(PLACES | SIDE_PLACES)), self._dice.choice([1, 2])
        worker = self._hire(die_at=place, nth=nth, signal=signal.SIGSTOP)
        if await worker.until_stopped():
            self._merchant.sandbox.advance(self._dice.uniform(1, 3600))
            await self.alone()
            worker.send(signal.SIGCONT)
        await worker.wait(300)

    async def _beside_reorders(self) -> None:
        asked = [self._customers.asks_for_a_copy() for _ in range(2)]
        asked.append(self._dice.choice(asked))  # a person clicked twice
        workers = [self._hire(flow="reorder", parameters=each) for each in asked]
        workers.append(self._hire())
        if self._dice.random() < 0.4:
            await self._kill_at_any_moment(self._dice.choice(workers))
        await asyncio.gather(*(worker.wait(400) for worker in workers))

    async def _cable_cut(self) -> None:
        box = self._merchant.sandbox
        with CableProxy(box.url) as cable:
            urls = (cable.url("/api"), cable.url("/oauth/token"))
            credentials = credentials_for(box.organization, box.client_id, box.client_secret, "test", *urls, UNLIMITED)
            name = f"{self._merchant.name}-cable"
            await install(credentials, credentials_name=name, policy_name=self._merchant.name)
            worker = self._hire(parameters={"credentials": name})
            while not worker.ended.is_set():
                await asyncio.sleep(self._dice.uniform(0.2, 0.8))
                cable.cut()
                await asyncio.sleep(self._dice.uniform(0.01, 0.2))
                cable.mend()
        await _ends(worker, 60)

    async def _with_a_clock_that_jumps(self) -> None:
        by = timedelta(hours=self._dice.choice([-30, -1, 1, 30]))
        await self._hire(clock_jumps_by=by.total_seconds()).wait()

    async def _with_the_shops_clock_set_back(self) -> None:
        now = self._merchant.sandbox.clock()
        self._merchant.sandbox.set_clock(now - timedelta(minutes=self._dice.uniform(1, 180)))
        await self.alone()
        self._merchant.sandbox.set_clock(max(now, self._merchant.sandbox.clock()))

    async def _restarted(self) -> None:
        """In the middle of a run in real time, because the clock of a stopped sandbox cannot be advanced."""
        self._merchant.sandbox.resume()
        worker = self._hire(wind=False)
        await asyncio.sleep(self._dice.uniform(0.1, 1.5))
        await asyncio.to_thread(self._merchant.sandbox.restart, kill=True)
        await _ends(worker, 200)
        self._merchant.sandbox.freeze()

    async def _prefect_killed(self) -> None:
        assert self._prefect is not None
        worker = self._hire()
        await asyncio.sleep(self._dice.uniform(0.1, 1.5))
        self._prefect.kill()
        self._prefect.start()
        await _ends(worker, 90)


SHARES = {
    "alone": 0.63, "killed": 0.11, "several at once": 0.07, "stopped and continued": 0.04, "beside reorders": 0.04,
    "cable cut": 0.02, "worker's clock jumps": 0.03, "shop's clock set back": 0.03, "shop restarted": 0.015,
    "Prefect killed": 0.015,
}  # fmt: skip
"""How often each way is chosen."""


async def _ends(worker: Worker, seconds: float) -> None:
    """Wait for it, and end it when it takes too long. With such faults it may also fail."""
    if not await asyncio.to_thread(worker.ended.wait, seconds):
        worker.send(signal.SIGKILL)
        await asyncio.to_thread(worker.ended.wait, 20)
