"""During a sweep, the Prefect server dies, has a full disk, or loses its connection to the worker."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio
from chaos.checker import Auditor
from chaos.own_prefect import OwnPrefect
from chaos.proxy import CuttableProxy
from chaos.worker_launcher import Worker, WorkerLauncher, until_posted
from merchant import Merchant, open_merchant
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.cli.prefect_server import free_port

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def prefect(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnPrefect]:
    with OwnPrefect(tmp_path_factory.mktemp("prefect")) as server:
        yield server


@pytest_asyncio.fixture
async def merchant(prefect: OwnPrefect) -> AsyncIterator[Merchant]:
    with temporary_settings({PREFECT_API_URL: prefect.api_url}):
        async with open_merchant(brake_share=1.0, max_unconfirmed=1000) as opened:
            opened.sandbox.seed(12)
            yield opened


async def finished(
    merchant: Merchant, launcher: WorkerLauncher, prefect: OwnPrefect, auditor: Auditor, *disturbed: Worker
) -> None:
    """Wait for the disturbed workers, or kill them. Then two more sweeps must finish the renewals."""
    for worker in disturbed:
        if not await asyncio.to_thread(worker.ended.wait, 60):
            worker.kill()
            await worker.wait()
    for _ in range(2):
        await launcher.start(merchant, prefect=prefect.api_url).wait(200)
    findings = auditor.audit(merchant.sandbox.clock())
    assert findings.is_clean, findings.complaints
    assert findings.renewals == 12


async def test_each_period_is_renewed_once_when_the_prefect_server_is_killed_and_restarted(
    merchant: Merchant, launcher: WorkerLauncher, prefect: OwnPrefect
) -> None:
    auditor = Auditor(merchant.sandbox.database)
    merchant.sandbox.fault("delay", method="POST", path="/api/order_copies", seconds=0.3)
    worker = launcher.start(merchant, prefect=prefect.api_url)
    await until_posted(merchant, 2, worker)
    prefect.kill()
    merchant.sandbox.clear_faults()
    prefect.start()  # not in a thread: the server would end with that thread

    await finished(merchant, launcher, prefect, auditor, worker)


async def test_each_period_is_renewed_once_when_the_disk_of_the_prefect_server_is_full(
    merchant: Merchant, launcher: WorkerLauncher, prefect: OwnPrefect
) -> None:
    auditor = Auditor(merchant.sandbox.database)
    worker = launcher.start(merchant, prefect=prefect.api_url)
    await until_posted(merchant, 2, worker)
    with prefect.full_disk():
        another = launcher.start(merchant, prefect=prefect.api_url)
        await asyncio.sleep(5)
    another.kill()

    await finished(merchant, launcher, prefect, auditor, worker, another)


async def test_each_period_is_renewed_once_when_the_connection_to_prefect_is_cut(
    merchant: Merchant, launcher: WorkerLauncher, prefect: OwnPrefect
) -> None:
    auditor = Auditor(merchant.sandbox.database)
    with CuttableProxy(prefect.api_url) as proxy:
        worker = launcher.start(merchant, prefect=proxy.url())
        await until_posted(merchant, 2, worker)
        proxy.cut()
        await asyncio.sleep(3)
        proxy.restore()

        await finished(merchant, launcher, prefect, auditor, worker)


async def test_without_prefect_nothing_is_renewed(merchant: Merchant, launcher: WorkerLauncher) -> None:
    worker = launcher.start(merchant, prefect=f"http://127.0.0.1:{free_port()}/api")
    await asyncio.to_thread(worker.ended.wait, 60)
    worker.kill()
    assert merchant.copies() == []
