"""Slots that nobody holds any more, and how a waiter frees them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from uuid import UUID, uuid4

import pytest
from holders import (
    AT_THE_LATEST,
    CHANGES,
    QUICK,
    SHARD,
    SILENT,
    become_a_lost_answer,
    end_all_leases,
    hold,
    listening,
    look_a_few_times,
    look_until,
    slots,
)
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import GlobalConcurrencyLimitUpdate, VariableUpdate

from flows.tasks.leaked_slots import Suspicion
from flows.tasks.leases import LeaseTimes, NoLease, WriterLeases
from flows.tasks.prompt_client import promptly
from flows.tasks.published_leases import PublishedLease, read_board, variable_name
from flows.tasks.writer_limits import REPAIR_LIMIT, limit_name, make_limits_ready

PATIENT = LeaseTimes(lease=60.0, wait=200.0, confirm_every=0.5, publish_within=6.0, repossession=-59.9)
"""A waiter that becomes suspicious at once: as if more than a lease's time had passed."""


async def test_a_slot_whose_lease_the_server_forgot_is_freed(api: PrefectClient) -> None:
    await promptly(
        api.increment_concurrency_slots, [limit_name(SHARD)], 1, "concurrency"
    )  # occupied, and no lease: a restart

    async with WriterLeases(api, PATIENT).holding([SHARD]) as held:
        held[SHARD].fence()
        assert await slots(api) == 1
    assert await slots(api) == 0


async def test_the_slot_of_a_living_holder_is_never_freed(api: PrefectClient) -> None:
    async with WriterLeases(api, QUICK).holding([SHARD]) as held:
        with pytest.raises(NoLease):
            await (
                WriterLeases(api, LeaseTimes(wait=10, publish_within=2.0, lease=60, repossession=-59.9))
                .holding([SHARD])
                .__aenter__()
            )
        held[SHARD].fence()
        assert await slots(api) == 1


