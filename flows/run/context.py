"""What one run works with: the client, the policy, the instant up to which everything is due, and shared reads."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from prefect.runtime import deployment, flow_run
from pydantic import ValidationError

from blocks.commerce_layer.client import CommerceLayer
from blocks.commerce_layer.clock import current_clock
from blocks.commerce_layer.credentials import AUTH_URL, CommerceLayerCredentials
from blocks.commerce_layer.errors import NotConnected
from blocks.policy import Policy
from blocks.renewal_policy import RenewalPolicy
from flows.rules.copy_periods import RESCUE
from flows.rules.manual_copy import ManualCopy
from flows.rules.references import period_text
from flows.rules.renewal import Renewal
from flows.rules.rescue import Rescue
from flows.rules.rivals import BESIDES_RENEWAL
from flows.rules.work import attempts_made
from flows.run.daily_caps import DailyCaps
from flows.run.garbage import collected_less_often
from flows.run.own_placements import OwnPlacements
from flows.run.poller import CopyPoller
from flows.run.prefect_internals import events_name_no_pool, quieten_task_runs
from flows.run.reads import LastLooks
from flows.run.stop_switch import SharedSwitch
from flows.run.withdrawals import Withdrawals

_Block = TypeVar("_Block", CommerceLayerCredentials, RenewalPolicy)

AHEAD_OF_THE_SHOP = timedelta(minutes=5)
"""How far `as_of` may be ahead of the shop's own clock. Clocks differ a little; a larger difference is an error."""


PLACED_AT_ONCE = 12
"""Placements under way at the same time. At 4 s each they still use up the largest documented write limit."""


class NotSetUp(LookupError):  # noqa: N818 - the name says what happened
    """A block or a deployment does not exist, or cannot be used."""


class Unreachable(ConnectionError):  # noqa: N818 - the name says what happened
    """Commerce Layer could not be reached, and nothing was sent."""


class ClocksDiffer(RuntimeError):  # noqa: N818 - the name says what happened
    """The shop's clock and our own differ: by one of the two, customers would be charged on the wrong date."""


class AheadOfTime(ValueError):  # noqa: N818 - the name says what happened
    """`as_of` is in the future: customers would be charged before they are due."""


@dataclass(frozen=True)
class RunIdentity:
    """The run, as it is written into the metadata of what it creates."""

    flow_run_id: str
    flow_run_name: str
    deployment: str | None
    parent_flow_run_id: str | None = None
    """The run that started this one, such as the sweep of a batch."""

    @classmethod
    def current(cls) -> RunIdentity:
        """The current Prefect run."""
        parent = flow_run.parent_flow_run_id
        return cls(str(flow_run.id or ""), str(flow_run.name or ""), deployment.name, parent)


@dataclass(frozen=True)
class Run:
    """One flow run for one Commerce Layer organization, one policy and one instant (`as_of`, UTC)."""

    client: CommerceLayer
    organization: str
    policy: Policy
    credentials_name: str
    policy_name: str
    as_of: datetime
    identity: RunIdentity
    poller: CopyPoller
    last_looks: LastLooks
    withdrawals: Withdrawals
    caps: DailyCaps
    placing: asyncio.Semaphore
    """Limits the placements under way: a gateway may take seconds for each, and each holds a connection."""
    stop_switch: SharedSwitch
    """Whether customers may be charged now: a person may stop that at any time."""
    placements: OwnPlacements = field(default_factory=OwnPlacements)

    def now(self) -> datetime:
        """The present by the shop's clock. Retries are scheduled from it, not from an `as_of` that may be days ago."""
        return max(self.as_of, self.client.shop_time or self.as_of)

    def tracking(self, work: Renewal | ManualCopy) -> dict[str, Any]:
        """`metadata.perennial` of an order copy and its order: which renewal and which run they were made for."""
        if isinstance(work, Renewal):
            of: dict[str, Any] = {"subscription_id": work.subscription_id, "period": period_text(work.due)}
            of |= {RESCUE: True} if isinstance(work, Rescue) else {}
        else:
            of = {"source_order_id": work.source_order_id}
            of |= {BESIDES_RENEWAL: True} if work.besides_renewal else {}
        if self.identity.parent_flow_run_id is not None:
            of["parent_flow_run_id"] = self.identity.parent_flow_run_id
        # What failed before: the shop does not keep every refusal, and a placed order ends what the state remembers.
        failures = {"failures": work.state.failures} if isinstance(work, Renewal) and work.state.failures else {}
        return {
            **of,
            "attempt": attempts_made(work) + 1,
            **failures,
            "flow_run_id": self.identity.flow_run_id,
            "flow_run_name": self.identity.flow_run_name,
            "deployment": self.identity.deployment,
            "policy": self.policy_name,
        }


