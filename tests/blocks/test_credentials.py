"""The credentials block: what staff fill in, and what it refuses."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from odd_shop import SECRET, client_of
from prefect.testing.standard_test_suites import BlockStandardTestSuite
from pydantic import SecretStr, ValidationError

from blocks.commerce_layer.credentials import CommerceLayerCredentials
from blocks.commerce_layer.errors import WrongShop


class TestBlockStandards(BlockStandardTestSuite):
    @pytest.fixture
    def block(self) -> type[CommerceLayerCredentials]:
        return CommerceLayerCredentials

    async def test_has_a_valid_image(self, block):
        """Prefect's own version downloads the image, and tests may only use loopback."""
        assert block._logo_url.scheme == "https"


def credentials(**changes) -> CommerceLayerCredentials:
    return CommerceLayerCredentials(
        **{"organization": "acme", "client_id": "client-id", "client_secret": SecretStr(SECRET), **changes}
    )


async def test_the_block_gives_a_client_for_its_organization(shop, clock):
    block = credentials(api_url=f"{shop.url}/api", auth_url=f"{shop.url}/oauth/token")

    async with block.get_client() as client:
        claims = await client.claims()

    assert (claims.organization_slug, claims.mode) == ("acme", "test")


async def test_a_live_block_refuses_a_test_token(shop, clock):
    block = credentials(mode="live", api_url=f"{shop.url}/api", auth_url=f"{shop.url}/oauth/token")

    async with block.get_client() as client:
        with pytest.raises(WrongShop, match="'test', but 'live'"):
            await client.get_order("ordrOrdrOr")


def test_the_addresses_follow_from_the_organization():
    wire = credentials().get_client().wire

    assert (
        wire._api_url,
        wire._auth_url,
    ) == ("https://acme.commercelayer.io/api", "https://auth.commercelayer.io/oauth/token")


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1:8642/api", "http://localhost/api", "http://[::1]:1/api", "https://acme.commercelayer.io/api"],
)
def test_an_address_on_this_machine_or_of_commerce_layer_is_accepted(url):
    assert url == credentials(api_url=url).api_url


@pytest.mark.parametrize(
    "url",
    [
        "https://x.example/api", "https://169.254.169.254/api", "https://10.0.0.7/api", "https://user@x.example/api",
        "https://acme.commercelayer.io.example/api", "https://evilcommercelayer.io/api",
    ],
)  # fmt: skip
@pytest.mark.parametrize("field", ["api_url", "auth_url"])
def test_the_secret_is_sent_to_another_host_only_if_a_field_names_it(field, url):
    with pytest.raises(ValidationError, match="trusted_host: the client secret is sent there"):
        credentials(**{field: url})
    with pytest.raises(ValidationError, match="trusted_host"):
        credentials(trusted_host="y.example", **{field: url})
    host = url.removeprefix("https://").partition("/")[0].rpartition("@")[2]
    assert getattr(credentials(trusted_host=host.upper(), **{field: url}), field) == url


@pytest.mark.parametrize(
    "url",
    ["http://acme.commercelayer.io/api", "http://127.evil.example/api", "ftp://127.0.0.1/", "acme.commercelayer.io"],
)
@pytest.mark.parametrize("field", ["api_url", "auth_url"])
def test_an_address_that_would_send_the_secret_unencrypted_is_refused(field, url):
    with pytest.raises(ValidationError, match="https://"):
        credentials(**{field: url})


@pytest.mark.parametrize("slug", ["", "acme.commercelayer.io", "acme/x", "https://acme", "Acme Shop"])
def test_an_organization_is_a_slug(slug):
    with pytest.raises(ValidationError):
        credentials(organization=slug)


def test_an_empty_address_means_commerce_layer_itself():
    assert credentials(api_url="", auth_url="") == credentials()


def test_clocks_are_compared_with_every_shop_except_a_sandbox_on_this_machine():
    sandbox = {"api_url": "http://127.0.0.1:8642/api"}
    assert credentials().max_clock_skew == timedelta(minutes=5)
    elsewhere = credentials(api_url="https://x.example/api", trusted_host="x.example")
    assert elsewhere.max_clock_skew == timedelta(minutes=5)
    assert credentials(**sandbox).max_clock_skew is None
    assert credentials(**sandbox, max_clock_skew_seconds=60).max_clock_skew == timedelta(seconds=60)
    for wrong in (0, 3601):
        with pytest.raises(ValidationError, match="max_clock_skew_seconds"):
            credentials(max_clock_skew_seconds=wrong)


def test_the_secret_is_shown_nowhere(shop):
    block = credentials()

    shown = (repr(block), str(block), block.model_dump_json(), json.dumps(block.model_dump(mode="json")))
    assert [text for text in shown if SECRET in text] == []
    assert SECRET not in repr(client_of(shop))
