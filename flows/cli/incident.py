"""`perennial incident`: everything that one run did, and with `--withdraw`, the cancelling of what is unplaced."""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import dataclass
from typing import Annotated

from cyclopts import Parameter
from rich.console import Console
from rich.markup import escape

from blocks.commerce_layer.credentials import CommerceLayerCredentials
from flows.cli.consoles import console, counting
from flows.cli.installation import CREDENTIALS, POLICY
from flows.cli.prefect_errors import calling_prefect
from flows.cli.refusals import CANNOT_ANSWER, refuse
from flows.rules.amounts import amount_cell
from flows.rules.dashboard_links import Dashboard
from flows.rules.incident_reports import facts_of, link_of
from flows.rules.incidents import Incident, Standing, counted
from flows.rules.outside_text import plain, printable
from flows.run.context import Run, open_run
from flows.run.flow_runs import FLOWS, KnownRun, UnknownRun, find_flow_run, run_id_of
from flows.run.incident import ChargingIsOn, find_incident, runs_named, withdraw_unplaced

COLOURS = {
    Standing.PLACED: "red",
    Standing.UNPLACED: "yellow",
    Standing.UNDECIDED: "yellow",
    Standing.PLACED_BY_OTHERS: "magenta",
}


@dataclass(frozen=True)
class Answer:
    """What was found, and after a withdrawal what is there now. `known` is None where Prefect has no such run."""

    incident: Incident
    dashboard: Dashboard
    known: KnownRun | None
    withdrawn: int | None = None
    stopped_by: str | None = None
    """Why the withdrawal was not made, or not all of it."""
    voided: tuple[str, ...] = ()
    """Orders that were placed in the moment in which they were cancelled. A person must check them."""

    @property
    def exit_code(self) -> int:
        """1 when something that was to be withdrawn is left, or was placed in that moment."""
        is_left = self.withdrawn is not None and bool(self.incident.unplaced)
        return 2 if self.stopped_by is not None else int(is_left or bool(self.voided))


def incident(
    flow_run: Annotated[str, Parameter(name="FLOW_RUN")],
    /,
    *,
    withdraw: bool = False,
    machine: Annotated[bool, Parameter(name="--json")] = False,
    credentials: str = CREDENTIALS,
    policy: str = POLICY,
) -> int:
    """
    List what a run, and the batches that it started, did; with --withdraw, cancel what is not placed.

    Nothing is refunded: the placed orders are listed with their amounts and links.

    Returns the exit code: 1 when an order that was to be withdrawn is still unplaced, or was placed in that moment, 2
    when the run is not known, something cannot be read, or charging is not stopped, else 0.

    Args:
        flow_run: The id of the flow run in Prefect, or its name.
        withdraw: Cancel the orders that this run copied and nobody placed. Charging must be stopped.
        machine: Print JSON, for machines.
        credentials: Name of the credentials block.
        policy: Name of the policy block.
    """
    try:
        with calling_prefect():
            answer = asyncio.run(_look_up(flow_run.strip(), credentials, policy, withdraw=withdraw))
    except (*CANNOT_ANSWER, UnknownRun) as error:
        return refuse(error, machine=machine)
    if machine:
        print(json.dumps(_facts(answer), indent=2))
    else:
        _show(answer)
    if answer.stopped_by is not None:
        print(printable(answer.stopped_by), file=sys.stderr)
    return answer.exit_code


async def _look_up(named: str, credentials: str, policy: str, *, withdraw: bool) -> Answer:
    if not named:
        raise UnknownRun("FLOW_RUN is empty: give the id of a flow run, or its name")
    known = await find_flow_run(named)
    async with open_run(credentials, policy, as_of=None) as run:
        dashboard = Dashboard(run.organization, (await run.client.claims()).mode)
        if known is not None:
            await _refuse_another_shop(known, run, dashboard)
        run_id = known.flow_run_id if known else run_id_of(named) or await _id_by_name(run, dashboard, named)
        found = await _read(run, run_id, known)
        if found.is_empty and (known is None or known.flow not in FLOWS):
            raise _not_found(named, dashboard, known)
        if not withdraw:
            return Answer(found, dashboard, known)
        withdrawn, stopped_by = await _withdraw(run, found, run_id)
        # Read again: some may have been placed meanwhile, or could not be cancelled.
        now, voided = await _read(run, run_id, known), tuple(run.withdrawals.cancelled_after_placing)
        return Answer(now, dashboard, known, withdrawn, stopped_by, voided)


async def _read(run: Run, run_id: str, known: KnownRun | None) -> Incident:
    with counting("copies, orders and subscriptions") as seen:
        return await find_incident(run.client, run_id, known.parts if known else (), seen)


async def _withdraw(run: Run, found: Incident, run_id: str) -> tuple[int, str | None]:
    """How many orders were cancelled, and why no more were."""
    with counting("unplaced orders") as seen:
        try:
            return await withdraw_unplaced(run, found.unplaced, f"undone: flow run {run_id}", seen), None
        except ChargingIsOn as on:
            return on.cancelled, str(on)


