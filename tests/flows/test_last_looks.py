"""The last look before a placement or a record: at most seconds old, and shared by the renewals that are next."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack

import pytest
import pytest_asyncio
from merchant import UNLIMITED
from sandbox_clock import SandboxClock

from blocks.commerce_layer.client import CommerceLayer
from blocks.commerce_layer.clock import use_clock
from blocks.commerce_layer.errors import ReadFailed
from blocks.commerce_layer.rate_limit import RateLimits
from blocks.policy import Policy
from blocks.sandbox.running import RunningSandbox
from flows.cli.installation import credentials_for
from flows.rules.renewal import Renewal, plan
from flows.run.reads import LastLooks

SUBSCRIPTIONS, COPIES = "GET /api/order_subscriptions", "GET /api/order_copies"


class BusyClock(SandboxClock):
    """The sandbox's clock. If `act` is set, the first task that waits after a read of copies calls it, once."""

    act: Callable[[], None] | None = None
    extra_seconds = 0.0
    """Seconds by which each wait is longer than asked for."""

    async def sleep(self, seconds: float) -> None:
        if self.act is not None and reads(self._sandbox)[COPIES]:
            act, self.act = self.act, None
            act()
        await super().sleep(seconds + self.extra_seconds)


def reads(sandbox: RunningSandbox) -> dict[str, int]:
    """How often each list was requested."""
    requests = sandbox.counters()["requests"]
    return {name: requests.get(name, 0) for name in (SUBSCRIPTIONS, COPIES)}


@pytest.fixture
def sandbox():
    with RunningSandbox("--limits", "off", "--frozen") as running:
        yield running


@pytest.fixture
def clock(sandbox: RunningSandbox):
    with use_clock(BusyClock(sandbox)) as busy:
        yield busy


@pytest_asyncio.fixture
async def client(sandbox: RunningSandbox, clock: BusyClock) -> AsyncIterator[CommerceLayer]:
    async with opened(sandbox, UNLIMITED) as unlimited:
        yield unlimited


def opened(sandbox: RunningSandbox, limits: RateLimits) -> CommerceLayer:
    box = sandbox
    credentials = credentials_for(
        box.organization, box.client_id, box.client_secret, "test", box.api_url, box.auth_url, limits
    )
    return credentials.get_client()


async def due(sandbox: RunningSandbox, client: CommerceLayer, count: int) -> list[Renewal]:
    """`count` renewals that are due. The requests that planned them do not count."""
    found = await client.get_subscriptions(sandbox.seed(count)["subscription_ids"])
    planned = [plan(each, Policy(), sandbox.clock()) for each in found.values()]
    sandbox.reset_counters()
    return [each for each in planned if isinstance(each, Renewal)]


async def test_placements_that_wait_share_one_look_per_25(sandbox: RunningSandbox, client: CommerceLayer) -> None:
    renewals, looks = await due(sandbox, client, 60), LastLooks(client)
    with ExitStack() as waiting:
        for each in renewals:
            waiting.enter_context(looks.waiting_to_place(each))
        seen = await asyncio.gather(*map(looks.before_placing, renewals))

    assert [look.subscription and look.subscription.id for look in seen] == [each.subscription_id for each in renewals]
    assert reads(sandbox) == {SUBSCRIPTIONS: 3, COPIES: 3}


async def test_a_record_right_after_its_placement_reads_nothing(sandbox: RunningSandbox, client: CommerceLayer) -> None:
    (renewal,), looks = await due(sandbox, client, 1), LastLooks(client)
    await looks.before_placing(renewal)
    sandbox.advance(9)
    sandbox.reset_counters()

    recorded_upon = await looks.before_recording(renewal)

    assert recorded_upon is not None
    assert recorded_upon.id == renewal.subscription_id
    assert reads(sandbox) == {SUBSCRIPTIONS: 0, COPIES: 0}


