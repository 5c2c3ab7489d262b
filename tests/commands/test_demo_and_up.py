"""`python -m flows demo` and `up`, as a person runs them: in a process of their own."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from flows.cli.trial_environment import FAILURES, failures_among

ROOT = Path(__file__).resolve().parents[2]


def _as_in_a_terminal() -> None:
    """Under `nohup`, or in the background of a script, processes ignore these signals, and so do their children."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


@contextmanager
def running(*arguments: str, **variables: str) -> Iterator[subprocess.Popen[str]]:
    """A command, in an environment without the settings of these tests' own Prefect."""
    clean = {name: text for name, text in os.environ.items() if not name.startswith("PREFECT_")}
    with subprocess.Popen(
        [sys.executable, "-u", "-m", "flows", *arguments], cwd=ROOT, env={**clean, **variables}, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True, preexec_fn=_as_in_a_terminal,  # noqa: PLW1509 - it only resets two signals
    ) as command:  # fmt: skip
        try:
            yield command
        finally:
            command.terminate()


def said(*arguments: str, **variables: str) -> tuple[int, str]:
    """Run a command to its end: exit code, and what it printed."""
    with running(*arguments, **variables) as command:
        text, _ = command.communicate(timeout=240)
        return command.returncode, text


def started_below(folder: Path) -> list[str]:
    """Processes whose environment names this folder: all that a command with this TMPDIR has started."""
    found = []
    for each in Path("/proc").iterdir():
        try:
            if each.name.isdigit() and str(folder).encode() in (each / "environ").read_bytes():
                found.append((each / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except OSError:
            continue
    return found


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        yield other.getsockname()[1]


def test_a_port_that_is_in_use_is_refused_with_the_way_out(taken_port: int) -> None:
    code, text = said("up", "--port", str(taken_port))

    assert code == 2
    assert f"port {taken_port} is in use; choose another with: " in text
    assert "-m flows up --port " in text
    assert "Traceback" not in text


@pytest.mark.parametrize("port", ["0", "99999", "-1", "http"])
def test_an_impossible_port_is_refused_and_quoted(port: str) -> None:
    code, text = said("up", f"--port={port}")

    assert code == 2
    assert f"{port!r} is not a port: a number from 1 to 65535" in text


def test_the_demo_seeds_only_as_many_failures_as_the_brake_tolerates() -> None:
    assert failures_among(100) == FAILURES
    assert failures_among(11) == ()
    assert [len(failures_among(count)) for count in (12, 20, 24, 60)] == [1, 1, 2, 5]


@pytest.mark.slow
def test_a_small_demo_renews_every_subscription_and_does_not_touch_the_users_own_prefect(tmp_path: Path) -> None:
    theirs = tmp_path / "theirs.db"

    code, text = said(
        "demo", "--subscriptions", "12", TMPDIR=str(tmp_path),
        PREFECT_SERVER_DATABASE_CONNECTION_URL=f"sqlite+aiosqlite:///{theirs}",
        PREFECT_API_DATABASE_CONNECTION_URL=f"sqlite+aiosqlite:///{theirs}",
        PREFECT_SERVER_API_AUTH_STRING="admin:secret", PREFECT_API_KEY="pnu_1234", PREFECT_LOGGING_LEVEL="DEBUG",
    )  # fmt: skip

    assert code == 0, text
    assert "12 subscriptions are due; set to fail: 1" in text
    assert "12 renewals: 11 renewed, 1 waits for a retry" in text
    assert "card declined; next" in " ".join(text.split())
    assert "12 order copies, 12 placed orders for 12 periods: 0 charged twice" in text
    assert "12 were renewed in the end" in text
    assert "INFO" not in text
    assert not theirs.exists()
    assert list(tmp_path.iterdir()) == []
    assert started_below(tmp_path) == []


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="looks for processes in /proc")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda each: each.name)
def test_an_interrupted_demo_leaves_no_process_and_no_file_and_prints_one_line(
    tmp_path: Path, number: signal.Signals
) -> None:
    with running("demo", "--subscriptions", "60", TMPDIR=str(tmp_path)) as command:
        assert command.stdout is not None
        assert any("1. The sweep" in line for line in iter(command.stdout.readline, ""))
        assert len(started_below(tmp_path)) >= 3  # itself, the sandbox, the server
        command.send_signal(number)
        after, _ = command.communicate(timeout=60)

    assert command.returncode == 130
    assert after.strip() == "stopped; nothing is left running"
    assert list(tmp_path.iterdir()) == []
    assert started_below(tmp_path) == []
