"""The Prefect server dies, fills its disk, or is cut off, in the middle of a sweep."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from chaos.checker import Auditor
from chaos.crew import Crew, Worker, let_leases_expire
from chaos.proxy import CableProxy
from merchant import Merchant, open_merchant
from prefect.client.schemas.actions import GlobalConcurrencyLimitUpdate
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.installation import move_here
from flows.services import free_port, private_settings, process, wait_until_it_answers
from flows.tasks.prompt_client import prompt_client, promptly
from flows.tasks.writer_limits import read_limits

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(600)]

IMPATIENT = {"lease": 60.0, "repossession": -59.9, "publish_within": 5.0, "wait": 120.0}
"""Frees the slots of forgotten leases at once, as if somebody had waited for minutes."""


class OwnPrefect:
    """A Prefect server that keeps leases in memory, as Prefect does by default, and that may be killed."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self.url = f"http://127.0.0.1:{free_port()}"
        self._stack = ExitStack()
        self._child: subprocess.Popen[bytes]

    def start(self) -> None:
        settings = private_settings(self._home, self.url)
        settings["PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE"] = "prefect.server.concurrency.lease_storage.memory"
        port = self.url.rpartition(":")[2]
        command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", port]
        self._child = self._stack.enter_context(process(command, settings, self._home / "server.log"))
        wait_until_it_answers(f"{self.url}/api/health", self._child, self._home / "server.log")

    def kill(self) -> None:
        os.killpg(self._child.pid, signal.SIGKILL)
        self._child.wait()

    def stop(self) -> None:
        self._stack.close()

    @contextmanager
    def full_disk(self) -> Iterator[None]:
        """No file of the server may grow, nor be written at all."""
        numbers = (int(folder.name) for folder in Path("/proc").iterdir() if folder.name.isdigit())
        pids = [pid for pid in numbers if self._is_ours(pid)]
        for pid in pids:
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
        yield
        for pid in pids:
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))

    def _is_ours(self, pid: int) -> bool:
        try:
            return os.getpgid(pid) == self._child.pid
        except ProcessLookupError:
            return False


@pytest.fixture(scope="module")
def prefect(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnPrefect]:
    server = OwnPrefect(tmp_path_factory.mktemp("prefect"))
    try:
        server.start()
        yield server
    finally:
        server.stop()


@pytest_asyncio.fixture
async def merchant(prefect: OwnPrefect) -> AsyncIterator[Merchant]:
    with temporary_settings({PREFECT_API_URL: f"{prefect.url}/api"}):
        async with prompt_client() as api:  # nobody lives between two tests
            for name in await read_limits(api):
                free = GlobalConcurrencyLimitUpdate(active_slots=0)
                await promptly(api.update_global_concurrency_limit, name, free)
        async with open_merchant(brake_share=1.0, max_unconfirmed=1000) as opened:
            opened.sandbox.seed(12)
            yield opened


async def until_posted(merchant: Merchant, worker: Worker, count: int) -> None:
    async with asyncio.timeout(90):
        while merchant.sandbox.counters()["requests"].get("POST /api/order_copies", 0) < count:
            assert not worker.ended.is_set()
            await asyncio.sleep(0.01)


async def finished(
    merchant: Merchant, crew: Crew, prefect: OwnPrefect, auditor: Auditor, *disturbed: Worker, **job: Any
) -> None:
    """Let the disturbed workers come to their end, or end them; another one does the rest."""
    for worker in disturbed:
        if not await asyncio.to_thread(worker.ended.wait, 60):
            worker.send(signal.SIGKILL)
            await worker.wait()
    if not job:
        await let_leases_expire(merchant, *disturbed)
    for _ in range(2):
        await crew.hire(merchant, prefect=f"{prefect.url}/api", **job).wait(200)
    findings = auditor.audit(merchant.sandbox.clock())
    assert findings.is_clean, findings
    assert findings.renewals == 12


async def test_a_prefect_server_killed_and_restarted_in_the_middle(
    merchant: Merchant, crew: Crew, prefect: OwnPrefect
) -> None:
    auditor = Auditor(merchant.sandbox.database)
    merchant.sandbox.fault("delay", method="POST", path="/api/order_copies", seconds=0.3)
    worker = crew.hire(merchant, prefect=f"{prefect.url}/api")
    await until_posted(merchant, worker, 2)
    prefect.kill()
    merchant.sandbox.clear_faults()
    prefect.start()  # not in a thread: the server would end with it

    # It has forgotten the leases, and kept the slots: only a waiter who notices can go on.
    await finished(merchant, crew, prefect, auditor, worker, lease_times=IMPATIENT)


async def test_a_prefect_server_whose_disk_is_full_for_a_while(
    merchant: Merchant, crew: Crew, prefect: OwnPrefect
) -> None:
    auditor = Auditor(merchant.sandbox.database)
    worker = crew.hire(merchant, prefect=f"{prefect.url}/api")
    await until_posted(merchant, worker, 2)
    with prefect.full_disk():
        another = crew.hire(merchant, prefect=f"{prefect.url}/api")
        await asyncio.sleep(5)
    another.send(signal.SIGKILL)

    await finished(merchant, crew, prefect, auditor, worker, another)


async def test_a_cable_to_prefect_that_is_pulled_in_the_middle(
    merchant: Merchant, crew: Crew, prefect: OwnPrefect
) -> None:
    auditor = Auditor(merchant.sandbox.database)
    with CableProxy(f"{prefect.url}/api") as cable:
        with temporary_settings({PREFECT_API_URL: cable.url()}):
            await move_here()
        worker = crew.hire(merchant, prefect=cable.url())
        await until_posted(merchant, worker, 2)
        cable.cut()
        await asyncio.sleep(3)
        cable.mend()

        await finished(merchant, crew, prefect, auditor, worker)


async def test_without_prefect_nobody_is_renewed(merchant: Merchant, crew: Crew) -> None:
    worker = crew.hire(merchant, prefect=f"http://127.0.0.1:{free_port()}/api")
    await asyncio.to_thread(worker.ended.wait, 60)
    worker.send(signal.SIGKILL)
    assert merchant.copies() == []
