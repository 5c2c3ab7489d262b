"""What `prefect deploy --all` creates, and that a process worker runs it to the end."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import stored_runs
from deploying import at_work, deploy_all, no_schedule_active, planned_runs
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterId
from prefect.client.schemas.objects import FlowRun
from prefect.client.schemas.responses import DeploymentResponse
from prefect.deployments import arun_deployment
from prefect.states import Pending, Running

from blocks.commerce_layer.rate_limit import RateLimits
from blocks.sandbox.running import RunningSandbox
from flows.cli.installation import credentials_for, install
from flows.cli.prefect_server import PrefectServer
from flows.cli.up import mark_abandoned_runs_crashed

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def deployed(server: PrefectServer) -> str:
    return deploy_all(server)


async def deployment(name: str) -> DeploymentResponse:
    async with get_client() as prefect:
        return await prefect.read_deployment_by_name(name)


async def test_the_sweep_is_scheduled_and_a_second_one_may_run_beside_the_first(deployed: str) -> None:
    sweep = await deployment("renew-subscriptions/renew-subscriptions")
    (schedule,) = sweep.schedules
    assert schedule.active
    assert schedule.schedule.model_dump(include={"cron", "timezone"}) == {"cron": "*/15 * * * *", "timezone": "UTC"}
    assert sweep.entrypoint == "flows.renew.renew_subscriptions"

    async with get_client() as prefect:
        first = await prefect.create_flow_run_from_deployment(sweep.id)
        for state in (Pending(), Running()):
            await prefect.set_flow_run_state(first.id, state)
        second = await prefect.create_flow_run_from_deployment(sweep.id)
        answer = await prefect.set_flow_run_state(second.id, Pending())
        await prefect.delete_flow_run(first.id)
        await prefect.delete_flow_run(second.id)

    assert answer.state is not None
    assert answer.state.is_pending()


async def test_a_sweep_that_an_earlier_perennial_up_left_running_is_marked_as_crashed(deployed: str) -> None:
    sweep = await deployment("renew-subscriptions/renew-subscriptions")
    async with get_client() as prefect:
        left = await prefect.create_flow_run_from_deployment(sweep.id)
        for state in (Pending(), Running()):
            await prefect.set_flow_run_state(left.id, state)

        await mark_abandoned_runs_crashed()

        found = await prefect.read_flow_run(left.id)

    assert found.state is not None
    assert found.state.is_crashed()


async def test_the_schedule_fires_by_itself(deployed: str) -> None:
    sweep = await deployment("renew-subscriptions/renew-subscriptions")
    of_the_sweep = DeploymentFilter(id=DeploymentFilterId(any_=[sweep.id]))
    runs: list[FlowRun] = []
    async with get_client() as prefect:
        for _ in range(60):
            runs = await prefect.read_flow_runs(deployment_filter=of_the_sweep)
            if any(run.auto_scheduled for run in runs):
                break
            await asyncio.sleep(1)

    scheduled = [run.expected_start_time for run in runs if run.auto_scheduled]
    assert scheduled, "the server's scheduler planned no run within a minute"
    assert {moment.minute % 15 for moment in scheduled if moment} == {0}


async def plan_overdue_sweeps() -> None:
    """Lets the server plan the runs of the hour that has just passed."""
    sweep = await deployment("renew-subscriptions/renew-subscriptions")
    now = datetime.now(UTC)
    hour = {"start_time": (now - timedelta(hours=1)).isoformat(), "end_time": now.isoformat()}
    async with get_client() as prefect:
        answer = await prefect._client.post(f"/deployments/{sweep.id}/schedule", json=hour)
        answer.raise_for_status()


def test_while_the_workers_of_a_test_are_at_work_no_scheduled_run_falls_due(deployed: str) -> None:
    asyncio.run(plan_overdue_sweeps())
    assert len(asyncio.run(planned_runs())) >= 4

    with no_schedule_active():
        assert asyncio.run(planned_runs()) == []

    assert asyncio.run(deployment("renew-subscriptions/renew-subscriptions")).schedules[0].active


@pytest.mark.parametrize("name", [f"{each}/{each}" for each in ("renew-subscriptions", "reorder", "renew-batch")])
async def test_every_field_of_the_run_form_has_a_sentence_of_help(deployed: str, name: str) -> None:
    found = await deployment(name)
    fields: dict[str, dict[str, Any]] = found.parameter_openapi_schema["properties"]
    assert fields
    for field, schema in fields.items():
        assert str(schema.get("description", "")).rstrip().endswith("."), field
    assert found.description


async def test_as_of_is_a_date_field_and_subscriptions_is_a_list(deployed: str) -> None:
    schema = (await deployment("renew-subscriptions/renew-subscriptions")).parameter_openapi_schema
    fields = schema["properties"]
    assert {"type": "string", "format": "date-time"} in fields["as_of"]["anyOf"]
    assert {"type": "array", "items": {"type": "string"}} in fields["subscriptions"]["anyOf"]
    assert not schema.get("required")


@pytest.fixture
def worker(server: PrefectServer, deployed: str, tmp_path: Path) -> Iterator[None]:
    with at_work(server, tmp_path, ["worker"]):
        yield


async def test_a_worker_runs_both_deployments_to_the_end(worker: None) -> None:
    with RunningSandbox("--limits", "off") as box:
        await install(
            credentials_for(
                box.organization,
                box.client_id,
                box.client_secret,
                "test",
                box.api_url,
                box.auth_url,
                RateLimits(unlimited=True),
            )
        )
        seeded = box.seed(3)
        sweep = await arun_deployment("renew-subscriptions/renew-subscriptions", timeout=200, poll_interval=1)
        reorder = await arun_deployment(
            "reorder/reorder",
            parameters={
                "source_order_id": seeded["source_order_ids"][0],
                "reference": "by-hand",
                "besides_renewal": True,
            },
            timeout=200,
            poll_interval=1,
        )
        bad = await arun_deployment(
            "renew-subscriptions/renew-subscriptions",
            parameters={"as_of": "2099-01-01T00:00:00Z"},
            timeout=200,
            poll_interval=1,
        )

    assert sweep.state is not None
    assert (sweep.state.name, sweep.state.message) == ("Completed", "3 renewals: 3 renewed")
    assert reorder.state is not None
    assert reorder.state.name == "Completed"
    assert str(reorder.state.message).endswith("was copied and placed")
    assert bad.state is not None
    assert bad.state.is_failed()
    assert "shop's clock" in str(bad.state.message)
    assert len(await stored_runs.table(sweep.id)) == 3
