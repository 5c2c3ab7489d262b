"""
The concurrency limits that the writer leases stand on, and the variables in which holders publish their leases.

A limit keeps two writers apart only as long as it lets exactly one in, holds its slot until it is given back, and is
the very one that the lease was taken on. People can change all of that in the Prefect UI, and Prefect says nothing: a
missing or disabled limit lets everybody pass. So every holder looks, when it takes a lease and whenever it confirms it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from http import HTTPStatus
from uuid import UUID

import httpx
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import (
    GlobalConcurrencyLimitCreate,
    GlobalConcurrencyLimitUpdate,
    VariableCreate,
    VariableUpdate,
)
from prefect.client.schemas.objects import ConcurrencyLeaseHolder
from prefect.client.schemas.responses import GlobalConcurrencyLimitResponse
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound
from prefect.logging import get_logger

from flows.rules.references import SHARDS
from flows.tasks.prompt_client import promptly

REPAIR_LIMIT = "perennial-writer-repair"
"""The limit under which one waiter at a time frees leaked slots."""

_logger = get_logger("perennial.leases")


def limit_name(shard: int) -> str:
    """The name of a shard's concurrency limit, as the Prefect UI lists it."""
    return f"perennial-writer-{shard:02d}"


def variable_name(shard: int) -> str:
    """The Prefect variable in which whoever holds this shard, as the first of its shards, publishes its lease."""
    return f"perennial_writer_{shard:02d}"


async def read_limits(api: PrefectClient) -> dict[str, GlobalConcurrencyLimitResponse]:
    """All concurrency limits of the server, by name."""
    found: dict[str, GlobalConcurrencyLimitResponse] = {}
    size = 200
    for offset in range(0, 100 * size, size):
        page = await promptly(api.read_global_concurrency_limits, limit=size, offset=offset)
        found |= {limit.name: limit for limit in page}
        if len(page) < size:
            break
    return found


async def make_limits_ready(api: PrefectClient) -> None:
    """Make the limits that are missing, and set back those that somebody has changed."""
    present = await read_limits(api)
    for name in (*map(limit_name, range(SHARDS)), REPAIR_LIMIT):
        limit = present.get(name)
        if limit is None:
            new = GlobalConcurrencyLimitCreate(name=name, limit=1)
            with suppress(ObjectAlreadyExists):  # another run was faster
                await promptly(api.create_global_concurrency_limit, new)
        elif limit.limit != 1 or not limit.active or limit.slot_decay_per_second:
            _logger.warning("%s must let exactly one writer in; it was changed, and is set back", name)
            update = GlobalConcurrencyLimitUpdate(limit=1, active=True, slot_decay_per_second=0)
            await promptly(api.update_global_concurrency_limit, name, update)


async def occupy(
    api: PrefectClient, names: Sequence[str], seconds: float, holder: ConcurrencyLeaseHolder | None = None
) -> tuple[UUID, dict[str, UUID]]:
    """
    Take one slot of each limit, all or none, on a lease that ends by itself after `seconds`.

    Returns:
        The lease's id, and the ids of the limits by name; one that does not exist is not among them.

    Raises:
        HTTPStatusError: with status 423 when one of them is taken.
    """
    answer = await api.increment_concurrency_slots_with_lease(list(names), 1, "concurrency", seconds, holder)
    body = answer.json()
    return UUID(body["lease_id"]), {limit["name"]: UUID(limit["id"]) for limit in body["limits"]}


async def release(api: PrefectClient, lease_id: UUID) -> None:
    """Give the slots of a lease back. Raises HTTPError."""
    await promptly(api.release_concurrency_slots_with_lease, lease_id)


async def what_is_wrong(api: PrefectClient, expected: Mapping[str, UUID]) -> str:
    """
    Why the limits do not keep others out, or nothing.

    Args:
        api: the server.
        expected: name and id of each limit on which a slot is occupied by the caller.
    """
    present = await read_limits(api)
    for name, limit_id in expected.items():
        limit = present.get(name)
        if limit is None or limit.id != limit_id:
            return f"the concurrency limit {name} was deleted"
        if limit.limit != 1 or not limit.active or limit.slot_decay_per_second:
            return f"the concurrency limit {name} was changed: it must be active, with a limit of 1 and without decay"
        if limit.active_slots < 1:
            return f"the slot of the concurrency limit {name} was freed"
    return ""


async def publish(api: PrefectClient, lease_id: UUID, shards: Iterable[int]) -> None:
    """Say who holds `shards`, unless the server says so already."""
    # One variable for the whole lease, that of its first shard: nobody else can hold that one now.
    shards = list(shards)
    name, value = variable_name(shards[0]), {"lease": str(lease_id), "shards": shards}
    stored = await promptly(api.read_variable_by_name, name)
    if stored is not None and stored.value == value:
        return
    try:
        await promptly(api.update_variable, VariableUpdate(name=name, value=value))
    except (ObjectNotFound, httpx.HTTPStatusError) as error:
        if isinstance(error, httpx.HTTPStatusError) and error.response.status_code != HTTPStatus.NOT_FOUND:
            raise
        await promptly(api.create_variable, VariableCreate(name=name, value=value))


async def published(api: PrefectClient, shards: Iterable[int]) -> frozenset[UUID] | None:
    """
    The leases that were published for any of `shards`: the living one, and some that have ended.

    Returns:
        `None` when they cannot be read: that is no evidence of anything.
    """
    wanted, leases = set(shards), set()
    names = [variable_name(shard) for shard in range(SHARDS)]
    try:
        # One request for all: sixteen reads one after the other would be neither quick nor one moment's picture.
        answer = await promptly(
            lambda: api.request(
                "POST", "/variables/filter", json={"variables": {"name": {"any_": names}}, "limit": SHARDS}
            )
        )
        for variable in answer.json():
            if wanted & set(variable["value"]["shards"]):
                leases.add(UUID(variable["value"]["lease"]))
    except (httpx.HTTPError, KeyError, TypeError, ValueError, AttributeError):  # unreachable, or edited by somebody
        return None
    return frozenset(leases)


async def is_alive(api: PrefectClient, lease_id: UUID) -> bool:
    """Whether the server still knows the lease. Asking prolongs it by its shortest term, once: harmless."""
    try:
        await api.renew_concurrency_lease(lease_id, 60)
    except httpx.HTTPStatusError as error:
        return error.response.status_code != HTTPStatus.GONE
    except httpx.HTTPError:
        return True  # not known to be gone
    return True
