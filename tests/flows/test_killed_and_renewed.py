"""
A sweep's process, a worker and the Prefect server are killed, one after the other, and no person helps.

The test restarts only the server, as a supervisor does in an installation. The next scheduled sweep renews what is
left.
"""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, suppress
from datetime import timedelta
from pathlib import Path

import psutil
import pytest
import pytest_asyncio
from chaos.own_prefect import OwnPrefect
from deploying import ROOT, deploy_all
from merchant import Merchant
from prefect.client.orchestration import get_client
from prefect.client.schemas.schedules import IntervalSchedule
from prefect.settings import PREFECT_API_URL, temporary_settings

from blocks.commerce_layer.rate_limit import RateLimits
from blocks.sandbox.running import RunningSandbox
from flows.cli.installation import credentials_for, install
from flows.cli.prefect_server import SETTINGS, PrefectServer, private_settings
from flows.cli.processes import process

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900), pytest.mark.xdist_group("killed")]

SWEEP = "renew-subscriptions/renew-subscriptions"
PATIENCE = 280.0
"""Seconds within which the next sweep must have renewed."""


@pytest.fixture(scope="module")
def prefect(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnPrefect]:
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("PREFECT_SERVER_SERVICES_SCHEDULER_LOOP_SECONDS", "3")
        home = tmp_path_factory.mktemp("killed")
        with OwnPrefect(home) as server, temporary_settings({PREFECT_API_URL: server.api_url}):
            asyncio.run(_deploy_to(server, home))
            yield server


async def _deploy_to(server: OwnPrefect, home: Path) -> None:
    deploy_all(PrefectServer(server.url, private_settings(home, server.url), None, home / "x.log"))  # type: ignore[arg-type]  # its process is not used
    async with get_client() as api:
        sweep = await api.read_deployment_by_name(SWEEP)
        (schedule,) = sweep.schedules
        often = IntervalSchedule(interval=timedelta(seconds=20))
        await api.update_deployment_schedule(sweep.id, schedule.id, schedule=often)


class Workers:
    """Two workers that poll the pool, as on two machines: when one dies, the other takes the next run."""

    def __init__(self, server: OwnPrefect, folder: Path) -> None:
        self._stack = ExitStack()
        settings = {
            **private_settings(folder, server.url),
            "PREFECT_WORKER_QUERY_SECONDS": "1",
            "PYTHONPATH": str(ROOT),
        }
        command = [sys.executable, "-m", "prefect", "worker", "start", "--pool", "perennial", "--limit", "1"]
        self.alive = [
            self._stack.enter_context(
                process([*command, "--name", name], settings, folder / f"{name}.log", without=SETTINGS)
            )
            for name in ("one", "two")
        ]

    def end(self) -> None:
        self._stack.close()

    def kill_a_sweep(self) -> bool:
        """SIGKILL every process that runs a sweep. Returns whether there was one."""
        running = [child for worker in self.alive for child in _children(worker)]
        for child in running:
            _kill(child)
        return bool(running)

    def kill_a_worker_that_sweeps(self) -> bool:
        """SIGKILL one worker in the middle of a sweep, and its sweep with it."""
        for worker in self.alive:
            if children := _children(worker):
                for each in (worker, *children):
                    _kill(each)
                self.alive.remove(worker)
                return True
        return False


def _children(worker: psutil.Process) -> list[psutil.Process]:
    with suppress(psutil.Error):
        return worker.children(recursive=True)
    return []


def _kill(one: psutil.Process) -> None:
    with suppress(psutil.Error):
        one.send_signal(signal.SIGKILL)


@pytest.fixture
def workers(prefect: OwnPrefect, tmp_path: Path) -> Iterator[Workers]:
    started = Workers(prefect, tmp_path)
    yield started
    started.end()


@pytest_asyncio.fixture
async def merchant(prefect: OwnPrefect) -> AsyncIterator[Merchant]:
    with RunningSandbox("--limits", "off") as box:
        unlimited = RateLimits(unlimited=True)
        given = (box.organization, box.client_id, box.client_secret, "test", box.api_url, box.auth_url, unlimited)
        await install(credentials_for(*given))  # type: ignore[arg-type] # as they are declared
        yield Merchant(box)


async def until(is_so: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not is_so():
        assert time.monotonic() < deadline, f"not within {PATIENCE:.0f} s: {what}"
        await asyncio.sleep(0.05)


async def in_the_middle_of_a_sweep(merchant: Merchant) -> None:
    """Wait until the next sweep has created the first of two copies, and waits for the shop's answer."""
    before = len(merchant.copies())
    merchant.sandbox.fault("delay", method="POST", path="/api/order_copies", seconds=3)
    merchant.sandbox.seed(2)
    await until(lambda: len(merchant.copies()) > before, "a sweep has begun")


async def test_the_next_sweep_renews_after_its_process_a_worker_and_the_server_were_killed(
    merchant: Merchant, prefect: OwnPrefect, workers: Workers
) -> None:
    await in_the_middle_of_a_sweep(merchant)
    await until(workers.kill_a_sweep, "there is a sweep to kill")
    merchant.sandbox.clear_faults()
    await until(lambda: len(merchant.placed()) == 2, "renewed after a sweep was killed")

    await in_the_middle_of_a_sweep(merchant)
    await until(workers.kill_a_worker_that_sweeps, "there is a worker to kill")
    merchant.sandbox.clear_faults()
    await until(lambda: len(merchant.placed()) == 4, "renewed after a worker was killed")

    await in_the_middle_of_a_sweep(merchant)
    prefect.kill()
    merchant.sandbox.clear_faults()
    prefect.start()
    await until(lambda: len(merchant.placed()) == 6, "renewed after the server was killed")

    assert len(set(merchant.placed())) == 6, "no period is charged twice"
