"""`setup`, `adopt` and `explain` when something that they need is not there, and what `setup` warns of."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import httpx
import pytest
from deploying import prefect
from prefect.settings import PREFECT_API_URL, temporary_settings

from blocks.sandbox.running import RunningSandbox
from flows.__main__ import main
from flows.cli import setup
from flows.cli.prefect_server import PrefectServer, free_port


@pytest.fixture(scope="module")
def box() -> Iterator[RunningSandbox]:
    with RunningSandbox("--limits", "off") as running:
        yield running


@pytest.fixture
def arguments(box: RunningSandbox, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setenv("COMMERCE_LAYER_CLIENT_SECRET", box.client_secret)
    return [
        "setup", "--organization", box.organization, "--client-id", box.client_id, "--name", "of-the-command",
        "--api-url", box.api_url, "--auth-url", box.auth_url,
    ]  # fmt: skip


@pytest.fixture
def no_prefect() -> Iterator[str]:
    address = f"http://127.0.0.1:{free_port()}/api"
    with temporary_settings({PREFECT_API_URL: address}):
        yield address


@pytest.mark.parametrize("command", ["explain", "adopt", "setup", "setup --here"])
def test_a_prefect_server_that_is_down_is_named_in_one_line(
    no_prefect: str, arguments: list[str], command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    given = {"setup": arguments, "setup --here": ["setup", "--here"]}.get(command, [command, "AbcdefghiJ"])

    assert main(given) == 2

    (line,) = capsys.readouterr().err.strip().splitlines()
    assert f"The Prefect server at {no_prefect} cannot be reached" in line
    assert "PREFECT_API_URL" in line


def test_a_shop_that_is_down_is_named(
    server: PrefectServer, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    nowhere = f"http://127.0.0.1:{free_port()}/oauth/token"

    assert main([*arguments[:-1], nowhere]) == 2

    said = capsys.readouterr().err
    assert said.startswith(f"not saved: {nowhere} cannot be reached")
    assert "--auth-url" in said


def test_a_set_up_on_a_server_that_keeps_its_leases_warns_of_nothing(
    server: PrefectServer, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 0

    said = capsys.readouterr()
    assert "saved: credentials block 'of-the-command'" in said.out
    assert said.err == ""


@contextmanager
def server_that_says(status: int, of_itself: dict[str, object]) -> Iterator[str]:
    """A server that answers the same to whatever it is asked; yields its API's address."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()
            self.wfile.write(json.dumps(of_itself).encode())

        def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - its name
            pass

    with HTTPServer(("127.0.0.1", 0), Answer) as http:
        threading.Thread(target=http.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{http.server_port}/api"
        http.shutdown()


@pytest.mark.parametrize(
    ("status", "storage", "forgets"),
    [
        pytest.param(200, "prefect.server.concurrency.lease_storage.memory", True, id="Prefect's default"),
        pytest.param(200, "prefect.server.concurrency.lease_storage.filesystem", False, id="as we recommend"),
        pytest.param(404, "", False, id="Prefect Cloud, which says nothing of itself"),
    ],
)
async def test_a_server_is_asked_whether_it_forgets_its_leases(status: int, storage: str, forgets: object) -> None:
    settings = {"server": {"concurrency": {"lease_storage": storage}}}
    with server_that_says(status, settings) as address, temporary_settings({PREFECT_API_URL: address}):
        assert await setup._keeps_leases_in_memory() is forgets


async def test_a_real_server_says_it_in_the_same_place(server: PrefectServer) -> None:
    settings = (await asyncio.to_thread(httpx.get, f"{server.api_url}/admin/settings")).json()

    assert settings["server"]["concurrency"]["lease_storage"].endswith(".filesystem")


@pytest.mark.parametrize(
    ("module", "block"),
    [("blocks.commerce_layer.credentials", "Commerce Layer Credentials"), ("blocks.renewal_policy", "Renewal Policy")],
)
def test_each_block_can_be_registered_by_its_module(server: PrefectServer, module: str, block: str) -> None:
    assert block in prefect(server, "block", "register", "-m", module)
