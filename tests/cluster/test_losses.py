"""A shared sweep while one part of the installation after the other goes. `make cluster-test` does it with 3,000."""

from __future__ import annotations

import subprocess
import sys

import pytest
from cluster.losses import more_due
from cluster.recipe import DEPLOY

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(1800)]

RENEWALS = 600
DUE = RENEWALS + more_due(RENEWALS)


def test_every_period_is_renewed_once_while_workers_servers_database_and_redis_go() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "cluster.losses", "--renewals", str(RENEWALS)],
        cwd=DEPLOY.parent / "tests", capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert f"{DUE} due: {DUE} renewed, 0 doubled, 0 lost" in done.stdout, done.stdout + done.stderr
    assert done.returncode == 0
