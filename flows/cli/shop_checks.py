"""What `perennial setup --check` looks at in Commerce Layer: credentials, environment, clock, policy."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from prefect.client.orchestration import PrefectClient
from pydantic import ValidationError

from blocks.commerce_layer.credentials import AUTH_URL, CommerceLayerCredentials
from blocks.commerce_layer.errors import (
    AuthenticationFailed,
    CommerceLayerError,
    NotConnected,
    ReadFailed,
    Unauthorized,
    WrongShop,
)
from blocks.renewal_policy import RenewalPolicy
from flows.cli.checked import Checked

MAY_DIFFER = timedelta(seconds=60)
"""How far this machine's clock may be from the shop's."""

Kind = TypeVar("Kind", CommerceLayerCredentials, RenewalPolicy)

IN_THE_UI = "edit it in the Prefect UI (Blocks)"


async def check_shop(prefect: PrefectClient, credentials: str, policy: str) -> AsyncIterator[Checked]:
    """The two blocks, and the shop that the credentials open."""
    block, said = await _load(prefect, CommerceLayerCredentials, credentials)
    yield said
    if block is not None:
        async for each in _open_shop(block, credentials):
            yield each
    _, said = await _load(prefect, RenewalPolicy, policy)
    yield said


async def _load(prefect: PrefectClient, kind: type[Kind], name: str) -> tuple[Kind | None, Checked]:
    what = f"{kind.get_block_type_slug()} block"
    try:
        block: Kind = await kind.aload(name, validate=True, client=prefect)
    except RuntimeError as error:
        if not isinstance(error.__cause__, ValidationError):
            raise
        # The values stay out: one of them may be a secret.
        wrong = "; ".join(f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.__cause__.errors())
        return None, Checked(what, f"{name!r} is not valid: {wrong}", IN_THE_UI)
    except ValueError:
        return None, Checked(what, f"there is none named {name!r}", "make it with perennial setup")
    return block, Checked(what, repr(name))


async def _open_shop(block: CommerceLayerCredentials, name: str) -> AsyncIterator[Checked]:
    where, edit = f"{block.organization}, {block.mode} environment", f"correct the block {name!r}: {IN_THE_UI}"
    async with block.get_client() as client:
        try:
            await client.claims()
        except NotConnected as error:
            auth_url = block.auth_url or AUTH_URL
            yield Checked("shop", f"{auth_url} cannot be reached ({error.reason})", f"check the network, or {edit}")
            return
        except WrongShop as wrong:
            yield Checked("shop", f"the token's {wrong.field} is {wrong.got!r}, not {wrong.expected!r}", edit)
            return
        except AuthenticationFailed as error:
            yield Checked("shop", str(error), edit)
            return
        except CommerceLayerError as error:
            yield Checked("shop", str(error), f"try again, or {edit}")
            return
        try:
            await anext(client.iter_due_subscriptions(datetime.now(UTC)), None)
        except Unauthorized as error:
            yield Checked("shop", str(error), "give the integration's role the permission to read subscriptions")
        except (ReadFailed, CommerceLayerError) as error:
            yield Checked("shop", f"subscriptions of {where} cannot be read: {error}", f"check the address, or {edit}")
        else:
            yield Checked("shop", where)
        if client.shop_time is not None:
            yield _clock(client.shop_time, datetime.now(UTC))


def _clock(of_the_shop: datetime, here: datetime) -> Checked:
    apart = here - of_the_shop
    if abs(apart) <= MAY_DIFFER:
        return Checked("clock", "as the shop's")
    found = (
        f"this machine's clock is {abs(apart).total_seconds():.0f} s {'ahead of' if apart > timedelta(0) else 'behind'}"
    )
    return Checked("clock", f"{found} the shop's", "set the clock by NTP, here and where server and workers run")
