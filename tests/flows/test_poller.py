from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime

import pytest
import pytest_asyncio
from merchant import UNLIMITED, SandboxClock

from blocks.commerce_layer.client import CommerceLayer
from blocks.commerce_layer.clock import use_clock
from blocks.commerce_layer.resources import OrderCopy, OrderCopyDraft
from blocks.sandbox.running import RunningSandbox
from flows.cli.installation import credentials_for
from flows.run.poller import CopyWatcher

COPY_SECONDS = 10.0


class PacedClock:
    """A clock that only `pass_time` moves, so that a test decides how fast copies come."""

    def __init__(self, sandbox: RunningSandbox) -> None:
        self._sandbox, self._at = sandbox, 0.0

    def monotonic(self) -> float:
        return self._at

    def now(self) -> datetime:
        return self._sandbox.clock()

    async def sleep(self, seconds: float) -> None:
        ends = self._at + seconds
        while self._at < ends:  # noqa: ASYNC110 - only the test's own steps end it
            await asyncio.sleep(0)

    async def pass_time(self, seconds: float) -> None:
        self._at += seconds
        self._sandbox.advance(seconds)
        await asyncio.sleep(0)


@pytest_asyncio.fixture
async def sandbox() -> AsyncIterator[RunningSandbox]:
    options = ("--copy-seconds", str(COPY_SECONDS), "--queue-seconds", "0", "--copy-spread", "0.1")
    with RunningSandbox("--limits", "off", "--frozen", *options) as box, use_clock(SandboxClock(box)):
        yield box


@pytest_asyncio.fixture
async def client(sandbox: RunningSandbox) -> AsyncIterator[CommerceLayer]:
    box = sandbox
    credentials = credentials_for(
        box.organization, box.client_id, box.client_secret, "test", box.api_url, box.auth_url, UNLIMITED
    )
    async with credentials.get_client() as opened:
        yield opened


async def copies_of(client: CommerceLayer, sources: list[str]) -> list[OrderCopy]:
    drafts = [OrderCopyDraft(source_order_id=source, reference=f"of {source}") for source in sources]
    return [await client.create_order_copy(draft, fence=lambda: None) for draft in drafts]


async def test_copies_that_come_at_the_pace_of_the_limit_share_their_looks(
    sandbox: RunningSandbox, client: CommerceLayer
) -> None:
    sources = sandbox.seed(200)["source_order_ids"]
    clock = PacedClock(sandbox)
    with use_clock(clock):
        async with CopyWatcher(client, 900) as watcher:
            waiting = []
            for source in sources:
                [made] = await copies_of(client, [source])
                waiting.append(asyncio.create_task(watcher.wait_for(made)))
                await clock.pass_time(0.6)  # a hundred a minute: half of live mode's limit
            while not all(each.done() for each in waiting):
                await clock.pass_time(0.1)
            seen = [await each for each in waiting]

    assert all(each.is_final for each in seen)
    assert reads(sandbox) <= 0.06 * len(sources)


async def test_a_copy_that_is_alone_does_not_wait_for_company(sandbox: RunningSandbox, client: CommerceLayer) -> None:
    sources = sandbox.seed(21)["source_order_ids"]
    async with CopyWatcher(client, 900) as watcher:
        await asyncio.gather(*(watcher.wait_for(each) for each in await copies_of(client, sources[:20])))
        [alone] = await copies_of(client, sources[20:])
        began = sandbox.clock()
        await watcher.wait_for(alone)

    assert (sandbox.clock() - began).total_seconds() == pytest.approx(COPY_SECONDS, abs=0.3 * COPY_SECONDS)


async def test_a_copy_that_takes_too_long_is_handed_back_as_it_was_last_seen(
    sandbox: RunningSandbox, client: CommerceLayer
) -> None:
    [source] = sandbox.seed(1)["source_order_ids"]
    sandbox.set_failure(source, "stuck")
    async with CopyWatcher(client, 60) as watcher:
        [stuck] = await copies_of(client, [source])
        began = sandbox.clock()
        seen = await watcher.wait_for(stuck)

    assert not seen.is_final
    assert (sandbox.clock() - began).total_seconds() == pytest.approx(60, abs=2)


def reads(sandbox: RunningSandbox) -> int:
    return int(sum(count for name, count in sandbox.counters()["requests"].items() if name.startswith("GET ")))
