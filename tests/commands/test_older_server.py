"""Perennial with the oldest Prefect server that it supports."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio
from chaos.own_prefect import OwnPrefect
from merchant import Merchant, open_merchant
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.__main__ import main
from flows.cli.alarm_listener import listening
from flows.cli.alarms import Times, alarms, make_alarms
from flows.cli.notification import recipient_of
from flows.cli.server_version import OLDEST, version_of
from flows.cli.setup_check import check_setup

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("older-server")]

VERSION = ".".join(map(str, OLDEST))


@pytest.fixture(scope="module")
def older(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnPrefect]:
    packages = tmp_path_factory.mktemp("packages")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(packages)]
    done = subprocess.run([*pip, f"prefect=={VERSION}"], capture_output=True, text=True, check=False)
    if done.returncode:
        # Where CI is green, the older server has been tried.
        give_up = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
        give_up(f"Prefect {VERSION} cannot be installed here: {done.stderr[-500:]}")
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("PYTHONPATH", str(packages), prepend=os.pathsep)
        patched.setenv("PREFECT_SERVER_SERVICES_TRIGGERS_ENABLED", "false")
        server = OwnPrefect(tmp_path_factory.mktemp("older"))
        server.start()
    with temporary_settings({PREFECT_API_URL: server.api_url}):
        yield server
    server.stop()


@pytest_asyncio.fixture
async def merchant(older: OwnPrefect) -> AsyncIterator[Merchant]:
    async with open_merchant() as opened:
        yield opened


async def test_the_server_has_the_oldest_supported_version(older: OwnPrefect) -> None:
    async with get_client() as prefect:
        assert await version_of(prefect) == VERSION


async def test_a_sweep_renews_and_a_manual_copy_is_placed(merchant: Merchant) -> None:
    order = merchant.sandbox.seed(3)["source_order_ids"][0]

    ended = await merchant.sweep()
    by_hand = await merchant.reorder(order, reference="by-hand", besides_renewal=True)

    assert (ended.name, ended.message) == ("Completed", "3 renewals: 3 renewed")
    assert by_hand.message.endswith("was copied and placed")


async def test_charging_can_be_stopped(merchant: Merchant) -> None:
    merchant.sandbox.seed(2)

    assert await asyncio.to_thread(main_in_a_process, merchant, "stop", "wrong prices") == 0
    ended = await merchant.sweep()
    assert await asyncio.to_thread(main_in_a_process, merchant, "go") == 0
    again = await merchant.sweep()

    assert "charging is stopped since" in ended.message
    assert "2 not charged" in ended.message
    assert again.message == "2 renewals: 2 renewed"


def main_in_a_process(merchant: Merchant, *arguments: str) -> int:
    command = [sys.executable, "-m", "flows", *arguments]
    environment = {**os.environ, "PREFECT_API_URL": PREFECT_API_URL.value() or ""}
    return subprocess.run(command, env=environment, capture_output=True, check=False).returncode


async def test_alarms_can_be_made_and_made_again(older: OwnPrefect) -> None:
    with listening(lambda _: None) as webhook:
        async with get_client() as prefect:
            recipient = await recipient_of(prefect, webhook)
            first = await make_alarms(prefect, recipient, Times())
            second = await make_alarms(prefect, recipient, Times())

    assert set(first.values()) == {"made"}
    assert set(second.values()) == {"as it should be"}
    assert len(first) == len(alarms(Times()))


async def test_the_setup_check_accepts_the_server_and_names_a_service_that_is_off(older: OwnPrefect) -> None:
    said = {each.what: each for each in await check_setup()}

    assert said["Prefect server"].is_right
    assert said["service triggers"].found == "it is off: no alarm fires"


def test_the_setup_command_does_not_refuse_the_version_of_the_server(
    older: OwnPrefect, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["setup", "--notify", "no-such-block"]) == 2

    assert "there is no block" in capsys.readouterr().err
