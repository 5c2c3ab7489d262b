"""Several runs at once, runs that are cancelled or have a full disk, and connections that are cut."""

from __future__ import annotations

import asyncio
import signal
from typing import Any

import pytest
from chaos.checker import Auditor
from chaos.crew import Crew, until_hit, until_posted
from chaos.proxy import CableProxy
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
async def test_sweeps_that_run_at_the_same_time_renew_everybody_once(
    merchant: Merchant, crew: Crew, workers: int
) -> None:
    merchant.sandbox.seed(30)
    auditor = Auditor(merchant.sandbox.database)

    results = [await worker.wait() for worker in [crew.hire(merchant) for _ in range(workers)]]

    assert all(result and result["error"] is None for result in results), results
    await renewed_once(merchant, auditor)


async def test_a_sweep_and_a_run_for_some_of_its_subscriptions_renew_everybody_once(
    merchant: Merchant, crew: Crew
) -> None:
    named = merchant.sandbox.seed(12)["subscription_ids"][3:6]
    auditor = Auditor(merchant.sandbox.database)

    workers = [crew.hire(merchant), crew.hire(merchant, parameters={"subscriptions": named})]
    results = [await worker.wait() for worker in workers]

    assert all(result and result["error"] is None for result in results), results
    await renewed_once(merchant, auditor)


@pytest.mark.parametrize("reordered_first", ["sweep", pytest.param("reorder", marks=pytest.mark.chaos)])
async def test_a_sweep_and_reorders_of_the_same_source_orders_make_one_copy_for_each_that_was_asked_for(
    merchant: Merchant, crew: Crew, reordered_first: str
) -> None:
    sources = merchant.sandbox.seed(3)["source_order_ids"]
    auditor = Auditor(merchant.sandbox.database)
    auditor.asked_by_hand = {"goodwill-1", "goodwill-2"}
    asked = [(sources[0], "goodwill-1"), (sources[0], "goodwill-1"), (sources[1], "goodwill-2")]
    also = {"besides_renewal": True}
    reorders = [{"source_order_id": source, "reference": reference, **also} for source, reference in asked]
    jobs: list[dict[str, Any]] = [{"flow": "reorder", "parameters": each} for each in reorders]
    jobs.insert(0 if reordered_first == "sweep" else len(jobs), {"flow": "sweep"})

    results = [await worker.wait() for worker in [crew.hire(merchant, **job) for job in jobs]]

    assert all(result and result["error"] is None for result in results), results
    await renewed_once(merchant, auditor)
    findings = auditor.audit(merchant.sandbox.clock())
    assert findings.by_hand == 2
    assert len(merchant.copies()) == 5 + findings.surplus


async def test_sweeps_whose_creations_arrive_late_place_one_order_for_each_period(
    merchant: Merchant, crew: Crew
) -> None:
    merchant.sandbox.seed(12)
    auditor = Auditor(merchant.sandbox.database)
    merchant.sandbox.fault("late", method="POST", path="/api/order_copies", seconds=40, share=0.5)

    workers = [crew.hire(merchant) for _ in range(3)]
    for worker in workers:
        await worker.wait()

    merchant.sandbox.clear_faults()
    merchant.sandbox.advance(60)
    await renewed_once(merchant, auditor)


async def test_a_run_cancelled_while_its_creation_is_on_its_way_is_finished_by_the_next(
    merchant: Merchant, crew: Crew
) -> None:
    merchant.sandbox.seed(3)
    auditor = Auditor(merchant.sandbox.database)
    on_its_way = {"method": "POST", "path": "/api/order_copies", "answer": "at_commit", "seconds": 600}
    merchant.sandbox.fault("late", **on_its_way, nth=[2])
    worker = crew.hire(merchant)
    await until_hit(merchant, worker)
    worker.send(signal.SIGINT)
    await asyncio.to_thread(worker.ended.wait, 60)

    merchant.sandbox.advance(600)
    await renewed_once(merchant, auditor)


async def test_a_worker_whose_disk_is_full_renews_nobody_twice(merchant: Merchant, crew: Crew) -> None:
    merchant.sandbox.seed(5)
    auditor = Auditor(merchant.sandbox.database)

    worker = crew.hire(merchant, disk_is_full=True)
    await asyncio.to_thread(worker.ended.wait, 120)

    await renewed_once(merchant, auditor)


async def test_a_cable_to_commerce_layer_that_is_pulled_in_the_middle_costs_nobody_a_second_order(
    merchant: Merchant,
) -> None:
    box = merchant.sandbox
    box.seed(8)
    auditor = Auditor(box.database)
    with CableProxy(box.url) as cable:
        urls = (cable.url("/api"), cable.url("/oauth/token"))
        credentials = credentials_for(box.organization, box.client_id, box.client_secret, "test", *urls, UNLIMITED)
        await install(credentials, credentials_name=merchant.name, policy_name=merchant.name)
        sweep = asyncio.create_task(merchant.sweep())
        await until_posted(merchant, 3)
        cable.cut()
        await asyncio.sleep(0.2)
        cable.mend()
        await sweep
        await renewed_once(merchant, auditor, sweeps=2)
