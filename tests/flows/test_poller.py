"""One poller for all renewals that wait for copies: it asks by reference, 25 in a call, and no earlier than useful."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta

import pytest
import pytest_asyncio
from merchant import UNLIMITED
from sandbox_clock import SandboxClock

from blocks.commerce_layer.changes import OrderCopyDraft
from blocks.commerce_layer.charging import create_order_copy
from blocks.commerce_layer.client import CommerceLayer
from blocks.commerce_layer.clock import current_clock, use_clock
from blocks.commerce_layer.rate_limit import RateLimits
from blocks.commerce_layer.resources import OrderCopy
from blocks.sandbox.running import RunningSandbox
from flows.cli.installation import credentials_for
from flows.run.poller import ROOM_SOON, CopyPoller, Polled

COPY_SECONDS = 10.0
SETTLE_SECONDS = 5.0


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
    async with client_of(sandbox, UNLIMITED) as opened:
        yield opened


def client_of(sandbox: RunningSandbox, limits: RateLimits) -> CommerceLayer:
    box = sandbox
    credentials = credentials_for(
        box.organization, box.client_id, box.client_secret, "test", box.api_url, box.auth_url, limits
    )
    return credentials.get_client()


def poller_of(client: CommerceLayer, deadline: float = 900) -> CopyPoller:
    return CopyPoller(client, SETTLE_SECONDS, deadline)


async def copy_of(client: CommerceLayer, source: str) -> OrderCopy:
    return await create_order_copy(client, OrderCopyDraft(source_order_id=source, reference=f"of {source}"))


def all_final(copies: Sequence[OrderCopy]) -> bool:
    return bool(copies) and all(each.is_final for each in copies)


async def until_final(poller: CopyPoller, made: OrderCopy) -> Polled:
    return await poller.wait_for([made.reference or ""], made, all_final)


async def test_copies_that_are_created_at_the_pace_of_the_rate_limit_share_polls(
    sandbox: RunningSandbox, client: CommerceLayer
) -> None:
    sources = sandbox.seed(200)["source_order_ids"]
    clock = PacedClock(sandbox)
    with use_clock(clock):
        async with poller_of(client) as poller:
            waiting = []
            for source in sources:
                made = await create_order_copy(client, OrderCopyDraft(source_order_id=source, reference=source))
                waiting.append(asyncio.create_task(until_final(poller, made)))
                await clock.pass_time(0.6)  # a hundred a minute: half of live mode's limit
            while not all(each.done() for each in waiting):
                await clock.pass_time(0.1)
            seen = [await each for each in waiting]

    assert all(each.is_done for each in seen)
    assert reads(sandbox) <= 0.06 * len(sources)


async def test_25_references_are_read_by_one_call(sandbox: RunningSandbox, client: CommerceLayer) -> None:
    sources = sandbox.seed(50)["source_order_ids"]
    made = [
        await create_order_copy(client, OrderCopyDraft(source_order_id=source, reference=source)) for source in sources
    ]
    sandbox.advance(2 * COPY_SECONDS)
    async with poller_of(client) as poller:
        seen = await asyncio.gather(*(until_final(poller, each) for each in made))

    assert all(each.is_done for each in seen)
    assert reads(sandbox) == 2


async def test_a_single_copy_does_not_wait_for_others_to_fill_the_call(
    sandbox: RunningSandbox, client: CommerceLayer
) -> None:
    sources = sandbox.seed(21)["source_order_ids"]
    async with poller_of(client) as poller:
        await asyncio.gather(
            *(until_final(poller, each) for each in [await copy_of(client, source) for source in sources[:20]])
        )
        alone = await copy_of(client, sources[20])
        began = sandbox.clock()
        await until_final(poller, alone)

    assert (sandbox.clock() - began).total_seconds() == pytest.approx(COPY_SECONDS, abs=0.3 * COPY_SECONDS)


async def test_a_copy_that_takes_too_long_is_returned_as_it_was_last_seen(
    sandbox: RunningSandbox, client: CommerceLayer
) -> None:
    [source] = sandbox.seed(1)["source_order_ids"]
    sandbox.set_failure(source, "stuck")
    async with poller_of(client, deadline=60) as poller:
        stuck = await copy_of(client, source)
        began = sandbox.clock()
        polled = await until_final(poller, stuck)

    assert not polled.is_done
    assert [each.id for each in polled.copies] == [stuck.id]
    assert (sandbox.clock() - began).total_seconds() == pytest.approx(60, abs=2)


async def test_copies_that_others_made_under_the_same_reference_are_returned_too(
    sandbox: RunningSandbox, client: CommerceLayer
) -> None:
    [source] = sandbox.seed(1)["source_order_ids"]
    ours, theirs = await copy_of(client, source), await copy_of(client, source)
    async with poller_of(client) as poller:
        polled = await until_final(poller, ours)

    assert {each.id for each in polled.copies} == {ours.id, theirs.id}


async def test_a_copy_settles_only_once_it_is_old_enough_however_soon_it_is_completed(
    client: CommerceLayer, sandbox: RunningSandbox
) -> None:
    [source] = sandbox.seed(1)["source_order_ids"]
    looks: list[tuple[timedelta, bool]] = []
    async with CopyPoller(client, 4 * COPY_SECONDS, 900) as poller:
        made = await copy_of(client, source)

        def is_done(copies: Sequence[OrderCopy]) -> bool:
            settled = poller.has_settled(copies[0])
            looks.append((sandbox.clock() - (copies[0].created_at or sandbox.clock()), settled))
            return settled

        polled = await poller.wait_for([made.reference or ""], None, is_done)

    assert polled.copies[0].is_final
    assert len(looks) > 2
    assert not [age for age, settled in looks if settled and age < timedelta(seconds=4 * COPY_SECONDS)]


async def test_the_poller_asks_again_after_a_shop_has_failed_for_a_while(
    sandbox: RunningSandbox, client: CommerceLayer
) -> None:
    [source] = sandbox.seed(1)["source_order_ids"]
    made = await copy_of(client, source)
    sandbox.fault("status", method="GET", path="/api/order_copies", status=503, times=5)
    async with poller_of(client) as poller:
        polled = await until_final(poller, made)

    assert polled.is_done


async def test_waiting_ends_when_the_shop_refuses_the_credentials(
    sandbox: RunningSandbox, client: CommerceLayer
) -> None:
    [source] = sandbox.seed(1)["source_order_ids"]
    made = await copy_of(client, source)
    sandbox.fault("status", method="GET", path="/api/order_copies", status=401, body="json")
    async with poller_of(client) as poller:
        polled = await until_final(poller, made)

    assert not polled.is_done
    assert [each.id for each in polled.copies] == [made.id]


def reads(sandbox: RunningSandbox) -> int:
    return int(sum(count for name, count in sandbox.counters()["requests"].items() if name.startswith("GET ")))


@asynccontextmanager
async def used_up(sandbox: RunningSandbox) -> AsyncIterator[tuple[CommerceLayer, list[OrderCopy]]]:
    """A client that has just used up its write limit, of eight a minute, and the copies that it has created."""
    drafts = [
        OrderCopyDraft(source_order_id=source, reference=source) for source in sandbox.seed(8)["source_order_ids"]
    ]
    async with client_of(sandbox, RateLimits(writes_per_minute=8)) as client:
        yield client, [await create_order_copy(client, draft) for draft in drafts]


async def test_copies_are_not_read_before_the_rate_limit_has_room_for_a_placement(sandbox: RunningSandbox) -> None:
    began = sandbox.clock()
    async with used_up(sandbox) as (client, made), poller_of(client) as poller:
        seen = await asyncio.gather(*(until_final(poller, each) for each in made))

    assert all(each.is_done for each in seen)
    assert (sandbox.clock() - began).total_seconds() == pytest.approx(60 - ROOM_SOON, abs=1)
    assert reads(sandbox) == 1


async def test_copies_are_read_at_their_deadline_even_if_the_rate_limit_has_no_room(sandbox: RunningSandbox) -> None:
    async with used_up(sandbox) as (client, made), poller_of(client, deadline=15) as poller:
        last = made[-1]
        began = sandbox.clock()
        seen = await until_final(poller, last)

    assert seen.is_done
    assert (sandbox.clock() - began).total_seconds() == pytest.approx(15, abs=1)


async def test_a_deadline_counts_although_25_other_copies_have_waited_longer_for_room(sandbox: RunningSandbox) -> None:
    first, *others = sandbox.seed(26)["source_order_ids"]
    limits = RateLimits(writes_per_minute=1000)
    async with (
        client_of(sandbox, limits) as client,
        CopyPoller(client, SETTLE_SECONDS, 60, lambda: 1000) as poller,
    ):
        old, created_at = await copy_of(client, first), sandbox.clock()
        sandbox.advance(40)
        waiting = [asyncio.create_task(until_final(poller, await copy_of(client, source))) for source in others]
        await current_clock().sleep(15)
        seen = await until_final(poller, old)
        waited = (sandbox.clock() - created_at).total_seconds()
        await asyncio.gather(*waiting)

    assert seen.is_done
    assert waited < 40 + 60, "it need not wait for the deadline of the others"


async def test_copies_are_not_read_while_enough_placements_wait_already(sandbox: RunningSandbox) -> None:
    waiting, limits = 30, RateLimits(writes_per_minute=100)  # 25 to an endpoint in any ten seconds
    (source,) = sandbox.seed(1)["source_order_ids"]
    async with (
        client_of(sandbox, limits) as client,
        CopyPoller(client, SETTLE_SECONDS, 900, lambda: waiting) as poller,
    ):
        polled = asyncio.create_task(until_final(poller, await copy_of(client, source)))
        await current_clock().sleep(3 * COPY_SECONDS)
        assert reads(sandbox) == 0
        waiting = 5
        assert (await polled).is_done
