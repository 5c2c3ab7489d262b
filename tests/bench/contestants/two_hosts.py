"""Perennial on two hosts behind two addresses: each renews half of what is due, with a rate limiter of its own."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from bench.contestants.perennial import credentials_of
from bench.contestants.ticket import Ticket

ADDRESSES = ("127.0.0.1", "127.0.0.2")


async def due() -> list[str]:
    """The ids of all subscriptions of the shop. The sandbox has nothing else."""
    async with credentials_of(Ticket.given()).get_client() as client:
        now = client.shop_time if await client.claims() else None
        assert now is not None
        return [each.id async for page in client.iter_due_subscriptions(now) for each in page]


def started(address: str) -> subprocess.Popen[str]:
    """A host that is ready. Its limiter keeps its counts where no other host finds them."""
    state = Path(os.environ["XDG_STATE_HOME"]) / address
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.contestants.perennial_host", address],
        env={**os.environ, "XDG_STATE_HOME": str(state)}, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def renew(process: subprocess.Popen[str], subscriptions: list[str]) -> None:
    assert process.stdin is not None
    process.stdin.write(json.dumps(subscriptions) + "\n")
    process.stdin.flush()


def told_by(process: subprocess.Popen[str]) -> dict[str, Any]:
    printed, _ = process.communicate()
    told: dict[str, Any] = json.loads(printed.strip().splitlines()[-1])
    return told


def main() -> None:
    ids = asyncio.run(due())
    hosts = [started(address) for address in ADDRESSES]
    began = time.monotonic()
    for number, host in enumerate(hosts):
        renew(host, ids[number :: len(hosts)])
    told = [told_by(host) for host in hosts]
    together = {
        "seconds": max(each["ended_at"] for each in told) - began,
        "cpu_seconds": sum(each["cpu_seconds"] for each in told),
        "peak_megabytes": sum(each["peak_megabytes"] for each in told),
        "task_runs": sum(each["task_runs"] for each in told),
    }
    print(json.dumps(together), flush=True)


if __name__ == "__main__":
    main()
