"""`setup`, `adopt` and `explain` when something that they need is not there."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from deploying import prefect
from prefect.settings import PREFECT_API_URL, temporary_settings

from blocks.sandbox.running import RunningSandbox
from flows.__main__ import main
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


@pytest.mark.parametrize("command", ["explain", "adopt", "setup"])
def test_a_prefect_server_that_is_down_is_named_in_one_line(
    no_prefect: str, arguments: list[str], command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments if command == "setup" else [command, "AbcdefghiJ"]) == 2

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


def test_a_set_up_says_what_it_saved_and_warns_of_nothing(
    server: PrefectServer, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 0

    said = capsys.readouterr()
    assert "saved: credentials block 'of-the-command'" in said.out
    assert said.err == ""


@pytest.mark.parametrize(
    ("module", "block"),
    [("blocks.commerce_layer.credentials", "Commerce Layer Credentials"), ("blocks.renewal_policy", "Renewal Policy")],
)
def test_each_block_can_be_registered_by_its_module(server: PrefectServer, module: str, block: str) -> None:
    assert block in prefect(server, "block", "register", "-m", module)
