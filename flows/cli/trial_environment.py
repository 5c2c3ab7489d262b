"""Sets the stage for a person who tries Perennial: the sandbox, a private Prefect server, and the blocks in it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from blocks.sandbox.running import RunningSandbox
from flows.cli.prefect_server import PrefectServer, forget_other_prefect, prefect_server

if TYPE_CHECKING:
    from blocks.policy_terms import PolicyTerms

SHARE_TROUBLED = 12
"""Of so many subscriptions one is in trouble: many more, and the sweep's brake would rightly stop it."""

FASTER = 0.1
"""The sandbox counts requests in windows ten times shorter than the real ones, so that nobody waits for minutes."""

TROUBLED: tuple[tuple[str, int | None], ...] = (
    ("declined", 1),
    ("out_of_stock", 1),
    ("invalid_coupon", None),
    ("gateway_timeout", 1),
    ("declined", 2),
    ("hard_declined", None),
    ("out_of_stock", 2),
    ("declined", 1),
)
"""What goes wrong, and how often before it heals (`None`: until a person acts), so that a newcomer sees failures."""


@dataclass(frozen=True)
class Stage:
    """The sandbox and the Prefect server, both running; this process talks to them."""

    sandbox: RunningSandbox
    server: PrefectServer
    source_order_id: str
    """An order that somebody may copy by hand."""


@contextmanager
def stage(home: Path, subscriptions: int, server_port: int | None = None) -> Iterator[Stage]:
    """
    Start both, seed due subscriptions, and put the blocks into the server.

    From here on this process uses the private server, and no setting of the person's own Prefect: import Prefect only
    inside.

    Args:
        home: folder for the server's database and the logs.
        subscriptions: how many are due.
        server_port: port of the Prefect server; a free one if left out.
    """
    options = ("--limits", "documented", "--limit-scale", str(FASTER))
    forget_other_prefect()
    with RunningSandbox(*options) as sandbox, prefect_server(home, server_port) as server:
        order = seed(sandbox, subscriptions)
        os.environ.update(server.environment)
        yield Stage(sandbox, server, order)


def troubles(subscriptions: int) -> tuple[tuple[str, int | None], ...]:
    """Those of `TROUBLED` that are seeded among so many subscriptions."""
    return TROUBLED[: subscriptions // SHARE_TROUBLED]


def seed(sandbox: RunningSandbox, subscriptions: int) -> str:
    """Due subscriptions, some in trouble if there are enough of them; returns the source order of a healthy one."""
    troubled = troubles(subscriptions)
    healthy = sandbox.create_subscription()
    sandbox.seed(subscriptions - 1 - len(troubled))
    for failure, times in troubled:
        sandbox.create_subscription(failure=failure, times=times)
    return str(healthy["source_order_id"])


async def furnish(on: Stage, policy: PolicyTerms | None = None) -> None:
    """Put the sandbox's credentials and a policy into the Prefect server, as `setup` does for a real shop."""
    # Prefect reads its settings when it is first imported, which must be after `stage` has set them.
    from blocks.commerce_layer.rate_limit import RateLimits
    from flows.cli.installation import credentials_for, install

    sandbox = on.sandbox
    await install(
        credentials_for(
            sandbox.organization,
            sandbox.client_id,
            sandbox.client_secret,
            "test",
            sandbox.api_url,
            sandbox.auth_url,
            RateLimits(window_scale=FASTER),
        ),
        policy,
        here=True,  # a private server may be given another port each time
    )
