"""
Finds in the shop what one run did, and withdraws what is unplaced. It creates, places and refunds nothing.

Everything is searched for by the run's id in the metadata. So it is found also when Prefect has lost the run.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable
from itertools import islice

from prefect.client.orchestration import get_client

from blocks.commerce_layer import listings
from blocks.commerce_layer.client import CommerceLayer
from blocks.commerce_layer.resources import Order, OrderCopy, OrderSubscription
from flows.rules.incidents import FLOW_RUN, PARENT, RUN_NAME, Incident, OrderOfRun
from flows.rules.state import KEY
from flows.rules.stop_switch import StopSwitch
from flows.run.context import Run
from flows.run.stop_switch import switch_now

WITHDRAWN_AT_ONCE = 100
"""How many orders are withdrawn before the stop switch is read again."""


class ChargingIsOn(RuntimeError):  # noqa: N818 - the name says what happened
    """Customers may be charged now, so another run may place an order in the moment in which it is cancelled."""

    def __init__(self, sentence: str, cancelled: int) -> None:
        super().__init__(sentence, cancelled)
        self.sentence = sentence
        self.cancelled = cancelled
        """How many orders had been cancelled by then."""

    def __str__(self) -> str:
        return self.sentence


async def find_incident(
    client: CommerceLayer, flow_run_id: str, known_parts: Collection[str], seen: Callable[[int], None]
) -> Incident:
    """
    Everything that the shop shows of a run and of the runs that it started, such as its batches.

    `known_parts` are the ids of such runs as far as Prefect knows them: copies of earlier versions do not name the run
    that started theirs. `seen` is told how many resources each read showed.

    Raises:
        CommerceLayerError: the shop cannot be read.
    """
    looking = _Looking(client, seen)
    await looking.for_run(PARENT, flow_run_id)
    for each in sorted({flow_run_id, *known_parts} - looking.parts):
        await looking.for_run(FLOW_RUN, each)
    ids = {flow_run_id, *known_parts, *looking.parts}
    await looking.for_records(ids)
    return Incident(frozenset(ids), looking.copies, looking.orders, looking.subscriptions)


async def runs_named(client: CommerceLayer, name: str) -> list[str]:
    """The ids of the runs of this name that have made order copies in the shop, sorted."""
    found = {
        str(ours[FLOW_RUN])
        async for page in listings.iter_copies_marked(client, RUN_NAME, name)
        for copy in page.complete
        if isinstance(ours := copy.metadata.get(KEY), dict) and ours.get(FLOW_RUN)
    }
    return sorted(found)


async def withdraw_unplaced(run: Run, orders: Iterable[OrderOfRun], why: str, seen: Callable[[int], None]) -> int:
    """
    Cancel these unplaced orders of ours, while charging is stopped; returns how many were cancelled.

    An order that is placed meanwhile is never cancelled: each is read again right before, and no run places orders
    while charging is stopped. The renewals would be wanted otherwise, so that any sweep could place or copy them anew.

    Raises:
        ChargingIsOn: charging is not stopped, or not any more. What was cancelled by then stays so.
    """
    left, cancelled = iter(orders), 0
    while some := list(islice(left, WITHDRAWN_AT_ONCE)):
        if not (await _switch()).is_stopped:
            raise ChargingIsOn(
                "charging is on, so another run could place these orders now, and the next sweep copies them again: "
                'stop charging first (`perennial stop "why"`), and start it again afterwards (`perennial go`)',
                cancelled,
            )
        done = await asyncio.gather(*(run.withdrawals.withdraw(each.order_id or "", why) for each in some))
        cancelled += sum(done)
        seen(len(some))
    return cancelled


async def _switch() -> StopSwitch:
    # Not the switch of the run: without an answer of Prefect that one says "stopped", which is not known then.
    async with get_client() as prefect:
        return await switch_now(prefect)


class _Looking:
    """What was found so far, by id."""

    def __init__(self, client: CommerceLayer, seen: Callable[[int], None]) -> None:
        self._client, self._seen = client, seen
        self.copies: dict[str, OrderCopy] = {}
        self.orders: dict[str, Order] = {}
        self.subscriptions: dict[str, OrderSubscription] = {}
        self.parts: set[str] = set()
        """The runs that the run has started, as the copies and orders name them."""

    async def for_run(self, key: str, flow_run_id: str) -> None:
        async for page in listings.iter_copies_marked(self._client, key, flow_run_id):
            copies = page.complete
            for copy in copies:
                self.copies[copy.id] = copy
                if copy.target_order is not None:
                    self.orders.setdefault(copy.target_order.id, copy.target_order)
            self._note(key, copies)
        async for listed in listings.iter_orders_marked(self._client, key, flow_run_id):
            orders = listed.complete
            self.orders |= {order.id: order for order in orders}
            self._note(key, orders)

    async def for_records(self, flow_run_ids: Collection[str]) -> None:
        """The subscriptions that these runs recorded last, and those whose copies and orders were found."""
        for each in sorted(flow_run_ids):
            async for page in listings.iter_subscriptions_marked(self._client, FLOW_RUN, each):
                self.subscriptions |= {subscription.id: subscription for subscription in page.complete}
                self._seen(len(page.readable))
        incident = Incident(flow_run_ids, self.copies, self.orders)
        about = {each.period.subscription_id for each in incident.all_orders if each.period is not None}
        missing = sorted(about - set(self.subscriptions))
        self.subscriptions |= await self._client.get_subscriptions(missing)
        self._seen(len(missing))

    def _note(self, key: str, found: Collection[OrderCopy] | Collection[Order]) -> None:
        self._seen(len(found))
        if key == PARENT:
            self.parts |= {str(each.metadata[KEY].get(FLOW_RUN)) for each in found}
