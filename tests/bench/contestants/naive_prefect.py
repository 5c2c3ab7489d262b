"""A typical first Prefect project: a flow run per renewal, four tasks with retries, and each polls its own copy."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
from bench.contestants.plain_shop import PlainShop, Resource
from bench.contestants.ticket import Stopwatch, Ticket
from prefect import flow, task

from flows.cli.prefect_server import drain

TICKET = Ticket.given()
RETRIES = 10


def _was_throttled(task: Any, task_run: Any, state: Any) -> bool:
    error = state.result(raise_on_failure=False)
    return isinstance(error, httpx.HTTPStatusError) and error.response.status_code == 429


# A third of the window with jitter: a typical choice after the first 429s.
with_retries = {
    "retries": RETRIES,
    "retry_delay_seconds": TICKET.window_seconds / 3,
    "retry_jitter_factor": 0.5,
    "retry_condition_fn": _was_throttled,
}


@task(**with_retries)  # type: ignore[arg-type, call-overload, untyped-decorator, unused-ignore]  # no overload takes a dict of options
async def create(shop: PlainShop, subscription: Resource) -> str:
    return await shop.copy(subscription)


@task(**with_retries)  # type: ignore[arg-type, call-overload, untyped-decorator, unused-ignore]  # no overload takes a dict of options
async def poll(shop: PlainShop, copy_id: str) -> str:
    return await shop.wait(copy_id)


@task(**with_retries)  # type: ignore[arg-type, call-overload, untyped-decorator, unused-ignore]  # no overload takes a dict of options
async def place(shop: PlainShop, subscription: Resource, order_id: str) -> None:
    await shop.place(subscription, order_id)


@task(**with_retries)  # type: ignore[arg-type, call-overload, untyped-decorator, unused-ignore]  # no overload takes a dict of options
async def record(shop: PlainShop, subscription: Resource, order_id: str) -> None:
    await shop.record(subscription, order_id)


@flow
async def renew_one(shop: PlainShop, subscription: Resource) -> None:
    order_id = await poll(shop, await create(shop, subscription))
    await place(shop, subscription, order_id)
    await record(shop, subscription, order_id)


@flow
async def renew_all() -> None:
    async with PlainShop(TICKET, waits=False) as shop:
        turns = asyncio.Semaphore(TICKET.at_once)

        async def renew(subscription: Resource) -> None:
            async with turns:
                await renew_one(shop, subscription)

        await asyncio.gather(*map(renew, await shop.due()))


async def main() -> None:
    with Stopwatch() as watch:
        await renew_all()
    await drain()
    watch.tell()


if __name__ == "__main__":
    asyncio.run(main())
