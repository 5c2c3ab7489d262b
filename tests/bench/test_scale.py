"""A large sweep costs no more per renewal than a small one, and needs no more memory."""

from __future__ import annotations

import gc
import time
from dataclasses import dataclass

import pytest
from bench.figures import READS, WRITES
from merchant import Merchant, open_merchant
from prefect.events.worker import EventsWorker

from blocks.commerce_layer.jsonapi import PAGE_SIZE
from flows.cli.prefect_server import PrefectServer
from flows.rules.renewal import Renewal
from flows.run.report import Report, watched_by
from flows.sweep import pacing

pytestmark = [pytest.mark.server, pytest.mark.slow, pytest.mark.timeout(900)]

FEW, MANY = 50, 400
WARMING_UP = 10


@dataclass
class Cost:
    """What one sweep cost."""

    reads_each: float
    writes_each: float
    cpu_each: float
    most_alive: int


async def sweep_of(renewals: int) -> Cost:
    async with open_merchant(first_wave=1000, second_wave=1000) as merchant:
        await renew(merchant, WARMING_UP)
        merchant.sandbox.reset_counters()
        began, most_alive = time.process_time(), [0]

        def count(report: Report) -> None:
            if report.done % 10 == 0:
                # Events that wait to be sent keep renewals in memory, and how many wait depends on the machine.
                EventsWorker.instance().wait_until_empty()
                alive = sum(isinstance(each, Renewal) for each in gc.get_objects())
                most_alive.append(alive)

        with watched_by(count):
            await renew(merchant, renewals)
        cpu = time.process_time() - began
        requests = merchant.sandbox.counters()["requests"]
    reads = sum(number for name, number in requests.items() if name.startswith("GET /api"))
    writes = sum(number for name, number in requests.items() if name.startswith(("POST /api", "PATCH /api")))
    return Cost(reads / renewals, writes / renewals, cpu / renewals, max(most_alive))


async def renew(merchant: Merchant, renewals: int) -> None:
    merchant.sandbox.seed(renewals)
    ended = await merchant.sweep()
    assert ended.outcomes == {"renewed": renewals}


async def test_a_large_sweep_costs_no_more_per_renewal_than_a_small_one(
    server: PrefectServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pacing, "RENEWALS_UNDER_WAY", 2 * PAGE_SIZE)

    few, many = await sweep_of(FEW), await sweep_of(MANY)

    assert many.writes_each <= WRITES + 1 / MANY  # one write asks whether subscriptions may be written
    assert many.reads_each <= READS
    assert many.reads_each <= 1.1 * few.reads_each
    assert many.cpu_each <= 1.3 * few.cpu_each  # CPU times vary a little on a busy machine; a real problem grows with N
    assert many.most_alive <= 2 * 2 * PAGE_SIZE  # what is under way, and what is about to be collected
