"""The minimum: asyncio and httpx, no orchestration, no limiter, no reads before writes; waits a window after a 429."""

from __future__ import annotations

import asyncio

from bench.contestants.plain_shop import PlainShop, Resource
from bench.contestants.ticket import Stopwatch, Ticket


async def main() -> None:
    ticket = Ticket.given()
    with Stopwatch() as watch:
        async with PlainShop(ticket) as shop:
            turns = asyncio.Semaphore(ticket.at_once)

            async def renew(subscription: Resource) -> None:
                async with turns:
                    order_id = await shop.wait(await shop.copy(subscription))
                    await shop.place(subscription, order_id)
                    await shop.record(subscription, order_id)

            await asyncio.gather(*map(renew, await shop.due()))
    watch.tell()


if __name__ == "__main__":
    asyncio.run(main())
