"""
How a sweep works through its due list: in waves, a stretch at a time, 25 in each look, with a brake.

A stretch is a few chunks whose leases are taken together: asking Prefect for leases is the dearest request of
a sweep, and neighbours share their shards. Creating and waiting overlap: while one stretch creates, earlier
ones wait for their copies. What is in memory is bounded by `CHUNKS_UNDER_WAY`, however long the list is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack
from datetime import datetime

from prefect.logging import get_run_logger

from blocks.commerce_layer.clock import current_clock
from blocks.commerce_layer.errors import CommerceLayerError
from flows.rules.references import shard_of
from flows.rules.renewal import Renewal, Skipped, SkipReason
from flows.rules.summaries import RenewalLine
from flows.rules.verdicts import Judgement
from flows.rules.waves import Brake, Waves
from flows.tasks.copies import create_order_copy, poll_order_copy
from flows.tasks.door import Door, Step, open_door
from flows.tasks.leases import NoLease
from flows.tasks.ledger import announce_skip, record_outcome, record_skip
from flows.tasks.prompt_client import passed
from flows.tasks.reports import Report
from flows.tasks.shop import Shop
from flows.tasks.states import run

CHUNK = 25
"""Renewals that share their looks: as many as one list call can ask for."""

STRETCH = 4 * CHUNK
"""Renewals that share their leases. At the test environment's limit a stretch holds them for two minutes."""

LONG_STRETCH = 5 * STRETCH
"""The same, after a stretch that took less than `SHORT_TIME`: where no limit is, leases are what takes the time."""

SHORT_TIME = 10.0
"""Seconds: a stretch five times as long then holds its leases for less than one of the usual length may."""

STRETCHES_WITH_LEASES = 2
"""Stretches that hold leases at the same time: one creates, the other has just taken its own."""

DOORS_AT_ONCE = 4
"""Chunks that look and create at the same time: enough to keep the budget busy while one waits for a lost answer."""

CHUNKS_UNDER_WAY = 60
"""Chunks that create or wait for their copies at the same time: 1,500 renewals, which bounds the memory."""

ROOM_SOON = 2.0
"""Seconds before a place comes free at which a chunk begins to look: what is seen too early is read again."""

BUSY_WITHIN = 120.0
"""Seconds within which leases are refused when Prefect is busy; who waits for another run waits longer than this."""

TROUBLES_IN_A_ROW = 3
"""Chunks whose looks fail one after the other before the sweep gives up: then it is not one chunk's fault."""


