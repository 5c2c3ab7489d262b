"""The commands by name, and the answer to a command line that cannot be understood."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from cyclopts import App, CycloptsError, MissingArgumentError, Parameter, UnusedCliTokensError
from rich.console import Console


def _shown_default(value: Any) -> str | None:
    return str(value) if value else None  # the help need not say that a switch is off


app = App(
    name="perennial",
    help="Renews subscriptions on Commerce Layer, exactly once.",
    help_format="plaintext",
    version_flags=(),
    default_parameter=Parameter(negative=(), show_default=_shown_default),
    print_error=False,
    exit_on_error=False,
    suppress_keyboard_interrupt=False,
    result_action="return_value",
)

COMMANDS = {
    "demo": ("demo:demo", "Renew 100 subscriptions on the sandbox, and show what happened."),
    "up": ("up:up", "Keep sandbox, Prefect server and worker running until Ctrl-C."),
    "setup": ("setup:setup", "Connect Prefect to your Commerce Layer organization."),
    "stop": ("stop:stop", "Stop all charging within ten seconds; copies are still made."),
    "go": ("stop:go", "Charge customers again."),
    "adopt": ("adopt_command:adopt", "Choose who renews a subscription: adopt, release, give back."),
    "pause": ("adopt_command:pause", "Renew nothing of a subscription until it is resumed."),
    "resume": ("adopt_command:resume", "Renew a paused subscription again, from its next date on."),
    "preflight": ("preflight:preflight", "Say what the coming sweeps will do: amounts, failures, time."),
    "failed": ("failed:failed", "List all open failures, and what a person must do."),
    "incident": ("incident:incident", "List what one run did; cancel what is unplaced."),
    "rescue": ("rescue_command:rescue", "Repair renewals that Commerce Layer's own engine has failed."),
    "watch": ("watch:watch", "Say what no sweep reports, from the shop alone; for cron."),
    "report": ("report:report", "Make a page of a month: renewed, recovered, at risk, by day."),
    "rehearse": ("rehearse:rehearse_policy", "Replay recorded failures under other policies."),
    "explain": ("explain:explain_subscription", "Say when and why a subscription is due, and how it went last."),
    "probe": ("probe:probe", "Ask a test organization what the documentation leaves open."),
    "reconcile": ("reconcile:reconcile", "Compare the periods of a span with the orders in the shop."),
}
"""The module of each command in this package, and what the command does."""

for place, (name, (function, summary)) in enumerate(COMMANDS.items()):
    # Imported only when it is called: Prefect reads its settings at import, and a demo sets them first.
    app.command(f"flows.cli.{function}", name=name, help=summary, sort_key=place)


def run(arguments: Sequence[str]) -> int:
    """Run the command that the arguments name. Returns its exit code; 2 when they cannot be understood."""
    if not arguments:
        app.help_print(console=Console(stderr=True))
        return 2
    try:
        return int(app(arguments) or 0)
    except CycloptsError as error:
        called = " ".join(("perennial", *(error.command_chain or ())))
        print(f"{called}: {_what_is_wrong(error)}\nFor help: {called} --help", file=sys.stderr)
        return 2


def _what_is_wrong(error: CycloptsError) -> str:
    match error:
        case MissingArgumentError(argument=argument) if argument:
            return f"{error.keyword or argument.name} needs a value"
        case UnusedCliTokensError(unused_tokens=tokens) if tokens:
            return f"nothing more can be given here: {' '.join(tokens)}"
    return str(error)
