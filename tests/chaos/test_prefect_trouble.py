"""The Prefect server dies, fills its disk, or is cut off, in the middle of a sweep."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import pytest_asyncio
from chaos.checker import Auditor
from chaos.crew import Crew, Worker, let_leases_expire
from chaos.own_prefect import OwnPrefect
from chaos.proxy import CableProxy
from flows.tasks.prompt_client import prompt_client, promptly
from flows.tasks.writer_limits import read_limits
from merchant import Merchant, open_merchant
from prefect.client.schemas.actions import GlobalConcurrencyLimitUpdate
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.cli.installation import move_here
from flows.cli.prefect_server import free_port

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(600)]

IMPATIENT = {"lease": 60.0, "repossession": -59.9, "publish_within": 5.0, "wait": 120.0}
"""Frees the slots of forgotten leases at once, as if somebody had waited for minutes."""


@pytest.fixture(scope="module", params=["memory", "filesystem"])
def prefect(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnPrefect]:
    with OwnPrefect(tmp_path_factory.mktemp("prefect"), request.param) as server:
        yield server


@pytest_asyncio.fixture
async def merchant(prefect: OwnPrefect) -> AsyncIterator[Merchant]:
    with temporary_settings({PREFECT_API_URL: prefect.api_url}):
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
        await crew.hire(merchant, prefect=prefect.api_url, **job).wait(200)
    findings = auditor.audit(merchant.sandbox.clock())
    assert findings.is_clean, findings.complaints
    assert findings.renewals == 12


async def test_a_prefect_server_killed_and_restarted_in_the_middle(
    merchant: Merchant, crew: Crew, prefect: OwnPrefect
) -> None:
    auditor = Auditor(merchant.sandbox.database)
    merchant.sandbox.fault("delay", method="POST", path="/api/order_copies", seconds=0.3)
    worker = crew.hire(merchant, prefect=prefect.api_url)
    await until_posted(merchant, worker, 2)
    prefect.kill()
    merchant.sandbox.clear_faults()
    prefect.start()  # not in a thread: the server would end with it

    # In memory, it has forgotten the leases, and kept the slots: only a waiter who notices can go on. In files, it
    # knows them all, and the holder may even go on by itself.
    job = {"lease_times": IMPATIENT} if prefect.storage == "memory" else {}
    await finished(merchant, crew, prefect, auditor, worker, **job)


async def test_a_prefect_server_whose_disk_is_full_for_a_while(
    merchant: Merchant, crew: Crew, prefect: OwnPrefect
) -> None:
    auditor = Auditor(merchant.sandbox.database)
    worker = crew.hire(merchant, prefect=prefect.api_url)
    await until_posted(merchant, worker, 2)
    with prefect.full_disk():
        another = crew.hire(merchant, prefect=prefect.api_url)
        await asyncio.sleep(5)
    another.send(signal.SIGKILL)

    await finished(merchant, crew, prefect, auditor, worker, another)


async def test_a_cable_to_prefect_that_is_pulled_in_the_middle(
    merchant: Merchant, crew: Crew, prefect: OwnPrefect
) -> None:
    auditor = Auditor(merchant.sandbox.database)
    with CableProxy(prefect.api_url) as cable:
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
