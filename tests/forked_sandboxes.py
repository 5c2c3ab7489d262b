"""
Sandboxes that start in milliseconds: forks of one process that has imported the sandbox already.

Most tests start a sandbox of their own, and half of its start is Python's imports. So each process of a test run keeps
one process beside it, which imports once, and forks for each sandbox. A fork has the same options, standard input and
output as a sandbox started by itself, and ends like one.

As a program (`python tests/forked_sandboxes.py FD`) this file is that process. It reads its orders from a socket.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from io import BufferedReader, BufferedWriter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LONGEST_ORDER = 65536
"""Bytes of all options of a sandbox together."""


class ForkedSandbox:
    """A sandbox in a process that was forked; used as a `subprocess.Popen` is."""

    def __init__(self, pid: int, stdin: BufferedWriter, stdout: BufferedReader, status: int) -> None:
        self.pid, self.stdin, self.stdout = pid, stdin, stdout
        self._status_pipe = status
        self._status: int | None = None

    def terminate(self) -> None:
        self._send(signal.SIGTERM)

    def kill(self) -> None:
        self._send(signal.SIGKILL)

    def wait(self, timeout: float | None = None) -> int:
        """
        The exit status, or minus the signal that killed it.

        The process writes its status into a pipe as the last thing it does. The pipe ends when the process has ended.

        Raises:
            subprocess.TimeoutExpired: it runs on after `timeout` seconds.
        """
        if self._status is None:
            if not select.select([self._status_pipe], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired("a forked sandbox", timeout or 0.0)
            written = os.read(self._status_pipe, 1)
            os.close(self._status_pipe)
            self._status = written[0] if written else -signal.SIGKILL
        return self._status

    def _send(self, number: signal.Signals) -> None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(0.0)
        if self._status is None:
            os.kill(self.pid, number)


class SandboxForker:
    """Starts the process that forks, with the first sandbox. It ends with the process that this object lives in."""

    def __init__(self) -> None:
        self._socket: socket.socket | None = None

    def start(self, options: Sequence[str]) -> ForkedSandbox:
        """Start a sandbox with these options of its command line; its standard error is ours."""
        if self._socket is None:
            self._socket = self._launch()
        theirs_in, ours_in = os.pipe()
        ours_out, theirs_out = os.pipe()
        ours_status, theirs_status = os.pipe()
        theirs = [theirs_in, theirs_out, 2, theirs_status]
        socket.send_fds(self._socket, [json.dumps(list(options)).encode()], theirs)
        for descriptor in (theirs_in, theirs_out, theirs_status):
            os.close(descriptor)
        pid = int(self._socket.recv(32))
        return ForkedSandbox(pid, os.fdopen(ours_in, "wb"), os.fdopen(ours_out, "rb"), ours_status)

    def _launch(self) -> socket.socket:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        subprocess.Popen(
            [sys.executable, str(Path(__file__)), str(theirs.fileno())],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.DEVNULL,
            pass_fds=[theirs.fileno()],
            start_new_session=True,
        )
        theirs.close()
        return ours


def serve(orders: socket.socket) -> None:
    """Fork a sandbox for each order, until the sender has ended."""
    from blocks.sandbox.__main__ import main  # in the process that forks, not in each that starts one

    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the system forgets children that have ended
    gc.freeze()
    while True:
        message, descriptors, _, _ = socket.recv_fds(orders, LONGEST_ORDER, 4)
        if not message:
            return
        if (pid := os.fork()) == 0:
            orders.close()
            _be_a_sandbox(main, json.loads(message), descriptors)
        for descriptor in descriptors:
            os.close(descriptor)
        orders.send(str(pid).encode())


def _be_a_sandbox(main: Callable[[list[str]], int], options: list[str], descriptors: list[int]) -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    *standard, status_pipe = descriptors
    for number, descriptor in enumerate(standard):
        os.dup2(descriptor, number)
        os.close(descriptor)
    status = 1
    try:
        status = main(options)
    except SystemExit as ended:
        status = ended.code if isinstance(ended.code, int) else 1
    except BaseException:  # noqa: BLE001 - the process ends with it, as Python does
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os.write(status_pipe, bytes([status]))
        os._exit(status)


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])))