def sweep_name() -> str:
    """A sweep's name in the UI: the instant up to which it renews, or the subscriptions that it was given."""
    named = flow_run.parameters.get("subscriptions")
    if named:
        return f"renew {named[0]}" if len(named) == 1 else f"renew {len(named)} subscriptions"
    as_of = flow_run.parameters.get("as_of")
    moment = as_of if isinstance(as_of, datetime) else flow_run.scheduled_start_time
    return f"sweep {moment:%Y-%m-%d %H:%M}"


@asynccontextmanager
async def open_run(credentials: str, policy: str, as_of: datetime | None) -> AsyncIterator[Run]:
    """
    Load the blocks, check that this is the right shop, and open what the run works with.

    Args:
        credentials: name of a `CommerceLayerCredentials` block.
        policy: name of a `RenewalPolicy` block.
        as_of: renew what is due up to this instant (UTC if it has no zone); None means now.

    Raises:
        NotSetUp: a block does not exist, or cannot be used.
        Unreachable: the shop cannot be reached.
        WrongShop: the token belongs to another organization or mode than the block says.
        ClocksDiffer: the shop's clock is not ours.
        AheadOfTime: `as_of` is later than the shop's own clock.
    """
    quieten_task_runs()
    block = await load_block(CommerceLayerCredentials, credentials)
    rules = (await load_block(RenewalPolicy, policy)).plain()
    async with block.get_client() as client:
        await _connect(client, block, credentials)
        _compare_clocks(block, credentials, client.shop_time)
        moment = _checked(as_of, client.shop_time)
        looks, settle = LastLooks(client), rules.settle_seconds
        async with CopyPoller(client, settle, rules.copy_deadline_seconds, looks.placements_waiting) as poller:
            identity = RunIdentity.current()
            opened = Run(
                client, block.organization, rules, credentials, policy, moment, identity, poller, looks,
                Withdrawals(client, block.organization, identity.flow_run_id, settle),
                DailyCaps(client, rules, moment), asyncio.Semaphore(PLACED_AT_ONCE),
                await _switch_at_the_start(block.organization),
            )  # fmt: skip
            with events_name_no_pool(), collected_less_often():
                yield opened


async def _switch_at_the_start(organization: str) -> SharedSwitch:
    switch = SharedSwitch(organization)
    await switch.look()
    return switch


async def _connect(client: CommerceLayer, block: CommerceLayerCredentials, name: str) -> None:
    try:
        await client.claims()
    except NotConnected as error:
        raise Unreachable(
            f"{block.auth_url or AUTH_URL} cannot be reached ({error}). Check the network, and the field `auth_url` of "
            f"the Commerce Layer Credentials block {name!r}. Nothing was renewed."
        ) from error


def _compare_clocks(block: CommerceLayerCredentials, name: str, shop_time: datetime | None) -> None:
    allowed, ours = block.max_clock_skew, current_clock().now()
    if allowed is None or shop_time is None or abs(shop_time - ours) <= allowed:
        return
    raise ClocksDiffer(
        f"The shop's clock says {shop_time:%Y-%m-%d %H:%M:%S} UTC, this machine's {ours:%Y-%m-%d %H:%M:%S} UTC: more "
        f"than {allowed.total_seconds():.0f} s apart, so that customers would be charged on the wrong date. Set this "
        "machine's clock by the network; if it is right, ask Commerce Layer, or raise `max_clock_skew_seconds` of the "
        f"Commerce Layer Credentials block {name!r}. Nothing was renewed."
    )


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


async def load_block(kind: type[_Block], name: str) -> _Block:
    """The block with this name. Raises NotSetUp, which says how to make one."""
    try:
        return await kind.aload(name, validate=True)
    except RuntimeError as error:
        # Prefect only says that the block is not valid. The values are left out: one of them may be a secret.
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
            f"`perennial setup`; `prefect block ls` lists what there is (type {slug})."
        ) from None
