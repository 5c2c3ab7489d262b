"""What staff see in Prefect's UI: the run, its table, the forms of blocks and deployments."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
import stored_runs
from deploying import deploy_all, prefect
from merchant import Merchant, open_merchant
from prefect.client.orchestration import get_client
from prefect.flow_engine import run_flow_async
from ui.browser import CHROMIUM, Browser, open_browser

from flows.cli.alarms import SWEEP
from flows.cli.prefect_server import PrefectServer
from flows.renew import renew_subscriptions

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here: apt-get install chromium to look at the pages"),
]

PICTURES = os.environ.get("PERENNIAL_PICTURES")
"""Folder in which to save pictures of the pages; without it, none are saved."""


async def keep(browser: Browser, name: str) -> None:
    if PICTURES:
        await browser.picture(Path(PICTURES) / f"{name}.png")


@pytest_asyncio.fixture
async def browser() -> AsyncIterator[Browser]:
    async with open_browser() as opened:
        yield opened


@pytest_asyncio.fixture
async def merchant(server: PrefectServer) -> AsyncIterator[Merchant]:
    async with open_merchant() as opened:
        yield opened


async def test_a_failed_sweep_says_on_its_page_and_in_its_table_why_it_failed(
    server: PrefectServer, merchant: Merchant, browser: Browser
) -> None:
    merchant.sandbox.seed(6)
    merchant.sandbox.create_subscription(failure="declined")
    merchant.sandbox.create_subscription(failure="hard_declined")
    ended = await merchant.sweep()
    await stored_runs.task_runs(ended.flow_run_id, 37)

    run_page = f"{server.url}/runs/flow-run/{ended.flow_run_id}"
    await browser.open(run_page, "Failed", "sweep 20", "Task Runs", "Artifacts")
    await keep(browser, "run")
    await browser.choose("Task Runs")
    await browser.wait_for("37 Task runs", "publish summary", "record ")
    await keep(browser, "run-task-runs")
    await browser.choose("Details")
    await browser.wait_for("State Message", ended.message[:60])  # the rest is behind "See More"
    await keep(browser, "run-details")
    await browser.choose("Artifacts")
    await browser.wait_for("renewals", "8 renewals: 6 renewed, 1 waits for a retry, 1 needs attention")
    await keep(browser, "run-artifacts")

    table = (await stored_runs.artifacts(ended.flow_run_id))["renewals"]
    await browser.open(
        f"{server.url}/artifacts/artifact/{table.id}",
        "card lost or stolen; not retried; held for a person", "card declined; next attempt", "renewed as order #",
    )  # fmt: skip
    await keep(browser, "table")


async def test_the_dashboard_shows_the_sweep_and_its_renewals(
    server: PrefectServer, merchant: Merchant, browser: Browser
) -> None:
    merchant.sandbox.seed(2)
    merchant.sandbox.create_subscription(failure="hard_declined")
    ended = await merchant.sweep()
    await stored_runs.task_runs(ended.flow_run_id, 17)

    await browser.open(f"{server.url}/dashboard", "Flow Runs", "Task Runs", "renew-subscriptions")
    await keep(browser, "dashboard")
    await browser.open(f"{server.url}/runs", "renew-subscriptions", "sweep 20", "Failed")
    await keep(browser, "runs")


async def test_the_block_catalogue_shows_our_blocks(server: PrefectServer, browser: Browser) -> None:
    for module in ("blocks.commerce_layer.credentials", "blocks.renewal_policy"):
        prefect(server, "block", "register", "-m", module)

    await browser.open(f"{server.url}/blocks/catalog", "Commerce Layer Credentials", "Renewal Policy")
    await keep(browser, "block-catalogue")
    await browser.open(
        f"{server.url}/blocks/catalog/commerce-layer-credentials", "Commerce Layer Credentials", "Create"
    )
    await keep(browser, "block-catalogue-credentials")


async def test_the_block_form_explains_its_fields_and_hides_the_secret(
    server: PrefectServer, merchant: Merchant, browser: Browser
) -> None:
    async with get_client() as api:
        credentials = await api.read_block_document_by_name(merchant.name, "commerce-layer-credentials")
        policy = await api.read_block_document_by_name(merchant.name, "renewal-policy")

    text = await browser.open(
        f"{server.url}/blocks/block/{credentials.id}/edit",
        "Organization slug", "Environment", "Client secret of the same integration.", merchant.sandbox.organization,
    )  # fmt: skip
    await keep(browser, "credentials-form")
    assert merchant.sandbox.client_secret not in text
    await browser.open(f"{server.url}/blocks/block/{policy.id}", merchant.name, "Renewal Policy")
    await keep(browser, "policy")
    await browser.open(
        f"{server.url}/blocks/block/{policy.id}/edit",
        "Wait before each retry of a declined payment", "when its retries are used up", "Europe/Rome",
    )  # fmt: skip
    await keep(browser, "policy-form")


async def test_the_deployment_forms_explain_their_parameters(server: PrefectServer, browser: Browser) -> None:
    deploy_all(server)
    async with get_client() as api:
        sweep = await api.read_deployment_by_name(SWEEP)
        reorder = await api.read_deployment_by_name("reorder/reorder")

    await browser.open(f"{server.url}/deployments/deployment/{sweep.id}", "renew-subscriptions", "Schedules", "sweep")
    await browser.choose("Description")
    await browser.wait_for("Safe to run at any time, late, twice, or by hand.")
    await keep(browser, "deployment")
    await browser.open(
        f"{server.url}/deployments/deployment/{sweep.id}/run",
        "Renew what is due up to this instant (UTC)", "Renew only these, by id", "commerce-layer",
    )  # fmt: skip
    await keep(browser, "sweep-form")
    await browser.open(
        f"{server.url}/deployments/deployment/{reorder.id}/run",
        "the ten letters in its address in the dashboard", "which charges the customer",
    )  # fmt: skip
    await keep(browser, "reorder-form")


async def test_a_failed_sweep_is_listed_on_the_page_of_its_deployment_under_the_default_filter(
    server: PrefectServer, merchant: Merchant, browser: Browser
) -> None:
    deploy_all(server)
    merchant.sandbox.seed(2)
    merchant.sandbox.create_subscription(failure="hard_declined")
    given = {"credentials": merchant.name, "policy": merchant.name}
    async with get_client() as api:
        sweep = await api.read_deployment_by_name(SWEEP)
        made = await api.create_flow_run_from_deployment(sweep.id, parameters=given)
        await run_flow_async(renew_subscriptions, flow_run=made, parameters=given, return_type="state")
        ended = await api.read_flow_run(made.id)

    listed = f"{ended.name}\nperennial\nFailed\n"  # its name, tag and state, one below the other
    await browser.open(f"{server.url}/deployments/deployment/{sweep.id}", "All except scheduled", listed)
    await keep(browser, "deployment-runs")


async def test_a_wrong_parameter_is_explained_on_the_page_of_the_run(
    server: PrefectServer, merchant: Merchant, browser: Browser
) -> None:
    ended = await merchant.sweep(as_of="2099-01-01")

    await browser.open(f"{server.url}/runs/flow-run/{ended.flow_run_id}", "Failed", "customers would be charged")
    await keep(browser, "slip")
