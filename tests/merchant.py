"""A merchant for tests: a sandbox, its blocks in the Prefect server, its clock, and its database."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

import orjson
from sandbox_clock import SandboxClock

from blocks.commerce_layer.changes import SubscriptionChange
from blocks.commerce_layer.client import CommerceLayer
from blocks.commerce_layer.clock import use_clock
from blocks.commerce_layer.rate_limit import RateLimits
from blocks.commerce_layer.resources import OrderSubscription
from blocks.policy import Policy
from blocks.sandbox.running import RunningSandbox
from flows.cli.installation import credentials_for, install

UNLIMITED = RateLimits(unlimited=True)


async def cancel(client: CommerceLayer, subscription_id: str) -> OrderSubscription:
    """Cancel the subscription as a customer or staff would in the dashboard: its metadata does not change."""

    async def cancelled() -> SubscriptionChange:
        return SubscriptionChange(cancel=True)

    return await client.record_on_subscription(subscription_id, cancelled)


@dataclass(frozen=True)
class Ended:
    """How a flow run ended: the state's name and message, and the facts it returned."""

    name: str
    message: str
    facts: Any
    flow_run_id: UUID

    @property
    def outcomes(self) -> dict[str, int]:
        return dict(self.facts["outcomes"])


class Merchant:
    """One shop, and everything that its staff can do or look up."""

    def __init__(self, sandbox: RunningSandbox) -> None:
        self.sandbox = sandbox
        self.name = f"shop-{uuid4().hex[:8]}"

    async def install(self, limits: RateLimits = UNLIMITED, **policy: Any) -> None:
        """Save both blocks. `policy` holds the fields of the policy that differ from its defaults."""
        box = self.sandbox
        credentials = credentials_for(
            box.organization, box.client_id, box.client_secret, "test", box.api_url, box.auth_url, limits
        )
        await install(credentials, Policy(**policy), credentials_name=self.name, policy_name=self.name)

    async def sweep(self, **parameters: Any) -> Ended:
        """Run the sweep once, in this process."""
        from flows.renew import renew_subscriptions

        return await _ended(
            await renew_subscriptions(credentials=self.name, policy=self.name, return_state=True, **parameters)
        )

    async def sweep_that_dies_before_placing(self) -> None:
        """Run a sweep in which every PATCH fails, as if its process died after copying: its orders stay unplaced."""
        self.sandbox.fault("status", method="PATCH", path="/api/*", status=503)
        await self.sweep()
        self.sandbox.clear_faults()

    async def watch(self, **limits: str) -> Ended:
        """Run the watch once, in this process."""
        from flows.watch import watch_renewals

        return await _ended(await watch_renewals(credentials=self.name, policy=self.name, return_state=True, **limits))

    async def reorder(self, source_order_id: str, **parameters: Any) -> Ended:
        """Run the manual reorder once, in this process."""
        from flows.reorder import reorder

        state = await reorder(source_order_id, credentials=self.name, policy=self.name, return_state=True, **parameters)
        return await _ended(state)

    async def hand_over(self, *subscription_ids: str, **parameters: Any) -> Ended:
        """Run the flow that adopts, releases, pauses, resumes or gives back subscriptions, in this process."""
        from flows.adopt import adopt_subscriptions

        given = {"credentials": self.name, "policy": self.name, "dry_run": False, **parameters}
        return await _ended(await adopt_subscriptions(list(subscription_ids), **given, return_state=True))

    @asynccontextmanager
    async def dashboard(self) -> AsyncIterator[CommerceLayer]:
        """A client with credentials of its own, for what staff do in Commerce Layer's dashboard."""
        box = self.sandbox
        theirs = credentials_for(
            box.organization, box.client_id, box.client_secret, "test", box.api_url, box.auth_url, UNLIMITED
        )
        async with theirs.get_client() as client:
            yield client

    def rows(self, query: str, *values: Any) -> list[dict[str, Any]]:
        """Rows of the sandbox's database, read without Perennial's code."""
        with closing(sqlite3.connect(f"file:{self.sandbox.database}?mode=ro", uri=True)) as connection:
            connection.row_factory = sqlite3.Row
            return [dict(row) for row in connection.execute(query, values)]

    def copies(self) -> list[dict[str, Any]]:
        """All order copies, oldest first."""
        return self.rows("SELECT * FROM order_copies ORDER BY created_at, id")

    def target_orders(self) -> list[dict[str, Any]]:
        """The orders that copies have made, oldest copy first, with the copy's id and reference; metadata parsed."""
        query = (
            "SELECT o.*, c.reference AS copy_reference, c.id AS copy_id FROM order_copies c "
            "JOIN orders o ON o.id = c.target_order_id ORDER BY c.created_at, c.id"
        )
        return [{**row, "metadata": orjson.loads(row["metadata"] or "{}")} for row in self.rows(query)]

    def placed(self) -> list[str]:
        """References of the copies whose orders are placed, sorted. One that appears twice is a double charge."""
        return sorted(order["copy_reference"] for order in self.target_orders() if order["status"] == "placed")

    def requests(self, name: str) -> int:
        """How many requests of one kind the sandbox has counted; `name` is like `PATCH /api/orders/{id}`."""
        return int(self.sandbox.counters()["requests"].get(name, 0))

    def subscription(self, subscription_id: str) -> dict[str, Any]:
        """One subscription, its metadata parsed."""
        (row,) = self.rows("SELECT * FROM order_subscriptions WHERE id = ?", subscription_id)
        return {**row, "metadata": orjson.loads(row["metadata"] or "{}")}


async def _ended(state: Any) -> Ended:
    facts = await state.aresult(raise_on_failure=False)
    return Ended(state.name, state.message or "", facts, state.state_details.flow_run_id)


@asynccontextmanager
async def open_merchant(*options: str, **policy: Any) -> AsyncIterator[Merchant]:
    """A merchant whose sandbox has a clock that moves only when code waits."""
    with RunningSandbox("--limits", "off", "--frozen", *options) as sandbox:
        merchant = Merchant(sandbox)
        await merchant.install(**policy)
        with use_clock(SandboxClock(sandbox)):
            yield merchant
