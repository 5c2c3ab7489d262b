"""`python -m flows setup`: connects the Prefect server of this environment to a Commerce Layer organization."""

from __future__ import annotations

import argparse
import asyncio
import getpass
import os
import sys
from typing import Literal

from prefect.client.orchestration import get_client
from prefect.exceptions import PrefectHTTPStatusError
from pydantic import ValidationError

from blocks.commerce_layer.credentials import AUTH_URL
from blocks.commerce_layer.errors import CommerceLayerError, NotConnected
from flows.cli.installation import POLICY, credentials_for, install, move_here
from flows.cli.prefect_errors import calling_prefect
from flows.tasks.fuse import NotSetUp

SECRET_VARIABLE = "COMMERCE_LAYER_CLIENT_SECRET"  # noqa: S105 - the name of a variable


LEASES_IN_MEMORY = (
    "warning: this Prefect server keeps its leases in memory and forgets them when it restarts. A sweep that dies "
    "around a restart then keeps its deployment's only slot, and every later sweep is cancelled until a person sets "
    "that run to Crashed. Start the server with "
    "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE=prefect.server.concurrency.lease_storage.filesystem"
)


def setup(given: argparse.Namespace) -> int:
    """Check the credentials, then save the blocks. Returns the exit code: 2 when something must be corrected."""
    try:
        with calling_prefect():
            if given.here and not (given.organization or given.client_id):
                print(f"installation {asyncio.run(move_here())} renews here from now on")
                return 0
            return _connect(given)
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors())
        print(f"not saved: {problems}", file=sys.stderr)
    except NotConnected as error:
        where = given.auth_url or AUTH_URL
        print(
            f"not saved: {where} cannot be reached ({error.reason}); check the network and --auth-url", file=sys.stderr
        )
    except (CommerceLayerError, NotSetUp, RuntimeError) as error:
        print(f"not saved: {error}", file=sys.stderr)
    return 2


def _connect(given: argparse.Namespace) -> int:
    missing = [f"--{name.replace('_', '-')}" for name in ("organization", "client_id") if not getattr(given, name)]
    if missing:
        print(f"not saved: {' and '.join(missing)} must be given", file=sys.stderr)
        return 2
    secret = os.environ.get(SECRET_VARIABLE) or getpass.getpass("client secret (not shown): ")
    mode: Literal["test", "live"] = "live" if given.live else "test"
    credentials = credentials_for(given.organization, given.client_id, secret, mode, given.api_url, given.auth_url)
    asyncio.run(install(credentials, credentials_name=given.name, here=given.here))
    print(f"saved: credentials block {given.name!r}, policy block {POLICY!r}, the writers' limits")
    if asyncio.run(_keeps_leases_in_memory()):
        print(LEASES_IN_MEMORY, file=sys.stderr)
    print("next: prefect deploy --all, then prefect worker start --pool perennial")
    return 0


async def _keeps_leases_in_memory() -> bool:
    """What the server says of itself; Prefect Cloud says nothing, and keeps them."""
    try:
        async with get_client() as prefect:
            answer = await prefect.request("GET", "/admin/settings")
    except PrefectHTTPStatusError:
        return False
    storage = answer.json().get("server", {}).get("concurrency", {}).get("lease_storage", "")
    return str(storage).endswith(".memory")