class Sweep:
    """One pass over a frozen due list, and one more over whoever has another period to make up, until nobody has."""

    def __init__(self, shop: Shop, report: Report) -> None:
        self._shop = shop
        self._report = report
        self._brake = Brake(shop.terms)
        self._doors = asyncio.Semaphore(DOORS_AT_ONCE)
        self._with_leases = asyncio.Semaphore(STRETCHES_WITH_LEASES)
        self._under_way = asyncio.Semaphore(CHUNKS_UNDER_WAY)
        self._stretch = STRETCH
        self._not_created: set[str] = set()
        self._one_waits_for_room = asyncio.Lock()
        self._troubles: list[Exception] = []
        self._settled: dict[str, datetime] = {}
        self._once_more: list[str] = []

    async def renew(self, due: Sequence[str]) -> None:
        """
        Renew the subscriptions with these ids, a few first, then more, then all.

        Stops creating when the brake is pulled, or when the looks of several chunks in a row failed; whoever was
        not reached stays due. What was begun is finished, and the report says why it stopped. One renewal's error
        never stops the others.
        """
        # Named twice, somebody would be looked up and copied by two chunks side by side.
        due = list(dict.fromkeys(due))
        while due and not self.is_stopped:
            await self._go_through(due)
            due, self._once_more = self._once_more, []
            self._report.expect(len(due))
        if self._given_up:
            self._report.give_up(self._troubles[-1])

    @property
    def is_stopped(self) -> bool:
        """Whether nobody may go on with the list: the brake was pulled, or nothing can be looked up any more."""
        return self._brake.verdict() is not None or self._given_up

    async def _go_through(self, due: Sequence[str]) -> None:
        waves, done = Waves(self._shop.terms, self._brake), 0
        while done < len(due):
            wave = due[done : done + waves.next(len(due) - done)]
            done += len(wave)
            async with asyncio.TaskGroup() as group:
                await self._renew_wave(_in_shards(wave), group)
            if self._must_stop():
                return

    async def _renew_wave(self, wave: Sequence[str], group: asyncio.TaskGroup) -> None:
        done = 0
        while done < len(wave):
            # Cut off no earlier than it can begin: only then it is known how long the last one took.
            await self._with_leases.acquire()
            stretch = wave[done : done + self._stretch]
            done += len(stretch)
            for _ in _parts_of(stretch, CHUNK):
                await self._under_way.acquire()
            group.create_task(self._renew_stretch(stretch))
            if self._must_stop():
                return

    @property
    def _given_up(self) -> bool:
        return len(self._troubles) >= TROUBLES_IN_A_ROW

    def _must_stop(self) -> bool:
        pulled = self._brake.verdict()
        if pulled is not None:
            self._report.brake_pulled(pulled)
        return self.is_stopped

    async def _renew_stretch(self, subscription_ids: Sequence[str]) -> None:
        try:
            async with asyncio.TaskGroup() as finishing:
                try:
                    await self._create_stretch(subscription_ids, finishing)
                finally:
                    self._with_leases.release()
        finally:
            for _ in _parts_of(subscription_ids, CHUNK):
                self._under_way.release()

    async def _create_stretch(self, subscription_ids: Sequence[str], finishing: asyncio.TaskGroup) -> None:
        if self._must_stop():
            return
        began_at = passed()
        try:
            async with AsyncExitStack() as leases:
                await self._take_leases(subscription_ids, leases)
                chunks = _parts_of(subscription_ids, CHUNK)
                await asyncio.gather(*(self._create_chunk(chunk, finishing) for chunk in chunks))
        except NoLease as error:
            self._note_trouble(subscription_ids, error)
        except Exception as error:  # noqa: BLE001 - one stretch's error never stops the others
            self._note_surprises(subscription_ids, error)
        size = len(subscription_ids)
        was_quick = size >= STRETCH and passed() - began_at < SHORT_TIME * size / STRETCH
        self._stretch = LONG_STRETCH if was_quick else STRETCH

    async def _take_leases(self, subscription_ids: Sequence[str], stack: AsyncExitStack) -> None:
        shards = {shard_of(each) for each in subscription_ids}
        began_at = passed()
        try:
            await stack.enter_async_context(self._shop.leases.holding(shards))
        except NoLease as error:
            # Refused quickly means that Prefect was too busy, not that another run is writing: worth a second try.
            if passed() - began_at > BUSY_WITHIN:
                raise
            get_run_logger().info("asking for the leases of a stretch once more: %s", error)
            await stack.enter_async_context(self._shop.leases.holding(shards))

    async def _create_chunk(self, subscription_ids: Sequence[str], finishing: asyncio.TaskGroup) -> None:
        async with self._doors:
            await self._wait_for_room(subscription_ids)
            if self._must_stop():
                return
            steps: list[Step[Renewal] | None] = []
            try:
                async with open_door(self._shop, subscription_ids) as door:
                    self._troubles.clear()
                    for skipped in door.skipped:
                        await self._leave_alone(skipped)
                    steps = await asyncio.gather(*(self._create(door, renewal) for renewal in door.renewals))
            except (CommerceLayerError, NoLease) as error:
                self._note_trouble(() if steps else subscription_ids, error)
            except Exception as error:  # noqa: BLE001 - one chunk's error never stops the others
                self._note_surprises(() if steps else subscription_ids, error)
            finally:
                self._not_created.difference_update(subscription_ids)
        for step in steps:
            if step is not None:
                finishing.create_task(self._finish(step))

    async def _wait_for_room(self, subscription_ids: Sequence[str]) -> None:
        """Look no earlier than the budget has room, after those who looked before: looks are good for ten seconds."""
        async with self._one_waits_for_room:
            while not self.is_stopped:
                left = await self._shop.client.room_for_creation(len(self._not_created)) - ROOM_SOON
                if left <= 0:
                    break
                await current_clock().sleep(min(left, 1.0))
            self._not_created.update(subscription_ids)

    async def _leave_alone(self, skipped: Skipped) -> None:
        line = RenewalLine.of(skipped)
        announce_skip(self._shop, skipped)
        try:
            await record_skip(self._shop, skipped)
        except CommerceLayerError as error:
            line = line.model_copy(update={"sentence": f"{line.sentence}; not recorded yet ({error})"})
        self._report.add(line)

    async def _create(self, door: Door, renewal: Renewal) -> Step[Renewal] | None:
        try:
            return await run(create_order_copy, door, renewal)
        except Exception as error:  # noqa: BLE001 - one renewal's error never stops the others
            self._note_surprise(renewal.subscription_id, renewal.reference, error)
            return None
        finally:
            self._not_created.discard(renewal.subscription_id)

    async def _finish(self, step: Step[Renewal]) -> None:
        if step.skipped is not None:
            await self._leave_alone(step.skipped)
            return
        try:
            evidence = await run(poll_order_copy, self._shop, step)
            recorded = await run(record_outcome, self._shop, step, evidence)
        except Exception as error:  # noqa: BLE001 - as above
            self._note_surprise(step.work.subscription_id, step.reference, error)
            return
        self._brake.note(recorded.judgement)
        self._report.add(recorded.line)
        if recorded.not_written is None:
            self._note_what_is_left(recorded.judgement)
        await self._report.show()

    def _note_what_is_left(self, judgement: Judgement) -> None:
        renewal = judgement.renewal
        if not judgement.leaves_more(self._shop.as_of):
            return
        # Only ever further: a record that somebody else has undone must not keep us here for ever.
        before = self._settled.get(renewal.subscription_id)
        if before is None or renewal.due > before:
            self._settled[renewal.subscription_id] = renewal.due
            self._once_more.append(renewal.subscription_id)

    def _note_trouble(self, subscription_ids: Sequence[str], error: CommerceLayerError | NoLease) -> None:
        get_run_logger().warning("%d subscriptions are left for the next sweep: %s", len(subscription_ids), error)
        self._troubles.append(error)
        reason = SkipReason.BUSY if isinstance(error, NoLease) else SkipReason.NOT_READABLE
        for subscription_id in subscription_ids:
            self._report.add(RenewalLine.of(Skipped(subscription_id, None, reason, str(error))))

    def _note_surprises(self, subscription_ids: Sequence[str], error: Exception) -> None:
        for subscription_id in subscription_ids:
            self._note_surprise(subscription_id, None, error)

    def _note_surprise(self, subscription_id: str, reference: str | None, error: Exception) -> None:
        get_run_logger().error("renewal of %s ended unexpectedly", subscription_id, exc_info=error)
        self._brake.note_error(f"{type(error).__name__}: {error}")
        self._report.add(RenewalLine.surprised(subscription_id, reference, error))


def _in_shards(wave: Sequence[str]) -> Sequence[str]:
    # Neighbours share a shard, so a stretch needs few leases.
    return sorted(wave, key=lambda each: (shard_of(each), each))


def _parts_of(ids: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    for start in range(0, len(ids), size):
        yield ids[start : start + size]
