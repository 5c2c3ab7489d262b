"""The shop: everything one run works with, opened once at the top of a story and closed at its end."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar
from uuid import UUID

from prefect.runtime import deployment, flow_run
from pydantic import ValidationError

from blocks.commerce_layer.client import CommerceLayer
from blocks.commerce_layer.credentials import AUTH_URL, CommerceLayerCredentials
from blocks.commerce_layer.errors import NotConnected
from blocks.policy_terms import PolicyTerms
from blocks.renewal_policy import RenewalPolicy
from flows.rules.acts import Create
from flows.rules.by_hand import ManualCopy
from flows.rules.references import period_text
from flows.rules.renewal import Renewal
from flows.tasks.fuse import NotSetUp as NotSetUp  # noqa: PLC0414 - whoever opens a shop may need it
from flows.tasks.fuse import the_installation
from flows.tasks.leases import LeaseTimes, WriterLeases
from flows.tasks.prompt_client import prompt_client
from flows.tasks.readers import SubscriptionReader
from flows.tasks.watcher import CopyWatcher
from flows.tasks.writer_limits import make_limits_ready

_Block = TypeVar("_Block", CommerceLayerCredentials, RenewalPolicy)

AHEAD_OF_THE_SHOP = timedelta(minutes=5)
"""How far `as_of` may be ahead of the shop's own clock: clocks differ a little, and a typing error by more."""


class Unreachable(ConnectionError):  # noqa: N818 - says what is the matter
    """Commerce Layer did not take a connection; nothing was sent."""


class AheadOfTime(ValueError):  # noqa: N818 - says what is the matter
    """`as_of` lies in the future: customers would be charged before they are due."""


@dataclass(frozen=True)
class RunIdentity:
    """Which run this is, as it is written into what it creates."""

    flow_run_id: str
    flow_run_name: str
    deployment: str | None

    @classmethod
    def current(cls) -> RunIdentity:
        """The Prefect run around us."""
        return cls(str(flow_run.id or ""), str(flow_run.name or ""), deployment.name)


@dataclass(frozen=True)
class Shop:
    """One merchant's Commerce Layer, one policy, one instant, and the means to work on them."""

    client: CommerceLayer
    organization: str
    terms: PolicyTerms
    policy_name: str
    as_of: datetime
    instance: str
    run: RunIdentity
    leases: WriterLeases
    watcher: CopyWatcher
    reader: SubscriptionReader
    stepped: set[str] = field(default_factory=set)
    """References of what has stepped through a door in this run: each does so once, whichever door it finds."""

    def tracking_of(self, renewal: Renewal, act: Create) -> dict[str, Any]:
        """The metadata of an order copy: whose renewal it is, which one, and who made it."""
        return {"perennial": {**self.tracking_of_order(renewal), "attempt": act.attempt, "copy": act.copy}}

    def tracking_of_order(self, renewal: Renewal) -> dict[str, Any]:
        """What a target order says of the renewal that made it."""
        return {
            "subscription_id": renewal.subscription_id,
            "period": period_text(renewal.due),
            "flow_run_id": self.run.flow_run_id,
            "flow_run_name": self.run.flow_run_name,
            "deployment": self.run.deployment,
            "policy": self.policy_name,
            "instance": self.instance,
        }

    def tracking_by_hand(self, work: ManualCopy) -> dict[str, Any]:
        """The metadata of an order copy that a person asked for."""
        return {
            "perennial": {
                "source_order_id": work.source_order_id,
                "flow_run_id": self.run.flow_run_id,
                "flow_run_name": self.run.flow_run_name,
                "deployment": self.run.deployment,
                "instance": self.instance,
            }
        }


def sweep_name() -> str:
    """A sweep's name in the UI: the instant up to which it renews, as far as known at the start, or whom."""
    named = flow_run.parameters.get("subscriptions")
    if named:
        return f"renew {named[0]}" if len(named) == 1 else f"renew {len(named)} subscriptions"
    as_of = flow_run.parameters.get("as_of")
    moment = as_of if isinstance(as_of, datetime) else flow_run.scheduled_start_time
    return f"sweep {moment:%Y-%m-%d %H:%M}"


@asynccontextmanager
async def open_shop(credentials: str, policy: str, as_of: datetime | None) -> AsyncIterator[Shop]:
    """
    Load the blocks, make sure that this is the right shop, and get ready to work.

    Args:
        credentials: name of a `CommerceLayerCredentials` block.
        policy: name of a `RenewalPolicy` block.
        as_of: renew what is due up to this instant (UTC if it names no zone); now if it is left out.

    Raises:
        NotSetUp: a block does not exist, or this Prefect server was never set up.
        SetUpElsewhere: it was set up at another address, and may be a copy.
        Unreachable: the shop does not take a connection.
        WrongShop: the token belongs to another organization or mode than the block says.
        AheadOfTime: `as_of` is later than the shop's own clock.
    """
    run = RunIdentity.current()
    async with prompt_client() as api:
        installation = await the_installation(api)
        block = await _load(CommerceLayerCredentials, credentials)
        terms = (await _load(RenewalPolicy, policy)).terms()
        await make_limits_ready(api)
        async with block.get_client() as client:
            await _connect(client, block, credentials)
            moment = _checked(as_of, client.shop_time)
            leases = WriterLeases(api, LeaseTimes.settling(terms.settle_seconds), _uuid(run.flow_run_id))
            async with CopyWatcher(client, terms.copy_deadline_seconds) as watcher:
                reader = SubscriptionReader(client)
                yield Shop(
                    client, block.organization, terms, policy, moment, installation.id, run, leases, watcher, reader
                )


async def _connect(client: CommerceLayer, block: CommerceLayerCredentials, name: str) -> None:
    try:
        await client.claims()
    except NotConnected as error:
        raise Unreachable(
            f"{block.auth_url or AUTH_URL} cannot be reached ({error}). Check the network, and the field `auth_url` of "
            f"the Commerce Layer Credentials block {name!r}. Nothing was renewed."
        ) from error


def _checked(as_of: datetime | None, shop_time: datetime | None) -> datetime:
    now = shop_time or datetime.now(UTC)
    if as_of is None:
        return now
    moment = as_of.replace(tzinfo=UTC) if as_of.tzinfo is None else as_of.astimezone(UTC)
    if moment > now + AHEAD_OF_THE_SHOP:
        raise AheadOfTime(
            f"as_of is {moment:%Y-%m-%d %H:%M} UTC, but the shop's clock says {now:%Y-%m-%d %H:%M} UTC: customers "
            "would be charged before they are due. Leave as_of empty to renew what is due now."
        )
    return moment


def _uuid(text: str) -> UUID | None:
    return UUID(text) if text else None


async def _load(kind: type[_Block], name: str) -> _Block:
    try:
        return await kind.aload(name, validate=True)
    except RuntimeError as error:
        # Prefect only says that the block is not valid. The values stay out: one of them may be a secret.
        if not isinstance(error.__cause__, ValidationError):
            raise
        wrong = "; ".join(f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.__cause__.errors())
        raise NotSetUp(
            f"The {kind.__name__} block {name!r} cannot be used: {wrong}. Edit it in the Prefect UI."
        ) from None
    except ValueError as error:
        slug = kind.get_block_type_slug()
        if "Unable to find block document" not in str(error):
            raise
        raise NotSetUp(
            f"There is no {kind.__name__} block named {name!r}. Make one in the Prefect UI (Blocks), or with "
            f"`python -m flows setup`; `prefect block ls` lists what there is (type {slug})."
        ) from None
