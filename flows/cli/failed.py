"""`perennial failed`: all open failures of the shop, the worst and most valuable first."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from rich.markup import escape

from flows.cli.consoles import console, counting
from flows.cli.csv_files import csv_text, write_csv
from flows.cli.installation import CREDENTIALS, POLICY
from flows.cli.prefect_errors import calling_prefect
from flows.cli.refusals import CANNOT_ANSWER, refuse
from flows.rules.amounts import amount_cell
from flows.rules.open_failure_reports import SPREADSHEET_COLUMNS, OpenFailureReport, attempts_cell
from flows.rules.open_failures import Awaited, OpenFailure
from flows.rules.outside_text import plain
from flows.run.context import open_run
from flows.run.open_failures import find_open_failures

COLOURS = {Awaited.A_PERSON: "red", Awaited.THE_NEXT_SWEEP: "yellow", Awaited.ITS_NEXT_ATTEMPT: "green"}


def failed(
    *,
    csv: Annotated[list[Path] | None, Parameter(consume_multiple=(0, 1), metavar="FILE")] = None,
    machine: Annotated[bool, Parameter(name="--json")] = False,
    credentials: str = CREDENTIALS,
    policy: str = POLICY,
) -> int:
    """
    Print all open failures; it changes nothing.

    Returns the exit code: 1 when one of them waits for a person, 2 when they could not be read or written, else 0.

    Args:
        csv: Write them for a spreadsheet, into this file, or to standard output where none is named.
        machine: Print JSON, for machines.
        credentials: Name of the credentials block.
        policy: Name of the policy block.
    """
    if machine and csv is not None:
        return refuse("give either --csv or --json, not both", machine=machine)
    try:
        with calling_prefect():
            report = asyncio.run(_look_up(credentials, policy))
    except CANNOT_ANSWER as error:
        return refuse(error, machine=machine)
    if csv:
        try:
            write_csv(csv[0], SPREADSHEET_COLUMNS, report.spreadsheet_rows)
        except OSError as error:
            return refuse(f"--csv {csv[0]}: it cannot be written: {error.strerror or error}", machine=machine)
        print(f"{report.sentence}; written to {csv[0]}")
    elif csv is not None:
        sys.stdout.write(csv_text(SPREADSHEET_COLUMNS, report.spreadsheet_rows))
    elif machine:
        print(json.dumps(report.facts, indent=2))
    else:
        _show(report)
    return int(report.for_a_person > 0)


async def _look_up(credentials: str, policy: str) -> OpenFailureReport:
    with counting("subscriptions") as seen:
        async with open_run(credentials, policy, as_of=None) as run:
            return await find_open_failures(run, seen)


def _show(report: OpenFailureReport) -> None:
    out = console()
    for failure in report.failures:
        for line in _lines(report, failure):
            out.print(line, soft_wrap=True)
        out.print()
    out.print(f"[bold]{escape(plain(report.sentence))}[/]", soft_wrap=True)


def _lines(report: OpenFailureReport, failure: OpenFailure) -> list[str]:
    """The lines about one failure: whose, what it is about, what the shop said, what to do, and where."""
    facts = [
        failure.customer_email or "(no address)",
        failure.subscription_id,
        amount_cell(failure.amount_cents, failure.currency_code) or "amount not known",
        f"since {failure.since:%Y-%m-%d %H:%M} UTC" if failure.since else "",
        f"attempts: {attempts}" if (attempts := attempts_cell(failure)) else "",
    ]
    said = f": {failure.said}" if failure.said else ""
    colour = COLOURS[failure.awaits]
    whose, *more = (escape(plain(each)) for each in facts if each)
    return [
        "   ".join((f"[bold]{whose}[/]", *more)),
        f"  [{colour}]{escape(plain(failure.failure_class + said))}[/]",
        f"  {escape(plain(failure.what_to_do))}",
        f"  [dim]{escape(report.link(failure))}[/]",
    ]
