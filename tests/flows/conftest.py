from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from zlib import crc32

import pytest
import pytest_asyncio
from merchant import Merchant, open_merchant
from sandbox_clock import SandboxClock

from blocks.commerce_layer.clock import use_clock
from blocks.sandbox.running import RunningSandbox
from flows.cli.prefect_server import PrefectServer


@pytest_asyncio.fixture
async def merchant(server: PrefectServer, request: pytest.FixtureRequest) -> AsyncIterator[Merchant]:
    # A seed per test, so that ids do not repeat from sandbox to sandbox: Prefect stores one event per id.
    async with open_merchant("--seed", str(crc32(request.node.nodeid.encode()))) as opened:
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
async def ahead(merchant: Merchant) -> AsyncIterator[Merchant]:
    """A merchant who prepares a day ahead."""
    await merchant.install(prepare_ahead="24h", brake_share=1.0)
    yield merchant
