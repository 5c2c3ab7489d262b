"""`perennial preflight`: what the coming sweeps will do, before they do it."""

from __future__ import annotations

import asyncio
import json
from datetime import date, datetime
from enum import IntEnum
from typing import Annotated
from zoneinfo import ZoneInfo

from cyclopts import Parameter
from rich.console import Console
from rich.markup import escape
from rich.progress import Progress, SpinnerColumn, TextColumn
from rich.table import Table

from blocks.commerce_layer.errors import AccessDenied, CommerceLayerError
from flows.cli.consoles import console
from flows.cli.installation import CREDENTIALS, POLICY
from flows.cli.options import DayOrInstant
from flows.cli.prefect_errors import PrefectUnavailable, calling_prefect
from flows.cli.refusals import refuse
from flows.rules.amounts import amount_cell
from flows.rules.outside_text import plain
from flows.rules.predictions import Expected
from flows.rules.preflight import NoSuchSpan, Preflight, end_of_preflight, in_words
from flows.rules.zones import wall_of
from flows.run.context import ClocksDiffer, NotSetUp, Unreachable, open_run
from flows.sweep.looking_ahead import look_ahead

ROWS_SHOWN = 50
"""How many renewals are shown that will not succeed; `--json` has all."""

_COLOURS = {Expected.FAILED: "red", Expected.NOT_CHARGED: "yellow", Expected.RENEWED: "green"}


class ExitCode(IntEnum):
    """The result, for the caller of the command."""

    ALL_FINE = 0
    NOT_ALL = 1
    NOT_ASKED = 2  # something is missing or wrong in what was given
    REFUSED = 3  # wrong or revoked credentials, another organization, another mode
    NOT_READABLE = 4  # the shop, or Prefect, does not answer


def preflight(
    *,
    until: DayOrInstant | None = None,
    machine: Annotated[bool, Parameter(name="--json")] = False,
    credentials: str = CREDENTIALS,
    policy: str = POLICY,
) -> int:
    """
    Print what the sweeps until a day will do: who is renewed, for how much, who fails and why; it changes nothing.

    Returns the exit code: 1 when not all renewals are expected to succeed, 2 when something is wrong in what was given,
    3 when the shop refuses the credentials, 4 when the shop or Prefect cannot be read.

    Args:
        until: Look at what comes due until this day where the merchant is, or before this time (UTC). If left out,
            until the end of tomorrow.
        machine: Print JSON, for machines, with every renewal.
        credentials: Name of the credentials block.
        policy: Name of the policy block.
    """
    try:
        with calling_prefect():
            found = asyncio.run(_look(until, credentials, policy))
    except (NoSuchSpan, NotSetUp) as error:
        return refuse(str(error).replace("until is", "--until is", 1), machine=machine, code=ExitCode.NOT_ASKED)
    except AccessDenied as error:
        return refuse(f"the shop refuses these credentials: {error}", machine=machine, code=ExitCode.REFUSED)
    except (CommerceLayerError, Unreachable, ClocksDiffer, PrefectUnavailable) as error:
        return refuse(f"nothing can be predicted: {error}", machine=machine, code=ExitCode.NOT_READABLE)
    if machine:
        print(json.dumps(found.facts, indent=2))
    else:
        _show(console(), found)
    return ExitCode.ALL_FINE if found.is_fine else ExitCode.NOT_ALL


async def _look(until: date | datetime | None, credentials: str, policy: str) -> Preflight:
    async with open_run(credentials, policy, as_of=None) as run:
        end = end_of_preflight(until, run.as_of, ZoneInfo(run.policy.time_zone))
        columns = (SpinnerColumn(), TextColumn("{task.completed:.0f} subscriptions looked at"))
        shown_on = Console(stderr=True)
        with Progress(*columns, console=shown_on, transient=True, disable=not shown_on.is_terminal) as progress:
            task = progress.add_task("")
            return await look_ahead(run, end, lambda seen: progress.update(task, completed=seen))


def _show(out: Console, found: Preflight) -> None:
    _show_days(out, found)
    _show_trouble(out, found)
    for warning, count in sorted(found.warnings.items()):
        out.print(f"[yellow]![/] {count} renewal{'' if count == 1 else 's'}: {_shown(warning)}")
    out.print(f"[bold]{_shown(found.sentence)}[/]", soft_wrap=True)


def _show_days(out: Console, found: Preflight) -> None:
    if not found.predictions:
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("due on")
    for each in Expected:
        table.add_column(each.value, justify="right")
    table.add_column("amount")
    for day, counts, cents in found.by_day:
        table.add_row(f"{day:%a %d %b %Y}", *(f"{counts[each]:,}" for each in Expected), _shown(in_words(cents)))
    out.print(table)
    out.print()


def _show_trouble(out: Console, found: Preflight) -> None:
    # What only a cap stops is counted in the last line.
    trouble = [each for each in found.worst_first if each.expected is not Expected.RENEWED and not each.is_beyond_caps]
    if not trouble:
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("expected", "subscription", "customer", "date", "amount"):
        table.add_column(heading, no_wrap=heading in {"expected", "date"}, overflow="fold")
    table.add_column("why", overflow="fold", ratio=1)
    for each in trouble[:ROWS_SHOWN]:
        date, amount = f"{wall_of(each.at, found.zone):%Y-%m-%d %H:%M}", amount_cell(each.cents, each.currency)
        cells = (each.subscription_id, each.customer_email or "", date, amount, each.sentence)
        table.add_row(f"[{_COLOURS[each.expected]}]{each.expected.value}[/]", *map(_shown, cells))
    out.print(table)
    if len(trouble) > ROWS_SHOWN:
        out.print(f"and {len(trouble) - ROWS_SHOWN:,} more: --json shows all")
    out.print()


def _shown(text: str) -> str:
    return escape(plain(text))
