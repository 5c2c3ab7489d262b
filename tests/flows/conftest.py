from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio
from holders import SHARD, end_all_leases
from merchant import Merchant, SandboxClock, open_merchant
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import GlobalConcurrencyLimitUpdate

from blocks.commerce_layer.clock import use_clock
from blocks.sandbox.running import RunningSandbox
from flows.cli.prefect_server import PrefectServer
from flows.tasks.prompt_client import prompt_client, promptly
from flows.tasks.writer_limits import limit_name, make_limits_ready


@pytest_asyncio.fixture
async def merchant(server: PrefectServer) -> AsyncIterator[Merchant]:
    async with open_merchant() as opened:
        yield opened


@pytest.fixture
def shop(server: PrefectServer) -> Iterator[Merchant]:
    """A merchant for tests of commands, which run their own event loop."""
    with RunningSandbox("--limits", "off", "--frozen") as sandbox:
        merchant = Merchant(sandbox)
        asyncio.run(merchant.install())
        with use_clock(SandboxClock(sandbox)):
            yield merchant


@pytest_asyncio.fixture
async def api(server: PrefectServer) -> AsyncIterator[PrefectClient]:
    """A client of the Prefect server for tests of the writer leases: each begins without any."""
    async with prompt_client() as client:
        await make_limits_ready(client)
        yield client
        await end_all_leases(client)
        for variable in await promptly(client.read_variables):
            if variable.name.startswith("perennial_writer_"):
                await promptly(client.delete_variable_by_name, variable.name)
        await promptly(
            client.update_global_concurrency_limit, limit_name(SHARD), GlobalConcurrencyLimitUpdate(active_slots=0)
        )
