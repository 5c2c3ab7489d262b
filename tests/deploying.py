"""Deploys `prefect.yaml` to the tests' Prefect server, with the `prefect` commands that a person would type."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from flows.cli.prefect_server import PrefectServer

ROOT = Path(__file__).resolve().parents[1]


def prefect(server: PrefectServer, *arguments: str) -> str:
    """Run the `prefect` command against the server; returns what it printed."""
    done = subprocess.run(
        [sys.executable, "-m", "prefect", "--no-prompt", *arguments],
        cwd=ROOT, env={**os.environ, **server.environment}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def deploy_all(server: PrefectServer) -> str:
    """Create a process work pool and all deployments of `prefect.yaml` in it; returns what was printed."""
    prefect(server, "work-pool", "create", "perennial", "--type", "process", "--overwrite")
    return prefect(server, "deploy", "--all")