async def test_records_that_wait_share_one_list_of_subscriptions(
    sandbox: RunningSandbox, client: CommerceLayer
) -> None:
    renewals, looks = await due(sandbox, client, 25), LastLooks(client)
    with ExitStack() as waiting:
        for each in renewals:
            waiting.enter_context(looks.waiting_to_record(each))
        seen = await asyncio.gather(*map(looks.before_recording, renewals))

    assert [each and each.id for each in seen] == [each.subscription_id for each in renewals]
    assert reads(sandbox) == {SUBSCRIPTIONS: 1, COPIES: 0}


async def test_a_look_before_a_record_does_not_serve_for_a_placement(
    sandbox: RunningSandbox, client: CommerceLayer
) -> None:
    (renewal,), looks = await due(sandbox, client, 1), LastLooks(client)
    await looks.before_recording(renewal)

    await looks.before_placing(renewal)

    assert reads(sandbox)[COPIES] == 1


async def test_a_look_older_than_ten_seconds_is_repeated_before_a_placement(
    sandbox: RunningSandbox, client: CommerceLayer
) -> None:
    (renewal,), looks = await due(sandbox, client, 1), LastLooks(client)
    await looks.before_placing(renewal)
    sandbox.advance(10.1)

    await looks.before_placing(renewal)

    assert reads(sandbox) == {SUBSCRIPTIONS: 2, COPIES: 2}


async def test_a_subscription_that_is_changed_while_a_look_is_under_way_is_read_again(
    sandbox: RunningSandbox, clock: BusyClock, client: CommerceLayer
) -> None:
    first, second = await due(sandbox, client, 2)
    looks = LastLooks(client)
    sandbox.fault("status", status=503, method="GET", path="/api/order_copies", times=1)  # a look reads the copies last
    clock.act = lambda: looks.forget(second.subscription_id)
    with looks.waiting_to_place(first), looks.waiting_to_place(second):
        await looks.before_placing(first)
        assert clock.act is None
        sandbox.reset_counters()

        await looks.before_placing(first)
        assert reads(sandbox) == {SUBSCRIPTIONS: 0, COPIES: 0}
        await looks.before_placing(second)
        assert reads(sandbox) == {SUBSCRIPTIONS: 1, COPIES: 1}


async def test_a_look_whose_answers_took_too_long_is_taken_again(
    sandbox: RunningSandbox, clock: BusyClock, client: CommerceLayer
) -> None:
    (renewal,), looks = await due(sandbox, client, 1), LastLooks(client)
    sandbox.fault("status", status=503, method="GET", path="/api/order_copies", times=1)
    clock.extra_seconds = 11

    look = await looks.before_placing(renewal)

    assert not look.taken.is_over
    assert reads(sandbox)[SUBSCRIPTIONS] == 2


async def test_looks_that_all_come_too_late_prevent_a_placement_but_not_a_record(
    sandbox: RunningSandbox, clock: BusyClock, client: CommerceLayer
) -> None:
    (renewal,), looks = await due(sandbox, client, 1), LastLooks(client)
    sandbox.fault("status", status=503, method="GET", path="/api/order_*", nth=[2, 5, 8, 10])
    clock.extra_seconds = 11

    with pytest.raises(ReadFailed, match="too late"):
        await looks.before_placing(renewal)
    recorded_upon = await looks.before_recording(renewal)

    assert recorded_upon is not None


async def test_the_age_of_a_look_counts_from_when_the_rate_limit_lets_it_through(
    sandbox: RunningSandbox, client: CommerceLayer
) -> None:
    (renewal,) = await due(sandbox, client, 1)
    async with opened(sandbox, RateLimits(reads_per_minute=8)) as limited:  # two to an endpoint in any ten seconds
        for _ in range(4):
            await limited.get_subscriptions([renewal.subscription_id])
            await limited.find_order_copies([renewal.reference])
            sandbox.advance(6)
        sandbox.reset_counters()
        began = sandbox.clock()

        look = await LastLooks(limited).before_placing(renewal)

    assert (sandbox.clock() - began).total_seconds() > 30
    assert not look.taken.is_over
    assert reads(sandbox) == {SUBSCRIPTIONS: 1, COPIES: 1}
