"""`perennial probe`: asks a test organization what the documentation of Commerce Layer does not say."""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Annotated
from uuid import uuid4

from cyclopts import Parameter
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from blocks.commerce_layer.credentials import CommerceLayerCredentials
from blocks.commerce_layer.errors import NotFound
from blocks.commerce_layer.probing import ORIGIN, NotTheTestEnvironment, ProbedShop, Template
from blocks.commerce_layer.wallets import wallet_of
from flows.cli.consoles import console
from flows.cli.installation import CREDENTIALS
from flows.cli.options import Duration
from flows.cli.prefect_errors import calling_prefect
from flows.cli.private_files import write_private
from flows.cli.probe_clean_up import CleanUp
from flows.cli.probe_questions import ask
from flows.cli.probe_work import ProbeWork
from flows.cli.refusals import CANNOT_ANSWER, refuse
from flows.rules.amounts import money
from flows.rules.observations import chosen_cards
from flows.rules.outside_text import plain
from flows.rules.probing import Found, NoAnswer, Question, settings_of
from flows.run.context import load_block

PATIENCE = timedelta(minutes=10)
"""How long the probe waits for a run of Commerce Layer's engine."""


class CannotProbe(ValueError):  # noqa: N818 - the name says what happened
    """Something is missing before the first request that creates anything; the message says what."""


REFUSALS = (*CANNOT_ANSWER, NotTheTestEnvironment, CannotProbe, NoAnswer)


@dataclass(frozen=True)
class Plan:
    """What is to be probed."""

    block: CommerceLayerCredentials
    run: str
    template: Template
    spare_card: str | None
    patience: timedelta

    @property
    def words(self) -> str:
        """What the probe will create, before it does."""
        order = self.template.order
        amount = money(order.total_amount_with_taxes_cents, order.currency_code)
        cards = "two cards in the wallet of its customer"
        if self.spare_card is not None:
            cards = f"no card, but it deletes the card {self.spare_card}, which stays deleted"
        return (
            f"{self.block.organization}, test environment: the probe copies order {order.shown_number} of "
            f"{order.customer_email} ({amount}).\n"
            f"It creates up to six copies, four subscriptions, a tag, and {cards}. It places the order of one copy: "
            f"{amount} are authorized by the test gateway. It lets Commerce Layer's engine run two of the "
            f"subscriptions, and waits up to {self.patience / timedelta(minutes=1):g} min for each.\n"
            f"At the end it cancels these orders, and deletes what the shop lets it delete. All of it has the "
            f"reference {self.run} and the origin {ORIGIN}."
        )


@dataclass(frozen=True)
class Ended:
    """What a probe has found out, and what it had to leave."""

    found: tuple[Found, ...]
    left: tuple[str, ...]

    @property
    def exit_code(self) -> int:
        """1 when Perennial needs another answer, or something is left."""
        return int(bool(self.left) or any(each.is_wrong for each in self.found))


def probe(
    *,
    source_order: str,
    spare_card: str | None = None,
    output: Annotated[Path | None, Parameter(name=("--output", "-o"), metavar="FILE")] = None,
    yes: bool = False,
    patience: Annotated[Duration, Parameter(show_default=lambda _: "10m")] = PATIENCE,
    credentials: str = CREDENTIALS,
) -> int:
    """
    Find out how a test organization behaves where the documentation is silent, and print it as the sandbox's options.

    It creates orders, subscriptions and cards in the test environment, and cancels or deletes them at the end.

    Returns the exit code: 1 when an answer is not what Perennial needs or something is left, 2 when it cannot begin.

    Args:
        source_order: Id of a placed order of the test environment; its customer has a card in the wallet.
        spare_card: Id of an older card of that wallet that may be deleted, if the shop lets no integration make cards.
        output: Write the answers into this file, for `python -m blocks.sandbox --as FILE`.
        yes: Do not ask before anything is created.
        patience: How long to wait for a run of Commerce Layer's engine.
        credentials: Name of the credentials block.
    """
    try:
        _look_for_folder(output)
        with calling_prefect():
            plan = asyncio.run(_plan(source_order.strip(), spare_card, patience, credentials))
        print(plain_lines(plan.words))
        if not yes and not _agreed():
            return refuse("nothing was created")
        ended = asyncio.run(carry_out(plan))
    except REFUSALS as error:
        return refuse(error)
    _show(ended)
    if output is not None:
        try:
            write_private(output, json.dumps(settings_of(ended.found), indent=2) + "\n")
        except OSError as error:
            return refuse(f"--output {output}: it cannot be written: {error.strerror or error}")
        print(f"\nwritten to {output}; the sandbox behaves so with: python -m blocks.sandbox --as {output}")
    return ended.exit_code


