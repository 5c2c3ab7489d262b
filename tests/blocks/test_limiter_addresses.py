"""The password in the limiter's address is in no error, whatever characters it has and however the store refuses."""

from __future__ import annotations

import asyncio
import logging
import socket
import subprocess
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO
from urllib.parse import quote

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import SecretStr, ValidationError

from blocks.commerce_layer.credentials import CommerceLayerCredentials
from blocks.commerce_layer.rate_limit.remote_stores import PostgresStore

MARK = "Kx7Qz"
"""In the middle of each password. No error shows it, so none shows the password or its end."""
HALVES = st.text(max_size=8) | st.text(alphabet="/@#?%:[]&=+ \\09aA\n", max_size=8)
PASSWORDS = st.builds(lambda before, after: before + MARK + after, HALVES, HALVES)
SCHEMES = ("redis", "rediss", "postgresql", "postgres")
CLOSED = "127.0.0.1:9"  # the discard port, on which nothing listens


def block(url: object) -> CommerceLayerCredentials:
    return CommerceLayerCredentials(organization="acme", client_id="c", client_secret=SecretStr("s"), limiter_url=url)


@contextmanager
def all_that_is_logged() -> Iterator[StringIO]:
    shown = StringIO()
    handler = logging.StreamHandler(shown)
    logging.getLogger().addHandler(handler)
    try:
        yield shown
    finally:
        logging.getLogger().removeHandler(handler)


async def ask(made: CommerceLayerCredentials) -> int:
    """Use the store once, as a renewal does before its first request."""
    store = made.get_client().wire._budget._store
    try:
        return await store.change("a", lambda *_: 1)
    finally:
        await store.close()


def said_of(url: object) -> str:
    """Everything that is said by an attempt to use the address: by the block, by the store, by the logs."""
    with all_that_is_logged() as logged:
        try:
            made = block(url)
            said = f"{made!r} {made} {asyncio.run(ask(made))}"
        except Exception as error:  # noqa: BLE001 - whatever comes out is what a person would see
            said = f"{error!r}\n{''.join(traceback.format_exception(error))}"
        return said + logged.getvalue()


@pytest.mark.parametrize("scheme", SCHEMES)
@settings(max_examples=25, deadline=None)
@given(password=PASSWORDS, in_a_secret=st.booleans())
@example(password=f"12/{MARK}", in_a_secret=False)
@example(password=f"pa?{MARK}", in_a_secret=False)
@example(password=f"pa@{MARK}", in_a_secret=True)
@example(password=f"[{MARK}]", in_a_secret=False)
def test_no_error_shows_a_password_that_is_written_as_it_is(scheme, password, in_a_secret):
    url = f"{scheme}://me:{password}@{CLOSED}/0"

    assert MARK not in said_of(SecretStr(url) if in_a_secret else url)


@pytest.mark.parametrize("scheme", SCHEMES)
@settings(max_examples=25, deadline=None)
@given(password=PASSWORDS)
def test_any_password_can_be_spelt_and_is_not_shown_when_nobody_listens(scheme, password):
    said = said_of(f"{scheme}://me:{quote(password, safe='')}@{CLOSED}/0")

    assert MARK not in said
    assert "counting in this process only" in said


@pytest.mark.parametrize("sign", "/@#?%[] ")
def test_the_refusal_names_the_field_and_how_to_write_the_sign(sign):
    with pytest.raises(ValidationError, match=r"(?s)limiter_url.*/ as %2F, @ as %40, # as %23, \? as %3F, % as %25"):
        block(f"redis://me:1{sign}{MARK}@{CLOSED}/0")


@pytest.mark.parametrize(
    "rest",
    [
        "redis://127.0.0.1:6379", "redis://:secret@10.0.0.7:6379/2", "rediss://me:a%2Fb:c@cache.example.com/0?db=1",
        "postgresql://me@db/perennial", "postgres://me:x@db1:5432,db2:5432/perennial?sslmode=require",
        "postgresql://me@%2Frun%2Fpostgresql/perennial", "postgresql:///perennial?host=/run/postgresql",
        "redis://[::1]:6379/0",
    ],
)  # fmt: skip
def test_an_address_that_the_drivers_read_as_it_is_meant_is_accepted(rest):
    limiter_url = block(rest).limiter_url

    assert limiter_url
    assert limiter_url.get_secret_value() == rest


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_port_that_does_not_exist_is_refused(scheme):
    with pytest.raises(ValidationError, match="limiter_url"):
        block(f"{scheme}://me:{MARK}@127.0.0.1:65536/0")


@pytest.mark.parametrize("option", ["no_such=1", "socket_timeout=soon"])
def test_what_the_driver_refuses_is_refused_before_the_first_request(option):
    with pytest.raises(ValueError, match="cannot be read") as refused:
        block(f"redis://me:{MARK}@{CLOSED}/0?{option}").get_client()

    assert MARK not in "".join(traceback.format_exception(refused.value))


async def test_what_only_the_connection_shows_does_not_stop_renewals(caplog):
    made = block(f"postgresql://me:{MARK}@{CLOSED}/0?port={MARK}")

    assert isinstance(made.get_client().wire._budget._store._shared, PostgresStore)
    assert await ask(made) == 1
    assert MARK not in caplog.text


def test_a_field_that_is_missing_or_wrong_does_not_show_the_others():
    with pytest.raises(ValidationError, match="client_id") as missing:
        CommerceLayerCredentials(organization="acme", client_secret=MARK, limiter_url=f"redis://:{MARK}@h")
    with pytest.raises(ValidationError, match="client_secret") as wrong:
        CommerceLayerCredentials(organization="acme", client_id="c", client_secret=[MARK])

    assert MARK not in f"{missing.value!r}{missing.value}{wrong.value!r}{wrong.value}"


@pytest.fixture
def guarded_redis(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = ["redis-server", "--port", str(port), "--save", "", "--requirepass", "another", "--dir", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout
        while "Ready to accept" not in server.stdout.readline():
            assert server.poll() is None
        yield f"127.0.0.1:{port}"
        server.terminate()


def test_a_password_that_redis_refuses_is_not_shown(guarded_redis):
    said = said_of(f"redis://:{MARK}@{guarded_redis}/0")

    assert "AuthenticationError" in said
    assert MARK not in said
