"""
How a sweep works through its due list: in waves, 25 in each look, with a brake.

`RENEWALS_UNDER_WAY` bounds the memory, even for a very long list.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from functools import partial

from prefect.logging import get_run_logger

from blocks.commerce_layer.clock import current_clock
from blocks.commerce_layer.errors import CommerceLayerError
from blocks.commerce_layer.jsonapi import pages_of
from blocks.commerce_layer.resources import OrderCopy
from blocks.commerce_layer.splitting import read_in_parts
from flows.rules.copy_periods import period_of
from flows.rules.preparing import OutOfDate
from flows.rules.renewal import Renewal, Skipped, SkipReason
from flows.rules.results import RenewalResult
from flows.rules.summaries import RenewalLine
from flows.rules.waves import Brake, BrakePulled, Waves
from flows.run.context import Run
from flows.run.report import Report
from flows.run.unreadable import unreadable_line
from flows.sweep.first_look import Due, FirstLook, take_first_look
from flows.sweep.write_permission import WritePermission
from flows.tasks.record import Recorded, record_skip

Renew = Callable[[Run, Renewal], Awaitable[Recorded]]
"""One renewal from its order copy to its record."""


RENEWALS_UNDER_WAY = 500
"""
How many renewals are worked on at the same time, which bounds the memory.

If each takes 15 s, they are 33 a second: thirty times what the documented limit of 200 writes a minute lets through.
"""

ROOM_SOON = 2.0
"""A page's look begins this many seconds before the rate limit has room: an older look creates useless copies."""

TROUBLES_IN_A_ROW = 3
"""After this many pages in a row whose looks fail, the sweep gives up: then no single page is the cause."""


async def in_waves(run: Run, report: Report, due: Sequence[Due], renew: Renew) -> None:
    """Renew the subscriptions in `due`, a few first, then more, then all; see `Pacing.work_through`."""
    await Pacing(run, report, renew).work_through(due)


