"""`make up`: everything a person needs to look around, running until Ctrl-C."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path

from rich.console import Console

from flows.services import PrefectServer, drain, process
from flows.stage import Stage, furnish, stage

ROOT = Path(__file__).resolve().parents[1]
HOME = ROOT / ".perennial"
"""Where database and logs are kept from one `make up` to the next; `make clean` removes it."""

SUBSCRIPTIONS = 100
POOL = "perennial"

console = Console(highlight=False, soft_wrap=True)


def up(port: int) -> int:
    """Start sandbox, server, worker and deployments, run one sweep, and wait. Returns the exit code."""
    console.print("[dim]starting a sandbox and a private Prefect server (10 to 20 s) ...[/]")
    with stage(HOME, SUBSCRIPTIONS, port) as on:
        asyncio.run(_furnish(on))
        _deploy(on.server)
        worker = [sys.executable, "-m", "prefect", "worker", "start", "--pool", POOL, "--name", "perennial"]
        with process(worker, on.server.environment, HOME / "worker.log"):
            _run_the_first_sweep(on.server)
            _say_where(on)
            while True:
                time.sleep(3600)


async def _furnish(on: Stage) -> None:
    await furnish(on)
    await drain()


def _deploy(server: PrefectServer) -> None:
    _prefect(server, "work-pool", "create", POOL, "--type", "process", "--overwrite")
    _prefect(server, "--no-prompt", "deploy", "--all")


def _run_the_first_sweep(server: PrefectServer) -> None:
    _prefect(server, "deployment", "run", "renew-subscriptions/renew-subscriptions")


def _prefect(server: PrefectServer, *arguments: str) -> None:
    command = [sys.executable, "-m", "prefect", *arguments]
    environment = {**os.environ, **server.environment}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        raise SystemExit(f"`prefect {' '.join(arguments)}` failed:\n{done.stdout}{done.stderr}")


def _say_where(on: Stage) -> None:
    console.print(f"""
[bold]Perennial is running.[/] A first sweep of {SUBSCRIPTIONS} subscriptions is on its way.

  Prefect UI        {on.server.url}/runs
  sweep, by hand    {on.server.url}/deployments   (renew-subscriptions: "Quick run")
  one order copy    {on.server.url}/deployments   (reorder: "Custom run", any id from the sandbox)
  sandbox           {on.sandbox.url}/_sandbox/info
  logs              {HOME}

More that is due:   curl -X POST {on.sandbox.url}/_sandbox/seed -d '{{"subscriptions": 50}}'
A day later:        curl -X POST {on.sandbox.url}/_sandbox/clock -d '{{"advance": 86400}}'

Ctrl-C stops everything.""")
