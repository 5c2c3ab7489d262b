"""Saves the two blocks that the flows need in a Prefect server."""

from __future__ import annotations

from typing import Literal

from prefect.client.orchestration import PrefectClient, get_client
from pydantic import SecretStr

from blocks.commerce_layer.credentials import CommerceLayerCredentials
from blocks.commerce_layer.rate_limit import RateLimits
from blocks.policy import Policy
from blocks.renewal_policy import RenewalPolicy

CREDENTIALS = "commerce-layer"
"""Name of the credentials block that the deployments use."""

POLICY = "default"
"""Name of the policy block that the deployments use."""


def credentials_for(
    organization: str,
    client_id: str,
    client_secret: str,
    mode: Literal["test", "live"] = "test",
    api_url: str | None = None,
    auth_url: str | None = None,
    rate_limits: RateLimits | None = None,
    trusted_host: str | None = None,
) -> CommerceLayerCredentials:
    """A credentials block, not saved yet. Raises ValidationError naming the field that is wrong."""
    return CommerceLayerCredentials(
        organization=organization,
        client_id=client_id,
        client_secret=SecretStr(client_secret),
        mode=mode,
        trusted_host=trusted_host,
        api_url=api_url,
        auth_url=auth_url,
        rate_limits=rate_limits or RateLimits(),
    )


async def install(
    credentials: CommerceLayerCredentials, policy: Policy | None = None, *, credentials_name: str = CREDENTIALS,
    policy_name: str = POLICY,
) -> None:  # fmt: skip
    """
    Check the credentials against the shop, then save both blocks.

    A policy that exists is kept unless another one is given.

    Raises:
        WrongShop, AuthenticationFailed, NotConnected: the credentials do not work for this shop. Nothing was saved.
    """
    async with credentials.get_client() as client:
        await client.claims()
    # One client for everything: opening one takes longer than all its requests.
    async with get_client() as prefect:
        await credentials.asave(credentials_name, overwrite=True, client=prefect)
        if policy is not None or not await _exists(policy_name, prefect):
            block = RenewalPolicy(**(policy or Policy()).model_dump())
            await block.asave(policy_name, overwrite=True, client=prefect)


async def _exists(policy_name: str, prefect: PrefectClient) -> bool:
    try:
        await RenewalPolicy.aload(policy_name, client=prefect)
    except ValueError:
        return False
    return True
