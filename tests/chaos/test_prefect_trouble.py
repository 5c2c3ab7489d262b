"""In the middle of a sweep, the Prefect server dies, has a full disk, or is cut off."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio
from chaos.checker import Auditor
from chaos.crew import Crew, Worker, until_posted
from chaos.own_prefect import OwnPrefect
from chaos.proxy import CableProxy
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


async def finished(merchant: Merchant, crew: Crew, prefect: OwnPrefect, auditor: Auditor, *disturbed: Worker) -> None:
    """Wait until the disturbed workers end, or end them; another one does the rest."""
    for worker in disturbed:
        if not await asyncio.to_thread(worker.ended.wait, 60):
            worker.kill()
            await worker.wait()
    for _ in range(2):
        await crew.hire(merchant, prefect=prefect.api_url).wait(200)
    findings = auditor.audit(merchant.sandbox.clock())
    assert findings.is_clean, findings.complaints
    assert findings.renewals == 12


async def test_a_prefect_server_killed_and_restarted_in_the_middle(
    merchant: Merchant, crew: Crew, prefect: OwnPrefect
) -> None:
    auditor = Auditor(merchant.sandbox.database)
    merchant.sandbox.fault("delay", method="POST", path="/api/order_copies", seconds=0.3)
    worker = crew.hire(merchant, prefect=prefect.api_url)
    await until_posted(merchant, 2, worker)
    prefect.kill()
    merchant.sandbox.clear_faults()
    prefect.start()  # not in a thread: the server would end with it

    await finished(merchant, crew, prefect, auditor, worker)


async def test_a_prefect_server_whose_disk_is_full_for_a_while(
    merchant: Merchant, crew: Crew, prefect: OwnPrefect
) -> None:
    auditor = Auditor(merchant.sandbox.database)
    worker = crew.hire(merchant, prefect=prefect.api_url)
    await until_posted(merchant, 2, worker)
    with prefect.full_disk():
        another = crew.hire(merchant, prefect=prefect.api_url)
        await asyncio.sleep(5)
    another.kill()

    await finished(merchant, crew, prefect, auditor, worker, another)


async def test_a_cable_to_prefect_that_is_pulled_in_the_middle(
    merchant: Merchant, crew: Crew, prefect: OwnPrefect
) -> None:
    auditor = Auditor(merchant.sandbox.database)
    with CableProxy(prefect.api_url) as cable:
        worker = crew.hire(merchant, prefect=cable.url())
        await until_posted(merchant, 2, worker)
        cable.cut()
        await asyncio.sleep(3)
        cable.mend()

        await finished(merchant, crew, prefect, auditor, worker)


async def test_without_prefect_nobody_is_renewed(merchant: Merchant, crew: Crew) -> None:
    worker = crew.hire(merchant, prefect=f"http://127.0.0.1:{free_port()}/api")
    await asyncio.to_thread(worker.ended.wait, 60)
    worker.kill()
    assert merchant.copies() == []
