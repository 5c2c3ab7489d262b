"""`python -m flows setup`: connects the Prefect server of this environment to a Commerce Layer organization."""

from __future__ import annotations

import asyncio
import getpass
import os
import sys
from typing import Literal

from pydantic import ValidationError

from blocks.commerce_layer.credentials import AUTH_URL, CommerceLayerCredentials
from blocks.commerce_layer.errors import CommerceLayerError, NotConnected
from flows.cli.installation import CREDENTIALS, POLICY, credentials_for, install
from flows.cli.prefect_errors import calling_prefect

SECRET_VARIABLE = "COMMERCE_LAYER_CLIENT_SECRET"  # noqa: S105 - the name of a variable


def setup(
    *,
    organization: str | None = None,
    client_id: str | None = None,
    live: bool = False,
    name: str = CREDENTIALS,
    api_url: str | None = None,
    auth_url: str | None = None,
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
    """
    try:
        with calling_prefect():
            if not (organization and client_id):
                missing = [] if organization else ["--organization"]
                missing += [] if client_id else ["--client-id"]
                print(f"not saved: {' and '.join(missing)} must be given", file=sys.stderr)
                return 2
            secret = os.environ.get(SECRET_VARIABLE) or getpass.getpass("client secret (not shown): ")
            mode: Literal["test", "live"] = "live" if live else "test"
            credentials = credentials_for(organization, client_id, secret, mode, api_url, auth_url)
            _save(credentials, name)
            return 0
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors())
        print(f"not saved: {problems}", file=sys.stderr)
    except NotConnected as error:
        where = f"{auth_url or AUTH_URL} cannot be reached ({error.reason})"
        print(f"not saved: {where}; check the network and --auth-url", file=sys.stderr)
    except (CommerceLayerError, RuntimeError) as error:
        print(f"not saved: {error}", file=sys.stderr)
    return 2


def _save(credentials: CommerceLayerCredentials, name: str) -> None:
    asyncio.run(install(credentials, credentials_name=name))
    print(f"saved: credentials block {name!r}, policy block {POLICY!r}")
    print("next: prefect deploy --all, then prefect worker start --pool perennial")
