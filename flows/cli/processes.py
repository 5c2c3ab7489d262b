"""
Processes that must not outlive the command that started them.

Each gets a session of its own, so that Ctrl-C in the terminal reaches only us, and we end them in order. What they
have started is ended with them, also where it made itself a session of its own, as the runs of a Prefect worker do.

When we are killed outright (SIGKILL), nobody can do that. On Linux the kernel then asks our direct children to end;
what these have started, and everything on other systems, may go on until a person ends it.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

ENDS_WITHIN = 10.0
"""Seconds that a process has to end in peace before it is killed."""


_PROC = Path("/proc/self/stat").exists()
"""Whether the system shows its processes as files; elsewhere, `ps` is asked."""


@contextmanager
def process(
    command: Sequence[str], environment: Mapping[str, str], log: Path, *, without: str | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """
    A process that is ended when the block ends, however it ends, together with all that it has started.

    Args:
        command: program and arguments.
        environment: what is added to our own environment.
        log: file to which its output is appended.
        without: prefix of variables that it does not inherit.
    """
    inherited = {name: text for name, text in os.environ.items() if not (without and name.startswith(without))}
    with log.open("ab") as output:
        child = subprocess.Popen(  # noqa: S603 - the commands are our own
            command,
            env={**inherited, **environment},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=_to_die_with_parent(),  # noqa: PLW1509 - one system call, looked up beforehand
        )
    try:
        yield child
    finally:
        end(child)


def end(child: subprocess.Popen[bytes]) -> None:
    """Ask a process and all that it has started to end, and kill what has not done so after `ENDS_WITHIN`."""
    # Looked up first: once the child is gone, its children are anybody's.
    family = [(child.pid, _born(child.pid)), *_descendants(child.pid)]
    for number, patience in ((signal.SIGTERM, ENDS_WITHIN), (signal.SIGKILL, ENDS_WITHIN)):
        _signal(child.pid, number, os.killpg)
        for pid, born in family:
            if _born(pid) == born:  # no stranger who was given the same number since
                _signal(pid, number, os.kill)
        with suppress(KeyboardInterrupt):  # a second Ctrl-C: no more patience
            if _have_ended(child, family, patience):
                break
    _signal(child.pid, signal.SIGKILL, os.killpg)  # whatever it left behind in its group


def _have_ended(child: subprocess.Popen[bytes], family: Sequence[tuple[int, str]], patience: float) -> bool:
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        if child.poll() is not None and not any(born and _born(pid) == born for pid, born in family):
            return True
        time.sleep(0.05)
    return False


def _signal(pid: int, number: int, send: Callable[[int, int], None]) -> None:
    with suppress(ProcessLookupError, PermissionError):
        send(pid, number)


def _descendants(pid: int) -> list[tuple[int, str]]:
    """All that a process has started, and when each began: as far as this system tells."""
    children: dict[int, list[int]] = {}
    for each, parent in _parents():
        children.setdefault(parent, []).append(each)
    found, generation = [], children.get(pid, [])
    while generation:
        found += [(each, _born(each)) for each in generation]
        generation = [grandchild for each in generation for grandchild in children.get(each, [])]
    return found


def _parents() -> Iterator[tuple[int, int]]:
    if _PROC:
        for folder in Path("/proc").iterdir():
            if folder.name.isdigit() and (stat := _stat(int(folder.name))):
                yield int(folder.name), int(stat[1])
        return
    with suppress(OSError):  # no `ps`: then only the group is ended
        listed = subprocess.run(["ps", "-axo", "pid=,ppid="], capture_output=True, text=True, check=False)  # noqa: S607
        for line in listed.stdout.splitlines():
            pid, parent = line.split()
            yield int(pid), int(parent)


def _born(pid: int) -> str:
    """When a living process began, in the system's own words; empty for one that has ended."""
    if _PROC:
        stat = _stat(pid)
        return stat[19] if stat and stat[0] != "Z" else ""
    with suppress(OSError):
        command = ["ps", "-o", "lstart=", "-p", str(pid)]
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()  # noqa: S603
    return ""


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat from the third on: state, parent, ... the 22nd of all is the time of its start."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def _to_die_with_parent() -> Callable[[], None] | None:
    """What a child calls so that the kernel asks it to end if we are killed; only Linux has such a thing."""
    if sys.platform != "linux":
        return None
    prctl = getattr(ctypes.CDLL(None), "prctl", None)
    return (lambda: prctl(1, signal.SIGTERM)) if prctl else None  # 1: PR_SET_PDEATHSIG
