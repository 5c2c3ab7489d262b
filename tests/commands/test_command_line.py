"""What `perennial` prints for `--help`, and for a command line with a mistake."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from flows.__main__ import main
from flows.cli.app import COMMANDS

ROOT = Path(__file__).resolve().parents[2]

OPTIONS = {
    "demo": ["--subscriptions"],
    "up": ["--port"],
    "setup": [
        "--organization",
        "--client-id",
        "--live",
        "--name",
        "--api-url",
        "--auth-url",
        "--trusted-host",
        "--notify",
        "--check",
    ],
    "stop": [],
    "go": [],
    "adopt": ["--all-active", "--all-inactive", "--release", "--give-back", "--apply", "--credentials", "--policy"],
    "pause": ["--credentials", "--policy"],
    "resume": ["--credentials", "--policy"],
    "preflight": ["--until", "--json", "--credentials", "--policy"],
    "failed": ["--csv", "--json", "--credentials", "--policy"],
    "incident": ["--withdraw", "--json", "--credentials", "--policy"],
    "rescue": ["--release", "--apply", "--json", "--credentials", "--policy"],
    "watch": ["--overdue", "--unplaced", "--held", "--stopped", "--json", "--credentials", "--policy"],
    "report": ["--from", "--to", "--output", "--json", "--credentials", "--policy"],
    "rehearse": ["--policy", "--from", "--to", "--json", "--credentials"],
    "explain": ["--on", "--credentials", "--policy"],
    "probe": ["--source-order", "--spare-card", "--output", "--yes", "--patience", "--credentials"],
    "reconcile": ["--from", "--to", "--csv", "--json", "--credentials", "--policy"],
}


@pytest.fixture(autouse=True)
def terminal_of_80_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")


def test_help_has_each_command_on_one_line_of_80_columns(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0

    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    for name, (_, summary) in COMMANDS.items():
        assert [line for line in lines if f" {name} " in line and summary in line]


def test_this_file_lists_the_options_of_every_command() -> None:
    assert list(OPTIONS) == list(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_a_command_explains_each_option(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, "--help"]) == 0

    said = capsys.readouterr().out
    assert COMMANDS[command][1] in said
    # Where some are required, these have a star and the others three spaces.
    explained = [line.replace("*", "").split() for line in said.splitlines() if re.match(r"│ ([* ]  )?--", line)]
    assert [words[1] for words in explained] == OPTIONS[command]
    assert all(len(words) > 5 for words in explained), "the frame, the option, and some words about it"


def test_a_call_without_a_command_shows_help_and_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2

    said = capsys.readouterr()
    assert said.out == ""
    assert "Usage: perennial COMMAND" in said.err


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("renew", 'perennial: Unknown command "renew". Available commands: demo, up, setup, stop, go, adopt, pause, '),
        ("demo --subscriptions 0", "--subscriptions: '0' is not a number from 1 to 100000"),
        ("demo --subscriptions many", "--subscriptions: 'many' is not a number from 1 to 100000"),
        ("up --port 65536", "--port: '65536' is not a port: a number from 1 to 65535"),
        ("up --port", "perennial up: --port needs a value"),
        ("up --prot 4201", "Unknown option: --prot. Did you mean --port?"),
        ("explain", "perennial explain: ID needs a value"),
        ("explain AbcdefghiJ KlmnopqrsT", "perennial explain: nothing more can be given here: KlmnopqrsT"),
        ("explain AbcdefghiJ --on soon", "--on: 'soon' is not a date such as 2026-03-01 or 2026-03-01T06:00"),
        ("reconcile --to 2026-03-31", "perennial reconcile: --from needs a value"),
        ("adopt AbcdefghiJ --release --give-back", "give either --release or --give-back, not both"),
        ("adopt", "name the subscriptions: either by id, or with --all-active and --all-inactive"),
        ("adopt AbcdefghiJ --all-active", "name the subscriptions: either by id, or with"),
        ("setup --client-id abc", "not saved: --organization must be given"),
        ("setup", "not saved: --organization and --client-id must be given"),
    ],
)
def test_a_mistake_on_the_command_line_is_named(given: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(given.split()) == 2

    printed = capsys.readouterr()
    assert printed.out == ""
    assert said in printed.err
    assert "Traceback" not in printed.err


@pytest.mark.parametrize("arguments", [["--help"], ["demo", "--help"], ["up", "--help"]], ids=" ".join)
def test_prefect_is_not_imported_before_its_settings_are_made(arguments: list[str]) -> None:
    code = f"import sys, flows.__main__ as it; it.main({arguments}); sys.exit('prefect' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
