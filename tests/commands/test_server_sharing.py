"""What the settings of a Prefect server say about sharing messages, leases and tasks with others."""

from __future__ import annotations

from typing import Any

import pytest
from prefect.client.orchestration import get_client

from flows.cli.prefect_server import PrefectServer
from flows.cli.server_sharing import SHARED, not_shared

VARIABLES = [variable for variable, _ in SHARED.values()]


def settings(*in_redis: str, **more: Any) -> dict[str, Any]:
    """A server's settings: those of these variables are in Redis, the others are Prefect's defaults."""
    found: dict[str, Any] = {**more}
    for (part, name), (variable, value) in SHARED.items():
        in_memory = "memory://" if name == "url" else f"prefect.server.{name}.memory"
        found.setdefault(part, {})[name] = value if variable in in_redis else in_memory
    return found


@pytest.mark.parametrize(
    ("server", "named"),
    [
        pytest.param(settings(), [], id="a single server"),
        pytest.param(settings(*VARIABLES), [], id="all in Redis"),
        pytest.param(settings(VARIABLES[4]), [*VARIABLES[:4], VARIABLES[5]], id="only the leases in Redis"),
        pytest.param(settings(*VARIABLES[:3], *VARIABLES[4:]), [VARIABLES[3]], id="the queue of tasks in memory"),
        pytest.param(settings(database={"host": "db"}), VARIABLES, id="PostgreSQL, by its host"),
        pytest.param(settings(database={"driver": "postgresql+asyncpg"}), VARIABLES, id="PostgreSQL, by its driver"),
        pytest.param({"events": {"messaging_broker": "prefect_redis.messaging"}}, [], id="an older server"),
    ],
)
def test_what_is_kept_in_memory_beside_others_is_named_with_its_variable(
    server: dict[str, Any], named: list[str]
) -> None:
    way_outs = [str(each.way_out) for each in not_shared(server)]

    assert len(way_outs) == len(named)
    assert all(f"set {name}=" in said for said, name in zip(way_outs, named, strict=True))


async def test_a_server_tells_where_it_keeps_each_of_them(server: PrefectServer) -> None:
    """A setting that Prefect renames would count as shared."""
    async with get_client() as prefect:
        told = (await prefect.request("GET", "/admin/settings")).json()["server"]

    kept = {f"{part}.{name}": told[part][name] for part, name in SHARED}
    assert all(".memory" in value or value == "memory://" for value in kept.values()), kept
