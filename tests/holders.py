"""Holders of writer leases on a real Prefect server, and what the server and the network do to them."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path
from uuid import UUID

import httpx
import pytest
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import GlobalConcurrencyLimitUpdate

import flows.tasks.leaked_slots
from flows.tasks.leaked_slots import Waiter
from flows.tasks.leases import Lease, LeaseTimes, NoLease, WriterLeases
from flows.tasks.other_holders import OtherHolders
from flows.tasks.prompt_client import promptly
from flows.tasks.writer_limits import limit_name

QUICK = LeaseTimes(lease=60.0, wait=0.1, confirm_every=0.05)
"""Real leases, confirmed all the time, and nobody waits long for one."""

SHARD = 5

AT_THE_LATEST = 120
"""Seconds until a test that waits for something is taken to hang; how soon it comes is the machine's affair."""


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


SILENT = LeaseTimes(lease=60.0, wait=0.1, confirm_every=1000)
"""A holder between two confirmations: it does not see yet what has happened to its lease."""


async def is_refused(api: PrefectClient, times: LeaseTimes = QUICK, shards: Sequence[int] = (SHARD,)) -> None:
    with pytest.raises(NoLease, match="another run has been writing there"):
        await WriterLeases(api, times).holding(shards).__aenter__()


def seconds_left(lease: Lease) -> float:
    (file,) = (file for file in lease_files() if file.stem == str(lease.lease_id))
    return (datetime.fromisoformat(json.loads(file.read_text())["expiration"]) - datetime.now(UTC)).total_seconds()


CHANGES = {
    "widened": GlobalConcurrencyLimitUpdate(limit=2),
    "disabled": GlobalConcurrencyLimitUpdate(active=False),
    "decaying": GlobalConcurrencyLimitUpdate(slot_decay_per_second=0.5),
}


async def free_the_slot(api: PrefectClient) -> None:
    await promptly(api.update_global_concurrency_limit, limit_name(SHARD), GlobalConcurrencyLimitUpdate(active_slots=0))


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
