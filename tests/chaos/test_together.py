"""Several runs at once, a cancelled run, a worker with a full disk, and a cut connection."""

from __future__ import annotations

import asyncio
import signal
from typing import Any

import pytest
from chaos.checker import Auditor
from chaos.proxy import CuttableProxy
from chaos.worker_launcher import WorkerLauncher, until_hit, until_posted
from merchant import UNLIMITED, Merchant

from flows.cli.installation import credentials_for, install


async def renewed_once(merchant: Merchant, auditor: Auditor, sweeps: int = 1) -> None:
    for _ in range(sweeps):
        merchant.sandbox.advance(3600)
        await merchant.sweep()
    findings = auditor.audit(merchant.sandbox.clock())
    assert findings.is_clean, findings.complaints
    assert findings.renewals == len(auditor.contracts)


@pytest.mark.parametrize("workers", [2, pytest.param(4, marks=pytest.mark.chaos)])
async def test_concurrent_sweeps_renew_each_subscription_once(
    merchant: Merchant, launcher: WorkerLauncher, workers: int
) -> None:
    merchant.sandbox.seed(30)
    auditor = Auditor(merchant.sandbox.database)

    results = [await worker.wait() for worker in [launcher.start(merchant) for _ in range(workers)]]

    assert all(result and result["error"] is None for result in results), results
    await renewed_once(merchant, auditor)


async def test_a_sweep_and_a_concurrent_run_for_some_subscriptions_renew_each_once(
    merchant: Merchant, launcher: WorkerLauncher
) -> None:
    named = merchant.sandbox.seed(12)["subscription_ids"][3:6]
    auditor = Auditor(merchant.sandbox.database)

    workers = [launcher.start(merchant), launcher.start(merchant, parameters={"subscriptions": named})]
    results = [await worker.wait() for worker in workers]

    assert all(result and result["error"] is None for result in results), results
    await renewed_once(merchant, auditor)


@pytest.mark.parametrize("reordered_first", ["sweep", pytest.param("reorder", marks=pytest.mark.chaos)])
async def test_a_sweep_and_concurrent_reorders_place_one_order_for_each_period_and_each_reference(
    merchant: Merchant, launcher: WorkerLauncher, reordered_first: str
) -> None:
    sources = merchant.sandbox.seed(3)["source_order_ids"]
    auditor = Auditor(merchant.sandbox.database)
    auditor.asked_by_hand = {"goodwill-1", "goodwill-2"}
    asked = [(sources[0], "goodwill-1"), (sources[0], "goodwill-1"), (sources[1], "goodwill-2")]
    also = {"besides_renewal": True}
    reorders = [{"source_order_id": source, "reference": reference, **also} for source, reference in asked]
    jobs: list[dict[str, Any]] = [{"flow": "reorder", "parameters": each} for each in reorders]
    jobs.insert(0 if reordered_first == "sweep" else len(jobs), {"flow": "sweep"})

    results = [await worker.wait() for worker in [launcher.start(merchant, **job) for job in jobs]]

    assert all(result and result["error"] is None for result in results), results
    await renewed_once(merchant, auditor)
    findings = auditor.audit(merchant.sandbox.clock())
    assert findings.by_hand == 2
    assert len(merchant.copies()) == 5 + findings.surplus


async def test_sweeps_whose_creations_arrive_late_place_one_order_for_each_period(
    merchant: Merchant, launcher: WorkerLauncher
) -> None:
    merchant.sandbox.seed(12)
    auditor = Auditor(merchant.sandbox.database)
    merchant.sandbox.fault("late", method="POST", path="/api/order_copies", seconds=40, share=0.5)

    workers = [launcher.start(merchant) for _ in range(3)]
    for worker in workers:
        await worker.wait()

    merchant.sandbox.clear_faults()
    merchant.sandbox.advance(60)
    await renewed_once(merchant, auditor)


async def test_the_next_run_finishes_the_work_of_a_run_cancelled_during_a_creation(
    merchant: Merchant, launcher: WorkerLauncher
) -> None:
    merchant.sandbox.seed(3)
    auditor = Auditor(merchant.sandbox.database)
    on_its_way = {"method": "POST", "path": "/api/order_copies", "answer": "at_commit", "seconds": 600}
    merchant.sandbox.fault("late", **on_its_way, nth=[2])
    worker = launcher.start(merchant)
    await until_hit(merchant, worker)
    worker.send(signal.SIGINT)
    await asyncio.to_thread(worker.ended.wait, 60)

    merchant.sandbox.advance(600)
    await renewed_once(merchant, auditor)


async def test_a_worker_with_a_full_disk_renews_no_period_twice(merchant: Merchant, launcher: WorkerLauncher) -> None:
    merchant.sandbox.seed(5)
    auditor = Auditor(merchant.sandbox.database)

    worker = launcher.start(merchant, disk_is_full=True)
    await asyncio.to_thread(worker.ended.wait, 120)

    await renewed_once(merchant, auditor)


async def test_a_cut_connection_to_commerce_layer_causes_no_second_order(
    merchant: Merchant,
) -> None:
    box = merchant.sandbox
    box.seed(8)
    auditor = Auditor(box.database)
    with CuttableProxy(box.url) as proxy:
        urls = (proxy.url("/api"), proxy.url("/oauth/token"))
        credentials = credentials_for(box.organization, box.client_id, box.client_secret, "test", *urls, UNLIMITED)
        await install(credentials, credentials_name=merchant.name, policy_name=merchant.name)
        sweep = asyncio.create_task(merchant.sweep())
        await until_posted(merchant, 3)
        proxy.cut()
        await asyncio.sleep(0.2)
        proxy.restore()
        await sweep
        await renewed_once(merchant, auditor, sweeps=2)
