"""`python -m flows adopt`: hands subscriptions to Perennial, releases held ones, or gives them back."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable
from typing import Annotated, Any

from cyclopts import Parameter
from prefect.client.schemas.objects import State
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from blocks.commerce_layer.errors import CommerceLayerError
from flows.adopt import adopt_subscriptions
from flows.cli.installation import CREDENTIALS, POLICY
from flows.cli.prefect_errors import PrefectUnavailable, calling_prefect
from flows.run.context import ClocksDiffer, NotSetUp, Unreachable

COLOURS = {"change": "green", "as_requested": "dim", "refused": "yellow", "failed": "red"}
WORDS = {"change": "yes", "as_requested": "nothing to do", "refused": "no", "failed": "FAILED"}


def adopt(
    *ids: Annotated[str, Parameter(name="ID")],
    all_active: bool = False,
    all_inactive: bool = False,
    release: bool = False,
    give_back: bool = False,
    apply: bool = False,
    credentials: str = CREDENTIALS,
    policy: str = POLICY,
) -> int:
    """
    Show what would be done, or do it.

    Returns the exit code: 1 when something was refused or failed, 2 when nothing could be tried.

    Args:
        ids: The ten letters in the address of each subscription.
        all_active: All that Commerce Layer renews now.
        all_inactive: All inactive ones, except overdue ones.
        release: Release those that are held for a person.
        give_back: Hand them to Commerce Layer's own engine.
        apply: Do it; without this, it is only shown.
        credentials: Name of the credentials block.
        policy: Name of the policy block.
    """
    if bool(ids) == (all_active or all_inactive):
        print("name the subscriptions: either by id, or with --all-active and --all-inactive", file=sys.stderr)
        return 2
    if release and give_back:
        print("give either --release or --give-back, not both", file=sys.stderr)
        return 2
    try:
        with calling_prefect():
            run = adopt_subscriptions(
                subscriptions=list(ids),
                all_active=all_active,
                all_inactive=all_inactive,
                handover="release" if release else "give_back" if give_back else "adopt",
                dry_run=not apply,
                credentials=credentials,
                policy=policy,
                return_state=True,
            )
            facts = asyncio.run(_facts_of(run))
    except (CommerceLayerError, PrefectUnavailable, NotSetUp, Unreachable, ClocksDiffer) as error:
        print(error, file=sys.stderr)
        return 2
    _show(facts)
    return int(any(row["handling"] in {"refused", "failed"} for row in facts["rows"]))


async def _facts_of(run: Awaitable[State[Any]]) -> dict[str, Any]:
    """What a run of the flow has found and done."""
    facts = await (await run).aresult(raise_on_failure=False)
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
            colour = COLOURS[row["handling"]]
            table.add_row(row["subscription"], f"[{colour}]{WORDS[row['handling']]}[/]", escape(row["what"]))
        console.print(table)
    console.print(f"\n[bold]{escape(facts['sentence'])}[/]")
    if facts["dry_run"]:
        console.print("nothing was changed; add --apply to do it")
