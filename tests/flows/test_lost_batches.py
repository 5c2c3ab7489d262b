"""A sweep whose batches are lost: workers die, and the Prefect server is away for a while."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from uuid import UUID, uuid4

import httpx
import pytest
import stored_runs
from chaos.proxy import CuttableProxy
from deploying import deploy_all, no_schedule_active
from meanwhile import Meanwhile
from merchant import Ended, Merchant
from prefect import flow
from prefect.client.orchestration import PrefectClient, SyncPrefectClient, get_client
from prefect.client.schemas.actions import ArtifactCreate
from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterName
from prefect.client.schemas.objects import FlowRun
from prefect.logging import disable_run_logger
from prefect.settings import PREFECT_CLIENT_MAX_RETRIES, temporary_settings
from prefect.states import Cancelled, Completed, Crashed, Pending, Running

from blocks.commerce_layer.clock import use_clock
from flows.cli.prefect_server import PrefectServer
from flows.rules.summaries import RenewalSummary
from flows.run import report
from flows.run.context import open_run
from flows.sweep.batching import _SUMMARY, SERVER_AWAY_SECONDS, SILENT_SECONDS, Batches, _patiently

pytestmark = [pytest.mark.server, pytest.mark.slow]


@pytest.fixture(scope="module")
def deployed(server: PrefectServer) -> Iterator[None]:
    """The deployments, and no worker: the tests say what becomes of a batch."""
    deploy_all(server)
    with no_schedule_active():
        yield


class BatchRuns:
    """The runs of one merchant's batches, which a test carries out in place of workers."""

    def __init__(self, merchant: Merchant, api: SyncPrefectClient) -> None:
        self._merchant, self._api = merchant, api
        self.takes: list[str] = []
        """What becomes of them, one after the other; see `go_on`."""
        self.seen: list[FlowRun] = []

    def go_on(self) -> None:
        """Take each new run: it goes "silent", has "crashed", was "cancelled", is "done", or "unreadable"."""
        of_batches = DeploymentFilter(name=DeploymentFilterName(any_=["renew-batch"]))
        for run in self._api.read_flow_runs(deployment_filter=of_batches):
            known = {each.id for each in self.seen}
            if run.id not in known and run.parameters["credentials"] == self._merchant.name:
                self._take(run, self.takes[len(self.seen)])
                self.seen.append(run)

    def _take(self, run: FlowRun, becomes: str) -> None:
        for state in (Pending(), Running()):
            self._api.set_flow_run_state(run.id, state)
        if becomes == "crashed":
            self._api.set_flow_run_state(run.id, Crashed(message="the worker died"))
        if becomes == "cancelled":
            self._api.set_flow_run_state(run.id, Cancelled(message="by staff"))
        if becomes in {"done", "unreadable"}:
            summary = RenewalSummary.of([], self._merchant.sandbox.clock()).model_dump_json()
            self._api.create_artifact(
                ArtifactCreate(type=_SUMMARY, flow_run_id=run.id, data=summary if becomes == "done" else "{}")
            )
            self._api.set_flow_run_state(run.id, Completed())

    def remove(self) -> None:
        for run in self.seen:
            self._api.delete_flow_run(run.id)


async def sweep(merchant: Merchant, *takes: str) -> tuple[Ended, list[FlowRun]]:
    """A sweep that renews two subscriptions itself, and shares two more as a batch; and the runs of that batch."""
    await merchant.install(first_wave=1, second_wave=1, batch_size=2)
    merchant.sandbox.seed(4)
    with get_client(sync_client=True) as api:
        batches = BatchRuns(merchant, api)
        batches.takes += takes
        try:
            with use_clock(Meanwhile(merchant, lambda: True, batches.go_on, once=False)):
                return await merchant.sweep(distribute=True), batches.seen
        finally:
            batches.remove()


