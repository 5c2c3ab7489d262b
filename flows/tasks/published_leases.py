"""
The Prefect variables in which holders publish their leases, and others when they have asked for them.

A lease can be asked for only by renewing it, and a dead holder's lease that is renewed whenever somebody comes by
never ends. So whoever has asked writes that down next to the lease, and for as long as that lease now lasts nobody asks
again. What is written there is old when it is read, or edited by people: it may keep a writer out, and lets none in.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any
from uuid import UUID

import httpx
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import VariableCreate, VariableUpdate
from prefect.exceptions import ObjectNotFound

from flows.rules.references import SHARDS
from flows.tasks.prompt_client import promptly
from flows.tasks.writer_limits import NotPrefect

SHORTEST, LONGEST = 60.0, 86400.0
"""Seconds that Prefect lets a lease last."""

_ODD = (KeyError, TypeError, ValueError, AttributeError, IndexError)
"""What comes of reading something that a person has edited."""


def variable_name(shard: int) -> str:
    """The Prefect variable in which whoever holds this shard, as the first of its shards, publishes its lease."""
    return f"perennial_writer_{shard:02d}"


def _asked_name(shard: int) -> str:
    return f"{variable_name(shard)}_asked"


@dataclass(frozen=True)
class PublishedLease:
    """A lease as its holder publishes it; it may have ended long ago."""

    lease_id: UUID
    shards: tuple[int, ...]
    seconds: float
    """For which it is renewed: whoever asks for it must not make it shorter."""

    @classmethod
    def read(cls, value: Any) -> PublishedLease:
        """Raises one of `_ODD` for what no holder writes."""
        lease = cls(
            UUID(value["lease"]), tuple(map(int, value["shards"])), float(value.get("seconds", SHORTEST))
        )  # without seconds: by a version that did not write them
        if not lease.shards or not SHORTEST <= lease.seconds <= LONGEST:
            raise ValueError
        return lease

    def written(self) -> dict[str, Any]:
        """The variable's value."""
        return {"lease": str(self.lease_id), "shards": list(self.shards), "seconds": self.seconds}


@dataclass(frozen=True)
class Asked:
    """That a lease was asked for, and lives."""

    ago: float
    """Seconds, by the server's clock."""
    though_free: bool
    """Whether its slot was free at that time."""


@dataclass(frozen=True)
class Board:
    """All that is published, at one moment."""

    leases: frozenset[PublishedLease]
    asked: Mapping[UUID, Asked] = field(default_factory=dict)
    is_whole: bool = True
    """Whether everything could be read."""

    def of(self, shards: Iterable[int]) -> frozenset[PublishedLease]:
        """The leases on any of `shards`: the living one, and some that have ended."""
        wanted = set(shards)
        return frozenset(lease for lease in self.leases if wanted & set(lease.shards))


async def read_board(api: PrefectClient) -> Board:
    """
    Read what is published.

    Raises:
        HTTPError: it cannot be read.
    """
    names = [name(shard) for shard in range(SHARDS) for name in (variable_name, _asked_name)]
    # One request for all: sixteen reads one after the other would be neither quick nor one moment's picture.
    body = {"variables": {"name": {"any_": names}}, "limit": len(names)}
    answer = await promptly(api.request, "POST", "/variables/filter", json=body)
    now = datetime.now(UTC)
    with suppress(*_ODD):  # the server's clock, because what it stamped is compared with it
        now = parsedate_to_datetime(answer.headers["date"])
    try:
        values = {str(variable["name"]): variable for variable in answer.json()}
    except _ODD as error:
        raise NotPrefect("no variables are in the answer to a request for them") from error
    return _understood(values, now)


def _understood(variables: Mapping[str, Any], now: datetime) -> Board:
    leases: set[PublishedLease] = set()
    asked: dict[UUID, Asked] = {}
    is_whole = True
    for shard in range(SHARDS):
        with suppress(*_ODD):  # then somebody asks once more
            note = variables[_asked_name(shard)]
            ago = (now - datetime.fromisoformat(note["updated"])).total_seconds()
            asked[UUID(note["value"]["lease"])] = Asked(ago, note["value"]["though_free"] is True)
        if variable_name(shard) in variables:
            try:
                leases.add(PublishedLease.read(variables[variable_name(shard)]["value"]))
            except _ODD:
                is_whole = False
    return Board(frozenset(leases), asked, is_whole)


async def publish(api: PrefectClient, lease: PublishedLease) -> None:
    """Say who holds the lease's shards."""
    # One variable for the whole lease, that of its first shard: nobody else can hold that one now.
    await _write(api, variable_name(lease.shards[0]), lease.written())


async def write_down_that_asked(api: PrefectClient, lease: PublishedLease, *, though_free: bool) -> None:
    """Say that `lease` was asked for just now, and lives."""
    value = {"lease": str(lease.lease_id), "though_free": though_free}
    await _write(api, _asked_name(lease.shards[0]), value)


async def _write(api: PrefectClient, name: str, value: dict[str, Any]) -> None:
    try:
        await promptly(api.update_variable, VariableUpdate(name=name, value=value))
    except (ObjectNotFound, httpx.HTTPStatusError) as error:
        if isinstance(error, httpx.HTTPStatusError) and error.response.status_code != HTTPStatus.NOT_FOUND:
            raise
        await promptly(api.create_variable, VariableCreate(name=name, value=value))
