"""`perennial watch`: what no run reports, read from the shop alone. For any cron, health check or CI."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import IntEnum
from typing import Annotated

from cyclopts import Parameter
from pydantic import ValidationError
from rich.markup import escape
from rich.table import Table

from blocks.commerce_layer.credentials import CommerceLayerCredentials
from blocks.commerce_layer.errors import AccessDenied, CommerceLayerError
from blocks.policy import Policy
from flows.cli.consoles import console
from flows.cli.installation import POLICY, credentials_for
from flows.cli.options import Duration
from flows.cli.prefect_errors import PrefectUnavailable, calling_prefect
from flows.rules.dashboard_links import Dashboard
from flows.rules.outside_text import plain, printable
from flows.rules.watch_reports import WatchReport
from flows.rules.watching import WatchLimits
from flows.run.context import NotSetUp, Unreachable, open_run
from flows.run.oversight import look_over

VARIABLES = ("ORGANIZATION", "CLIENT_ID", "CLIENT_SECRET", "MODE", "API_URL", "AUTH_URL", "TRUSTED_HOST")
"""Environment variables without their prefix `COMMERCE_LAYER_`. All but the first three have defaults."""

_REQUIRED = VARIABLES[:3]

LIMITS = WatchLimits()
"""The defaults of the limits."""


class ExitCode(IntEnum):
    """The result, for the caller of the command."""

    NOTHING_FOUND = 0
    FOUND = 1
    NOT_ASKED = 2  # something is missing or wrong in what was given
    REFUSED = 3  # wrong or revoked credentials, another organization, another mode
    NOT_READABLE = 4  # the shop, or Prefect, does not answer


@dataclass(frozen=True)
class _CannotWatch(Exception):  # noqa: N818 - the name says what happened
    """Why nothing is known about the shop."""

    code: ExitCode
    sentence: str


def watch(
    *,
    overdue: Duration = LIMITS.overdue_after,
    unplaced: Duration = LIMITS.unplaced_after,
    held: Duration = LIMITS.held_after,
    stopped: Duration = LIMITS.stopped_after,
    machine: Annotated[bool, Parameter(name="--json")] = False,
    credentials: str | None = None,
    policy: str = POLICY,
) -> int:
    """
    Look over the shop and print what is overdue, held for too long or forgotten; it changes nothing.

    COMMERCE_LAYER_ORGANIZATION, COMMERCE_LAYER_CLIENT_ID and COMMERCE_LAYER_CLIENT_SECRET name the shop, with
    COMMERCE_LAYER_MODE (test or live), COMMERCE_LAYER_API_URL, COMMERCE_LAYER_AUTH_URL and COMMERCE_LAYER_TRUSTED_HOST
    if they differ from the defaults. Then no Prefect server is needed. Or name a credentials block.

    Returns the exit code: 1 when something was found, 2 when something is missing here, 3 when the shop refuses the
    credentials, 4 when it cannot be read.

    Args:
        overdue: How long a renewal or a retry may be due without an attempt.
        unplaced: How old an unplaced order may be that belongs to no waiting renewal.
        held: How long a subscription may be held for a person.
        stopped: How long charging may be stopped; known only with a credentials block.
        machine: Print JSON, for machines.
        credentials: Name of a credentials block, instead of the environment.
        policy: Name of a policy block, with a credentials block.
    """
    limits = WatchLimits(overdue, unplaced, held, stopped)
    try:
        report = _report(limits, credentials, policy)
    except _CannotWatch as problem:
        print(printable(problem.sentence), file=sys.stderr)
        if machine:
            print(json.dumps({"error": problem.sentence, "exit_code": int(problem.code)}))
        return problem.code
    if machine:
        print(json.dumps(report.facts, indent=2))
    else:
        _show(report)
    return ExitCode.FOUND if report.findings else ExitCode.NOTHING_FOUND


def _report(limits: WatchLimits, credentials: str | None, policy: str) -> WatchReport:
    try:
        if credentials is None:
            return asyncio.run(_by_environment(limits))
        with calling_prefect():
            return asyncio.run(_by_block(limits, credentials, policy))
    except AccessDenied as error:
        raise _CannotWatch(ExitCode.REFUSED, f"the shop refuses these credentials: {error}") from None
    except NotSetUp as error:
        raise _CannotWatch(ExitCode.NOT_ASKED, str(error)) from None
    except (CommerceLayerError, Unreachable, PrefectUnavailable) as error:
        raise _CannotWatch(ExitCode.NOT_READABLE, f"the shop cannot be looked at: {error}") from None


async def _by_environment(limits: WatchLimits) -> WatchReport:
    block = _credentials_of_environment()
    async with block.get_client() as client:
        claims = await client.claims()
        as_of = client.shop_time or datetime.now(UTC)
        return await look_over(client, Dashboard(block.organization, claims.mode), Policy(), as_of, limits)


async def _by_block(limits: WatchLimits, credentials: str, policy: str) -> WatchReport:
    async with open_run(credentials, policy, as_of=None) as run:
        dashboard = Dashboard(run.organization, (await run.client.claims()).mode)
        return await look_over(run.client, dashboard, run.policy, run.as_of, limits, await run.stop_switch.look())


def _credentials_of_environment() -> CommerceLayerCredentials:
    given = {name: os.environ.get(f"COMMERCE_LAYER_{name}", "").strip() for name in VARIABLES}
    if missing := [f"COMMERCE_LAYER_{name}" for name in _REQUIRED if not given[name]]:
        raise _CannotWatch(ExitCode.NOT_ASKED, f"set {', '.join(missing)}, or name a block with --credentials")
    mode = given["MODE"] or "test"
    if mode not in {"test", "live"}:
        raise _CannotWatch(ExitCode.NOT_ASKED, f"COMMERCE_LAYER_MODE is {mode!r}: it must be test or live")
    try:
        return credentials_for(
            given["ORGANIZATION"], given["CLIENT_ID"], given["CLIENT_SECRET"], "live" if mode == "live" else "test",
            given["API_URL"] or None, given["AUTH_URL"] or None, trusted_host=given["TRUSTED_HOST"] or None,
        )  # fmt: skip
    except ValidationError as error:
        # Not the values: one of them is a secret.
        wrong = "; ".join(f"COMMERCE_LAYER_{str(item['loc'][0]).upper()}: {item['msg']}" for item in error.errors())
        raise _CannotWatch(ExitCode.NOT_ASKED, wrong) from None


def _show(report: WatchReport) -> None:
    out = console()
    if report.findings:
        table = Table(box=None, pad_edge=False, header_style="bold")
        for heading in ("alarm", "subscription", "customer", "since"):
            table.add_column(heading, no_wrap=heading == "since", overflow="fold")
        table.add_column("what", overflow="fold", ratio=1)
        for each in report.findings:
            since = f"{each.since:%Y-%m-%d %H:%M}" if each.since else ""
            cells = (each.subscription_id, each.email or "", since, each.sentence)
            table.add_row(f"[red]{each.alarm.value}[/]", *(escape(plain(cell)) for cell in cells))
        out.print(table)
        out.print()
    out.print(f"[bold]{escape(plain(report.sentence))}[/]", soft_wrap=True)
