"""
Prepares what comes due soon: after everything that is due, a sweep makes the order copies of the time ahead.

Nothing is charged and nothing recorded, so neither waves nor the brake are needed, and no failure here stops a sweep.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta

from prefect.logging import get_run_logger

from blocks.commerce_layer import listings
from blocks.commerce_layer.clock import current_clock
from blocks.commerce_layer.errors import CommerceLayerError
from blocks.commerce_layer.resources import OrderSubscription
from flows.rules.next_action import next_action
from flows.rules.prepared_copies import SOON
from flows.rules.preparing import Preparation, known_ahead, preparation_of, to_prepare, without_failed_copies
from flows.rules.renewal import Renewal
from flows.run.context import Run
from flows.run.reads import look_at_copies, look_at_subscriptions
from flows.run.report import Report
from flows.sweep.first_look import refusal_of

Prepare = Callable[[Run, Renewal], Awaitable[Preparation]]
"""One renewal from its order copy to what is known about it."""

PREPARES_FOR = 600.0
"""Seconds after which a sweep begins no more. The next sweep goes on, so that two do not prepare the same for long."""

PAGES_UNDER_WAY = 4
"""How many pages of 25 are prepared at the same time: renewals of other runs never wait behind more creations."""

AGAIN_AFTER = timedelta(days=1)
"""How old a failed copy is before it is made once more ahead. When the period is due, it is made again anyway."""


async def prepare_ahead(run: Run, report: Report, prepare: Prepare) -> None:
    """
    Make the order copies of what comes due within the policy's `prepare_ahead`, unless the sweep was stopped.

    What cannot be read is left to the next sweep, or to the renewal itself.
    """
    if report.is_stopped or (ahead := run.policy.prepare_ahead_delay) is None:
        return
    preparing = _Preparing(run, report, prepare)
    now, ends_at = run.now(), current_clock().monotonic() + PREPARES_FOR
    async with asyncio.TaskGroup() as group:
        try:
            async for page in listings.iter_due(run.client, now + ahead, later_than=now + SOON):
                await preparing.wait_for_room()
                if current_clock().monotonic() > ends_at:
                    break
                group.create_task(preparing.prepare_page(page.readable))
        except CommerceLayerError as error:
            get_run_logger().warning("what comes due ahead could not be listed: %s", error)


class _Preparing:
    """Prepares pages of subscriptions, a few at the same time."""

    def __init__(self, run: Run, report: Report, prepare: Prepare) -> None:
        self._run, self._report, self._prepare = run, report, prepare
        self._places = asyncio.Semaphore(PAGES_UNDER_WAY)

    async def wait_for_room(self) -> None:
        """Take the place of one page, and wait until the rate limit has room for its first creation."""
        await self._places.acquire()
        while (left := await self._run.client.room_for_creation(0)) > 0:
            await current_clock().sleep(min(left, 1.0))

    async def prepare_page(self, subscriptions: Sequence[OrderSubscription]) -> None:
        """Prepare these subscriptions, and give back the place of their page."""
        try:
            renewals = await self._with_copies(self._plan(subscriptions))
            to_do = await self._wanted([each for each in renewals if not self._is_known(each)])
            async with asyncio.TaskGroup() as group:
                for renewal in to_do:
                    group.create_task(self._prepare_one(renewal))
        except CommerceLayerError as error:
            get_run_logger().warning("%d subscriptions are not prepared: %s", len(subscriptions), error)
        finally:
            self._places.release()

    def _plan(self, subscriptions: Sequence[OrderSubscription]) -> list[Renewal]:
        renewals = []
        for subscription in subscriptions:
            try:
                planned = to_prepare(subscription, self._run.policy, self._run.now())
            except Exception as error:  # noqa: BLE001 - one odd subscription must not stop the others
                get_run_logger().warning("subscription %s cannot be planned ahead: %s", subscription.id, error)
                continue
            if isinstance(planned, Renewal):
                renewals.append(planned)
            elif planned is not None:
                self._note(Preparation.left_alone(planned, subscription))
        return renewals

    async def _with_copies(self, renewals: Sequence[Renewal]) -> list[Renewal]:
        found = await self._run.client.find_order_copies(each.reference for each in renewals)
        made_before = self._run.now() - AGAIN_AFTER
        return [without_failed_copies(each, found[each.reference], made_before) for each in renewals]

    def _is_known(self, renewal: Renewal) -> bool:
        """Whether an earlier sweep has prepared it: then its copies show what will happen."""
        known = known_ahead(next_action(renewal, renewal.found, self._run.as_of))
        if known is not None:
            self._note(preparation_of(renewal, known))
        return known is not None

    async def _wanted(self, renewals: Sequence[Renewal]) -> list[Renewal]:
        """Those that a sweep at their dates would renew, as far as that is known."""
        if not renewals:
            return []
        sources: dict[str, str | None] = {each.subscription_id: each.source_order_id for each in renewals}
        fresh, rivals = await look_at_subscriptions(self._run.client, sources)
        copies = await look_at_copies(self._run.client, renewals)
        wanted = []
        for each in renewals:
            skipped = refusal_of(self._run, each, each.due, fresh, rivals, copies)
            if skipped is None:
                wanted.append(each)
            elif (subscription := fresh.get(each.subscription_id)) is not None:
                self._note(Preparation.left_alone(skipped, subscription))
        return wanted

    async def _prepare_one(self, renewal: Renewal) -> None:
        try:
            self._note(await self._prepare(self._run, renewal))
        except Exception:  # noqa: BLE001 - one renewal's error never stops the others
            get_run_logger().exception("%s could not be prepared", renewal.reference)

    def _note(self, found: Preparation | None) -> None:
        if found is not None:
            self._report.add_preparation(found)
