"""
A private Prefect server in a process of its own, for people who try Perennial.

It neither reads nor changes anything of a person's own Prefect: home folder, database, profile and ports are private,
and no setting is taken from the environment.
"""

from __future__ import annotations

import inspect
import os
import socket
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from flows.cli.private_files import make_private_folder
from flows.cli.processes import process

STARTS_WITHIN = 120.0
"""Seconds within which a service must answer. A first start creates the database, which takes 10 s on two cores."""

SETTINGS = "PREFECT_"
"""The prefix of Prefect's settings in the environment."""


class ServiceDidNotStart(RuntimeError):  # noqa: N818 - the name says what happened
    """A service ended, or did not answer in time. The message has the end of its log."""


class PortTaken(ServiceDidNotStart):
    """Another program listens on the server's port."""


@dataclass(frozen=True)
class PrefectServer:
    """A running Prefect server: its address for people, and the settings for programs that use it."""

    url: str
    environment: Mapping[str, str]
    process: psutil.Popen
    log: Path

    @property
    def api_url(self) -> str:
        """The address for programs."""
        return f"{self.url}/api"


def free_port() -> int:
    """A TCP port on the loopback interface that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def require_free_port(port: int) -> None:
    """
    Make sure that no program listens on a port of the loopback interface.

    Otherwise our server would end, and we would use the other one, which may be the person's own.

    Raises:
        PortTaken: a program does, or we are not allowed to.
    """
    with socket.socket() as caller:
        caller.settimeout(2)
        if caller.connect_ex(("127.0.0.1", port)) == 0:
            raise PortTaken(f"port {port} is in use")
    with socket.socket() as probe:
        # As the server itself does: connections of an earlier server that are still closing do not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise PortTaken(f"port {port} cannot be used ({error.strerror})") from error


def forget_inherited_settings() -> None:
    """
    Drop every setting of Prefect from this process's environment, before Prefect is imported.

    Otherwise the processes that we start would use the person's own database, API key or profile.
    """
    for name in [name for name in os.environ if name.startswith(SETTINGS)]:
        del os.environ[name]


def private_settings(home: Path, url: str) -> dict[str, str]:
    """Prefect's settings for a private installation under `home`. They turn off all telemetry."""
    return {
        "PREFECT_HOME": str(home),
        "PREFECT_PROFILES_PATH": str(home / "profiles.toml"),
        "PREFECT_SERVER_DATABASE_CONNECTION_URL": f"sqlite+aiosqlite:///{home}/prefect.db",
        "PREFECT_API_URL": f"{url}/api",
        "PREFECT_UI_API_URL": f"{url}/api",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_CLOUD_ENABLE_ORCHESTRATION_TELEMETRY": "false",
        "DO_NOT_TRACK": "1",
        # Without these the server writes every event of a task run in a transaction of its own, and a sweep keeps
        # SQLite locked. With them, it writes all events once a second.
        "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_BATCH_SIZE": "200",
        "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_FLUSH_INTERVAL": "1",
        "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_BATCH_SIZE": "500",
        "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_FLUSH_INTERVAL": "2",
        "PREFECT_SERVER_LOGGING_LEVEL": "WARNING",
        "PYTHONWARNINGS": "ignore",
    }


@contextmanager
def prefect_server(
    home: Path, port: int | None = None, settings: Mapping[str, str] | None = None
) -> Iterator[PrefectServer]:
    """
    A Prefect server on the loopback interface, with its database and log under `home`, until the block ends.

    Args:
        home: folder for all that is private to it.
        port: where it listens; a free port if left out.
        settings: settings of Prefect that are added to the private ones, or replace them.

    Raises:
        PortTaken: another program listens there.
        ServiceDidNotStart: with the end of its log.
    """
    make_private_folder(home)  # the database has the names of customers, and the key to the secrets in it
    port = port or free_port()
    require_free_port(port)
    url, log = f"http://127.0.0.1:{port}", home / "server.log"
    environment = {**private_settings(home, url), **(settings or {})}
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    with process(command, environment, log, without=SETTINGS) as server:
        wait_until_it_answers(f"{url}/api/health", server, log)
        yield PrefectServer(url, environment, server, log)


DRAINED_WITHIN = 60.0
"""Seconds: much longer than a server takes that answers at all."""


async def drain() -> None:
    """
    Wait until Prefect's threads have sent all logs and events of this process.

    Call it before this process's server is stopped. Otherwise the threads try for more than a minute at exit.
    What is meant for a server that is gone is given up after `DRAINED_WITHIN`.
    """
    # Imported here because Prefect reads its settings at import, and callers that start a server set them first.
    from prefect.events.worker import EventsWorker
    from prefect.logging.handlers import APILogHandler

    await APILogHandler.aflush()
    drained = EventsWorker.drain_all(timeout=DRAINED_WITHIN)
    if inspect.isawaitable(drained):
        await drained


def wait_until_it_answers(url: str, child: psutil.Popen, log: Path) -> None:
    """
    Return once `url` answers 200.

    Raises:
        ServiceDidNotStart: `child` has ended, or did not answer within `STARTS_WITHIN`.
    """
    deadline = time.monotonic() + STARTS_WITHIN
    while time.monotonic() < deadline:
        if child.poll() is not None:
            raise ServiceDidNotStart(f"a service did not start: {how_it_ended(child)}:\n{_tail(log)}")
        with suppress(urllib.error.URLError, OSError), urllib.request.urlopen(url, timeout=2) as answer:  # noqa: S310 - our own server
            if answer.status == 200:  # noqa: PLR2004 - the HTTP status
                return
        time.sleep(0.1)
    raise ServiceDidNotStart(
        f"a service did not start: no answer from {url} within {STARTS_WITHIN:.0f} s:\n{_tail(log)}"
    )


def how_it_ended(child: psutil.Popen) -> str:
    """How a process ended, in words."""
    code = child.returncode
    return f"it ended with exit code {code}" if code >= 0 else f"it was ended by signal {-code}"


def _tail(log: Path, lines: int = 20) -> str:
    with suppress(OSError):
        return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])
    return ""
