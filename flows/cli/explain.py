"""`python -m flows explain`: whether and why a subscription is due, its next dates, and how its last renewal went."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from datetime import date, datetime, time, timedelta
from typing import Annotated
from zoneinfo import ZoneInfo

from cyclopts import Parameter
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from blocks.commerce_layer.resources import Order, OrderCopy, OrderSubscription
from flows.cli.consoles import console
from flows.cli.installation import CREDENTIALS, POLICY
from flows.cli.options import DayOrInstant
from flows.cli.prefect_errors import calling_prefect
from flows.cli.refusals import CANNOT_ANSWER, refuse
from flows.rules.explanations import Explanation, explain
from flows.rules.next_action import NextAction, next_action
from flows.rules.outside_text import plain
from flows.rules.renewal import Renewal, Skipped
from flows.rules.state import RenewalState
from flows.rules.zones import instant_of, wall_of, with_year
from flows.run.context import Run, open_run
from flows.run.no_such_subscription import NoSuchSubscription
from flows.sweep.first_look import Due, take_first_look

COLUMNS = 3
"""Columns in which the next dates are shown."""


@dataclass(frozen=True)
class Findings:
    """Everything that the command shows about one subscription."""

    subscription: OrderSubscription
    explanation: Explanation
    order_copy: OrderCopy | None
    target_order: Order | None


def explain_subscription(
    subscription: Annotated[str, Parameter(name="ID")],
    /,
    *,
    on: DayOrInstant | None = None,
    credentials: str = CREDENTIALS,
    policy: str = POLICY,
) -> int:
    """
    Print the explanation. Returns the exit code: 2 if the subscription could not be read.

    Args:
        subscription: The ten letters in the subscription's address.
        on: As of this time (UTC), or the end of this day where the merchant is; now if left out.
        credentials: Name of the credentials block.
        policy: Name of the policy block.
    """
    try:
        with calling_prefect():
            findings = asyncio.run(_look_up(subscription, on, credentials, policy))
    except (*CANNOT_ANSWER, NoSuchSubscription) as error:
        return refuse(error)
    _show(console(highlight=True), findings)
    return 0


async def _look_up(subscription_id: str, on: date | datetime | None, credentials: str, policy: str) -> Findings:
    async with open_run(credentials, policy, as_of=None) as run:
        subscription = (await run.client.get_subscriptions([subscription_id])).get(subscription_id)
        if subscription is None:
            claims = await run.client.claims()
            raise NoSuchSubscription(
                f"There is no subscription {subscription_id!r} in organization {claims.organization_slug} "
                f"({claims.mode} mode). The id is the ten letters in its address in the dashboard, not its number."
            )
        then = replace(run, as_of=_instant_meant(on, ZoneInfo(run.policy.time_zone)) or run.as_of)
        explanation = explain(subscription, run.policy, then.as_of, *await _what_a_sweep_would_do(then, subscription))
        return Findings(subscription, explanation, *await _last_renewal(run, subscription))


def _instant_meant(on: date | datetime | None, zone: ZoneInfo) -> datetime | None:
    """A date without a time means the end of that day in the merchant's zone, so that all that is due on it is due."""
    if on is None or isinstance(on, datetime):
        return on
    return instant_of(datetime.combine(on + timedelta(days=1), time.min), zone) - timedelta(minutes=1)


async def _what_a_sweep_would_do(
    run: Run, subscription: OrderSubscription
) -> tuple[Renewal | Skipped, NextAction | None]:
    """Read and decide as a sweep does, without a write."""
    look = await take_first_look(run, [Due(subscription.id, subscription.source_order_id)])
    if not look.renewals:
        return look.skipped[0], None
    renewal = look.renewals[0]
    return renewal, next_action(renewal, renewal.found, run.as_of)


