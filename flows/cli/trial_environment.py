"""Everything to try Perennial with: a sandbox with due subscriptions, and a private Prefect server."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from blocks.sandbox.running import RunningSandbox
from flows.cli.prefect_server import PrefectServer, forget_inherited_settings, prefect_server

SUBSCRIPTIONS_PER_FAILURE = 12
"""One in this many is set to fail. With many more failures, the sweep's brake would rightly stop it."""

WINDOW_SCALE = 0.1
"""The sandbox's rate limit windows are ten times shorter than the real ones, so that the demo need not wait long."""

FAILURES: tuple[tuple[str, int | None], ...] = (
    ("declined", 1),
    ("out_of_stock", 1),
    ("invalid_coupon", None),
    ("gateway_timeout", 1),
    ("declined", 2),
    ("hard_declined", None),
    ("out_of_stock", 2),
    ("declined", 1),
)
"""The failures that a newcomer sees, and how often each occurs before it succeeds (`None`: until a person acts)."""


@dataclass(frozen=True)
class TrialEnvironment:
    """The sandbox and the Prefect server, both running; this process talks to them."""

    sandbox: RunningSandbox
    server: PrefectServer
    source_order_id: str
    """An order that a person may copy by hand."""


@contextmanager
def trial_environment(home: Path, subscriptions: int, server_port: int | None = None) -> Iterator[TrialEnvironment]:
    """
    Start both, and seed due subscriptions.

    From here on this process uses the private server, and no setting of the person's own Prefect. So import Prefect
    only inside the `with` block.

    Args:
        home: folder for the server's database and the logs.
        subscriptions: how many are due.
        server_port: port of the Prefect server; a free one if left out.
    """
    options = ("--limits", "documented", "--limit-scale", str(WINDOW_SCALE))
    forget_inherited_settings()
    with RunningSandbox(*options) as sandbox, prefect_server(home, server_port) as server:
        order = _seed(sandbox, subscriptions)
        os.environ.update(server.environment)
        yield TrialEnvironment(sandbox, server, order)


def failures_among(subscriptions: int) -> tuple[tuple[str, int | None], ...]:
    """Those of `FAILURES` that are seeded among this many subscriptions."""
    return FAILURES[: subscriptions // SUBSCRIPTIONS_PER_FAILURE]


def _seed(sandbox: RunningSandbox, subscriptions: int) -> str:
    """Create due subscriptions, some set to fail if there are enough; returns the source order of one that is not."""
    failures = failures_among(subscriptions)
    sandbox.seed(subscriptions - len(failures))
    for failure, times in failures:
        sandbox.create_subscription(failure=failure, times=times)
    # One that no sweep renews: copied by hand, it is charged once and not twice.
    return str(sandbox.create_subscription(adopted=False)["source_order_id"])


async def save_blocks(trial: TrialEnvironment) -> None:
    """Put the sandbox's credentials and a policy into the Prefect server, as `setup` does for a real shop."""
    # Prefect reads its settings when it is first imported, which must be after `trial_environment` has set them.
    from blocks.commerce_layer.rate_limit import RateLimits
    from flows.cli.installation import credentials_for, install

    sandbox = trial.sandbox
    await install(
        credentials_for(
            sandbox.organization,
            sandbox.client_id,
            sandbox.client_secret,
            "test",
            sandbox.api_url,
            sandbox.auth_url,
            RateLimits(window_scale=WINDOW_SCALE),
        ),
    )
