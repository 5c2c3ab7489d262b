"""`make up`: sandbox, Prefect server, worker and deployments, running until Ctrl-C."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

import psutil
from rich.console import Console
from rich.markup import escape

from blocks.sandbox.running import SandboxFailed
from flows.cli import places
from flows.cli.alarm_listener import listening
from flows.cli.options import Port
from flows.cli.prefect_server import SETTINGS, PortTaken, PrefectServer, ServiceDidNotStart, drain, how_it_ended
from flows.cli.processes import process
from flows.cli.trial_environment import TrialEnvironment, save_blocks, trial_environment
from flows.rules.outside_text import printable

HOME = places.home_of_up()
"""The folder that keeps database and logs from one `make up` to the next."""

SUBSCRIPTIONS = 100
POOL = "perennial"
PREFECT = (sys.executable, "-m", "prefect")


class PrefectCommandFailed(SystemExit):
    """A `prefect` command failed. What it printed is our last word."""


console = Console(highlight=False, soft_wrap=True)


class ProcessEnded(RuntimeError):  # noqa: N818 - the name says what happened
    """The server or the worker ended while it should run."""


def up(*, port: Port = 4200) -> int:
    """
    Run all of it until Ctrl-C. Returns the exit code if it could not start (2: the port is in use), or has ended.

    Args:
        port: Port of the Prefect UI.
    """
    try:
        _run_until_ctrl_c(port)
    except PortTaken as error:
        print(f"{error}; choose another with: {_this_command()} up --port {port % 65_535 + 1}", file=sys.stderr)
        return 2
    except (ServiceDidNotStart, SandboxFailed, ProcessEnded) as error:
        print(error, file=sys.stderr)
        return 1


def _this_command() -> str:
    """The command that calls us again from this folder, even if the virtual environment is not active."""
    python = Path(sys.executable)
    here = Path.cwd()
    return f"{python.relative_to(here) if python.is_relative_to(here) else python} -m flows"


def _run_until_ctrl_c(port: int) -> NoReturn:
    """Start sandbox, server, worker and deployments, run one sweep, and wait."""
    console.print("[dim]starting a sandbox and a private Prefect server (10 to 20 s) ...[/]")
    with trial_environment(HOME, SUBSCRIPTIONS, port) as trial:
        asyncio.run(_prepare(trial))
        _deploy(trial.server)
        with listening(_show_alarm) as webhook:
            asyncio.run(_set_alarms(webhook))
            _run_until_one_ends(trial)


def _run_until_one_ends(trial: TrialEnvironment) -> NoReturn:
    command, log = [*PREFECT, "worker", "start", "--pool", POOL, "--name", "perennial"], HOME / "worker.log"
    with process(command, trial.server.environment, log, without=SETTINGS) as worker:
        _run_the_first_sweep(trial.server)
        _print_addresses(trial)
        raise_when_one_ends({"server": (trial.server.process, trial.server.log), "worker": (worker, log)})


def _show_alarm(said: dict[str, Any]) -> None:
    console.print(f"[bold yellow]alarm[/]  {escape(printable(str(said.get('text', said))))}")


async def _set_alarms(webhook: str) -> None:
    """Let the alarms arrive in this terminal, as `setup --notify` lets them arrive in a team's chat."""
    # Prefect reads its settings when it is first imported, which must be after `trial_environment` has set them.
    from prefect.client.orchestration import get_client

    from flows.cli.alarms import make_alarms, times_of
    from flows.cli.notification import recipient_of

    async with get_client() as prefect:
        await make_alarms(prefect, await recipient_of(prefect, webhook), await times_of(prefect))


def raise_when_one_ends(running: Mapping[str, tuple[psutil.Popen, Path]]) -> NoReturn:
    """Wait, and raise ProcessEnded when one of these has ended. The message says how, and where its log is."""
    while True:
        for name, (one, log) in running.items():
            if one.poll() is not None:
                raise ProcessEnded(f"the Prefect {name} is gone: {how_it_ended(one)}. Its log is {log}")
        time.sleep(1)


async def _prepare(trial: TrialEnvironment) -> None:
    await mark_abandoned_runs_crashed()
    await save_blocks(trial)
    await drain()


async def mark_abandoned_runs_crashed() -> None:
    """
    Set the runs to Crashed that an earlier `make up` left unfinished when it was killed: their worker is gone.

    Otherwise Prefect would show them as running for ever.
    """
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterState, FlowRunFilterStateType
    from prefect.client.schemas.objects import State, StateType
    from prefect.states import Crashed

    alive = [StateType.PENDING, StateType.RUNNING, StateType.CANCELLING]
    unfinished = FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=alive)))
    async with get_client() as prefect:
        while runs := await prefect.read_flow_runs(flow_run_filter=unfinished):
            for run in runs:
                crashed: State[Any] = Crashed(message="the Perennial that ran this was stopped")
                await prefect.set_flow_run_state(run.id, crashed, force=True)


def _deploy(server: PrefectServer) -> None:
    _prefect(server, "work-pool", "create", POOL, "--type", "process", "--overwrite")
    with suppress(PrefectCommandFailed):  # it exists since an earlier `make up`
        _prefect(server, "work-queue", "create", "by-hand", "--pool", POOL, "--priority", "1")
    _prefect(server, "--no-prompt", "deploy", "--all", "--prefect-file", str(places.deployments_file()))


def _run_the_first_sweep(server: PrefectServer) -> None:
    _prefect(server, "deployment", "run", "renew-subscriptions/renew-subscriptions")


def _prefect(server: PrefectServer, *arguments: str) -> None:
    command, environment = [*PREFECT, *arguments], {**os.environ, **server.environment}
    done = subprocess.run(command, cwd=places.ROOT, env=environment, capture_output=True, text=True, check=False)  # noqa: S603 - our own command
    if done.returncode:
        raise PrefectCommandFailed(f"`prefect {' '.join(arguments)}` failed:\n{done.stdout}{done.stderr}")


def _print_addresses(trial: TrialEnvironment) -> None:
    console.print(f"""
[bold]Perennial is running.[/] A first sweep of {SUBSCRIPTIONS} subscriptions has started.

  Prefect UI        {trial.server.url}/runs
  sweep, by hand    {trial.server.url}/deployments   (renew-subscriptions: "Quick run")
  one order copy    {trial.server.url}/deployments   (reorder: "Custom run", e.g. of {trial.source_order_id})
  sandbox           {trial.sandbox.url}/_sandbox/info
  logs              {HOME}
  stop charging     perennial stop "why"; perennial go   (with PREFECT_API_URL={trial.server.api_url})

More subscriptions: curl -X POST {trial.sandbox.url}/_sandbox/seed -d '{{"subscriptions": 50}}'
A day later:        curl -X POST {trial.sandbox.url}/_sandbox/clock -d '{{"advance": 86400}}'

Ctrl-C stops everything.""")
