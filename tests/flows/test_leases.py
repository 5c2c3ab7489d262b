"""The writer leases against a real Prefect server: who may write, and when somebody must stop."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from holders import (
    CHANGES,
    QUICK,
    SHARD,
    become_a_log_in_page,
    become_a_lost_answer,
    eventually,
    free_the_slot,
    hold,
    listening,
    slots,
)
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate, GlobalConcurrencyLimitUpdate
from prefect.settings import PREFECT_API_URL, temporary_settings

from blocks.commerce_layer.errors import Fenced
from flows.cli.prefect_server import PrefectServer, free_port
from flows.tasks.leases import LeaseTimes, NoLease, WriterLeases
from flows.tasks.prompt_client import prompt_client, promptly
from flows.tasks.writer_limits import limit_name, make_limits_ready


async def test_a_second_run_gets_the_lease_only_after_the_first_has_given_it_back(api: PrefectClient) -> None:
    async with WriterLeases(api, QUICK).holding([SHARD]):
        with pytest.raises(NoLease, match="another run has been writing there"):
            await WriterLeases(api, QUICK).holding([SHARD]).__aenter__()

    async with WriterLeases(api, QUICK).holding([SHARD]) as held:
        held[SHARD].fence()
    assert await slots(api) == 0


async def test_several_leases_are_taken_together_or_not_at_all(api: PrefectClient) -> None:
    async with WriterLeases(api, QUICK).holding([SHARD]):
        with pytest.raises(NoLease):
            await WriterLeases(api, QUICK).holding([SHARD - 1, SHARD, SHARD + 1]).__aenter__()
        assert [await slots(api, shard) for shard in (SHARD - 1, SHARD, SHARD + 1)] == [0, 1, 0]


async def test_chunks_of_one_run_share_a_lease_and_the_last_one_gives_it_back(api: PrefectClient) -> None:
    leases = WriterLeases(api, QUICK)
    async with AsyncExitStack() as first:
        one = (await first.enter_async_context(leases.holding([SHARD])))[SHARD]
        async with leases.holding([SHARD, SHARD + 1]) as held:
            assert held[SHARD] is one
            await first.aclose()
            assert await slots(api) == 1
    assert await slots(api) == 0


async def test_a_chunk_that_waited_does_not_share_a_lease_that_was_given_back_meanwhile(api: PrefectClient) -> None:
    ours, patient = WriterLeases(api, QUICK), LeaseTimes(wait=120, confirm_every=0.05)
    ours.times = patient
    async with AsyncExitStack() as first, AsyncExitStack() as neighbour:
        await first.enter_async_context(ours.holding([SHARD]))
        await neighbour.enter_async_context(WriterLeases(api, QUICK).holding([SHARD + 1]))
        both = ours.holding([SHARD, SHARD + 1])
        waiting = asyncio.create_task(both.__aenter__())
        await asyncio.sleep(0.3)  # it waits for the neighbour, with the first chunk's lease in view
        await first.aclose()
        async with WriterLeases(api, QUICK).holding([SHARD]):
            await neighbour.aclose()
            await asyncio.sleep(2.5)  # longer than a waiter's pause
            assert not waiting.done(), "two runs hold one shard"
        await waiting
        await both.__aexit__(None, None, None)
    assert [await slots(api, shard) for shard in (SHARD, SHARD + 1)] == [0, 0]


async def test_a_chunk_that_has_its_leases_does_not_queue_behind_one_that_waits(api: PrefectClient) -> None:
    ours = WriterLeases(api, LeaseTimes(wait=120))
    async with WriterLeases(api, QUICK).holding([SHARD + 1]), ours.holding([SHARD]):
        waiting = asyncio.create_task(ours.holding([SHARD, SHARD + 1]).__aenter__())
        await asyncio.sleep(0.1)
        async with asyncio.timeout(30), ours.holding([SHARD]):
            pass
        waiting.cancel()


_TAKER = """
import asyncio, os, sys
from flows.tasks.leases import LeaseTimes, WriterLeases
from flows.tasks.other_holders import OtherHolders
from flows.tasks.prompt_client import prompt_client
from flows.tasks.writer_limits import make_limits_ready

