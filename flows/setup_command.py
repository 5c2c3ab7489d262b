"""`python -m flows setup`: connects the Prefect server of this environment to a Commerce Layer organization."""

from __future__ import annotations

import argparse
import asyncio
import getpass
import os
import sys
from typing import Literal

from pydantic import ValidationError

from blocks.commerce_layer.credentials import AUTH_URL
from blocks.commerce_layer.errors import CommerceLayerError, NotConnected
from flows.installation import POLICY, credentials_for, install
from flows.prefect_calls import calling_prefect

SECRET_VARIABLE = "COMMERCE_LAYER_CLIENT_SECRET"  # noqa: S105 - the name of a variable


def setup(given: argparse.Namespace) -> int:
    """Check the credentials, then save the blocks. Returns the exit code: 2 when something must be corrected."""
    try:
        with calling_prefect():
            return _connect(given)
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors())
        print(f"not saved: {problems}", file=sys.stderr)
    except NotConnected as error:
        where = given.auth_url or AUTH_URL
        print(
            f"not saved: {where} cannot be reached ({error.reason}); check the network and --auth-url", file=sys.stderr
        )
    except (CommerceLayerError, RuntimeError) as error:
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
    asyncio.run(install(credentials, credentials_name=given.name))
    print(f"saved: credentials block {given.name!r}, policy block {POLICY!r}")
    print("next: prefect deploy --all, then prefect worker start --pool perennial")
    return 0
