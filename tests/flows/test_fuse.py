"""A copy of the Prefect database, or another installation, must not renew."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from chaos.proxy import CableProxy
from merchant import Merchant, open_merchant
from prefect.client.orchestration import PrefectClient
from prefect.settings import PREFECT_API_URL, temporary_settings

from blocks.policy_terms import PolicyTerms
from flows.cli.installation import credentials_for, install, move_here
from flows.cli.prefect_server import PrefectServer
from flows.tasks.fuse import (
    VARIABLE,
    Installation,
    NotSetUp,
    SetUpElsewhere,
    installed,
    plain_address,
    settle_in,
    this_address,
)
from flows.tasks.prompt_client import prompt_client, promptly

SAME = [
    ("http://127.0.0.1:4200/api", "http://localhost:4200/api"),
    ("http://127.0.0.1:4200/api", "http://[::1]:4200/api/"),
    ("http://127.0.0.1:4200/api", "http://0.0.0.0:4200/api"),
    ("https://Prefect.Example.com/api", "https://prefect.example.com:443/api/"),
    ("http://prefect.example.com/api", "https://user:secret@prefect.example.com./api"),
]
DIFFERENT = [
    ("http://127.0.0.1:4200/api", "http://127.0.0.1:4201/api"),
    ("https://prefect.example.com/api", "https://staging.example.com/api"),
    ("https://prefect.example.com/api", "http://localhost/api"),
    ("https://api.prefect.cloud/api/accounts/1/workspaces/2", "https://api.prefect.cloud/api/accounts/1/workspaces/3"),
]


@pytest.mark.parametrize(("one", "other"), SAME)
def test_spellings_of_one_address_are_the_same(one: str, other: str) -> None:
    assert plain_address(one, "shop-1") == plain_address(other, "shop-1")


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_two_servers_have_two_addresses(one: str, other: str) -> None:
    assert plain_address(one, "shop-1") != plain_address(other, "shop-1")


def test_localhost_is_another_place_on_another_machine() -> None:
    address = "http://localhost:4200/api"
    assert plain_address(address, "shop-1") != plain_address(address, "laptop")


def test_no_password_is_kept_in_an_address() -> None:
    assert "secret" not in plain_address("https://user:secret@prefect.example.com/api?key=secret", "shop-1")


def test_a_process_without_a_server_of_its_own_is_known_by_its_folder() -> None:
    with temporary_settings(restore_defaults={PREFECT_API_URL}):
        assert " on " in this_address()


@pytest_asyncio.fixture
async def api(server: PrefectServer) -> AsyncIterator[PrefectClient]:
    async with prompt_client() as client:
        await settle_in(client)
        kept = await installed(client)
        assert kept is not None
        yield client
        await store(client, kept.model_dump(mode="json"))


async def store(api: PrefectClient, value: object) -> None:
    await promptly(api._client.patch, f"/variables/name/{VARIABLE}", json={"value": value})


@pytest_asyncio.fixture
async def merchant(api: PrefectClient) -> AsyncIterator[Merchant]:
    async with open_merchant() as opened:
        yield opened


async def test_nothing_is_renewed_before_the_server_is_set_up(merchant: Merchant, api: PrefectClient) -> None:
    merchant.sandbox.seed(1)
    kept = await installed(api)
    assert kept is not None
    await promptly(api.delete_variable_by_name, VARIABLE)

    ended = await merchant.sweep()

    assert isinstance(ended.facts, NotSetUp)
    assert "python -m flows setup" in ended.message
    assert merchant.copies() == []
    await settle_in(api)  # makes the variable anew, for the fixture to restore


async def test_a_copy_of_the_database_at_another_address_renews_nothing_until_told_to(
    merchant: Merchant, server: PrefectServer, api: PrefectClient
) -> None:
    merchant.sandbox.seed(1)
    with CableProxy(server.api_url) as elsewhere, temporary_settings({PREFECT_API_URL: elsewhere.url()}):
        ended = await merchant.sweep()

        assert isinstance(ended.facts, SetUpElsewhere)
        for part in (f"localhost:{elsewhere.port}/api", server.url.rpartition(":")[2], "python -m flows setup --here"):
            assert part in ended.message
        assert merchant.copies() == []

        await move_here()
        assert (await merchant.sweep()).outcomes == {"renewed": 1}
    merchant.sandbox.seed(1)
    assert (await merchant.sweep()).outcomes == {"renewed": 1}, "the first address is still one of its own"


async def test_setting_up_a_copy_again_does_not_make_it_an_original(
    merchant: Merchant, server: PrefectServer, api: PrefectClient
) -> None:
    box = merchant.sandbox
    credentials = credentials_for(box.organization, box.client_id, box.client_secret, "test", box.api_url, box.auth_url)
    with CableProxy(server.api_url) as elsewhere, temporary_settings({PREFECT_API_URL: elsewhere.url()}):
        with pytest.raises(SetUpElsewhere):
            await install(credentials, PolicyTerms(), credentials_name="copy", policy_name="copy")
        await install(credentials, PolicyTerms(), credentials_name="copy", policy_name="copy", here=True)
        moved = await installed(api)
    assert moved is not None
    assert f"localhost:{elsewhere.port}" in moved.addresses[-1]


async def test_setting_up_twice_keeps_the_installation(api: PrefectClient) -> None:
    assert await settle_in(api) == await settle_in(api, move=True)


async def test_a_damaged_variable_says_how_to_mend_it(merchant: Merchant, api: PrefectClient) -> None:
    await store(api, "oops")

    ended = await merchant.sweep()

    assert isinstance(ended.facts, NotSetUp)
    assert VARIABLE in ended.message


async def test_the_first_record_signs_the_subscription_and_another_installation_leaves_it_alone(
    merchant: Merchant, api: PrefectClient
) -> None:
    (subscription_id,) = merchant.sandbox.seed(1)["subscription_ids"]
    await merchant.sweep()
    ours = await installed(api)
    assert ours is not None
    assert merchant.subscription(subscription_id)["metadata"]["perennial"]["instance"] == ours.id
    merchant.sandbox.advance(40 * 86_400)
    await store(api, Installation(id="0123456789ab", addresses=ours.addresses).model_dump(mode="json"))

    ended = await merchant.sweep()

    assert len(merchant.copies()) == 1
    assert ended.name == "NeedsAttention"


async def test_periods_that_are_skipped_on_purpose_sign_the_subscription_too(api: PrefectClient) -> None:
    async with open_merchant(catch_up="skip", late_after="1d") as merchant:
        (subscription_id,) = merchant.sandbox.seed(1)["subscription_ids"]
        merchant.sandbox.advance(3 * 86_400)
        await merchant.sweep()
        ours = await installed(api)
        assert ours is not None
        state = merchant.subscription(subscription_id)["metadata"]["perennial"]
    assert (state["outcome"], state["instance"]) == ("skipped", ours.id)
