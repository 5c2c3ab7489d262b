"""The command line: `python -m flows COMMAND`, or `perennial COMMAND` once installed."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from types import FrameType

SUMMARIES = {
    "demo": "renew 100 subscriptions on the built-in sandbox, and show what happened",
    "up": "keep sandbox, Prefect server, worker and deployments running until Ctrl-C",
    "setup": "connect your Prefect server to your Commerce Layer organization",
    "adopt": "choose who renews which subscriptions: adopt, release, or give back",
    "explain": "say why a subscription is due or not, its next dates, and how its last renewal went",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command. Returns the exit code; 130 after Ctrl-C."""
    given = _parser().parse_args(arguments)
    _heed_signals()
    try:
        return _run(given)
    except KeyboardInterrupt:
        print("\nstopped; nothing is left running", file=sys.stderr)
        return 130


def _run(given: argparse.Namespace) -> int:
    # Each command imports what it needs when it is chosen: Prefect reads its settings at import.
    if given.command in {"demo", "up"}:
        return _perform(given)
    if given.command == "adopt":
        from flows.cli.adopt_command import adopt

        return adopt(given)
    if given.command == "explain":
        from flows.cli.explain import explain_subscription

        return explain_subscription(given)
    from flows.cli.setup import setup

    return setup(given)


def _perform(given: argparse.Namespace) -> int:
    """The commands that bring their own sandbox and server along."""
    from blocks.sandbox.running import SandboxFailed
    from flows.cli.demo import demo
    from flows.cli.prefect_server import PortTaken, ServiceDidNotStart
    from flows.cli.up import PartDied, up

    try:
        return demo(given.subscriptions) if given.command == "demo" else up(given.port)
    except PortTaken as error:
        print(f"{error}; choose another with: {_this_command()} up --port {given.port % 65_535 + 1}", file=sys.stderr)
        return 2
    except (ServiceDidNotStart, SandboxFailed, PartDied) as error:
        print(f"{error}", file=sys.stderr)
        return 1


def _this_command() -> str:
    """How to call us again from this folder, also where the virtual environment is not active."""
    python = Path(sys.executable)
    here = Path.cwd()
    return f"{python.relative_to(here) if python.is_relative_to(here) else python} -m flows"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="perennial", description="Renews subscriptions on Commerce Layer, exactly once."
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, summary in SUMMARIES.items():
        command = commands.add_parser(name, help=summary, description=summary[0].upper() + summary[1:] + ".")
        if name == "demo":
            command.add_argument("--subscriptions", type=_a_count, default=100, help="how many are due (100)")
        if name == "up":
            command.add_argument("--port", type=_a_port, default=4200, help="port of the Prefect UI (4200)")
        if name in _MORE:
            _MORE[name](command)
    return parser


def _add_setup(command: argparse.ArgumentParser) -> None:
    command.add_argument("--organization", help="slug: the first label of https://{slug}.commercelayer.io")
    command.add_argument("--client-id", help="client ID of an integration")
    command.add_argument("--live", action="store_true", help="the integration belongs to the live environment")
    command.add_argument("--name", default="commerce-layer", help="name of the credentials block (commerce-layer)")
    command.add_argument("--api-url", help="address of the API, for a sandbox")
    command.add_argument("--auth-url", help="address of the token endpoint, for a sandbox")
    here = "this Prefect server has moved for good, or has one more address: let it renew here"
    command.add_argument("--here", action="store_true", help=here)


def _add_adopt(command: argparse.ArgumentParser) -> None:
    command.add_argument("ids", nargs="*", metavar="ID", help="subscription: the ten letters in its address")
    command.add_argument("--all-active", action="store_true", help="all that Commerce Layer renews now")
    command.add_argument("--all-inactive", action="store_true", help="all inactive ones, except overdue ones")
    way = command.add_mutually_exclusive_group()
    way.add_argument("--release", action="store_true", help="let those go on that are held for a person")
    way.add_argument("--give-back", action="store_true", help="hand them to Commerce Layer's own engine")
    command.add_argument("--take-over", action="store_true", help="also those of another installation, switched off")
    command.add_argument("--apply", action="store_true", help="do it; without this, it is only shown")
    _add_blocks(command)


def _add_explain(command: argparse.ArgumentParser) -> None:
    command.add_argument("subscription", help="id: the ten letters in the subscription's address")
    command.add_argument(
        "--on", type=_a_day_or_instant, metavar="DATE",
        help="as of this time (UTC), or the end of this day where the merchant is; now if left out",
    )  # fmt: skip
    _add_blocks(command)


def _add_blocks(command: argparse.ArgumentParser) -> None:
    command.add_argument("--credentials", default="commerce-layer", help="credentials block (commerce-layer)")
    command.add_argument("--policy", default="default", help="policy block (default)")


_MORE = {"setup": _add_setup, "adopt": _add_adopt, "explain": _add_explain}
"""What else can be said after a command."""


def _a_day_or_instant(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        return _an_instant(text)


def _an_instant(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a date such as 2026-03-01 or 2026-03-01T06:00") from None
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)


def _a_count(text: str) -> int:
    if not text.isdigit() or not 1 <= int(text) <= 100_000:  # noqa: PLR2004
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 to 100000")
    return int(text)


def _a_port(text: str) -> int:
    if not text.isdigit() or not 1 <= int(text) <= 65_535:  # noqa: PLR2004
        raise argparse.ArgumentTypeError(f"{text!r} is not a port: a number from 1 to 65535")
    return int(text)


def _heed_signals() -> None:
    """Being told to end, and the closing of the terminal, are as Ctrl-C: nothing may be left running."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell ignores it for what it starts in the background
    for name in ("SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)  # Windows has no SIGHUP
        if number and signal.getsignal(number) is not signal.SIG_IGN:  # `nohup` asked for that
            signal.signal(number, _stop)


def _stop(_signal_number: int, _frame: FrameType | None) -> None:
    signal.raise_signal(signal.SIGINT)  # asyncio ends its tasks in order on this one only


if __name__ == "__main__":
    sys.exit(main())