async def test_the_renewals_of_a_batch_that_gives_no_sign_of_life_are_started_once_more(
    merchant: Merchant, deployed: None
) -> None:
    began = merchant.sandbox.clock()

    ended, (first, second) = await sweep(merchant, "silent", "done")

    assert ended.name == "Completed"
    assert (second.name, second.parameters) == (f"{first.name}, started again", first.parameters)
    assert SILENT_SECONDS < (merchant.sandbox.clock() - began).total_seconds() < 2 * SILENT_SECONDS


async def test_a_batch_that_crashes_twice_ends_the_sweep_as_failed_with_a_summary_of_what_was_renewed(
    merchant: Merchant, deployed: None
) -> None:
    ended, runs = await sweep(merchant, "crashed", "crashed")

    assert ended.name == "Failed"
    assert f"{runs[1].name} ended as Crashed (the worker died) without a summary" in ended.message
    assert (ended.outcomes, ended.facts["left"]) == ({"renewed": 2}, 2)
    assert {row["outcome"] for row in await stored_runs.table(ended.flow_run_id)} == {"renewed"}


async def test_a_batch_that_a_person_cancels_is_not_started_again(merchant: Merchant, deployed: None) -> None:
    ended, runs = await sweep(merchant, "cancelled")

    assert (ended.name, len(runs), ended.facts["left"]) == ("Failed", 1, 2)
    assert "ended as Cancelled (by staff)" in ended.message


async def test_a_batch_whose_summary_cannot_be_read_is_started_once_more(merchant: Merchant, deployed: None) -> None:
    ended, runs = await sweep(merchant, "unreadable", "done")

    assert (ended.name, len(runs)) == ("Completed", 2)


async def test_a_run_gives_signs_of_life_while_nothing_ends(
    merchant: Merchant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report, "SIGN_OF_LIFE_EVERY", 0.02)

    @flow
    async def wait() -> bool:
        async with open_run(merchant.name, merchant.name, None) as run, report.open_report(run), get_client() as api:
            of_batches = Batches(run, report.Report(run, uuid4()), api)
            first = last = await of_batches._last_sign_of(UUID(run.identity.flow_run_id))
            while first is None or last == first:  # until the time limit of the test
                last = await of_batches._last_sign_of(UUID(run.identity.flow_run_id))
            return last is not None and last > first

    assert await wait()


@pytest.fixture
def behind_a_proxy(server: PrefectServer) -> Iterator[tuple[CuttableProxy, PrefectClient]]:
    with CuttableProxy(server.url) as proxy, disable_run_logger(), temporary_settings({PREFECT_CLIENT_MAX_RETRIES: 0}):
        yield proxy, PrefectClient(proxy.url("/api"))


async def test_a_sweep_waits_for_a_prefect_server_that_is_away(
    merchant: Merchant, behind_a_proxy: tuple[CuttableProxy, PrefectClient]
) -> None:
    proxy, client = behind_a_proxy
    gone = merchant.sandbox.clock() + timedelta(seconds=76)
    proxy.cut()

    with use_clock(Meanwhile(merchant, lambda: merchant.sandbox.clock() >= gone, proxy.restore)):
        async with client as api:
            answer = await _patiently(api.hello)

    assert answer.status_code == 200
    assert merchant.sandbox.clock() >= gone


async def test_a_prefect_server_that_stays_away_is_an_error_after_ten_minutes(
    merchant: Merchant, behind_a_proxy: tuple[CuttableProxy, PrefectClient]
) -> None:
    proxy, client = behind_a_proxy
    began = merchant.sandbox.clock()
    proxy.cut()

    async with client as api:
        with pytest.raises(httpx.TransportError):
            await _patiently(api.hello)

    assert (merchant.sandbox.clock() - began).total_seconds() == pytest.approx(SERVER_AWAY_SECONDS, abs=5)


async def test_what_the_prefect_server_refuses_is_not_asked_again(merchant: Merchant) -> None:
    began = merchant.sandbox.clock()

    with disable_run_logger():
        async with get_client() as api:
            with pytest.raises(httpx.HTTPStatusError):
                await _patiently(lambda: api._client.post("/flow_runs/", json={"name": 1}))

    assert merchant.sandbox.clock() == began
