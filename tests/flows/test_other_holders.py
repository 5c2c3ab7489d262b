"""Slots that are free although their holder lives: nobody else gets in, and the holder stops."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from uuid import uuid4

import pytest
from holders import (
    QUICK,
    SHARD,
    SILENT,
    end_all_leases,
    eventually,
    free_the_slot,
    hold,
    is_refused,
    listening,
    look_a_few_times,
    look_until,
    seconds_left,
    slots,
)
from prefect.client.orchestration import PrefectClient

import flows.tasks.leaked_slots
import flows.tasks.other_holders
from blocks.commerce_layer.errors import Fenced
from flows.tasks.leases import LeaseTimes, WriterLeases
from flows.tasks.other_holders import OtherHolders
from flows.tasks.published_leases import Asked, PublishedLease, publish, read_board


async def test_a_slot_that_was_freed_lets_nobody_in_while_its_holder_lives(api: PrefectClient) -> None:
    async with AsyncExitStack() as stack:
        lease = await hold(stack, api, SILENT)
        await free_the_slot(api)
        await is_refused(api)
        lease.fence()
        assert await slots(api) == 0, "the holder must see that its slot was freed"
        assert lease.as_published in (await read_board(api)).leases


async def test_the_holder_of_several_shards_is_found_by_who_takes_one_of_them(api: PrefectClient) -> None:
    async with WriterLeases(api, SILENT).holding([SHARD - 1, SHARD]):
        await free_the_slot(api)
        await is_refused(api)


async def test_who_finds_the_holder_alive_waits_until_it_has_stopped(
    api: PrefectClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flows.tasks.other_holders, "ASK_AGAIN_AFTER", 1.0)
    async with AsyncExitStack() as stack:
        lease = await hold(stack, api)
        await free_the_slot(api)
        waiting = asyncio.create_task(WriterLeases(api, LeaseTimes(wait=120)).holding([SHARD]).__aenter__())
        await eventually(lambda: lease.lost)
        assert not waiting.done(), "two runs hold one shard"
        await end_all_leases(api)  # as the server does when they expire
        (await waiting)[SHARD].fence()


async def test_a_dead_holders_lease_is_not_kept_alive_by_those_who_ask_for_it(
    api: PrefectClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flows.tasks.other_holders, "ASK_AGAIN_AFTER", 0.0)
    async with AsyncExitStack() as stack:
        await hold(stack, api, SILENT)
        await free_the_slot(api)
        with listening(api, "POST", "/renew") as asked:
            await is_refused(api, LeaseTimes(wait=4.0))
            assert len(asked) == 2
            await is_refused(api)
            await is_refused(api, LeaseTimes(wait=2.0))
            assert len(asked) == 2, "later runs know from the first one"


async def test_asking_for_a_lease_never_shortens_it(api: PrefectClient, monkeypatch: pytest.MonkeyPatch) -> None:
    async with AsyncExitStack() as stack:
        lease = await hold(stack, api, LeaseTimes(lease=945.0, confirm_every=1000))
        with listening(api, "POST", "/renew") as asked:
            await look_until(lambda: asked, api, monkeypatch)
            assert seconds_left(lease) > 900
            await free_the_slot(api)
            await is_refused(api)
            assert len(asked) == 2
        assert seconds_left(lease) > 900


async def test_waiters_ask_for_a_long_holders_lease_once_between_them(
    api: PrefectClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with AsyncExitStack() as stack:
        await hold(stack, api, SILENT)
        with listening(api, "POST", "/renew") as asked:
            for _ in range(3):
                await look_a_few_times(api, monkeypatch)
        assert len(asked) == 1


async def test_a_lease_that_a_waiter_found_alive_and_that_was_given_back_since_keeps_nobody_out(
    api: PrefectClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with AsyncExitStack() as stack:
        await hold(stack, api, SILENT)
        await look_a_few_times(api, monkeypatch)
    async with WriterLeases(api, QUICK).holding([SHARD]) as held:
        held[SHARD].fence()


async def test_a_run_asks_once_for_the_lease_of_an_earlier_run_and_never_for_its_own(api: PrefectClient) -> None:
    async with WriterLeases(api, SILENT).holding([SHARD]):
        pass
    run = WriterLeases(api, SILENT)
    with listening(api, "POST", "/renew") as asked, listening(api, "POST", "") as posts:
        for _ in range(5):
            async with run.holding([SHARD]):
                pass
    assert len(asked) == 1
    assert len(posts) == 5 * 4 + 1, "taking, seeing the limits, seeing what is published, giving back"


@pytest.mark.parametrize("shards", [(SHARD,), (SHARD - 1, SHARD)], ids=["in its place", "elsewhere"])
async def test_a_holder_stops_when_another_one_has_published_its_lease(
    api: PrefectClient, shards: tuple[int, ...]
) -> None:
    async with AsyncExitStack() as stack:
        lease = await hold(stack, api)
        await publish(api, PublishedLease(uuid4(), shards, 60.0))
        await eventually(lambda: lease.lost)
        with pytest.raises(Fenced, match="another writer has published"):
            lease.fence()


def test_a_note_that_a_lease_was_asked_for_counts_for_as_long_as_that_lets_it_live() -> None:
    others, lease = OtherHolders(None, rests=35.0), PublishedLease(uuid4(), (SHARD,), 105.0)  # type: ignore[arg-type]
    assert not others.was_asked_for(lease, None)
    assert others.was_asked_for(lease, Asked(ago=139.0, though_free=True))
    assert not others.was_asked_for(lease, Asked(ago=141.0, though_free=True))
    assert not others.was_asked_for(lease, Asked(ago=-3600.0, though_free=True)), "the server's clock was set back"
    others.is_over(lease.lease_id)
    assert not others.was_asked_for(lease, Asked(ago=1.0, though_free=True))