async def test_a_slot_is_freed_by_one_request_whatever_the_answer(
    api: PrefectClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    await promptly(api.increment_concurrency_slots, [limit_name(SHARD)], 1, "concurrency")
    with (
        listening(api, "PATCH", limit_name(SHARD), become_a_lost_answer) as freed,
        listening(api, "POST", "/increment-with-lease") as repairs,
    ):
        await look_until(lambda: freed, api, monkeypatch)
        await look_until(lambda: len(repairs) > 2, api, monkeypatch)
    assert len(freed) == 1


async def _delete_the_repair_limit(api: PrefectClient) -> None:
    await promptly(api.delete_global_concurrency_limit_by_name, REPAIR_LIMIT)


async def _disable_the_repair_limit(api: PrefectClient) -> None:
    await promptly(api.update_global_concurrency_limit, REPAIR_LIMIT, CHANGES["disabled"])


async def _widen_the_repair_limit(api: PrefectClient) -> None:
    await promptly(api.update_global_concurrency_limit, REPAIR_LIMIT, CHANGES["widened"])


@pytest.mark.parametrize("meddle", [_delete_the_repair_limit, _disable_the_repair_limit, _widen_the_repair_limit])
async def test_no_slot_is_freed_when_two_could_be_freeing_it(
    api: PrefectClient, meddle: Callable[[PrefectClient], Awaitable[None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    await promptly(api.increment_concurrency_slots, [limit_name(SHARD)], 1, "concurrency")
    await meddle(api)
    with listening(api, "POST", "/increment-with-lease") as repairs:
        await look_until(lambda: repairs, api, monkeypatch)
    assert await slots(api) == 1
    await end_all_leases(api)
    await make_limits_ready(api)
    await promptly(api.update_global_concurrency_limit, REPAIR_LIMIT, GlobalConcurrencyLimitUpdate(active_slots=0))
    with listening(api, "PATCH", limit_name(SHARD)) as freed:
        await look_until(lambda: freed, api, monkeypatch)
    assert await slots(api) == 0


async def _delete(api: PrefectClient) -> None:
    await promptly(api.delete_variable_by_name, variable_name(SHARD))


async def _edit(api: PrefectClient) -> None:
    await promptly(api.update_variable, VariableUpdate(name=variable_name(SHARD), value="mine!"))


@pytest.mark.parametrize("meddle", [_delete, _edit])
async def test_a_holder_publishes_its_lease_again_when_somebody_meddled_with_it(
    api: PrefectClient, meddle: Callable[[PrefectClient], Awaitable[None]]
) -> None:
    async with AsyncExitStack() as stack:
        lease = await hold(stack, api)
        await meddle(api)
        async with asyncio.timeout(AT_THE_LATEST):
            while lease.as_published not in (await read_board(api)).leases:  # noqa: ASYNC110 - it happens there
                await asyncio.sleep(0.02)
        assert not lease.lost


async def test_a_published_lease_that_somebody_edited_proves_nothing_and_keeps_nobody_out(
    api: PrefectClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with AsyncExitStack() as stack:
        await hold(stack, api, SILENT)
        await _edit(api)
        assert not (await read_board(api)).is_whole
        with listening(api, "POST", "/renew") as asked:
            await look_a_few_times(api, monkeypatch)
        assert not asked
    async with WriterLeases(api, QUICK).holding([SHARD]) as held:
        held[SHARD].fence()


@pytest.mark.parametrize(
    "edited", [{}, {"seconds": 1}, {"seconds": "nan"}, {"shards": []}, {"shards": "x"}, {"lease": "mine"}]
)
def test_what_no_holder_writes_is_not_read_as_a_lease(edited: dict[str, object]) -> None:
    with pytest.raises((KeyError, TypeError, ValueError)):
        PublishedLease.read(edited and {**PublishedLease(uuid4(), (SHARD,), 105.0).written(), **edited})


def test_suspicion_grows_only_while_the_same_leases_stand_published_and_are_gone() -> None:
    suspicion = Suspicion(patience=100, publish_within=20)
    leases = frozenset({uuid4()})
    assert not suspicion.worth_asking(leases, 0)
    assert not suspicion.worth_asking(leases, 99)
    assert suspicion.worth_asking(leases, 100)
    suspicion.answered(alive=False, now=100)
    assert not suspicion.is_certain(159)
    assert suspicion.is_certain(160)


@pytest.mark.parametrize("what", [None, frozenset({UUID(int=2)})], ids=["unreadable", "a new holder"])
def test_suspicion_starts_again_when_something_else_is_published(what: frozenset[UUID] | None) -> None:
    suspicion = Suspicion(patience=100, publish_within=20)
    leases = frozenset({UUID(int=1)})
    suspicion.worth_asking(leases, 0)
    suspicion.worth_asking(leases, 100)
    suspicion.answered(alive=False, now=100)
    suspicion.worth_asking(what, 130)
    assert not suspicion.is_certain(1000)
    assert not suspicion.worth_asking(what, 229)


def test_suspicion_starts_again_when_the_holder_lives() -> None:
    suspicion = Suspicion(patience=100, publish_within=20)
    leases = frozenset({uuid4()})
    suspicion.worth_asking(leases, 0)
    suspicion.answered(alive=True, now=100)
    assert not suspicion.is_certain(1000)
    assert not suspicion.worth_asking(leases, 199)
    assert suspicion.worth_asking(leases, 200)


def test_what_cannot_be_read_is_never_evidence() -> None:
    suspicion = Suspicion(patience=100, publish_within=20)
    assert not any(suspicion.worth_asking(None, now) for now in range(1000))


@pytest.mark.parametrize("settle_seconds", [5, 60, 900])
def test_a_lease_ends_later_than_the_settle_time_after_the_last_request(settle_seconds: float) -> None:
    times = LeaseTimes.settling(settle_seconds)
    last_request = times.fence_after
    assert times.lease - times.margin - last_request > settle_seconds
    assert times.wait > times.lease + times.repossession + 3 * times.publish_within
