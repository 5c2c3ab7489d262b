"""`python -m flows adopt`: hands subscriptions to Perennial, releases held ones, or gives them back."""

from __future__ import annotations

import argparse
import asyncio
import sys
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from blocks.commerce_layer.errors import CommerceLayerError
from flows.adopt import adopt_subscriptions
from flows.cli.prefect_errors import NoPrefect, calling_prefect
from flows.tasks.fuse import NotSetUp, SetUpElsewhere
from flows.tasks.shop import Unreachable

COLOURS = {"change": "green", "as_wished": "dim", "refused": "yellow", "failed": "red"}
WORDS = {"change": "yes", "as_wished": "nothing to do", "refused": "no", "failed": "FAILED"}


def adopt(given: argparse.Namespace) -> int:
    """Show or do it. Returns the exit code: 1 when something was refused or failed, 2 when nothing could be tried."""
    if bool(given.ids) == bool(given.all_active or given.all_inactive):
        print("say whom it concerns: either ids, or --all-active and --all-inactive", file=sys.stderr)
        return 2
    try:
        with calling_prefect():
            facts = asyncio.run(_run(given))
    except (CommerceLayerError, NoPrefect, NotSetUp, SetUpElsewhere, Unreachable) as error:
        print(error, file=sys.stderr)
        return 2
    _show(facts)
    return int(any(row["verdict"] in {"refused", "failed"} for row in facts["rows"]))


async def _run(given: argparse.Namespace) -> dict[str, Any]:
    state = await adopt_subscriptions(
        subscriptions=given.ids,
        all_active=given.all_active,
        all_inactive=given.all_inactive,
        handover="release" if given.release else "give_back" if given.give_back else "adopt",
        dry_run=not given.apply,
        take_over=given.take_over,
        credentials=given.credentials,
        policy=given.policy,
        return_state=True,
    )
    facts = await state.aresult(raise_on_failure=False)
    if isinstance(facts, BaseException):
        raise facts
    return dict(facts)


def _show(facts: dict[str, Any]) -> None:
    console = Console(highlight=False)
    if facts["rows"]:
        table = Table(box=None, pad_edge=False, header_style="bold")
        for heading in ("subscription", "", "what"):
            table.add_column(heading, overflow="fold")
        for row in facts["rows"]:
            colour = COLOURS[row["verdict"]]
            table.add_row(row["subscription"], f"[{colour}]{WORDS[row['verdict']]}[/]", escape(row["what"]))
        console.print(table)
    console.print(f"\n[bold]{escape(facts['sentence'])}[/]")
    if facts["dry_run"]:
        console.print("nothing was changed; add --apply to do it")