class Pacing:
    """Passes over a due list: one over all of it, then more over the subscriptions with another period to make up."""

    def __init__(self, run: Run, report: Report, renew: Renew) -> None:
        self._run, self._report, self._renew = run, report, renew
        self._brake = Brake(run.policy)
        self._permission = WritePermission(run)
        self._under_way = asyncio.Semaphore(RENEWALS_UNDER_WAY)
        self._looking = 0
        self._one_waits_for_room = asyncio.Lock()
        self._troubles: list[Exception] = []
        self._settled: dict[str, datetime] = {}
        self._once_more: list[Due] = []

    async def work_through(self, due: Sequence[Due]) -> None:
        """
        Renew the subscriptions in `due`, a few first, then more, then all.

        Stops when the brake is pulled, or when the looks of several pages in a row fail. Subscriptions that were not
        reached stay due, begun renewals are finished, and the report says why the sweep stopped. One renewal's error
        never stops the others.
        """
        # A subscription may be named twice, but must not be renewed twice at the same time.
        due = list({each.subscription_id: each for each in due}.values())
        while due and not self.is_stopped:
            await self._work_through_once(due)
            due, self._once_more = self._once_more, []
            self._report.expect(len(due))
        if self._given_up:
            self._report.give_up(self._troubles[-1])

    @property
    def is_stopped(self) -> bool:
        """Whether no more renewals may begin: the brake was pulled, or too many looks failed."""
        pulled = self._pulled or self._report.brake
        return pulled is not None or self._given_up

    async def _work_through_once(self, due: Sequence[Due]) -> None:
        waves, done = Waves(self._run.policy, self._brake), 0
        while done < len(due):
            wave = due[done : done + waves.next(len(due) - done)]
            done += len(wave)
            async with asyncio.TaskGroup() as group:
                for page in pages_of(wave):
                    for _ in page:
                        await self._under_way.acquire()
                    if self._must_stop():
                        self._release(len(page))
                        return
                    group.create_task(self._renew_page(page))
            if self._must_stop():
                return

    @property
    def _given_up(self) -> bool:
        return len(self._troubles) >= TROUBLES_IN_A_ROW

    @property
    def _pulled(self) -> BrakePulled | None:
        full = self._run.caps.reached
        return self._brake.pulled or self._permission.brake or (BrakePulled(full) if full else None)

    def _must_stop(self) -> bool:
        pulled = self._pulled
        if pulled is not None:
            self._report.brake_pulled(pulled)
        return self.is_stopped

    def _release(self, count: int) -> None:
        for _ in range(count):
            self._under_way.release()

    async def _renew_page(self, page: Sequence[Due]) -> None:
        left_alone = len(page)
        try:
            renewals = await self._going_on(page)
            left_alone -= len(renewals)
        finally:
            self._release(left_alone)
        async with asyncio.TaskGroup() as renewing:
            for renewal in renewals:
                renewing.create_task(self._renew_one(renewal))

    async def _going_on(self, page: Sequence[Due]) -> list[Renewal]:
        """Those of a page that are to be renewed, once the rate limit has room for them."""
        await self._wait_for_room(len(page))
        if self._must_stop():
            return []
        looks = await self._look(page)
        # First: another run may place the order of a moved date until it is withdrawn.
        kept = {key: each for look in looks for key, each in look.out_of_date.items()}
        async with asyncio.TaskGroup() as withdrawing:
            for copy in [copy for look in looks for copy in look.stale]:
                withdrawing.create_task(self._withdraw(copy))
            for subscription_id in list(kept):
                withdrawing.create_task(self._withdraw_out_of_date(kept, subscription_id))
        return await self._permitted(
            [each for look in looks for each in look.renewals if each.subscription_id not in kept]
        )

    async def _permitted(self, renewals: Sequence[Renewal]) -> list[Renewal]:
        """Those whose subscriptions may be written. None, if it turns out that none may be."""
        refused = await self._permission.check(renewals)
        for skipped in refused.values():
            self._report.add((await record_skip(self._run, skipped)).line)
        if self._permission.brake is not None:
            self._must_stop()
            return []
        return [each for each in renewals if each.subscription_id not in refused]

    async def _wait_for_room(self, size: int) -> None:
        """Wait until the rate limit has room, after the pages that looked before."""
        async with self._one_waits_for_room:
            while not self.is_stopped:
                left = await self._run.client.room_for_creation(self._looking) - ROOM_SOON
                if left <= 0:
                    break
                await current_clock().sleep(min(left, 1.0))
            self._looking += size

    async def _look(self, page: Sequence[Due]) -> list[FirstLook]:
        """Look at the page, in parts if one subscription cannot be read: the others are renewed all the same."""
        try:
            if not self._run.caps.is_counted():
                await self._run.caps.count()
            if self._run.caps.reached:
                return []
            parts = await read_in_parts(page, partial(take_first_look, self._run))
            for skipped in [skipped for look in parts.read for skipped in look.skipped]:
                self._report.add((await record_skip(self._run, skipped)).line)
        except CommerceLayerError as error:
            self._note_trouble(page, error)
            return []
        except Exception as error:  # noqa: BLE001 - one page's error never stops the others
            for each in page:
                self._note_unexpected_error(each.subscription_id, None, error)
            return []
        finally:
            self._looking -= len(page)
        for due, reason in parts.unreadable.items():
            self._report.add(unreadable_line(due.subscription_id, due.next_run_at, reason, self._run))
        if parts.trouble is not None:
            self._note_trouble(parts.left, parts.trouble)
        elif parts.read:
            self._troubles.clear()
        return parts.read

    async def _withdraw(self, copy: OrderCopy) -> None:
        await self._run.withdrawals.withdraw(copy.target_order_id or "", "its renewal is no longer wanted")

    async def _withdraw_out_of_date(self, kept: dict[str, OutOfDate], subscription_id: str) -> None:
        """Withdraw the prepared order and remove it from `kept`; else leave its renewal to the next sweep."""
        copy, why, _ = kept[subscription_id]
        if await self._run.withdrawals.withdraw(copy.target_order_id or "", why):
            del kept[subscription_id]
            return
        period = period_of(copy)
        sentence = f"{why}, and its order could not be cancelled; the next sweep decides anew"
        skipped = Skipped(subscription_id, period.due if period else None, SkipReason.OUT_OF_DATE, sentence)
        self._report.add((await record_skip(self._run, skipped)).line)

    async def _renew_one(self, renewal: Renewal) -> None:
        try:
            recorded = await self._renew(self._run, renewal)
        except Exception as error:  # noqa: BLE001 - one renewal's error never stops the others
            self._note_unexpected_error(renewal.subscription_id, renewal.reference, error)
            return
        finally:
            self._under_way.release()
        self._report.add(recorded.line)
        if recorded.result is not None:
            self._brake.note(recorded.result)
            self._brake.note_record(recorded.not_written if recorded.is_refused else None)
            if recorded.not_written is None:
                self._note_what_is_left(recorded.result)
        await self._report.show()

    def _note_what_is_left(self, result: RenewalResult) -> None:
        renewal = result.renewal
        if not result.leaves_more(self._run.as_of):
            return
        # Only later periods count: if another system undoes a record, the sweep must not repeat it for ever.
        before = self._settled.get(renewal.subscription_id)
        if before is None or renewal.due > before:
            self._settled[renewal.subscription_id] = renewal.due
            self._once_more.append(Due(renewal.subscription_id, renewal.source_order_id))

    def _note_trouble(self, page: Sequence[Due], error: CommerceLayerError) -> None:
        get_run_logger().warning("%d subscriptions are left for the next sweep: %s", len(page), error)
        self._troubles.append(error)
        for each in page:
            self._report.add(unreadable_line(each.subscription_id, each.next_run_at, error, self._run))

    def _note_unexpected_error(self, subscription_id: str, reference: str | None, error: Exception) -> None:
        get_run_logger().error("renewal of %s ended unexpectedly", subscription_id, exc_info=error)
        self._brake.note_error(f"{type(error).__name__}: {error}")
        self._report.add(RenewalLine.unexpected_error(subscription_id, reference, error))
