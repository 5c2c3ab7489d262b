"""Which Prefect servers Perennial works with."""

from __future__ import annotations

import re
from typing import NamedTuple

from prefect.client.base import ServerType
from prefect.client.orchestration import PrefectClient

OLDEST = (3, 8, 8)
"""The oldest server that the flows, blocks and commands are tried with."""

MAJOR = 3


class Unsuitable(NamedTuple):
    """Why a server will not do, and the way out."""

    found: str
    way_out: str


def too_old_or_new(version: str) -> Unsuitable | None:
    """Why a server of this version will not do; None when it will."""
    numbers = tuple(int(each) for each in re.findall(r"\d+", version.partition("+")[0])[:3])
    oldest = ".".join(map(str, OLDEST))
    if numbers < OLDEST:
        found = (
            f"the Prefect server is {version}, and Perennial needs {oldest} or newer: no older one is tried, and "
            "Prefect itself warns of a server that is older than its client"
        )
        return Unsuitable(found, "Upgrade the server")
    if numbers[0] > MAJOR:
        found = f"the Prefect server is {version}, and Perennial works with version {MAJOR} only"
        return Unsuitable(found, "Upgrade Perennial")
    return None


async def version_of(prefect: PrefectClient) -> str | None:
    """The server's version; None for Prefect Cloud, which is always new enough."""
    return None if prefect.server_type == ServerType.CLOUD else await prefect.api_version()


async def require_version(prefect: PrefectClient) -> None:
    """
    Make sure that the server will do.

    Raises:
        WrongServer: it is too old, or too new.
    """
    version = await version_of(prefect)
    wrong = too_old_or_new(version) if version else None
    if wrong is not None:
        raise WrongServer(f"{wrong.found}. {wrong.way_out}")


class WrongServer(RuntimeError):  # noqa: N818 - the name says what happened
    """The Prefect server is of a version that Perennial does not work with."""