def _look_for_folder(output: Path | None) -> None:
    if output is not None and not output.parent.is_dir():
        raise CannotProbe(f"--output {output}: there is no folder {output.parent}")


async def _plan(order_id: str, spare_card: str | None, patience: timedelta, credentials: str) -> Plan:
    return await plan_of(await load_block(CommerceLayerCredentials, credentials), order_id, spare_card, patience)


async def plan_of(
    block: CommerceLayerCredentials, order_id: str, spare_card: str | None = None, patience: timedelta = PATIENCE
) -> Plan:
    """
    Look at what is to be probed. Nothing is created.

    Raises:
        NotTheTestEnvironment: the credentials may open a live environment.
        CannotProbe, NoAnswer: the order or the card cannot be used; the message says why.
    """
    if block.mode != "test":
        raise NotTheTestEnvironment(
            f"the probe places orders, so it works in the test environment only; these credentials of "
            f"{block.organization} belong to the {block.mode} one. Nothing was sent."
        )
    run = f"probe-{uuid4().hex[:12]}"
    async with block.get_client() as client:
        shop = ProbedShop(client, run)
        await shop.require_test()
        try:
            template = await shop.template(order_id)
        except NotFound:
            where = f"the test environment of {block.organization}"
            raise CannotProbe(f"there is no order {order_id!r} in {where}") from None
        _check(template)
        if spare_card is not None:
            chosen_cards(await wallet_of(client, template.order.customer_email or ""), template.order, spare_card)
    return Plan(block, run, template, spare_card, patience)


def _check(template: Template) -> None:
    order = template.order
    lacks = None
    if not order.is_placed:
        lacks = f"is {order.raw_status}: name one that is placed"
    elif template.customer_id is None or not order.customer_email:
        lacks = "has no customer: name the order of a customer with a card in the wallet"
    elif not order.total_amount_with_taxes_cents:
        lacks = "costs nothing: name one that is paid with a card"
    if lacks is not None:
        raise CannotProbe(f"order {order.id} {lacks}")


def _agreed() -> bool:
    if not sys.stdin.isatty():
        print("there is no terminal to ask: agree with --yes", file=sys.stderr)
        return False
    return input("Go on? [y/N] ").strip().lower() in {"y", "yes"}


async def carry_out(plan: Plan) -> Ended:
    """Ask everything. However that ends, what was made is cancelled and deleted."""
    async with plan.block.get_client() as client:
        with Console(stderr=True).status("") as status:
            work = ProbeWork(ProbedShop(client, plan.run), lambda question: status.update(escape(question)))
            clean_up = CleanUp(work)
            try:
                await ask(work, plan.template, plan.spare_card, plan.patience.total_seconds())
            except BaseException:
                await clean_up.run()
                _tell_what_is_left(clean_up.left)
                raise
            status.update("cancelling and deleting what was made")
            await clean_up.run()
    return Ended(tuple(work.found[each] for each in Question if each in work.found), tuple(clean_up.left))


def _tell_what_is_left(left: list[str]) -> None:
    told = [f"left: {plain(each)}" for each in left] or ["what the probe had made is cancelled or deleted"]
    print("\n".join(told), file=sys.stderr)


def _show(ended: Ended) -> None:
    out = console()
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("question", "answer", "sandbox"):
        table.add_column(heading, overflow="fold", no_wrap=heading == "sandbox")
    for each in ended.found:
        colour = "red" if each.is_wrong else "green" if each.is_known else "dim"
        table.add_row(escape(each.question.value), f"[{colour}]{escape(plain(each.said))}[/]", escape(each.switch))
    out.print(table)
    for left in ended.left:
        out.print(f"[yellow]left:[/] {escape(plain(left))}")
    if any(each.is_wrong for each in ended.found):
        out.print("[red]Perennial cannot renew exactly once here: see Assumptions in docs/exactly-once.md[/]")


def plain_lines(text: str) -> str:
    """The text with its line ends, each line safe to print."""
    return "\n".join(map(plain, text.splitlines()))
