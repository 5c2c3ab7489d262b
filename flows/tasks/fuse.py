"""
The fuse: an installation renews only where it was set up.

Setting up writes a random id and the address of the Prefect server into a Prefect variable, and the first record of a
renewal writes the id into the subscription. A copy of the server's database (a restored backup, a clone, a staging
system with production data) runs at another address and refuses to renew; another installation finds another id in
the subscription and leaves it alone (`flows/rules/skips.py`). This matters because the leases that keep two writers
apart live in one Prefect server: two servers know nothing of each other.

What counts as the same address:

* Ports count. A copy that is tried out on the same machine differs from its original in nothing else.
* `localhost`, `127.0.0.1`, `[::1]` and `0.0.0.0` are one, and stand for this machine: its host name is part of the
  address, since a copy on a laptop would be "on localhost" too.
* Upper case, a trailing slash, http or https and the scheme's own port make no difference, and neither do names and
  passwords in the address, which are not stored.

A server that is reached at several addresses is set up once at each. What the fuse cannot see is a copy at an address
that means another machine elsewhere, such as `http://prefect:4200` in two networks of containers.
"""

from __future__ import annotations

import secrets
import socket
from contextlib import suppress
from ipaddress import ip_address
from urllib.parse import urlsplit

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import VariableCreate, VariableUpdate
from prefect.exceptions import ObjectAlreadyExists
from prefect.settings import get_current_settings
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from flows.tasks.prompt_client import promptly

VARIABLE = "perennial_installation"
"""The Prefect variable that says which installation this server's database belongs to, and where it runs."""


class NotSetUp(LookupError):  # noqa: N818 - says what is the matter
    """Something that `setup` makes does not exist."""


class SetUpElsewhere(RuntimeError):  # noqa: N818 - says what is the matter
    """This server's database was set up at another address: it may be a copy whose original is renewing."""

    def __init__(self, installation: str, here: str, addresses: tuple[str, ...]) -> None:
        super().__init__(installation, here, addresses)
        self.installation, self.here, self.addresses = installation, here, addresses

    def __str__(self) -> str:
        return (
            f"Installation {self.installation} was set up at {' and '.join(self.addresses)}, but this is {self.here}. "
            "If this Prefect database is a copy (a restored backup, a clone, a staging system), nothing must be "
            "renewed here: the original does that. If the server has moved and the original is gone for good, or if "
            "this is one more address of the same server, say so with `python -m flows setup --here`."
        )


class Installation(BaseModel):
    """Which installation a Prefect database belongs to, and at which addresses it may renew."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    id: str = Field(pattern=r"^[0-9a-f]{12}$")
    addresses: tuple[str, ...] = Field(min_length=1)

    def must_be_at(self, here: str) -> None:
        """Raises SetUpElsewhere: `here` is none of its addresses."""
        if here not in self.addresses:
            raise SetUpElsewhere(self.id, here, self.addresses)


def this_address() -> str:
    """The address of the Prefect server that this process uses, in the form in which addresses are compared."""
    settings = get_current_settings()
    if settings.api.url is None:  # Prefect starts a server of its own, on a database in this folder
        return f"{settings.home} on {_host_name()}"
    return plain_address(settings.api.url, _host_name())


def plain_address(url: str, host_name: str) -> str:
    """A URL without what makes no difference, e.g. `prefect.example.com/api` or `localhost:4200/api on shop-1`."""
    parts = urlsplit(url)
    host = (parts.hostname or "").rstrip(".")
    own_port = {"http": 80, "https": 443}.get(parts.scheme)
    port = "" if parts.port in {None, own_port} else f":{parts.port}"
    path = parts.path.rstrip("/")
    if _is_this_machine(host):
        return f"localhost{port}{path} on {host_name}"
    return f"[{host}]{port}{path}" if ":" in host else f"{host}{port}{path}"


async def installed(api: PrefectClient) -> Installation | None:
    """
    The installation that this server's database belongs to; `None` when nobody has set it up.

    Raises:
        NotSetUp: the variable was edited and says nothing any more.
    """
    stored = await promptly(api.read_variable_by_name, VARIABLE)
    if stored is None:
        return None
    try:
        return Installation.model_validate(stored.value)
    except ValidationError:
        raise NotSetUp(
            f"The Prefect variable {VARIABLE} is damaged. It holds the id of this installation, which the "
            'subscriptions carry in metadata.perennial.instance: write {"id": THAT ID, "addresses": '
            f'["{this_address()}"]}} into it.'
        ) from None


async def the_installation(api: PrefectClient) -> Installation:
    """
    The installation that may renew here.

    Raises:
        NotSetUp: there is none.
        SetUpElsewhere: there is one, but not at this address.
    """
    found = await installed(api)
    if found is None:
        raise NotSetUp("Perennial is not set up in this Prefect server: run `python -m flows setup` first.")
    found.must_be_at(this_address())
    return found


async def settle_in(api: PrefectClient, *, move: bool = False) -> Installation:
    """
    Make this server's database an installation, if it is none yet.

    Args:
        api: the server.
        move: add this address to those at which it may renew, on purpose.

    Raises:
        SetUpElsewhere: it is one already, at another address, and `move` was not asked for.
    """
    here, found = this_address(), await installed(api)
    if found is None:
        new = Installation(id=secrets.token_hex(6), addresses=(here,))
        with suppress(ObjectAlreadyExists):  # another set-up was faster
            value = new.model_dump(mode="json")
            await promptly(api.create_variable, VariableCreate(name=VARIABLE, value=value))
        return await the_installation(api)
    if move and here not in found.addresses:
        found = Installation(id=found.id, addresses=(*found.addresses, here))
        value = found.model_dump(mode="json")
        await promptly(api.update_variable, VariableUpdate(name=VARIABLE, value=value))
    found.must_be_at(here)
    return found


def _is_this_machine(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        address = ip_address(host)
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified


def _host_name() -> str:
    return socket.gethostname().lower()
