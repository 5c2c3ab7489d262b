"""The writer leases against a real Prefect server: who may write, and when somebody must stop."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path
from uuid import UUID, uuid4

import httpx
import pytest
import pytest_asyncio
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate, GlobalConcurrencyLimitUpdate, VariableUpdate
from prefect.settings import PREFECT_API_URL, temporary_settings

import flows.tasks.leaked_slots
import flows.tasks.other_holders
from blocks.commerce_layer.errors import Fenced
from flows.services import PrefectServer, free_port
from flows.tasks.leaked_slots import Suspicion, Waiter
from flows.tasks.leases import Lease, LeaseTimes, NoLease, WriterLeases
from flows.tasks.other_holders import OtherHolders
from flows.tasks.prompt_client import prompt_client, promptly
from flows.tasks.published_leases import Asked, PublishedLease, publish, read_board, variable_name
from flows.tasks.writer_limits import REPAIR_LIMIT, limit_name, make_limits_ready

QUICK = LeaseTimes(lease=60.0, wait=0.1, confirm_every=0.05)
"""Real leases, confirmed all the time, and nobody waits long for one."""

SHARD = 5

AT_THE_LATEST = 120
"""Seconds until a test that waits for something is taken to hang; how soon it comes is the machine's affair."""


@pytest_asyncio.fixture
async def api(server: PrefectServer) -> AsyncIterator[PrefectClient]:
    async with prompt_client() as client:
        await make_limits_ready(client)
        yield client
        await end_all_leases(client)
        for variable in await promptly(client.read_variables):
            if variable.name.startswith("perennial_writer_"):
                await promptly(client.delete_variable_by_name, variable.name)
        await promptly(
            client.update_global_concurrency_limit, limit_name(SHARD), GlobalConcurrencyLimitUpdate(active_slots=0)
        )


def lease_files() -> Iterator[Path]:
    """What the server knows of its leases."""
    return (Path(os.environ["PREFECT_HOME"]) / "concurrency_leases").glob("*-*.json")


async def end_all_leases(api: PrefectClient) -> None:
    """Those that a test leaves to expire would do so in the middle of a later one."""
    for file in lease_files():
        await promptly(api.release_concurrency_slots_with_lease, UUID(file.stem))


async def eventually(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(AT_THE_LATEST):
        while not condition():  # noqa: ASYNC110 - what is waited for happens in another task, or on the server
            await asyncio.sleep(0.01)


@contextmanager
def listening(
    api: PrefectClient, method: str, path: str, alter: Callable[[httpx.Response], None] = lambda _: None
) -> Iterator[list[httpx.Request]]:
    """What `api` sends to paths that end so, while the server's answers are altered on their way back."""
    sent: list[httpx.Request] = []

    async def hear(answer: httpx.Response) -> None:
        busy = answer.status_code == HTTPStatus.SERVICE_UNAVAILABLE  # then the client asks again
        if not busy and answer.request.method == method and answer.request.url.path.endswith(path):
            sent.append(answer.request)
            await answer.aread()
            alter(answer)

    hooks = api._client.event_hooks["response"]
    hooks.append(hear)
    yield sent
    hooks.remove(hear)


def become_a_log_in_page(answer: httpx.Response) -> None:
    answer.status_code, answer._content = 200, b"<html>Who are you?</html>"


def become_a_lost_answer(answer: httpx.Response) -> None:
    answer.status_code = 502


async def slots(api: PrefectClient, shard: int = SHARD) -> int:
    return int((await promptly(api.read_global_concurrency_limit_by_name, limit_name(shard))).active_slots)


async def hold(stack: AsyncExitStack, api: PrefectClient, times: LeaseTimes = QUICK) -> Lease:
    return (await stack.enter_async_context(WriterLeases(api, times).holding([SHARD])))[SHARD]


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


CHANGES = {
    "widened": GlobalConcurrencyLimitUpdate(limit=2),
    "disabled": GlobalConcurrencyLimitUpdate(active=False),
    "decaying": GlobalConcurrencyLimitUpdate(slot_decay_per_second=0.5),
}


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


async def _free(api: PrefectClient) -> None:
    await promptly(api.update_global_concurrency_limit, limit_name(SHARD), GlobalConcurrencyLimitUpdate(active_slots=0))


async def _replace(api: PrefectClient) -> None:
    await promptly(api.delete_global_concurrency_limit_by_name, limit_name(SHARD))
    await promptly(
        api.create_global_concurrency_limit,
        GlobalConcurrencyLimitCreate(name=limit_name(SHARD), limit=1, active_slots=1),
    )


async def _let_another_in(api: PrefectClient) -> None:
    """Somebody widened the limit, and set it back once another writer had come in."""
    await promptly(api.update_global_concurrency_limit, limit_name(SHARD), GlobalConcurrencyLimitUpdate(active_slots=2))


@pytest.mark.parametrize("meddle", [_widen, _disable, _free, _replace, _let_another_in])
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


# --- slots that are free although their holder lives ---------------------------------------------------------------

SILENT = LeaseTimes(lease=60.0, wait=0.1, confirm_every=1000)
"""A holder between two confirmations: it does not see yet what has happened to its lease."""


async def is_refused(api: PrefectClient, times: LeaseTimes = QUICK, shards: Sequence[int] = (SHARD,)) -> None:
    with pytest.raises(NoLease, match="another run has been writing there"):
        await WriterLeases(api, times).holding(shards).__aenter__()


def seconds_left(lease: Lease) -> float:
    (file,) = (file for file in lease_files() if file.stem == str(lease.lease_id))
    return (datetime.fromisoformat(json.loads(file.read_text())["expiration"]) - datetime.now(UTC)).total_seconds()


async def test_a_slot_that_was_freed_lets_nobody_in_while_its_holder_lives(api: PrefectClient) -> None:
    async with AsyncExitStack() as stack:
        lease = await hold(stack, api, SILENT)
        await _free(api)
        await is_refused(api)
        lease.fence()
        assert await slots(api) == 0, "the holder must see that its slot was freed"
        assert lease.as_published in (await read_board(api)).leases


async def test_the_holder_of_several_shards_is_found_by_who_takes_one_of_them(api: PrefectClient) -> None:
    async with WriterLeases(api, SILENT).holding([SHARD - 1, SHARD]):
        await _free(api)
        await is_refused(api)


async def test_who_finds_the_holder_alive_waits_until_it_has_stopped(
    api: PrefectClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flows.tasks.other_holders, "ASK_AGAIN_AFTER", 1.0)
    async with AsyncExitStack() as stack:
        lease = await hold(stack, api)
        await _free(api)
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
        await _free(api)
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
            await _free(api)
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


# --- slots that nobody holds ---------------------------------------------------------------------------------------

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


async def look_until(condition: Callable[[], object], api: PrefectClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a waiter to whom every moment is as long as a lease."""
    monkeypatch.setattr(flows.tasks.leaked_slots, "LOOK_EVERY", 0.0)
    waiter = Waiter(api, OtherHolders(api, 0.0), [SHARD], patience=0.0, publish_within=0.0)
    async with asyncio.timeout(AT_THE_LATEST):
        while not condition():
            await waiter.look()


async def look_a_few_times(api: PrefectClient, monkeypatch: pytest.MonkeyPatch) -> None:
    looks = iter(range(6))
    await look_until(lambda: next(looks, None) is None, api, monkeypatch)


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
