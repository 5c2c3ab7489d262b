"""`prefect deploy --all` must not undo what an operator has set in the UI."""

from __future__ import annotations

import pytest
from deploying import deploy_all, prefect
from prefect.client.orchestration import get_client
from prefect.client.schemas.responses import DeploymentResponse

from flows.cli.prefect_server import PrefectServer

pytestmark = pytest.mark.slow

SWEEP = "renew-subscriptions/renew-subscriptions"


async def sweep() -> DeploymentResponse:
    async with get_client() as api:
        return await api.read_deployment_by_name(SWEEP)


async def test_a_schedule_that_an_operator_has_paused_stays_paused_when_all_is_deployed_again(
    server: PrefectServer,
) -> None:
    deploy_all(server)
    deployed = await sweep()
    (schedule,) = deployed.schedules
    async with get_client() as api:
        await api.update_deployment_schedule(deployed.id, schedule.id, active=False)

    prefect(server, "deploy", "--all")

    (kept,) = (await sweep()).schedules
    assert schedule.active, "it is on when it is deployed for the first time"
    assert not kept.active
    async with get_client() as api:
        await api.update_deployment_schedule(deployed.id, schedule.id, active=True)
