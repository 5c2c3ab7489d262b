"""
The concurrency limits that the writer leases stand on.

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
)
from prefect.client.schemas.objects import ConcurrencyLeaseHolder
from prefect.client.schemas.responses import GlobalConcurrencyLimitResponse
from prefect.exceptions import ObjectAlreadyExists
from prefect.logging import get_logger

from flows.rules.references import SHARDS
from flows.tasks.prompt_client import promptly, when_refused

REPAIR_LIMIT = "perennial-writer-repair"
"""The limit under which one waiter at a time frees leaked slots."""

_logger = get_logger("perennial.leases")


class NotPrefect(httpx.HTTPError):
    """An answer that Prefect's API does not give: somebody else's, between us and it."""


def limit_name(shard: int) -> str:
    """The name of a shard's concurrency limit, as the Prefect UI lists it."""
    return f"perennial-writer-{shard:02d}"


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
        NotPrefect: the answer is not one of Prefect's.
    """
    answer = await api.increment_concurrency_slots_with_lease(list(names), 1, "concurrency", seconds, holder)
    try:
        body = answer.json()
        lease_id = UUID(body["lease_id"])
        limit_ids = {str(limit["name"]): UUID(limit["id"]) for limit in body["limits"]}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise NotPrefect(f"no lease is in the answer to a request for one ({answer.status_code})") from error
    if not limit_ids.keys() <= set(names):
        raise NotPrefect("a lease was answered on limits that were not asked for")
    return lease_id, limit_ids


async def release(api: PrefectClient, lease_id: UUID) -> None:
    """Give the slots of a lease back. Raises HTTPError when they may not have been."""
    # Not again after a lost answer: the server frees the slots first and forgets the lease after that. Between the
    # two, a second request would free the slots once more, and another writer may have taken them.
    _must_be_done(await when_refused(api.release_concurrency_slots_with_lease, lease_id))


async def renew(api: PrefectClient, lease_id: UUID, seconds: float) -> bool:
    """
    Let a lease end `seconds` from now, unless it has ended.

    Returns:
        Whether the server still knows it.

    Raises:
        HTTPError: that is not known.
    """
    try:
        _must_be_done(await api.renew_concurrency_lease(lease_id, seconds))
    except httpx.HTTPStatusError as error:
        if error.response.status_code == HTTPStatus.GONE:
            return False
        raise
    return True


def _must_be_done(answer: httpx.Response) -> None:
    """Say no to anything but the one answer that Prefect gives: a log-in page comes with a 200, too."""
    if answer.status_code != HTTPStatus.NO_CONTENT:
        raise NotPrefect(f"{answer.status_code} where Prefect says {HTTPStatus.NO_CONTENT.value}")


async def what_is_wrong(api: PrefectClient, names: Iterable[str], limit_ids: Mapping[str, UUID]) -> str:
    """
    Why the limits do not keep others out, or nothing.

    Args:
        api: the server.
        names: the limits of which the caller occupies a slot.
        limit_ids: what the server said it gave a slot of; it passes over a limit that is missing without a word.
    """
    missing = [name for name in names if name not in limit_ids]
    if missing:
        return f"there is no concurrency limit {', '.join(missing)}: the next run makes it"
    present = await read_limits(api)
    for name, limit_id in limit_ids.items():
        limit = present.get(name)
        if limit is None or limit.id != limit_id:
            return f"the concurrency limit {name} was deleted"
        if limit.limit != 1 or not limit.active or limit.slot_decay_per_second:
            return f"the concurrency limit {name} was changed: it must be active, with a limit of 1 and without decay"
        if limit.active_slots == 0:
            return f"the slot of the concurrency limit {name} was freed"
        if limit.active_slots != 1:
            return f"{limit.active_slots} slots of the concurrency limit {name} are occupied, and only one is ours"
    return ""
