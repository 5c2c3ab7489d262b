"""The shop that an installation renews for: a sandbox, and its blocks in the Prefect server."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cluster.installation import Installation, installation
from prefect.settings import PREFECT_API_URL, temporary_settings

from blocks.commerce_layer.rate_limit import RateLimits
from blocks.policy import Policy
from blocks.sandbox.running import RunningSandbox
from flows.cli.installation import credentials_for, install


@contextmanager
def cluster(
    home: Path, sandbox: RunningSandbox, limits: RateLimits, policy: Policy, port: int | None = None
) -> Iterator[Installation]:
    """An installation that renews for `sandbox`. Inside, this process uses its Prefect server as well."""
    with installation(home, port) as made, temporary_settings({PREFECT_API_URL: made.api_url}):
        credentials = credentials_for(
            sandbox.organization, sandbox.client_id, sandbox.client_secret, "test", sandbox.api_url, sandbox.auth_url,
            limits,
        )  # fmt: skip
        asyncio.run(install(credentials, policy))
        yield made