async def main():
    async with prompt_client() as api:
        await make_limits_ready(api)
        for _ in range(4):
            async with WriterLeases(api, LeaseTimes(wait=120)).holding([int(sys.argv[2])]):
                for word in ("in", "out"):
                    os.write(book, f"{word} {os.getpid()}\\n".encode())
                    await asyncio.sleep(0.02)

book = os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
asyncio.run(main())
"""


def test_processes_never_hold_a_shard_at_the_same_time(server: PrefectServer, tmp_path: Path) -> None:
    book = tmp_path / "book"
    command = [sys.executable, "-c", _TAKER, str(book), "9"]
    takers = [subprocess.Popen(command, env={**os.environ, "PYTHONPATH": str(Path.cwd())}) for _ in range(3)]

    assert [taker.wait(120) for taker in takers] == [0, 0, 0]

    lines = book.read_text().splitlines()
    assert len(lines) == 24
    for entered, left in zip(lines[::2], lines[1::2], strict=True):
        assert (entered.split()[0], left.split()[0]) == ("in", "out")
        assert entered.split()[1] == left.split()[1]


@pytest.mark.parametrize("change", CHANGES)
async def test_a_limit_that_somebody_changed_gives_no_lease_until_the_next_run_sets_it_back(
    api: PrefectClient, change: str
) -> None:
    await promptly(api.update_global_concurrency_limit, limit_name(SHARD), CHANGES[change])

    with pytest.raises(NoLease, match="was changed"):
        await WriterLeases(api, QUICK).holding([SHARD]).__aenter__()

    await make_limits_ready(api)
    async with WriterLeases(api, QUICK).holding([SHARD]) as held:
        held[SHARD].fence()


async def test_a_limit_that_is_missing_gives_no_lease_until_the_next_run_makes_it(api: PrefectClient) -> None:
    await promptly(api.delete_global_concurrency_limit_by_name, limit_name(SHARD))

    with pytest.raises(NoLease, match=f"there is no concurrency limit {limit_name(SHARD)}"):
        await WriterLeases(api, QUICK).holding([SHARD, SHARD + 1]).__aenter__()

    await make_limits_ready(api)
    async with WriterLeases(api, QUICK).holding([SHARD]) as held:
        held[SHARD].fence()
    assert await slots(api, SHARD + 1) == 0


async def _widen(api: PrefectClient) -> None:
    await promptly(api.update_global_concurrency_limit, limit_name(SHARD), CHANGES["widened"])


async def _disable(api: PrefectClient) -> None:
    await promptly(api.update_global_concurrency_limit, limit_name(SHARD), CHANGES["disabled"])


async def _replace(api: PrefectClient) -> None:
    await promptly(api.delete_global_concurrency_limit_by_name, limit_name(SHARD))
    await promptly(
        api.create_global_concurrency_limit,
        GlobalConcurrencyLimitCreate(name=limit_name(SHARD), limit=1, active_slots=1),
    )


async def _let_another_in(api: PrefectClient) -> None:
    """Somebody widened the limit, and set it back once another writer had come in."""
    await promptly(api.update_global_concurrency_limit, limit_name(SHARD), GlobalConcurrencyLimitUpdate(active_slots=2))


@pytest.mark.parametrize("meddle", [_widen, _disable, free_the_slot, _replace, _let_another_in])
async def test_a_holder_whose_limit_is_changed_under_its_feet_sends_nothing_more(
    api: PrefectClient, meddle: Callable[[PrefectClient], asyncio.Future[None]]
) -> None:
    async with AsyncExitStack() as stack:
        lease = await hold(stack, api)
        await meddle(api)
        await eventually(lambda: lease.lost)
        with pytest.raises(Fenced):
            lease.fence()
        await make_limits_ready(api)


async def test_a_lease_that_the_server_took_back_stops_its_holder_and_lets_the_next_one_in(api: PrefectClient) -> None:
    async with AsyncExitStack() as stack:
        lease = await hold(stack, api)
        await promptly(
            api.release_concurrency_slots_with_lease, lease.lease_id
        )  # what the server does with an expired one
        async with WriterLeases(api, QUICK).holding([SHARD]) as held:
            await eventually(lambda: lease.lost)
            with pytest.raises(Fenced, match="is lost"):
                lease.fence()
            held[SHARD].fence()
            await stack.aclose()
            assert await slots(api) == 1, "the loser's exit must not free the winner's slot"


async def test_nothing_is_sent_when_the_lease_was_not_confirmed_for_too_long(api: PrefectClient) -> None:
    async with AsyncExitStack() as stack:
        lease = await hold(stack, api, LeaseTimes(confirm_every=1000))
        lease.fence()
        lease.confirmed_at -= lease.times.fence_after + 1  # a stopped process, a suspended machine, a silent server
        with pytest.raises(Fenced, match="last confirmed 26 s ago"):
            lease.fence()


async def test_a_confirmation_that_comes_after_the_lease_may_have_ended_is_not_believed(api: PrefectClient) -> None:
    async with AsyncExitStack() as stack:
        lease = await hold(stack, api, LeaseTimes(confirm_every=0.2))
        lease.confirmed_at -= lease.times.lease  # the server still knows the lease, and would prolong it
        await eventually(lambda: lease.lost)
        assert "not confirmed for" in lease.lost
        await stack.aclose()
        assert await slots(api) == 1, "it is left to the server, which may have given its slot to somebody"


async def test_a_confirmation_by_a_silent_server_is_missed_and_the_next_one_counts(api: PrefectClient) -> None:
    async with AsyncExitStack() as stack:
        silent = await stack.enter_async_context(prompt_client())
        lease = await hold(stack, silent)
        address, silent._client.base_url = silent._client.base_url, f"http://127.0.0.1:{free_port()}/api/"
        confirmed_at = lease.confirmed_at
        await asyncio.sleep(0.3)
        assert lease.confirmed_at - confirmed_at < 0.2
        assert not lease.lost
        silent._client.base_url = address
        await eventually(lambda: lease.confirmed_at > confirmed_at + 0.3)
        lease.fence()


async def test_a_log_in_page_is_no_confirmation(api: PrefectClient) -> None:
    async with AsyncExitStack() as stack:
        lease = await hold(stack, api)
        with listening(api, "POST", "/renew", become_a_log_in_page) as sent:
            await eventually(lambda: sent)
            confirmed_at = lease.confirmed_at
            await eventually(lambda: len(sent) > 1)
            assert lease.confirmed_at == confirmed_at
        await eventually(lambda: lease.confirmed_at > confirmed_at)


async def test_a_log_in_page_is_no_lease(api: PrefectClient) -> None:
    with (
        listening(api, "POST", "/increment-with-lease", become_a_log_in_page),
        pytest.raises(NoLease, match="cannot be reached"),
    ):
        await WriterLeases(api, QUICK).holding([SHARD]).__aenter__()


async def test_a_lease_whose_release_got_no_answer_is_not_released_again(api: PrefectClient) -> None:
    with listening(api, "POST", "/decrement-with-lease", become_a_lost_answer) as sent:
        async with WriterLeases(api, QUICK).holding([SHARD]):
            pass
    assert len(sent) == 1


async def test_a_lease_with_a_request_on_its_way_is_left_to_expire(api: PrefectClient) -> None:
    async with AsyncExitStack() as stack:
        lease = await hold(stack, api)
        with lease.request_on_its_way():
            pass
        await stack.aclose()
        assert await slots(api) == 1


async def test_a_run_cancelled_while_its_request_is_on_its_way_keeps_others_out(api: PrefectClient) -> None:
    sending = asyncio.Event()

    async def send() -> None:
        async with WriterLeases(api, QUICK).holding([SHARD]) as held:
            with held[SHARD].request_on_its_way():
                sending.set()
                await asyncio.Event().wait()

    run = asyncio.create_task(send())
    await sending.wait()
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run

    with pytest.raises(NoLease):
        await WriterLeases(api, QUICK).holding([SHARD]).__aenter__()


async def test_a_lease_whose_request_got_its_answer_is_given_back(api: PrefectClient) -> None:
    async with AsyncExitStack() as stack:
        lease = await hold(stack, api)
        with lease.request_on_its_way() as fate_is_known:
            fate_is_known()
            fate_is_known()  # saying it twice must not hide another request's
        assert lease.on_their_way == 0
    assert await slots(api) == 0


async def test_without_prefect_there_is_no_lease(server: PrefectServer) -> None:
    with temporary_settings({PREFECT_API_URL: f"http://127.0.0.1:{free_port()}/api"}):
        async with prompt_client() as api:
            with pytest.raises(NoLease, match="Prefect's API cannot be reached"):
                await WriterLeases(api, QUICK).holding([SHARD]).__aenter__()
