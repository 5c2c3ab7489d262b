"""
Starts what a person needs to try Perennial: a private Prefect server and a worker, each in a process of its own.

Nothing of the person's own Prefect set-up is read or changed: home folder, database, profile and ports are private.
No process outlives us: each is ended on every way out, and dies by itself if we are killed outright.
"""

from __future__ import annotations

import ctypes
import inspect
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

STARTS_WITHIN = 120.0
"""Seconds until a service must answer: a first start creates the database, which takes ten on two cores."""

ENDS_WITHIN = 10.0
"""Seconds that a service has to end in peace before it is killed."""


class ServiceDidNotStart(RuntimeError):  # noqa: N818 - says what happened
    """A service ended, or did not answer in time; the message carries the end of its log."""


@dataclass(frozen=True)
class PrefectServer:
    """A running Prefect server: its address for people, and the settings for everything that shall use it."""

    url: str
    environment: Mapping[str, str]

    @property
    def api_url(self) -> str:
        """The address for programs."""
        return f"{self.url}/api"


def free_port() -> int:
    """A TCP port on the loopback interface that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def private_settings(home: Path, url: str) -> dict[str, str]:
    """Prefect's settings for a private installation under `home`: nothing is reported to anybody outside."""
    return {
        "PREFECT_HOME": str(home),
        "PREFECT_PROFILES_PATH": str(home / "profiles.toml"),
        "PREFECT_API_URL": f"{url}/api",
        "PREFECT_UI_API_URL": f"{url}/api",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_CLOUD_ENABLE_ORCHESTRATION_TELEMETRY": "false",
        "DO_NOT_TRACK": "1",
        # Leases that survive a restart of the server; in memory, a restart would leave their slots occupied.
        "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
        # Without these the server writes every event of a task run in a transaction of its own: a sweep then keeps
        # SQLite locked, and leases are refused with 503 for many seconds. With them, once a second for all.
        "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_BATCH_SIZE": "200",
        "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_FLUSH_INTERVAL": "1",
        "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_BATCH_SIZE": "500",
        "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_FLUSH_INTERVAL": "2",
        "PREFECT_SERVER_LOGGING_LEVEL": "WARNING",
        "PYTHONWARNINGS": "ignore",
    }


@contextmanager
def prefect_server(home: Path, port: int | None = None) -> Iterator[PrefectServer]:
    """
    A Prefect server on the loopback interface, with its database and log under `home`, until the block ends.

    Raises:
        ServiceDidNotStart: with the end of its log.
    """
    home.mkdir(parents=True, exist_ok=True)
    port = port or free_port()
    url = f"http://127.0.0.1:{port}"
    environment = private_settings(home, url)
    command = [
        sys.executable,
        "-m",
        "prefect",
        "server",
        "start",
        "--host",
        "127.0.0.1",
        "--port",
        url.rsplit(":", maxsplit=1)[-1],
    ]
    with process(command, environment, home / "server.log") as server:
        wait_until_it_answers(f"{url}/api/health", server, home / "server.log")
        yield PrefectServer(url, environment)


async def drain() -> None:
    """
    Wait until Prefect's threads have sent all logs and events of this process.

    Call it before the server that this process talks to is stopped: at exit they would try for a minute and more.
    """
    # Imported here because Prefect reads its settings at import, and whoever starts a server sets them first.
    from prefect.events.worker import EventsWorker
    from prefect.logging.handlers import APILogHandler

    await APILogHandler.aflush()
    drained = EventsWorker.drain_all()
    if inspect.isawaitable(drained):
        await drained


@contextmanager
def process(command: Sequence[str], environment: Mapping[str, str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process in a group of its own, which is ended as a whole when the block ends, however it ends."""
    with log.open("ab") as output:
        child = subprocess.Popen(  # noqa: S603 - the commands are our own
            command,
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=_die_with_parent if sys.platform == "linux" else None,  # noqa: PLW1509 - one system call
        )
    try:
        yield child
    finally:
        _end(child)


def wait_until_it_answers(url: str, child: subprocess.Popen[bytes], log: Path) -> None:
    """
    Return once `url` answers 200.

    Raises:
        ServiceDidNotStart: `child` has ended, or did not answer within `STARTS_WITHIN`.
    """
    deadline = time.monotonic() + STARTS_WITHIN
    while time.monotonic() < deadline:
        if child.poll() is not None:
            raise ServiceDidNotStart(f"it ended with exit code {child.returncode}:\n{_tail(log)}")
        with suppress(urllib.error.URLError, OSError), urllib.request.urlopen(url, timeout=2) as answer:  # noqa: S310
            if answer.status == 200:  # noqa: PLR2004
                return
        time.sleep(0.1)
    raise ServiceDidNotStart(f"no answer from {url} within {STARTS_WITHIN:.0f} s:\n{_tail(log)}")


def _end(child: subprocess.Popen[bytes]) -> None:
    for signal_number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(child.pid, signal_number)
        with suppress(subprocess.TimeoutExpired):
            child.wait(ENDS_WITHIN)
            break
    with suppress(ProcessLookupError, PermissionError):  # whatever it left behind in its group
        os.killpg(child.pid, signal.SIGKILL)


def _die_with_parent() -> None:
    # prctl(PR_SET_PDEATHSIG, SIGTERM): if we are killed outright, nobody else would end it.
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)


def _tail(log: Path, lines: int = 20) -> str:
    with suppress(OSError):
        return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])
    return ""
