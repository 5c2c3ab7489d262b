"""`prefect deploy --all` must not undo what an operator has set."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from deploying import deploy_all, prefect
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import DeploymentScheduleCreate, DeploymentUpdate
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.schedules import CronSchedule
from prefect.variables import Variable

from flows.cli.alarms import SWEEP, WATCH
from flows.cli.prefect_server import PrefectServer
from flows.rules.stop_switch import VARIABLE
from flows.run.stop_switch import switch_now

pytestmark = pytest.mark.slow

DAILY = CronSchedule(cron="0 6 * * *", timezone="UTC")

Scheduled = dict[str, DeploymentResponse]
"""The two deployments with a schedule, by the name of the schedule in `prefect.yaml`."""


async def read() -> Scheduled:
    async with get_client() as api:
        return {
            "sweep": await api.read_deployment_by_name(SWEEP),
            "watch": await api.read_deployment_by_name(WATCH),
        }


@pytest.fixture(scope="module")
def deployed(server: PrefectServer) -> PrefectServer:
    deploy_all(server)
    return server


@pytest_asyncio.fixture
async def paused(deployed: PrefectServer) -> AsyncIterator[Scheduled]:
    """Both as they were before their schedules were paused; afterwards, their own schedules are on again."""
    before = await read()
    async with get_client() as api:
        for one in before.values():
            await api.update_deployment_schedule(one.id, one.schedules[0].id, active=False)
        yield before
        for own, one in (await read()).items():
            for schedule in one.schedules:
                if schedule.slug == own:
                    await api.update_deployment_schedule(one.id, schedule.id, active=True)
                else:
                    await api.delete_deployment_schedule(one.id, schedule.id)


async def test_schedules_that_an_operator_has_paused_stay_paused_when_all_is_deployed_again(
    deployed: PrefectServer, paused: Scheduled
) -> None:
    prefect(deployed, "deploy", "--all")

    for own, one in (await read()).items():
        assert paused[own].schedules[0].active, "it is on when it is deployed for the first time"
        assert [(each.slug, each.active) for each in one.schedules] == [(own, False)]


async def test_a_deploy_sets_cron_and_parameters_anew_and_keeps_a_schedule_that_was_added_with_a_slug(
    deployed: PrefectServer, paused: Scheduled
) -> None:
    async with get_client() as api:
        for one in paused.values():
            await api.update_deployment_schedule(one.id, one.schedules[0].id, schedule=DAILY)
            await api.create_deployment_schedules(one.id, [DeploymentScheduleCreate(schedule=DAILY, slug="added")])
            other = DeploymentUpdate(parameters={**one.parameters, "policy": "other"})
            await api.update_deployment(one.id, other)

    prefect(deployed, "deploy", "--all")

    for own, one in (await read()).items():
        schedules = {each.slug: (each.schedule, each.active) for each in one.schedules}
        assert schedules == {own: (paused[own].schedules[0].schedule, False), "added": (DAILY, True)}
        assert one.parameters == paused[own].parameters


async def test_a_deploy_removes_a_schedule_that_was_added_without_a_slug_and_switches_the_others_on(
    deployed: PrefectServer, paused: Scheduled
) -> None:
    async with get_client() as api:
        for one in paused.values():
            await api.create_deployment_schedules(one.id, [(DAILY, True)])

    prefect(deployed, "deploy", "--all")

    for own, one in (await read()).items():
        assert [(each.slug, each.active) for each in one.schedules] == [(own, True)]


async def test_the_stop_switch_stays_as_it_is_when_all_is_deployed_again(deployed: PrefectServer) -> None:
    await Variable.aset(VARIABLE, "stop: wrong prices", overwrite=True)
    prefect(deployed, "deploy", "--all")
    async with get_client() as api:
        switch = await switch_now(api)
    await Variable.aunset(VARIABLE)
    assert switch.is_stopped
    assert "wrong prices" in switch.sentence
