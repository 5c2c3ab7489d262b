from __future__ import annotations

from collections.abc import Iterator

import pytest
from merchant import Merchant
from sandbox_clock import SandboxClock

from blocks.commerce_layer.clock import use_clock
from blocks.sandbox.running import RunningSandbox


@pytest.fixture(scope="module")
def box() -> Iterator[RunningSandbox]:
    with RunningSandbox("--frozen", "--limits", "off") as running:
        yield running


@pytest.fixture
def shop(box: RunningSandbox) -> Iterator[Merchant]:
    """A merchant whose shop has behaved well so far."""
    box.clear_faults()
    merchant = Merchant(box)
    with use_clock(SandboxClock(box)):
        yield merchant
    box.clear_faults()


@pytest.fixture
def order_id(box: RunningSandbox) -> str:
    return str(box.create_subscription()["source_order_id"])
