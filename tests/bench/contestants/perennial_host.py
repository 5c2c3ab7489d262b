"""
One of several hosts that renew at the same time, each behind an address of its own: a share of the due subscriptions.

    python -m bench.contestants.perennial_host ADDRESS     its subscriptions, as a JSON list, come on standard input

A sweep that is shared as batches does the same, with a worker on each host.
"""

from __future__ import annotations

import asyncio
import json
import sys

import httpx
from bench.contestants.perennial import opened, tell
from bench.contestants.ticket import Stopwatch

from flows.renew import renew_subscriptions


def send_from(address: str) -> None:
    """Let all requests of this process come from one of the machine's addresses: the sandbox counts by address."""
    transport = httpx.AsyncHTTPTransport.__init__

    def from_address(self: httpx.AsyncHTTPTransport, *args: object, **kwargs: object) -> None:
        transport(self, *args, **{**kwargs, "local_address": address})  # type: ignore[arg-type]

    httpx.AsyncHTTPTransport.__init__ = from_address  # type: ignore[method-assign]


async def main() -> None:
    await opened()
    print("ready", flush=True)
    subscriptions = json.loads(await asyncio.to_thread(sys.stdin.readline))
    with Stopwatch() as watch:
        state = await renew_subscriptions(subscriptions=subscriptions, return_state=True)
    await tell(watch, state)


if __name__ == "__main__":
    send_from(sys.argv[1])
    asyncio.run(main())
