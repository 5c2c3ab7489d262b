"""`make demo`: a hundred renewals on the built-in sandbox, the same sweep again, and the retries of the next days."""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from blocks.sandbox.running import SandboxFailed
from flows.cli import places
from flows.cli.consoles import console as console_of_the_command
from flows.cli.options import Count
from flows.cli.prefect_server import ServiceDidNotStart, drain
from flows.cli.trial_environment import TrialEnvironment, failures_among, save_blocks, trial_environment

if TYPE_CHECKING:
    from flows.run.report import Report

QUIET = {"PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL", "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore"}
"""The demo prints lines of its own. The logs are in the UI; in a terminal, a failed renewal would look like a bug."""

SUBSCRIPTIONS = 100
A_DAY = 86_400 + 600
"""Seconds between two sweeps of the demo: a little more than a day, so that the retries of the day before are due."""

RETRY_DAYS = 4
"""Days that the demo lets pass, so that retries become due."""

console = console_of_the_command()


def demo(*, subscriptions: Count = SUBSCRIPTIONS) -> int:
    """
    Run the demo. Returns the exit code: 0 if only those renewals failed that were set to fail.

    Args:
        subscriptions: How many are due.
    """
    try:
        return _demo(subscriptions)
    except (ServiceDidNotStart, SandboxFailed) as error:
        print(error, file=sys.stderr)
        return 1


def _demo(subscriptions: int) -> int:
    began_at = time.monotonic()
    console.print("[bold]Perennial[/] renews subscriptions on Commerce Layer, each exactly once.")
    console.print("[dim]starting a sandbox and a private Prefect server (10 to 20 s) ...[/]")
    with (
        tempfile.TemporaryDirectory(prefix="perennial-demo-") as folder,
        trial_environment(Path(folder), subscriptions) as trial,
    ):
        os.environ.update(QUIET)
        seeded = failures_among(subscriptions)
        due = f"{subscriptions} subscriptions are due; set to fail: {len(seeded)}"
        console.print(f"sandbox  {trial.sandbox.url}  {due}", soft_wrap=True)
        console.print(f"prefect  {trial.server.url}")
        exit_code = asyncio.run(_sweep_and_check(trial, subscriptions - sum(times is None for _, times in seeded)))
    console.print(f"\n[dim]{time.monotonic() - began_at:.0f} s in all; nothing is left running.[/]")
    how = "make up" if places.is_clone() else "perennial up"
    console.print(f"Next: [bold]{how}[/] keeps it running, so that you can look around in the Prefect UI.")
    return exit_code


async def _sweep_and_check(trial: TrialEnvironment, curable: int) -> int:
    try:
        return _check(trial, await _sweep_for_days(trial), curable)
    finally:  # also after Ctrl-C: Prefect must send its logs and events before its server stops
        await drain()


async def _sweep_for_days(trial: TrialEnvironment) -> int:
    """All sweeps of the demo; returns how many renewals they have made."""
    await save_blocks(trial)
    console.print("\n[bold]1. The sweep[/]")
    renewed = await _sweep(trial, show_failures=True)
    console.print("\n[bold]2. The same sweep again[/]: what is renewed is not renewed twice")
    renewed += await _sweep(trial)
    console.print(f"\n[bold]3. The next {RETRY_DAYS} days[/] on the sandbox's clock: failed renewals are tried again")
    for _ in range(RETRY_DAYS):
        trial.sandbox.advance(A_DAY)
        renewed += await _sweep(trial)
    return renewed


async def _sweep(trial: TrialEnvironment, *, show_failures: bool = False) -> int:
    """Run one sweep and show it; returns how many it has renewed."""
    from flows.renew import renew_subscriptions
    from flows.run.report import watched_by

    trial.sandbox.reset_counters()
    with _bar() as bar:
        task = bar.add_task(f"{trial.sandbox.clock():%a %d %b %H:%M}", total=None)

        def draw(report: Report) -> None:
            bar.update(task, completed=report.done, total=report.due)

        with watched_by(draw):
            state = await renew_subscriptions(return_state=True)
        bar.update(task, visible=False)
    facts: Any = await state.aresult(raise_on_failure=False)
    if not isinstance(facts, dict):
        raise TypeError(f"the sweep ended as {state.name}: {state.message}")
    _print_summary(trial, facts, state.name or "", state.message or "")
    if show_failures:
        await _print_failures()
    return int(facts["outcomes"].get("renewed", 0))


def _bar() -> Progress:
    return Progress(
        TextColumn("   {task.description}"),
        BarColumn(bar_width=40),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
        transient=True,
    )


def _print_summary(trial: TrialEnvironment, facts: dict[str, Any], name: str, sentence: str) -> None:
    colour = "red" if name == "Failed" else "green"
    console.print(f"   {trial.sandbox.clock():%a %d %b}  [{colour}]{name}[/]  {escape(sentence)}", soft_wrap=True)
    counters = trial.sandbox.counters()
    requests = facts["requests"]
    made = ", ".join(f"{requests[method]} {method}" for method in ("POST", "PATCH", "GET") if requests.get(method))
    refused = counters["throttled"]
    console.print(
        f"   [dim]{facts['seconds']:.1f} s, {made} requests, {refused} refused by the rate limit[/]", soft_wrap=True
    )


async def _print_failures() -> None:
    from prefect.artifacts import Artifact

    artifact = await Artifact.aget("renewals")
    assert artifact is not None, "the sweep published it"
    table = Table(box=None, padding=(0, 2, 0, 3))
    table.add_column("renewal", no_wrap=True)
    table.add_column("outcome")
    table.add_column("why", overflow="fold")
    for row in json.loads(str(artifact.data)):
        if row["outcome"] not in {"renewed", ""}:
            table.add_row(row["renewal"], row["outcome"], escape(row["why"]))
    console.print(table)


def _check(trial: TrialEnvironment, renewed: int, curable: int) -> int:
    """The exit code: 0 if all but those that wait for a person were renewed, each once."""
    copies, placed, periods = _count_in(trial.sandbox.database)
    console.print("\n[bold]What the shop's own records say[/]")
    console.print(
        f"   {copies} order copies, {placed} placed orders for {periods} periods: {placed - periods} charged twice"
    )
    if renewed != curable:
        console.print(f"   [red]{renewed} were renewed, and {curable} should have been[/]")
    if renewed != curable or placed != periods:
        return 1
    console.print(f"   {renewed} were renewed in the end: all but those that were set to wait for a person")
    return 0


def _count_in(database: Path) -> tuple[int, int, int]:
    """Order copies, placed orders that they made, and periods with one, read from the sandbox's own database."""
    query = (
        "SELECT count(*), count(o.placed_at), count(DISTINCT CASE WHEN o.placed_at IS NOT NULL THEN c.reference END)"
        " FROM order_copies c LEFT JOIN orders o ON o.id = c.target_order_id"
    )
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        copies, placed, periods = connection.execute(query).fetchone()
    return int(copies), int(placed), int(periods)
