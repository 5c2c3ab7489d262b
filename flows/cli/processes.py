"""
Processes that must not outlive the command that started them.

Each gets a session of its own, so that Ctrl-C in the terminal reaches only us, and we end them in order. All that they
have started ends with them, even if it has a session of its own, as the runs of a Prefect worker have.

If we are killed (SIGKILL), we cannot do that. On Linux the kernel then asks our direct children to end. Processes that
these have started, and all processes on other systems, may go on until a person ends them.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from flows.cli.private_files import open_private

ENDS_WITHIN = 10.0
"""Seconds that a process gets to end by itself before it is killed."""


@contextmanager
def process(
    command: Sequence[str], environment: Mapping[str, str], log: Path, *, without: str | None = None
) -> Iterator[psutil.Popen]:
    """
    A process that ends when the `with` block ends, for any reason, together with all that it has started.

    Args:
        command: program and arguments.
        environment: what is added to our own environment.
        log: file to which its output is appended; only its owner can read it, and whatever the process writes.
        without: prefix of environment variables that it does not inherit.
    """
    inherited = {name: text for name, text in os.environ.items() if not (without and name.startswith(without))}
    with open_private(log) as output:
        child = psutil.Popen(
            command,
            env={**inherited, **environment},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            umask=0o077,
            preexec_fn=_to_die_with_parent(),
        )
    try:
        yield child
    finally:
        end(child)


def end(child: psutil.Popen) -> None:
    """Ask a process and all that it has started to end, and kill those that have not after `ENDS_WITHIN`."""
    family: set[psutil.Process] = {child}
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(KeyboardInterrupt):  # a second Ctrl-C: kill at once
            # Looked up before the signal: once a parent has ended, its children cannot be found any more.
            family |= _session_of(child)
            family |= _started_by(family)
            for each in family:
                with suppress(psutil.Error):
                    each.send_signal(number)
            if _have_ended(family):
                break
    child.poll()


def _session_of(child: psutil.Popen) -> set[psutil.Process]:
    """The processes in the session that was made for a child, even after the child itself has ended."""
    found = set()
    for each in psutil.process_iter():
        with suppress(OSError):
            if os.getsid(each.pid) == child.pid:
                found.add(each)
    return found


def _started_by(parents: Iterable[psutil.Process]) -> set[psutil.Process]:
    found: set[psutil.Process] = set()
    for parent in parents:
        with suppress(psutil.Error):
            found.update(parent.children(recursive=True))
    return found


def _have_ended(family: Iterable[psutil.Process]) -> bool:
    """Wait for all of them, for `ENDS_WITHIN` at most."""
    deadline = time.monotonic() + ENDS_WITHIN
    while alive := [each for each in family if _is_alive(each)]:
        if time.monotonic() > deadline:
            return False
        psutil.wait_procs(alive, timeout=0.1)
    return True


def _is_alive(one: psutil.Process) -> bool:
    """Whether it still runs. A zombie does not: it only waits for its parent, which may never ask for its exit code."""
    with suppress(psutil.NoSuchProcess):
        return one.is_running() and one.status() != psutil.STATUS_ZOMBIE
    return False


def _to_die_with_parent() -> Callable[[], None] | None:
    """A function for the child to call, so that the kernel asks it to end if we are killed. Only Linux has this."""
    if sys.platform != "linux":
        return None
    prctl = getattr(ctypes.CDLL(None), "prctl", None)
    return (lambda: prctl(1, signal.SIGTERM)) if prctl else None  # 1: PR_SET_PDEATHSIG
