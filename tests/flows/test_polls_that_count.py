"""The poller wastes no calls: it asks no earlier than useful, for many copies in a call, and seldom for slow ones."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta

import pytest
from merchant import UNLIMITED
from sandbox_clock import SandboxClock

from blocks.commerce_layer.changes import OrderCopyDraft
from blocks.commerce_layer.charging import create_order_copy
from blocks.commerce_layer.client import CommerceLayer
from blocks.commerce_layer.clock import use_clock
from blocks.commerce_layer.resources import OrderCopy
from blocks.sandbox.running import RunningSandbox
from flows.cli.installation import credentials_for
from flows.run.poller import CopyPoller, Polled

SETTLE = 5
POLLS = "GET /api/order_copies"


class Waiting:
    """A sandbox whose copies take a fixed time, and a poller that waits for them."""

    def __init__(self, sandbox: RunningSandbox, client: CommerceLayer, poller: CopyPoller) -> None:
        self.sandbox, self._client, self._poller = sandbox, client, poller
        self.seen_at: dict[str, datetime] = {}

    @property
    def polls(self) -> int:
        return int(self.sandbox.counters()["requests"].get(POLLS, 0))

    async def create(self, source_order_id: str) -> OrderCopy:
        draft = OrderCopyDraft(source_order_id=source_order_id, reference=f"{source_order_id}@2026-03-01T06:00Z")
        return await create_order_copy(self._client, draft)

    async def wait_for(self, copy: OrderCopy) -> Polled:
        def is_done(copies: Sequence[OrderCopy]) -> bool:
            self.seen_at[copy.id] = self.sandbox.clock()
            return all(each.is_final and self._poller.has_settled(each) for each in copies)

        return await self._poller.wait_for([copy.reference or ""], copy, is_done)


@pytest.fixture
async def waiting(request: pytest.FixtureRequest):
    options = ("--copy-seconds", str(request.param), "--queue-seconds", "0", "--copy-spread", "0")
    with RunningSandbox("--limits", "off", "--frozen", *options) as box, use_clock(SandboxClock(box)):
        credentials = credentials_for(
            box.organization, box.client_id, box.client_secret, "test", box.api_url, box.auth_url, UNLIMITED
        )
        async with credentials.get_client() as client, CopyPoller(client, SETTLE, 900) as poller:
            yield Waiting(box, client, poller)


@pytest.mark.parametrize("waiting", [2], indirect=True)
async def test_a_copy_is_polled_once_and_not_before_it_can_have_settled(waiting: Waiting) -> None:
    # The shop's `Date` has whole seconds, and so reads almost a second less than its `created_at`.
    waiting.sandbox.set_clock(waiting.sandbox.clock().replace(microsecond=0) + timedelta(seconds=1.95))
    copy = await waiting.create(waiting.sandbox.seed(1)["source_order_ids"][0])

    polled = await waiting.wait_for(copy)

    assert polled.is_done
    assert waiting.polls == 1


@pytest.mark.parametrize("waiting", [2], indirect=True)
async def test_copies_that_wait_together_are_polled_25_in_a_call(waiting: Waiting) -> None:
    copies = [await waiting.create(each) for each in waiting.sandbox.seed(60)["source_order_ids"]]

    polled = await asyncio.gather(*map(waiting.wait_for, copies))

    assert all(each.is_done for each in polled)
    assert waiting.polls == 3


@pytest.mark.parametrize("waiting", [60], indirect=True)
async def test_a_slow_copy_is_polled_only_a_few_times(waiting: Waiting) -> None:
    copy = await waiting.create(waiting.sandbox.seed(1)["source_order_ids"][0])

    polled = await waiting.wait_for(copy)

    assert polled.is_done
    assert waiting.polls <= 9


@pytest.mark.parametrize("waiting", [2], indirect=True)
async def test_a_slow_copy_does_not_delay_the_polls_of_another(waiting: Waiting) -> None:
    slow, quick = waiting.sandbox.seed(2)["source_order_ids"]
    waiting.sandbox.set_failure(slow, "stuck")
    stuck = asyncio.create_task(waiting.wait_for(await waiting.create(slow)))
    while waiting.polls < 5:  # noqa: ASYNC110 - the poller asks in another task
        await asyncio.sleep(0)
    copy = await waiting.create(quick)
    began = waiting.sandbox.clock()

    await waiting.wait_for(copy)

    assert (waiting.seen_at[copy.id] - began).total_seconds() < SETTLE + 3
    stuck.cancel()
