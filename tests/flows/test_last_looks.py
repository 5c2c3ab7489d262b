"""The last look before a placement or a record: at most seconds old, and shared by the renewals that are next."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace

import pytest
import pytest_asyncio
from merchant import UNLIMITED
from sandbox_clock import SandboxClock

from blocks.commerce_layer.changes import OrderCopyDraft
from blocks.commerce_layer.charging import create_order_copy
from blocks.commerce_layer.client import CommerceLayer
from blocks.commerce_layer.clock import use_clock
from blocks.commerce_layer.errors import CommerceLayerError, ReadFailed
from blocks.commerce_layer.rate_limit import RateLimits
from blocks.policy import Policy
from blocks.sandbox.running import RunningSandbox
from flows.cli.installation import credentials_for
from flows.rules.renewal import Renewal, plan
from flows.run.reads import LastLooks, Look

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


async def copied(sandbox: RunningSandbox, client: CommerceLayer, renewals: Sequence[Renewal]) -> list[str]:
    """The ids of an order copy for each renewal. The requests that made them do not count."""
    drafts = [OrderCopyDraft(source_order_id=each.source_order_id, reference=each.reference) for each in renewals]
    copies = [await create_order_copy(client, draft) for draft in drafts]
    sandbox.reset_counters()
    return [each.id for each in copies]


async def looked_at(looks: LastLooks, renewals: Sequence[Renewal]) -> list[Look]:
    with ExitStack() as waiting:
        for each in renewals:
            waiting.enter_context(looks.waiting_to_place(each))
        return await asyncio.gather(*map(looks.before_placing, renewals))


async def test_placements_that_wait_share_one_list_per_25(sandbox: RunningSandbox, client: CommerceLayer) -> None:
    renewals, looks = await due(sandbox, client, 60), LastLooks(client)
    copies = await copied(sandbox, client, renewals)

    seen = await looked_at(looks, renewals)

    assert reads(sandbox) == {SUBSCRIPTIONS: 0, COPIES: 3}
    assert [[copy.id for copy in look.copies] for look in seen] == [[copy] for copy in copies]
    alone = await client.get_subscriptions(each.subscription_id for each in renewals)
    assert [look.subscription for look in seen] == [alone[each.subscription_id] for each in renewals]
    assert [look.rivals for look in seen] == [[look.subscription] for look in seen]


async def test_rivals_come_with_the_source_order_except_cancelled_ones(
    sandbox: RunningSandbox, client: CommerceLayer
) -> None:
    first, second = await due(sandbox, client, 2)
    await copied(sandbox, client, [first, second])
    rival, cancelled = (
        sandbox.create_subscription(source_order_id=first.source_order_id, status=status)["id"]
        for status in ("active", "cancelled")
    )
    sandbox.reset_counters()

    look, other = await looked_at(LastLooks(client), [first, second])

    assert reads(sandbox) == {SUBSCRIPTIONS: 0, COPIES: 1}
    assert {each.id for each in look.rivals} == {first.subscription_id, rival}
    assert cancelled not in {each.id for each in look.rivals}
    assert {each.source_order_id for each in look.rivals} == {first.source_order_id}
    assert [each.id for each in other.rivals] == [second.subscription_id]


async def test_all_copies_are_seen_if_they_fill_more_than_one_page(
    sandbox: RunningSandbox, client: CommerceLayer
) -> None:
    renewals = await due(sandbox, client, 20)
    copies = [await copied(sandbox, client, renewals) for _ in range(2)]

    seen = await looked_at(LastLooks(client), renewals)

    assert reads(sandbox) == {SUBSCRIPTIONS: 0, COPIES: 2}
    assert [{copy.id for copy in look.copies} for look in seen] == [set(each) for each in zip(*copies, strict=True)]
    assert all(look.subscription for look in seen)


async def test_without_a_listed_copy_the_subscription_and_its_rivals_are_listed_by_themselves(
    sandbox: RunningSandbox, client: CommerceLayer
) -> None:
    shown, hidden = await due(sandbox, client, 2)
    rival = sandbox.create_subscription(source_order_id=hidden.source_order_id, status="inactive")["id"]
    await copied(sandbox, client, [shown])

    look, other = await looked_at(LastLooks(client), [shown, hidden])

    assert reads(sandbox) == {SUBSCRIPTIONS: 1, COPIES: 1}
    assert look.subscription is not None
    assert {each.id for each in other.rivals} == {hidden.subscription_id, rival}


@pytest.mark.parametrize("odd", ["the renewed one", "its rival"])
async def test_a_subscription_that_cannot_be_read_is_not_passed_over(
    sandbox: RunningSandbox, client: CommerceLayer, odd: str
) -> None:
    (renewal,) = await due(sandbox, client, 1)
    rival = sandbox.create_subscription(source_order_id=renewal.source_order_id, status="active")["id"]
    await copied(sandbox, client, [renewal])
    changes = {renewal.subscription_id if odd == "the renewed one" else rival: {"frequency": None}}
    sandbox.fault("odd", method="GET", path="/api/order_copies", changes=changes)

    (look,) = await looked_at(LastLooks(client), [renewal])

    assert reads(sandbox) == {SUBSCRIPTIONS: 1, COPIES: 1}
    assert look.subscription is not None
    assert {each.id for each in look.rivals} == {renewal.subscription_id, rival}
    sandbox.fault("odd", method="GET", path="/api/order_subscriptions", changes=changes)
    with pytest.raises(ReadFailed, match="frequency"):
        await looked_at(LastLooks(client), [renewal])


@pytest.mark.parametrize("path", ["/api/order_copies", "/api/order_subscriptions"])
async def test_there_is_no_look_if_one_of_its_lists_fails(
    sandbox: RunningSandbox, client: CommerceLayer, path: str
) -> None:
    shown, hidden = await due(sandbox, client, 2)
    await copied(sandbox, client, [shown])
    sandbox.fault("status", status=500, method="GET", path=path)

    with pytest.raises(CommerceLayerError):
        await looked_at(LastLooks(client), [shown, hidden])


async def test_a_deleted_subscription_is_not_there_although_its_source_order_is(
    sandbox: RunningSandbox, client: CommerceLayer
) -> None:
    (renewal,) = await due(sandbox, client, 1)
    await copied(sandbox, client, [renewal])

    (look,) = await looked_at(LastLooks(client), [replace(renewal, subscription_id="NotThereXX")])

    assert (look.subscription, len(look.copies)) == (None, 1)


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
