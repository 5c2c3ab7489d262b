"""A sweep with the documented limits, on a virtual clock: nearly all writes are used, by few reads, without a 429."""

from __future__ import annotations

import pytest
from bench.figures import READS, SHARE, WRITES, share_of_limit
from bench.measuring import ShopData
from merchant import open_merchant

from blocks.commerce_layer.rate_limit import RateLimits
from flows.cli.prefect_server import PrefectServer

pytestmark = [pytest.mark.server, pytest.mark.slow, pytest.mark.timeout(900)]

RENEWALS = 240
WINDOW, WRITES_IN_WINDOW = 60.0, 100
OPTIONS = ("--limits", "documented", "--limit-clock", "virtual", "--copy-seconds", "9", "--queue-seconds", "1",
           "--copy-spread", "0.2")  # fmt: skip


async def test_a_long_list_uses_nearly_all_of_the_write_limit_nothing_is_refused_and_reads_are_few(
    server: PrefectServer,
) -> None:
    async with open_merchant(*OPTIONS) as merchant:
        await merchant.install(RateLimits(), first_wave=1000, second_wave=1000)
        merchant.sandbox.seed(RENEWALS)
        merchant.sandbox.reset_counters()
        ended = await merchant.sweep()
        counters, data = merchant.sandbox.counters(), ShopData.of(merchant.sandbox.database)

    assert ended.outcomes == {"renewed": RENEWALS}
    assert counters["throttled"] == 0
    assert sum(count for name, count in counters["requests"].items() if name.startswith("GET")) <= READS * RENEWALS
    assert len(data.writes) == WRITES * RENEWALS
    assert (share_of_limit(data.writes, data.last_create, WINDOW, WRITES_IN_WINDOW) or 0.0) >= SHARE
