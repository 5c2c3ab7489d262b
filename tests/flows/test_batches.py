from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import pytest_asyncio
from chaos.checker import Auditor
from deploying import at_work, deploy_all
from merchant import Merchant
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterName, FlowFilter, FlowFilterName
from prefect.client.schemas.objects import FlowRun

from blocks.sandbox.running import RunningSandbox
from flows.cli.prefect_server import PrefectServer
from flows.run.context import open_run
from flows.run.report import open_report
from flows.sweep import batching
from flows.sweep.batching import BATCHES_AT_ONCE, Batches

WORKERS = ("first", "second")

pytestmark = [pytest.mark.server, pytest.mark.slow, pytest.mark.timeout(900), pytest.mark.xdist_group("workers")]


@pytest.fixture(scope="module")
def pool(server: PrefectServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The deployments, and two workers that take one run each at a time."""
    deploy_all(server)
    with at_work(server, tmp_path_factory.mktemp("workers"), WORKERS):
        yield


@pytest.fixture
def two_more(server: PrefectServer, pool: None, tmp_path: Path) -> Iterator[None]:
    """Two more workers, so four in all."""
    with at_work(server, tmp_path, ("third", "fourth")):
        yield


@pytest_asyncio.fixture
async def shop() -> AsyncIterator[Merchant]:
    """A merchant whose sandbox keeps real time, since the workers' processes cannot share a clock that a test moves."""
    with RunningSandbox("--limits", "off", "--copy-seconds", "0.2", "--queue-seconds", "0.1") as sandbox:
        yield Merchant(sandbox)


class NoShuffle(random.Random):
    """Shuffles nothing, so that a test knows which subscriptions come first."""

    def shuffle(self, x: Any) -> None:
        pass


async def batches_of(merchant: Merchant) -> list[FlowRun]:
    """The runs of batches that were started for this merchant, oldest first."""
    async with get_client() as api:
        runs = await api.read_flow_runs(
            flow_filter=FlowFilter(name=FlowFilterName(any_=["renew-batch"])),
            deployment_filter=DeploymentFilter(name=DeploymentFilterName(any_=["renew-batch"])),
        )
    mine = [run for run in runs if run.parameters["credentials"] == merchant.name]
    return sorted(mine, key=lambda run: run.created or run.expected_start_time)


async def test_the_workers_of_the_pool_share_a_large_sweep(shop: Merchant, pool: None) -> None:
    await shop.install(first_wave=2, second_wave=4, batch_size=25)
    shop.sandbox.seed(60)

    ended = await shop.sweep(distribute=True)

    copies = shop.copies()
    runs = await batches_of(shop)
    assert ended.name == "Completed"
    assert ended.outcomes == {"renewed": 60}
    assert len(copies) == len({row["reference"] for row in copies}) == 60
    assert len(runs) >= 3
    # Each order is placed, each renewal is recorded, and each run asks once whether it may write.
    assert ended.facts["requests"]["PATCH"] == 2 * 60 + 1 + len(runs)
    assert sum(len(run.parameters["subscription_ids"]) for run in runs) == 54
    sweeps = [json.loads(row["metadata"])["perennial"].get("parent_flow_run_id") for row in copies]
    assert (sweeps.count(str(ended.flow_run_id)), sweeps.count(None)) == (54, 6)


async def test_two_large_sweeps_at_once_renew_each_subscription_once(shop: Merchant, pool: None) -> None:
    await shop.install(first_wave=1, second_wave=1, batch_size=5)
    shop.sandbox.seed(9)

    first, second = await asyncio.gather(shop.sweep(distribute=True), shop.sweep(distribute=True))

    copies = shop.copies()
    assert len(copies) == len({row["reference"] for row in copies}) == 9
    assert first.outcomes.get("renewed", 0) + second.outcomes.get("renewed", 0) == 9


@pytest.mark.chaos
async def test_four_workers_whose_answers_are_lost_renew_each_subscription_once(shop: Merchant, two_more: None) -> None:
    lenient = {"brake_share": 1.0, "max_unconfirmed": 1000, "settle_seconds": 5}
    await shop.install(first_wave=1, second_wave=1, batch_size=10, **lenient)
    shop.sandbox.seed(42)
    auditor = Auditor(shop.sandbox.database)
    shop.sandbox.fault("reset", when="after", method="POST", path="/api/order_copies", share=0.15)
    shop.sandbox.fault("reset", when="before", method="POST", path="/api/order_copies", share=0.15)
    shop.sandbox.fault("status", status=502, when="after", method="PATCH", path="/api/*", share=0.15)

    await asyncio.gather(shop.sweep(distribute=True), shop.sweep(distribute=True))
    shop.sandbox.clear_faults()
    await shop.sweep(distribute=True)

    findings = auditor.audit(shop.sandbox.clock())
    assert findings.is_clean, findings
    assert findings.renewals == 42
    assert len({run.parameters["subscription_ids"][0] for run in await batches_of(shop)}) >= 4


async def test_a_batch_that_is_started_twice_is_one_run(shop: Merchant, pool: None) -> None:
    await shop.install()

    @flow
    async def start_twice() -> list[UUID]:
        async with open_run(shop.name, shop.name, None) as opened, open_report(opened) as report, get_client() as api:
            of_sweep = Batches(opened, report, api)
            same = [await of_sweep.start("batch 1 of 1", ["one", "two"]) for _ in range(2)]
            other = await of_sweep.start("batch 1 of 1", ["one", "three"])
        return [run.id for run in (*same, other)]

    first, again, other = await start_twice()

    assert first == again != other


async def test_no_further_batch_is_started_once_one_was_stopped(
    shop: Merchant, pool: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flows.tasks.find_due.random.Random", NoShuffle)
    await shop.install(first_wave=2, second_wave=2, batch_size=4, brake_share=0.2)
    seeded = shop.sandbox.seed(64)
    sources = dict(zip(seeded["subscription_ids"], seeded["source_order_ids"], strict=True))
    for subscription_id in sorted(sources)[4:]:
        shop.sandbox.set_failure(sources[subscription_id], "declined")

    ended = await shop.sweep(distribute=True)

    assert ended.name == "Failed"
    assert "Stopped" in ended.message
    # Two batches that run and two that wait for a worker are started at first; none after the first has stopped.
    assert len(await batches_of(shop)) == BATCHES_AT_ONCE
    assert len(shop.copies()) <= 4 + 4 * BATCHES_AT_ONCE


async def test_a_sweep_says_what_is_missing_when_there_is_no_deployment_for_batches(
    shop: Merchant, server: PrefectServer
) -> None:
    await shop.install(first_wave=1, second_wave=1, batch_size=1)
    shop.sandbox.seed(3)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(batching, "DEPLOYMENT", "renew-batch/not-there")
        ended = await shop.sweep(distribute=True)

    assert ended.name == "Failed"
    assert "prefect deploy --all" in ended.message
    assert ended.outcomes == {"renewed": 2}
    assert ended.facts["left"] == 1


async def test_a_sweep_that_fits_into_one_batch_starts_no_batch(shop: Merchant, server: PrefectServer) -> None:
    await shop.install(batch_size=5)
    shop.sandbox.seed(5)

    ended = await shop.sweep(distribute=True)

    assert ended.outcomes == {"renewed": 5}
    assert await batches_of(shop) == []
