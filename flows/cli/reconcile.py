"""`perennial reconcile`: the periods of a span against the placed orders in the shop."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Annotated
from zoneinfo import ZoneInfo

from cyclopts import Parameter
from rich.console import Console
from rich.markup import escape
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from flows.cli.consoles import console
from flows.cli.csv_files import write_csv
from flows.cli.installation import CREDENTIALS, POLICY
from flows.cli.options import From, To
from flows.cli.prefect_errors import calling_prefect
from flows.cli.refusals import CANNOT_ANSWER, refuse
from flows.rules.dashboard_links import Dashboard
from flows.rules.outside_text import plain
from flows.rules.reconciliation_reports import COLUMNS, Reconciliation
from flows.rules.references import period_text
from flows.rules.spans import EmptySpan, span_of
from flows.rules.zones import with_year
from flows.run import reconciliation
from flows.run.context import open_run

ROWS_SHOWN = 200
"""How many rows the table has. The file has all of them."""


class CannotWrite(ValueError):  # noqa: N818 - the name says what happened
    """The file cannot be written where it was asked for."""


def reconcile(
    *,
    first: From,
    last: To,
    csv: Annotated[Path | None, Parameter(metavar="FILE")] = None,
    machine: Annotated[bool, Parameter(name="--json")] = False,
    credentials: str = CREDENTIALS,
    policy: str = POLICY,
) -> int:
    """
    Compare every period of a span with the shop's placed orders, and print what was not simply renewed once.

    It changes nothing. Returns the exit code: 1 when something is unexplained or a subscription cannot be read, 2 when
    nothing could be compared.

    Args:
        first: The first day where the merchant is, or an instant (UTC).
        last: The last day, which belongs to the span; or an instant, which does not.
        csv: Write all periods, also those that match, into this file.
        machine: Print JSON, for machines.
        credentials: Name of the credentials block.
        policy: Name of the policy block.
    """
    try:
        if csv is not None and (csv.is_dir() or not csv.absolute().parent.is_dir()):
            raise CannotWrite(f"--csv {csv} cannot be written: name a file in a folder that exists")
        with calling_prefect():
            found, zone = asyncio.run(_compare(first, last, credentials, policy))
        if csv is not None:
            write_csv(csv, COLUMNS, found.rows())
    except (*CANNOT_ANSWER, EmptySpan, CannotWrite) as error:
        return refuse(error, machine=machine)
    except OSError as error:
        return refuse(f"--csv {csv} cannot be written: {error.strerror or error}", machine=machine)
    if machine:
        print(json.dumps(found.facts, indent=2))
    else:
        _show(console(), found, zone)
    return int(found.needs_person)


async def _compare(first: date, last: date, credentials: str, policy: str) -> tuple[Reconciliation, ZoneInfo]:
    async with open_run(credentials, policy, as_of=None) as run:
        zone = ZoneInfo(run.policy.time_zone)
        span = span_of(first, last, zone)
        if span.start >= run.as_of:
            raise EmptySpan(
                f"Nothing was due yet: the span begins on {with_year(span.start, zone)}, and now it is "
                f"{with_year(run.as_of, zone)}. Give an earlier --from."
            )
        dashboard = Dashboard(run.organization, (await run.client.claims()).mode)
        with _progress() as told:
            return await reconciliation.reconcile(run.client, dashboard, run.policy, span, run.as_of, told), zone


@contextmanager
def _progress() -> Iterator[reconciliation.Progress]:
    """Shows on standard error what is being read, as long as it is."""
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("reading the shop")
        yield lambda what, count: bar.update(task, description=f"{what}: {count:,}")


def _show(out: Console, found: Reconciliation, zone: ZoneInfo) -> None:
    shown = found.mismatches[:ROWS_SHOWN]
    if shown:
        table = Table(box=None, pad_edge=False, header_style="bold")
        for heading in ("", "subscription", "period"):
            table.add_column(heading, no_wrap=heading == "period", overflow="fold")
        table.add_column("what", overflow="fold", ratio=1)
        for each in shown:
            colour = "red" if each.is_unexplained else "yellow"
            cells = (each.subscription_id, period_text(each.due), each.sentence)
            table.add_row(f"[{colour}]{each.match}[/]", *(escape(plain(cell)) for cell in cells))
        out.print(table)
        if len(found.mismatches) > len(shown):
            out.print(f"and {len(found.mismatches) - len(shown):,} more, none worse than these: --csv has all of them")
        out.print()
    rate = found.reads / max(len(found.periods), 1)
    out.print(f"{found.span.in_words(zone)}; {found.reads:,} reads, {rate:.3f} a period")
    out.print(f"[bold]{escape(plain(found.sentence))}[/]", soft_wrap=True)
