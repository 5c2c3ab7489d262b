"""A private Prefect server that a test can kill, and whose disk can be full."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psutil

from flows.cli.prefect_server import drain, free_port, private_settings, wait_until_it_answers
from flows.cli.processes import process

STORES_NO_RUNS = {
    f"PREFECT_SERVER_SERVICES_{service}_ENABLED": "false"
    for service in ("TASK_RUN_RECORDER", "EVENT_PERSISTER", "TRIGGERS")
}
"""Settings of a server that stores neither task runs nor events."""


class OwnPrefect:
    """
    A server that keeps its database when it is killed, but forgets its leases: they are in memory, Prefect's default.

    Start it from the main thread, because it ends with the thread that started it. Without `stores_runs` it stores
    neither task runs nor events: otherwise many sweeps at once would keep its SQLite locked.
    """

    def __init__(self, home: Path, port: int | None = None, *, stores_runs: bool = True) -> None:
        self._home, self._stores_runs = home, stores_runs
        self.url = f"http://127.0.0.1:{port or free_port()}"
        self._stack = ExitStack()
        self._child: psutil.Popen

    @property
    def api_url(self) -> str:
        """The address of its API."""
        return f"{self.url}/api"

    def start(self) -> None:
        """Start or restart it."""
        self._home.mkdir(parents=True, exist_ok=True)
        settings = private_settings(self._home, self.url) | ({} if self._stores_runs else STORES_NO_RUNS)
        port = self.url.rpartition(":")[2]
        command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", port]
        self._child = self._stack.enter_context(process(command, settings, self._home / "server.log"))
        wait_until_it_answers(f"{self.url}/api/health", self._child, self._home / "server.log")

    def kill(self) -> None:
        """Kill it with SIGKILL, so that it cannot clean up."""
        os.killpg(self._child.pid, signal.SIGKILL)
        self._child.wait()

    def stop(self) -> None:
        """End it for good, after this process has sent its events. Otherwise it would keep trying to send them."""
        sending = threading.Thread(target=lambda: asyncio.run(drain()))  # this thread may run an event loop
        sending.start()
        sending.join()
        self._stack.close()

    def __enter__(self) -> OwnPrefect:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @contextmanager
    def full_disk(self) -> Iterator[None]:
        """Make every write to a file of the server fail."""
        numbers = (int(folder.name) for folder in Path("/proc").iterdir() if folder.name.isdigit())
        pids = [pid for pid in numbers if self._is_ours(pid)]
        for pid in pids:
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
        yield
        for pid in pids:
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))

    def _is_ours(self, pid: int) -> bool:
        try:
            return os.getpgid(pid) == self._child.pid
        except ProcessLookupError:
            return False
