"""`perennial adopt`, `pause` and `resume`: who renews a subscription, and whether it is renewed at all."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable
from typing import Annotated, Any, Literal

from cyclopts import Parameter
from prefect.client.schemas.objects import State
from rich.markup import escape
from rich.table import Table

from flows.adopt import adopt_subscriptions
from flows.cli.consoles import console
from flows.cli.installation import CREDENTIALS, POLICY
from flows.cli.prefect_errors import calling_prefect
from flows.cli.refusals import CANNOT_ANSWER, refuse
from flows.rules.outside_text import plain

Request = Literal["adopt", "release", "give_back", "pause", "resume"]

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
        ids: The ids of the subscriptions: the ten letters in their address in the dashboard.
        all_active: All that Commerce Layer renews now.
        all_inactive: All inactive ones, except overdue ones.
        release: Release those that are held for a person.
        give_back: Hand them to Commerce Layer's own engine.
        apply: Do it. Without this, only show it.
        credentials: Name of the credentials block.
        policy: Name of the policy block.
    """
    if bool(ids) == (all_active or all_inactive):
        print("name the subscriptions: either by id, or with --all-active and --all-inactive", file=sys.stderr)
        return 2
    if release and give_back:
        print("give either --release or --give-back, not both", file=sys.stderr)
        return 2
    handover: Request = "release" if release else "give_back" if give_back else "adopt"
    return _carry_out(
        handover,
        subscriptions=list(ids),
        all_active=all_active,
        all_inactive=all_inactive,
        dry_run=not apply,
        credentials=credentials,
        policy=policy,
    )


def pause(
    *ids: Annotated[str, Parameter(name="ID", required=True)], credentials: str = CREDENTIALS, policy: str = POLICY
) -> int:
    """
    Renew nothing of these subscriptions until they are resumed.

    Returns the exit code: 1 when something was refused or failed, 2 when nothing could be tried.

    Args:
        ids: The ten letters in the address of each subscription.
        credentials: Name of the credentials block.
        policy: Name of the policy block.
    """
    return _carry_out("pause", subscriptions=list(ids), dry_run=False, credentials=credentials, policy=policy)


def resume(
    *ids: Annotated[str, Parameter(name="ID", required=True)], credentials: str = CREDENTIALS, policy: str = POLICY
) -> int:
    """
    Renew these subscriptions again, from their next date on. What came due in the pause is not made up.

    Returns the exit code: 1 when something was refused or failed, 2 when nothing could be tried.

    Args:
        ids: The ten letters in the address of each subscription.
        credentials: Name of the credentials block.
        policy: Name of the policy block.
    """
    return _carry_out("resume", subscriptions=list(ids), dry_run=False, credentials=credentials, policy=policy)


def _carry_out(handover: Request, **parameters: Any) -> int:
    try:
        with calling_prefect():
            run = adopt_subscriptions(handover=handover, return_state=True, **parameters)
            facts = asyncio.run(_facts_of(run))
    except CANNOT_ANSWER as error:
        return refuse(error)
    _show(facts)
    return int(any(row["handling"] in {"refused", "failed"} for row in facts["rows"]))


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
        for heading in ("subscription", "", "what"):
            table.add_column(heading, overflow="fold")
        for row in facts["rows"]:
            colour = COLOURS[row["handling"]]
            subscription, what = escape(plain(row["subscription"])), escape(plain(row["what"]))
            table.add_row(subscription, f"[{colour}]{WORDS[row['handling']]}[/]", what)
        out.print(table)
    out.print(f"\n[bold]{escape(plain(facts['sentence']))}[/]")
    if facts["dry_run"]:
        out.print("nothing was changed; add --apply to do it")
