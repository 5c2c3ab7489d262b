"""Each alarm fires on a real server, and arrives at a webhook. Alarms wait for seconds here, not minutes or hours."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from typing import Any

import pytest
import pytest_asyncio
from deploying import prefect as prefect_command
from merchant import Merchant
from prefect.blocks.webhook import Webhook
from prefect.client.orchestration import get_client
from prefect.events.actions import CallWebhook
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
from prefect.events.schemas.events import ResourceSpecification
from prefect.states import Completed, Pending, Running
from prefect.variables import Variable

from flows.cli.alarm_listener import listening
from flows.cli.alarms import POOL, Times, alarms, make_alarms
from flows.cli.notification import HEADERS, recipient_of
from flows.cli.prefect_server import PrefectServer
from flows.renew import renew_subscriptions
from flows.rules.stop_switch import VARIABLE

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("setup-check")]

SHORT = Times(interval=timedelta(seconds=5), stuck_after=timedelta(seconds=10))

PATIENCE = 200.0
"""Seconds within which an alarm must have arrived: the server looks for them every few seconds."""

Heard = list[dict[str, Any]]


@pytest.fixture(scope="module")
def heard(server: PrefectServer) -> Iterator[Heard]:
    said: Heard = []
    prefect_command(server, "work-pool", "create", POOL, "--type", "process", "--overwrite")
    with listening(said.append) as webhook:
        asyncio.run(_make(webhook))
        yield said
        asyncio.run(_delete())


async def _make(webhook: str) -> None:
    async with get_client() as prefect:
        await make_alarms(prefect, await recipient_of(prefect, webhook), SHORT)


async def _delete() -> None:
    async with get_client() as prefect:
        for alarm in alarms(SHORT):
            for found in await prefect.read_automations_by_name(alarm.name):
                await prefect.delete_automation(found.id)


async def until(heard: Heard, *words: str) -> str:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        for said in heard:
            if all(word in said["text"] for word in words):
                return str(said["text"])
        await asyncio.sleep(0.1)
    raise AssertionError(f"no alarm says {words}, only {heard}")


@pytest_asyncio.fixture
async def stopped(heard: Heard) -> AsyncIterator[None]:
    await Variable.aset(VARIABLE, "stop: wrong prices", overwrite=True)
    yield
    await Variable.aunset(VARIABLE)


async def test_a_sweep_that_failed_raises_an_alarm(heard: Heard, merchant: Merchant) -> None:
    ended = await merchant.sweep(as_of="2099-01-01T00:00:00Z")

    assert ended.name == "Failed"
    assert "shop's clock" in await until(heard, "failed:", "as_of is 2099-01-01")


async def test_a_sweep_that_did_not_start_raises_an_alarm(heard: Heard) -> None:
    assert "perennial setup --check" in await until(heard, "no sweep has started for 10 seconds")


async def test_a_run_that_is_stuck_raises_an_alarm_and_one_that_ended_does_not(heard: Heard) -> None:
    async with get_client() as prefect:
        healthy = await prefect.create_flow_run(renew_subscriptions, name="a healthy run")
        for state in (Pending(), Running(), Completed()):
            await prefect.set_flow_run_state(healthy.id, state)
        stuck = await prefect.create_flow_run(renew_subscriptions, name="a stuck run")
        for state in (Pending(), Running()):
            await prefect.set_flow_run_state(stuck.id, state)

        await until(heard, "a stuck run is running for more than 10 seconds")

        await prefect.set_flow_run_state(stuck.id, Completed())
    assert not [said for said in heard if "a healthy run is running" in said["text"]]


async def test_a_pool_that_no_worker_polls_any_more_raises_an_alarm(heard: Heard) -> None:
    async with get_client() as prefect:
        for worker in await prefect.read_workers_for_work_pool(POOL):  # workers of other tests count as alive for 90 s
            await prefect.request("DELETE", f"/work_pools/{POOL}/workers/{worker.name}")
        await prefect.send_worker_heartbeat(POOL, "dies-at-once", heartbeat_interval_seconds=1)

    await until(heard, "no worker polls the pool perennial")


async def test_charging_that_is_stopped_raises_an_alarm(heard: Heard, stopped: None, merchant: Merchant) -> None:
    await merchant.sweep()

    assert await until(heard, "charging is stopped since", "wrong prices")


@pytest_asyncio.fixture
async def stock_heard(server: PrefectServer) -> AsyncIterator[Heard]:
    """What an automation posts that knows nothing of Perennial: any flow run Failed, as Prefect's UI makes it."""
    said: Heard = []
    with listening(said.append) as webhook:
        block = Webhook.model_validate({"method": "POST", "url": webhook, "headers": HEADERS})
        block_id = await block.asave("stock-webhook", overwrite=True)
        async with get_client() as prefect:
            stock = await prefect.create_automation(
                AutomationCore(
                    name="any flow run failed",
                    trigger=EventTrigger(
                        expect={"prefect.flow-run.Failed"},
                        match=ResourceSpecification({"prefect.resource.id": "prefect.flow-run.*"}),
                        posture=Posture.Reactive,
                    ),
                    actions=[CallWebhook(block_document_id=block_id, payload=STOCK_PAYLOAD)],
                )
            )
            yield said
            await prefect.delete_automation(stock)


STOCK_PAYLOAD = '{"text": "{{ flow_run.id }} ended as {{ flow_run.state.name }}"}'


async def test_a_stock_automation_on_any_failed_flow_run_fires_for_a_sweep_that_needs_a_person(
    stock_heard: Heard, merchant: Merchant
) -> None:
    merchant.sandbox.seed(2)
    healthy = await merchant.sweep()
    merchant.sandbox.create_subscription(failure="hard_declined")
    ended = await merchant.sweep()

    await until(stock_heard, f"{ended.flow_run_id} ended as Failed")

    assert ended.outcomes["needs_attention"] == 1, "the state was returned with its facts; nothing was raised"
    assert not [said for said in stock_heard if str(healthy.flow_run_id) in said["text"]]
