"""`python -m flows setup`: connects the Prefect server of this environment to a Commerce Layer organization."""

from __future__ import annotations

import asyncio
import getpass
import os
import sys
from typing import Literal

from prefect.client.orchestration import get_client
from prefect.exceptions import PrefectHTTPStatusError
from pydantic import ValidationError

from blocks.commerce_layer.credentials import AUTH_URL, CommerceLayerCredentials
from blocks.commerce_layer.errors import CommerceLayerError, NotConnected
from flows.cli.installation import CREDENTIALS, POLICY, credentials_for, install, move_here
from flows.cli.prefect_errors import calling_prefect
from flows.tasks.fuse import NotSetUp

SECRET_VARIABLE = "COMMERCE_LAYER_CLIENT_SECRET"  # noqa: S105 - the name of a variable


LEASES_IN_MEMORY = (
    "warning: this Prefect server keeps its leases in memory and forgets them when it restarts. A sweep that dies "
    "around a restart then keeps its deployment's only slot, and every later sweep is cancelled until a person sets "
    "that run to Crashed. Start the server with "
    "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE=prefect.server.concurrency.lease_storage.filesystem"
)


def setup(
    *,
    organization: str | None = None,
    client_id: str | None = None,
    live: bool = False,
    name: str = CREDENTIALS,
    api_url: str | None = None,
    auth_url: str | None = None,
    here: bool = False,
) -> int:
    """
    Check the credentials, then save the blocks. Returns the exit code: 2 when something must be corrected.

    Args:
        organization: Slug: the first label of https://{slug}.commercelayer.io.
        client_id: Client ID of an integration.
        live: The integration belongs to the live environment.
        name: Name of the credentials block.
        api_url: Address of the API, for a sandbox.
        auth_url: Address of the token endpoint, for a sandbox.
        here: This Prefect server has moved for good, or has one more address: let it renew here.
    """
    try:
        with calling_prefect():
            if here and not (organization or client_id):
                print(f"installation {asyncio.run(move_here())} renews here from now on")
                return 0
            if not (organization and client_id):
                missing = [] if organization else ["--organization"]
                missing += [] if client_id else ["--client-id"]
                print(f"not saved: {' and '.join(missing)} must be given", file=sys.stderr)
                return 2
            secret = os.environ.get(SECRET_VARIABLE) or getpass.getpass("client secret (not shown): ")
            mode: Literal["test", "live"] = "live" if live else "test"
            credentials = credentials_for(organization, client_id, secret, mode, api_url, auth_url)
            _save(credentials, name, here=here)
            return 0
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors())
        print(f"not saved: {problems}", file=sys.stderr)
    except NotConnected as error:
        where = f"{auth_url or AUTH_URL} cannot be reached ({error.reason})"
        print(f"not saved: {where}; check the network and --auth-url", file=sys.stderr)
    except (CommerceLayerError, NotSetUp, RuntimeError) as error:
        print(f"not saved: {error}", file=sys.stderr)
    return 2


def _save(credentials: CommerceLayerCredentials, name: str, *, here: bool) -> None:
    asyncio.run(install(credentials, credentials_name=name, here=here))
    print(f"saved: credentials block {name!r}, policy block {POLICY!r}, the writers' limits")
    if asyncio.run(_keeps_leases_in_memory()):
        print(LEASES_IN_MEMORY, file=sys.stderr)
    print("next: prefect deploy --all, then prefect worker start --pool perennial")


async def _keeps_leases_in_memory() -> bool:
    """What the server says of itself; Prefect Cloud says nothing, and keeps them."""
    try:
        async with get_client() as prefect:
            answer = await prefect.request("GET", "/admin/settings")
    except PrefectHTTPStatusError:
        return False
    storage = answer.json().get("server", {}).get("concurrency", {}).get("lease_storage", "")
    return str(storage).endswith(".memory")