async def _last_renewal(run: Run, subscription: OrderSubscription) -> tuple[OrderCopy | None, Order | None]:
    state = RenewalState.read(subscription.metadata)
    if state is None:
        return None, None
    copies = await run.client.get_order_copies([state.order_copy_id]) if state.order_copy_id else {}
    orders = await run.client.get_orders([state.target_order_id]) if state.target_order_id else {}
    return next(iter(copies.values()), None), next(iter(orders.values()), None)


def _show(out: Console, findings: Findings) -> None:
    one, explanation = findings.subscription, findings.explanation
    zone = ZoneInfo(explanation.policy.time_zone)
    about = [one.id, f"#{one.number}" if one.number else "", one.frequency, one.raw_status or one.status.value]
    out.print(f"[bold]{_shown(' '.join(filter(None, about)))}[/]  {_shown(one.customer_email or '')}")
    out.print(f"as of {with_year(explanation.as_of, zone)}")
    colour = "green" if explanation.is_due else "yellow"
    out.print(f"[{colour}]{_shown(explanation.sentence)}[/]")
    for warning in explanation.warnings:
        out.print(f"[red]![/] {_shown(warning)}")
    _show_last_renewal(out, findings, zone)
    _show_dates(out, explanation, zone)
    if RenewalState.read(one.metadata) is not None:
        _show_attempts_left(out, explanation, zone)


def _show_last_renewal(out: Console, findings: Findings, zone: ZoneInfo) -> None:
    state = RenewalState.read(findings.subscription.metadata)
    if state is None or state.period is None:
        return
    table = _grid()
    attempts = f", {state.attempt} attempts" if state.attempt > 1 else ""
    table.add_row("period", f"{with_year(state.period, zone)}: {state.outcome or 'begun'}{attempts}")
    copy, order = findings.order_copy, findings.target_order
    if state.order_copy_id:
        said = copy.raw_status or copy.status.value if copy else "not found"
        table.add_row("order copy", _shown(f"{state.order_copy_id}: {said}"))
    if state.target_order_id:
        said = f"#{order.number}, {order.raw_status}, {order.payment_status.value}" if order else "not found"
        table.add_row("order", _shown(f"{state.target_order_id}: {said}"))
    if state.error:
        table.add_row(_shown(f"error ({state.error_class or 'unclassed'})"), _shown(state.error))
    if state.next_attempt_at:
        table.add_row("next attempt", with_year(state.next_attempt_at, zone))
    if state.flow_run_id:
        table.add_row("flow run", _shown(state.flow_run_id))
    out.print("\n[bold]last renewal[/]")
    out.print(table)


def _show_dates(out: Console, explanation: Explanation, zone: ZoneInfo) -> None:
    dates = [f"{wall_of(date, zone):%a %d %b %Y %H:%M}" for date in explanation.next_dates]
    if not dates:
        return
    height = -(-len(dates) // COLUMNS)
    table = _grid(COLUMNS)
    for line in range(height):
        table.add_row(*dates[line::height])
    after = ", once that is settled" if explanation.waits_for_person else ""
    out.print(f"\n[bold]next {len(dates)} dates{after}[/] ({zone.key})")
    out.print(table)


def _show_attempts_left(out: Console, explanation: Explanation, zone: ZoneInfo) -> None:
    if not explanation.attempts_left:
        return
    table = _grid()
    for cls, moments in explanation.attempts_left.items():
        again = ", ".join(f"{wall_of(moment, zone):%d %b %H:%M}" for moment in moments[1:]) or "no retry"
        table.add_row(cls.value, f"{again}; then {explanation.policy.final_action_for(cls).value.replace('_', ' ')}")
    first = next(iter(explanation.attempts_left.values()))[0]
    which = "an attempt made now" if explanation.waits_for_person else f"the attempt of {with_year(first, zone)}"
    out.print(f"\n[bold]if {which} fails, by reason: when it is tried again, and what happens in the end[/]")
    out.print(table)


def _shown(text: str) -> str:
    return escape(plain(text))


def _grid(columns: int = 2) -> Table:
    table = Table.grid(padding=(0, 3, 0, 0))
    for _ in range(columns):
        table.add_column()
    return table
