"""What the commands say when the Prefect server or the shop is missing, and what they save."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

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


@pytest.mark.parametrize("command", [["setup", "--check"], ["setup", "--notify", "a-block"], ["stop", "why"], ["go"]])
def test_without_prefect_nothing_is_checked_stopped_or_started(
    no_prefect: str, command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(command) == 2

    said = capsys.readouterr()
    assert f"The Prefect server at {no_prefect} cannot be reached" in said.err
    assert said.out == ""


@pytest.fixture
def old_server() -> Iterator[str]:
    """A server that reports an old version."""

    class Old(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = b'"3.4.1"'
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Old)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with temporary_settings({PREFECT_API_URL: f"http://127.0.0.1:{server.server_address[1]}/api"}):
        yield "3.4.1"
    server.shutdown()
    server.server_close()


def test_a_prefect_server_that_is_too_old_is_refused_with_the_reason(
    old_server: str, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2

    said = capsys.readouterr().err
    assert f"not saved: the Prefect server is {old_server}, and Perennial needs 3.8.8 or newer" in said
    assert "Upgrade the server" in said


def test_charging_is_not_stopped_without_a_reason(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["stop", " "]) == 2

    assert "give a reason" in capsys.readouterr().err


def test_commands_stop_and_start_charging_and_a_second_stop_keeps_the_first_date(
    server: PrefectServer, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["stop", "wrong prices"]) == 0
    first = capsys.readouterr().out
    assert main(["stop", "wrong taxes, too"]) == 0
    second = capsys.readouterr().out
    assert main(["go"]) == 0

    assert first.startswith("charging is stopped since ")
    assert first.splitlines()[0].endswith(": wrong prices; what runs now knows it within ten seconds")
    assert second.splitlines()[0] == first.splitlines()[0].replace("wrong prices", "wrong taxes, too")
    assert capsys.readouterr().out.startswith("charging is on")


def test_an_auth_url_that_cannot_be_reached_is_named(
    server: PrefectServer, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    nowhere = f"http://127.0.0.1:{free_port()}/oauth/token"

    assert main([*arguments[:-1], nowhere]) == 2

    said = capsys.readouterr().err
    assert said.startswith(f"not saved: {nowhere} cannot be reached")
    assert "--auth-url" in said


def test_setup_says_what_it_saved_and_prints_no_warning(
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