async def _refuse_another_shop(known: KnownRun, run: Run, dashboard: Dashboard) -> None:
    """A run that was given other credentials may have worked for another shop, where nothing of it would be found."""
    name = known.credentials or CREDENTIALS
    if name == run.credentials_name:
        return
    try:
        theirs: CommerceLayerCredentials = await CommerceLayerCredentials.aload(name)
    except (ValueError, RuntimeError):
        return  # the block was renamed, deleted or damaged since: the shop itself says whether it knows the run
    if (theirs.organization, theirs.mode) != (dashboard.organization, dashboard.mode):
        raise UnknownRun(
            f"{known.name!r} worked for organization {theirs.organization} ({theirs.mode} mode), not for "
            f"{dashboard.organization} ({dashboard.mode} mode): add --credentials {name}"
        )


async def _id_by_name(run: Run, dashboard: Dashboard, name: str) -> str:
    """The run of this name that Prefect has no more, by the copies that it made."""
    match await runs_named(run.client, name):
        case [only]:
            return only
        case []:
            raise _not_found(name, dashboard, None)
        case several:
            raise UnknownRun(f"{len(several)} runs were named {name!r}; give the id of one: {', '.join(several)}")


def _not_found(named: str, dashboard: Dashboard, known: KnownRun | None) -> UnknownRun:
    what = f"a run of the flow {known.flow!r}" if known else "neither the id nor the name of a flow run in Prefect"
    return UnknownRun(
        f"{named!r} is {what}, and nothing in organization {dashboard.organization} ({dashboard.mode} mode) names it. "
        "Give the run of a sweep, a batch or a reorder: its id is in the address of its page."
    )


def _facts(answer: Answer) -> dict[str, object]:
    facts = facts_of(answer.incident, answer.dashboard)
    facts["flow_run"] = answer.known.facts if answer.known else None
    if answer.withdrawn is not None:
        facts |= {"withdrawn": answer.withdrawn, "still_unplaced": len(answer.incident.unplaced)}
        facts["placed_and_voided"] = list(answer.voided)
        facts |= {"error": answer.stopped_by} if answer.stopped_by else {}
    return facts


def _show(answer: Answer) -> None:
    out, found = console(), answer.incident
    _show_run(out, answer)
    _show_orders(out, answer)
    _show_subscriptions(out, answer)
    out.print(f"[bold]{escape(plain(found.sentence))}[/]", soft_wrap=True)
    if answer.withdrawn is not None:
        left = f"; still unplaced: {len(found.unplaced)}" if found.unplaced else ""
        out.print(f"{counted(answer.withdrawn, 'order')} withdrawn{left}")
        for order_id in answer.voided:
            said = (
                f"order {order_id} was placed in the moment in which it was cancelled: check that its payment is voided"
            )
            out.print(f"[red]{escape(plain(said))}[/]", soft_wrap=True)
    elif found.unplaced:
        out.print(f"nothing was changed; --withdraw cancels {counted(len(found.unplaced), 'unplaced order')}")


def _show_run(out: Console, answer: Answer) -> None:
    known = answer.known
    if known is None:
        out.print("Prefect does not have this run, or not any more; this is what the shop shows\n")
        return
    times = " to ".join(f"{each:%Y-%m-%d %H:%M:%S}" for each in (known.started, known.ended) if each)
    out.print(f"[bold]{escape(plain(known.name))}[/]   {escape(known.flow)} {known.flow_run_id}", soft_wrap=True)
    out.print(f"{times} UTC   {escape(plain(known.state))}" if times else escape(plain(known.state)), soft_wrap=True)
    if not known.is_over:
        out.print("[yellow]it has not ended: it may do more[/]")
    out.print()


def _show_orders(out: Console, answer: Answer) -> None:
    all_orders = answer.incident.all_orders
    if not all_orders:
        return
    for each in all_orders:
        order = each.order
        facts = [
            order.shown_number if order else each.order_id or (each.copy.id if each.copy else ""),
            amount_cell(order.total_amount_with_taxes_cents, order.currency_code) if order else "",
            (order.customer_email or "") if order else "",
            each.reference or "",
        ]
        shown, *more = (escape(plain(fact)) for fact in facts)
        colour = COLOURS.get(each.standing, "dim")
        out.print("   ".join((f"[bold]{shown}[/]", *filter(None, more))), soft_wrap=True)
        out.print(f"  [{colour}]{escape(plain(each.sentence))}[/]", soft_wrap=True)
        out.print(f"  [dim]{escape(link_of(each, answer.dashboard))}[/]", soft_wrap=True)
    out.print()


def _show_subscriptions(out: Console, answer: Answer) -> None:
    for each in answer.incident.recorded:
        one = each.subscription
        out.print(f"[bold]{escape(plain(one.id))}[/]   {escape(plain(one.customer_email or ''))}", soft_wrap=True)
        out.print(f"  {escape(plain(each.sentence))}", soft_wrap=True)
        out.print(f"  [dim]{escape(answer.dashboard.subscription(one.id))}[/]", soft_wrap=True)
    if answer.incident.recorded:
        out.print()
