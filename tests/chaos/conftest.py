from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio
from chaos.worker_launcher import WorkerLauncher
from merchant import Merchant, open_merchant

from flows.cli.prefect_server import PrefectServer


@pytest.fixture(scope="session")
def launcher(server: PrefectServer) -> Iterator[WorkerLauncher]:
    with WorkerLauncher() as launcher:
        yield launcher


@pytest_asyncio.fixture
async def merchant(server: PrefectServer) -> AsyncIterator[Merchant]:
    async with open_merchant(payment_retries=["1d"], brake_share=1.0, max_unconfirmed=1000) as opened:
        yield opened
