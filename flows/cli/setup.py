"""`python -m flows setup`: connects the Prefect server of this environment to a Commerce Layer organization."""

from __future__ import annotations

import asyncio
import getpass
import os
import sys
from typing import Literal

from prefect.client.orchestration import get_client
from pydantic import ValidationError

from blocks.commerce_layer.credentials import AUTH_URL, CommerceLayerCredentials
from blocks.commerce_layer.errors import CommerceLayerError, NotConnected
from flows.cli import places
from flows.cli.alarms import make_alarms, times_of
from flows.cli.installation import CREDENTIALS, POLICY, credentials_for, install
from flows.cli.notification import CannotNotify, recipient_of
from flows.cli.prefect_errors import calling_prefect
from flows.cli.server_version import require_version
from flows.cli.setup_check import check_setup, tell
from flows.rules.outside_text import printable

SECRET_VARIABLE = "COMMERCE_LAYER_CLIENT_SECRET"  # noqa: S105 - the name of a variable


def setup(
    *,
    organization: str | None = None,
    client_id: str | None = None,
    live: bool = False,
    name: str = CREDENTIALS,
    api_url: str | None = None,
    auth_url: str | None = None,
    trusted_host: str | None = None,
    notify: str | None = None,
    check: bool = False,
) -> int:
    """
    Check the credentials, then save the blocks; create the alarms; or read everything back.

    Returns the exit code: 2 when something must be corrected, 1 when --check finds something wrong.

    Args:
        organization: Slug: the first label of https://{slug}.commercelayer.io.
        client_id: Client ID of an integration.
        live: The integration belongs to the live environment.
        name: Name of the credentials block.
        api_url: Address of the API, for a sandbox.
        auth_url: Address of the token endpoint, for a sandbox.
        trusted_host: Host of the two addresses, if it is neither Commerce Layer's own nor this machine.
        notify: Create the alarms, and send them to this URL (a webhook) or notification block (its name).
        check: Change nothing; read everything back, and name what is wrong.
    """
    try:
        with calling_prefect():
            if check:
                return tell(asyncio.run(check_setup()))
            missing = [] if organization else ["--organization"]
            missing += [] if client_id else ["--client-id"]
            if len(missing) == 1 or (missing and notify is None):
                print(f"not saved: {' and '.join(missing)} must be given", file=sys.stderr)
                return 2
            asyncio.run(_require_version())
            if organization and client_id:
                secret = os.environ.get(SECRET_VARIABLE) or getpass.getpass("client secret (not shown): ")
                mode: Literal["test", "live"] = "live" if live else "test"
                _save(
                    credentials_for(
                        organization, client_id, secret, mode, api_url, auth_url, trusted_host=trusted_host
                    ),
                    name,
                )
            if notify is not None:
                _tell_of_alarms(asyncio.run(_alarms_through(notify)))
            return 0
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors())
        print(f"not saved: {problems}", file=sys.stderr)
    except NotConnected as error:
        where = f"{auth_url or AUTH_URL} cannot be reached ({error.reason})"
        print(f"not saved: {printable(where)}; check the network and --auth-url", file=sys.stderr)
    except CannotNotify as error:
        print(f"no alarms were made: {error}", file=sys.stderr)
    except (CommerceLayerError, RuntimeError) as error:
        print(f"{'not checked' if check else 'not saved'}: {printable(str(error))}", file=sys.stderr)
    return 2


async def _require_version() -> None:
    async with get_client() as prefect:
        await require_version(prefect)


async def _alarms_through(url_or_block: str) -> tuple[str, dict[str, str]]:
    async with get_client() as prefect:
        recipient = await recipient_of(prefect, url_or_block)
        return recipient.label, await make_alarms(prefect, recipient, await times_of(prefect))


def _tell_of_alarms(made: tuple[str, dict[str, str]]) -> None:
    through, done = made
    for name, what in done.items():
        print(f"{name}: {what}")
    print(f"alarms are sent through the block {through}; a first message was sent to it")


def _save(credentials: CommerceLayerCredentials, name: str) -> None:
    asyncio.run(install(credentials, credentials_name=name))
    print(f"saved: credentials block {name!r}, policy block {POLICY!r}")
    print(f"next: {places.deploy_command()}, then prefect worker start --pool perennial")
