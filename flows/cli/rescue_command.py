"""`perennial rescue`: the renewals that Commerce Layer's own engine has failed, and what is done about each."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable
from typing import Annotated, Any

from cyclopts import Parameter
from prefect.client.schemas.objects import State
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from flows.cli.consoles import console
from flows.cli.installation import CREDENTIALS, POLICY
from flows.cli.prefect_errors import calling_prefect
from flows.cli.refusals import CANNOT_ANSWER, refuse
from flows.rescue import rescue_failed_renewals
from flows.rules.outside_text import plain
from flows.rules.rescue_plans import FOR_A_PERSON, RescueHandling

WORDS = {
    RescueHandling.CHARGE: ("green", "charge"),
    RescueHandling.COPY: ("green", "copy, charge"),
    RescueHandling.RECORD: ("yellow", "record"),
    RescueHandling.HOLD: ("yellow", "hold"),
    RescueHandling.RENEWED: ("green", "renewed"),
    RescueHandling.WAITS: ("dim", "waits"),
    RescueHandling.LEFT_ALONE: ("dim", "left alone"),
    RescueHandling.NEEDS_PERSON: ("yellow", "a person"),
    RescueHandling.FAILED: ("red", "FAILED"),
}


def rescue(
    *ids: Annotated[str, Parameter(name="ID")],
    release: bool = False,
    apply: bool = False,
    machine: Annotated[bool, Parameter(name="--json")] = False,
    credentials: str = CREDENTIALS,
    policy: str = POLICY,
) -> int:
    """
    Show which renewals Commerce Layer's own engine has failed, and what would be done about each; or do it.

    The order that the failed run left is placed once the policy's wait is over. Adopted, cancelled and inactive
    subscriptions, and those whose order is paid, are left alone.

    Returns the exit code: 1 when a person must act or something failed, 2 when nothing could be tried.

    Args:
        ids: The ids of the subscriptions: the ten letters in their address in the dashboard. All that failed if left
            out.
        release: Try those that are held for a person once more; only with ids.
        apply: Do it. Without this, only show it.
        machine: Print JSON, for machines.
        credentials: Name of the credentials block.
        policy: Name of the policy block.
    """
    if release and not ids:
        return refuse("--release needs the ids of the subscriptions to release", machine=machine)
    try:
        with calling_prefect(), Console(stderr=True).status("looking at failed renewals"):
            run = rescue_failed_renewals(
                subscriptions=list(ids), release=release, dry_run=not apply, credentials=credentials, policy=policy,
                return_state=True,
            )  # fmt: skip
            facts = asyncio.run(_facts_of(run))
    except CANNOT_ANSWER as error:
        return refuse(error, machine=machine)
    if machine:
        print(json.dumps(facts, indent=2))
    else:
        _show(facts)
    return int(facts["stopped"] is not None or any(row["handling"] in FOR_A_PERSON for row in facts["rows"]))


async def _facts_of(run: Awaitable[State[Any]]) -> dict[str, Any]:
    """What a run of the flow has found, and what it has done."""
    facts = await (await run).aresult(raise_on_failure=False)
    if isinstance(facts, BaseException):
        raise facts
    return dict(facts)


def _show(facts: dict[str, Any]) -> None:
    out = console()
    if facts["rows"]:
        table = Table(box=None, pad_edge=False, header_style="bold")
        for heading in ("subscription", "customer", "", "what"):
            table.add_column(heading, overflow="fold")
        for row in facts["rows"]:
            colour, word = WORDS[RescueHandling(row["handling"])]
            shown = [escape(plain(row[name] or "")) for name in ("subscription", "customer", "what")]
            table.add_row(*shown[:2], f"[{colour}]{word}[/]", shown[2])
        out.print(table)
    out.print(f"\n[bold]{escape(plain(facts['sentence']))}[/]")
    if facts["dry_run"]:
        out.print("nothing was changed; add --apply to do it")
