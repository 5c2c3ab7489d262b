"""`perennial rehearse`: the recorded failures of a span, replayed under other policies; nothing is changed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Annotated, Any

from cyclopts import Parameter
from rich.markup import escape
from rich.table import Table

from blocks.renewal_policy import RenewalPolicy
from flows.cli.consoles import console
from flows.cli.installation import CREDENTIALS
from flows.cli.options import From, To
from flows.cli.prefect_errors import calling_prefect
from flows.cli.refusals import refuse
from flows.cli.span_reading import PROBLEMS, SpanRead, reading
from flows.rules.outside_text import plain
from flows.rules.rehearsals import Bounds, End, Rehearsal, rehearse
from flows.rules.renewal_reports import RenewalReport, Standing, report_of
from flows.run.context import load_block

WHAT_IS_NOT_KNOWN = (
    "An attempt at a time when none was made has no known result. The lower number assumes that it succeeds, the "
    "higher one that it and all that follow fail for the recorded reason. No recovery is counted that was not made."
)


@dataclass(frozen=True)
class _Compared:
    """The record of a span, and what each policy would have done with its failures."""

    read: SpanRead
    recorded: RenewalReport
    rehearsals: dict[str, Rehearsal]


def rehearse_policy(
    *,
    policy: Annotated[Sequence[str], Parameter(name="--policy", metavar="NAME", required=True)],
    first: From,
    last: To,
    machine: Annotated[bool, Parameter(name="--json")] = False,
    credentials: str = CREDENTIALS,
) -> int:
    """
    Show what was recorded in a span beside what other policies would have done with the same failures.

    Returns the exit code: 0 when the policies were rehearsed, 2 when they could not be: the message says why.

    Args:
        policy: Name of a policy block; may be given several times. The first one's time zone is used for the days.
        first: The first day where the merchant is, or an instant (UTC).
        last: The last day, which is included, or an instant (UTC), which is not.
        machine: Print JSON, for machines.
        credentials: Name of the credentials block.
    """
    try:
        with calling_prefect():
            compared = asyncio.run(_compare(list(dict.fromkeys(policy)), first, last, credentials))
    except PROBLEMS as error:
        return refuse(error, machine=machine)
    if machine:
        print(json.dumps(_facts(compared), indent=2))
    else:
        _show(compared)
    return 0


async def _compare(names: list[str], first: date, last: date, credentials: str) -> _Compared:
    policies = {name: (await load_block(RenewalPolicy, name)).plain() for name in names}
    async with reading(first, last, credentials, names[0]) as read:
        history, run = read.history, read.run
        recorded = report_of(history.renewals, history.subscriptions, read.span, run.policy, run.now())
        rehearsals = {
            name: rehearse(history.renewals, history.subscriptions, read.span, each) for name, each in policies.items()
        }
        return _Compared(read, recorded, rehearsals)


def _show(compared: _Compared) -> None:
    out, recorded = console(), compared.recorded
    zone = recorded.zone
    out.print(f"[bold]{len(recorded.at_risk)} renewals failed[/] from {escape(compared.read.span.in_words(zone))}")
    if not recorded.at_risk:
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("", "recorded", *compared.rehearsals):
        table.add_column(escape(plain(heading)), justify="right" if heading else "left", overflow="fold")
    for row in _rows(compared):
        table.add_row(*map(escape, row))
    out.print(table)
    out.print(f"\n{WHAT_IS_NOT_KNOWN}", style="dim")


def _rows(compared: _Compared) -> list[list[str]]:
    recorded, all_of = compared.recorded, compared.rehearsals.values()
    return [
        ["failed renewals replayed", str(len(recorded.at_risk)), *(str(each.renewals) for each in all_of)],
        ["attempts in the span", str(_recorded_attempts(recorded)), *(str(each.attempts) for each in all_of)],
        *([end.value, str(_recorded_end(recorded, end)), *(_renewed(each, end) for each in all_of)] for end in End),
        ["result not known", "", *(str(each.unknown) for each in all_of)],
        ["retries put off for the card networks' limits", "?", *(str(each.card_limits) for each in all_of)],
        ["days on which a cap of the day is reached", "?", *(str(each.capped_days) for each in all_of)],
        ["charges put off for a cap of the day", "?", *(str(each.capped_orders) for each in all_of)],
    ]


def _renewed(rehearsal: Rehearsal, end: End) -> str:
    return str(rehearsal.ends[end])


def _recorded_attempts(recorded: RenewalReport) -> int:
    """The attempts of the renewals that failed; `attempts` of the report has those that succeeded at once as well."""
    return sum(row.made for row in recorded.attempts) - sum(
        not each.is_paid_by_customer for each in recorded.renewed_at_once
    )


def _recorded_end(recorded: RenewalReport, end: End) -> int:
    """How many stand so now; those that were recovered after the span were waiting at its end."""
    return len(recorded.those(*_STANDINGS[end]))


_STANDINGS = {
    End.RENEWED: (Standing.RECOVERED,),
    End.WAITS: (Standing.RETRY_SCHEDULED, Standing.UNDER_WAY, Standing.RECOVERED_SINCE),
    End.HELD: (Standing.HELD,),
    End.GIVEN_UP: (Standing.GIVEN_UP,),
}


def _facts(compared: _Compared) -> dict[str, Any]:
    recorded, read = compared.recorded, compared.read
    return {
        "organization": read.dashboard.organization,
        "mode": read.dashboard.mode,
        "from": read.span.start.isoformat(),
        "to": read.span.end.isoformat(),
        "recorded": {
            "renewals": len(recorded.at_risk),
            "attempts": _recorded_attempts(recorded),
            **{end.name.lower(): _recorded_end(recorded, end) for end in End},
        },
        "policies": {name: _data(each) for name, each in compared.rehearsals.items()},
        "not_known": WHAT_IS_NOT_KNOWN,
    }


def _data(rehearsal: Rehearsal) -> dict[str, Any]:
    return {
        "renewals": rehearsal.renewals,
        "attempts": _both(rehearsal.attempts),
        **{end.name.lower(): _both(bounds) for end, bounds in rehearsal.ends.items()},
        "result_not_known": rehearsal.unknown,
        "put_off_for_card_limits": _both(rehearsal.card_limits),
        "days_with_a_cap_reached": rehearsal.capped_days,
        "charges_put_off_for_a_cap": rehearsal.capped_orders,
    }


def _both(bounds: Bounds) -> list[int]:
    return [bounds.fewest, bounds.most]
