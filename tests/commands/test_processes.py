"""The processes that a command starts end with it."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from flows.cli import processes
from flows.cli.private_files import make_private_folder
from flows.cli.processes import process
from flows.cli.up import ProcessEnded, raise_when_one_ends

STARTS_A_NEW_SESSION = """
import os, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True)
print(child.pid, flush=True)
time.sleep(60)
"""


def within_seconds(holds: Callable[[], object]) -> bool:
    for _ in range(600):
        if holds():
            return True
        time.sleep(0.1)
    return False


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{pid}/stat")
    return not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] != "Z"


def test_a_grandchild_in_a_session_of_its_own_is_ended_too(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with process([sys.executable, "-c", STARTS_A_NEW_SESSION], {}, log) as parent:
        assert within_seconds(lambda: log.read_text().endswith("\n"))
        grandchild = int(log.read_text())
        assert is_alive(grandchild)

    assert not is_alive(parent.pid)
    assert not is_alive(grandchild)


def test_only_its_owner_can_read_what_a_process_prints_and_writes(tmp_path: Path) -> None:
    log, written = tmp_path / "log", tmp_path / "database"
    log.touch(mode=0o644)
    write = f"open({str(written)!r}, 'w').close(); print('done', flush=True)"

    with process([sys.executable, "-c", write], {}, log):
        assert within_seconds(lambda: log.read_text() == "done\n")

    assert [path.stat().st_mode & 0o777 for path in (log, written)] == [0o600, 0o600]


def test_only_its_owner_can_look_into_a_private_folder_even_if_it_is_an_older_one(tmp_path: Path) -> None:
    older = tmp_path / "older"
    older.mkdir(mode=0o755)
    older.chmod(0o755)

    for folder in (older, tmp_path / "a" / "new"):
        make_private_folder(folder)
        assert folder.stat().st_mode & 0o777 == 0o700


LEAVES_A_CHILD_BEHIND = """
import subprocess, sys
print(subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]).pid, flush=True)
"""


def test_a_grandchild_whose_parent_has_ended_is_ended_too(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with process([sys.executable, "-c", LEAVES_A_CHILD_BEHIND], {}, log) as parent:
        assert parent.wait(20) == 0
        orphan = int(log.read_text())
        assert is_alive(orphan)

    assert not is_alive(orphan)


IGNORES_SIGTERM = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("ready", flush=True)
time.sleep(60)
"""


def test_a_child_that_does_not_end_when_asked_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "ENDS_WITHIN", 0.5)
    log = tmp_path / "log"
    with process([sys.executable, "-c", IGNORES_SIGTERM], {}, log) as child:
        assert within_seconds(log.read_text)

    assert child.returncode == -signal.SIGKILL


REPORTS_SIGTERM = """
import signal, time
signal.signal(signal.SIGTERM, lambda *_: print("asked to end", flush=True))
print("ready", flush=True)
while True:
    time.sleep(60)
"""


def test_a_second_ctrl_c_kills_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "ENDS_WITHIN", 3600)  # without the second Ctrl-C this would not end
    log = tmp_path / "log"

    def press_ctrl_c_once_it_was_asked_to_end() -> None:
        within_seconds(lambda: "asked to end" in log.read_text())
        signal.raise_signal(signal.SIGINT)

    previous = signal.signal(signal.SIGINT, signal.default_int_handler)  # in the background it may be ignored
    try:
        with process([sys.executable, "-c", REPORTS_SIGTERM], {}, log) as child:
            assert within_seconds(log.read_text)
            threading.Thread(target=press_ctrl_c_once_it_was_asked_to_end).start()
    finally:
        signal.signal(signal.SIGINT, previous)

    assert child.returncode == -signal.SIGKILL


def test_variables_with_a_prefix_are_not_inherited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_API_KEY", "the person's own")
    log = tmp_path / "log"
    command = [sys.executable, "-c", "import os; print(sorted(n for n in os.environ if n.startswith('PREFECT_')))"]
    with process(command, {"PREFECT_HOME": str(tmp_path)}, log, without="PREFECT_") as child:
        child.wait(20)

    assert log.read_text() == "['PREFECT_HOME']\n"


def test_a_worker_that_dies_is_noticed_and_its_log_is_named(tmp_path: Path) -> None:
    quick, slow = tmp_path / "worker.log", tmp_path / "server.log"
    with (
        process([sys.executable, "-c", "import time; time.sleep(60)"], {}, slow) as server,
        process([sys.executable, "-c", "raise SystemExit(3)"], {}, quick) as worker,
        pytest.raises(ProcessEnded, match=f"the Prefect worker is gone: it ended with exit code 3. Its log is {quick}"),
    ):
        raise_when_one_ends({"server": (server, slow), "worker": (worker, quick)})
