"""
A real Prefect server for the tests that need one: private, started once per worker, on first use.

Prefect reads its settings when it is first imported, so this file sets them before any test module is imported.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import certifi
import pytest
from forked_sandboxes import SandboxForker
from hypothesis import HealthCheck, settings

from blocks.sandbox.running import RunningSandbox
from flows.cli.prefect_server import (
    PrefectServer,
    drain,
    forget_inherited_settings,
    free_port,
    prefect_server,
    private_settings,
)

HOME = Path(tempfile.mkdtemp(prefix="perennial-tests-"))
PORT = free_port()

forget_inherited_settings()
os.environ.update(private_settings(HOME, f"http://127.0.0.1:{PORT}"))
os.environ["PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL"] = "ERROR"
os.environ["PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW"] = "ignore"
os.environ["XDG_STATE_HOME"] = str(HOME / "state")

# No test speaks TLS, but each HTTP client reads the file of trusted certificates, which takes 20 ms. One is enough.
ONE_CERTIFICATE = HOME / "certificates.pem"
ONE_CERTIFICATE.write_text(Path(certifi.where()).read_text().partition(END := "-----END CERTIFICATE-----\n")[0] + END)
os.environ["SSL_CERT_FILE"] = os.environ["PREFECT_API_SSL_CERT_FILE"] = str(ONE_CERTIFICATE)
certifi.where = lambda: str(ONE_CERTIFICATE)  # for clients that do not read the environment

# A deadline would measure the machine, not the code, and a shared machine is slow at times.
settings.register_profile("perennial", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True)
settings.load_profile("perennial")

if hasattr(os, "fork"):
    RunningSandbox.start_process = staticmethod(SandboxForker().start)


def pytest_xdist_auto_num_workers() -> int:
    """Half as many workers again as there are cores: each one waits about a third of its time for a server's answer."""
    return (os.cpu_count() or 1) * 3 // 2


@pytest.fixture(scope="session")
def server() -> Iterator[PrefectServer]:
    """A Prefect server for this process and every process that it starts."""
    with prefect_server(HOME, PORT) as running:
        yield running
        asyncio.run(drain())


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish() -> None:
    shutil.rmtree(HOME, ignore_errors=True)
