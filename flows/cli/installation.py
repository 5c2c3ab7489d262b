"""Puts what the flows need into a Prefect server: the installation's id, the two blocks and the writers' limits."""

from __future__ import annotations

from typing import Literal

from prefect.client.orchestration import PrefectClient
from pydantic import SecretStr

from blocks.commerce_layer.credentials import CommerceLayerCredentials
from blocks.commerce_layer.rate_limit import RateLimits
from blocks.policy_terms import PolicyTerms
from blocks.renewal_policy import RenewalPolicy
from flows.tasks.fuse import settle_in
from flows.tasks.prompt_client import prompt_client, promptly
from flows.tasks.writer_limits import make_limits_ready

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
) -> CommerceLayerCredentials:
    """A credentials block, not saved yet. Raises ValidationError naming the field that is wrong."""
    return CommerceLayerCredentials(
        organization=organization,
        client_id=client_id,
        client_secret=SecretStr(client_secret),
        mode=mode,
        api_url=api_url,
        auth_url=auth_url,
        rate_limits=rate_limits or RateLimits(),
    )


async def install(
    credentials: CommerceLayerCredentials, policy: PolicyTerms | None = None, *, credentials_name: str = CREDENTIALS,
    policy_name: str = POLICY, here: bool = False,
) -> None:  # fmt: skip
    """
    Check the credentials against the shop, then save both blocks and make the writers' limits.

    A policy that exists is kept unless another one is given. `here`: this server's database may renew at this
    address from now on, wherever it was set up before (see `flows/tasks/fuse.py`).

    Raises:
        SetUpElsewhere: the database was set up at another address, and may be a copy; nothing was saved.
        WrongShop, AuthenticationFailed, NotConnected: the credentials do not open this shop; nothing was saved.
    """
    async with credentials.get_client() as client:
        await client.claims()
    # One client for everything: opening one costs more than all that is said through it.
    async with prompt_client() as prefect:
        await settle_in(prefect, move=here)
        await promptly(lambda: credentials.asave(credentials_name, overwrite=True, client=prefect))
        if policy is not None or not await _exists(policy_name, prefect):
            block = RenewalPolicy(**(policy or PolicyTerms()).model_dump())
            await promptly(lambda: block.asave(policy_name, overwrite=True, client=prefect))
        await make_limits_ready(prefect)


async def move_here() -> str:
    """
    Let this server's database renew at this address from now on; returns the installation's id.

    For a server that has moved for good, or that is reached at one more address. Blocks and policy stay as they are.
    """
    async with prompt_client() as prefect:
        return (await settle_in(prefect, move=True)).id


async def _exists(policy_name: str, prefect: PrefectClient) -> bool:
    try:
        await promptly(lambda: RenewalPolicy.aload(policy_name, client=prefect))
    except ValueError:
        return False
    return True
