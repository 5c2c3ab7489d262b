"""What a probe has made and found out, and how it makes a copy and watches it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

from blocks.commerce_layer.clock import current_clock
from blocks.commerce_layer.errors import CommerceLayerError, NotFound
from blocks.commerce_layer.probing import ProbedShop
from blocks.commerce_layer.resources import Order, OrderCopy, OrderSubscription
from flows.rules import observations
from flows.rules.observations import Cards, Payer
from flows.rules.probing import Found, NoAnswer, Question, not_found_out

T = TypeVar("T")

FIRST_PAUSE, GROWTH, LONGEST_PAUSE = 0.25, 1.2, 2.0
"""Seconds between two looks: they grow, so that short times are measured precisely with few reads."""

LONGEST = 120.0
"""Seconds after which a copy is given up that cannot be read, is not listed, or does not end."""

MEASURED = 3
"""How many copies are looked for in lists."""


class ProbeWork:
    """One probe: what it has made so far, and what it has found out."""

    def __init__(self, shop: ProbedShop, progress: Callable[[str], None]) -> None:
        self.shop, self.progress = shop, progress
        self.found: dict[Question, Found] = {}
        self.copies: list[str] = []
        self.orders: list[str] = []
        self.subscriptions: list[str] = []
        self.cards: list[str] = []
        self.source_order_id: str | None = None
        self.ended: list[OrderCopy] = []
        self.lags: list[float] = []
        self.delays: list[float] = []

    def note(self, *answers: Found) -> None:
        """Keep what was found out."""
        self.found |= {each.question: each for each in answers}

    @contextmanager
    def asking(self, *questions: Question) -> Iterator[None]:
        """Ask these questions. What the shop refuses or does not show is the reason why there is no answer."""
        self.progress(questions[0].value)
        try:
            yield
        except (CommerceLayerError, NoAnswer) as error:
            self.note(*(not_found_out(each, str(error)) for each in questions if each not in self.found))

    def now(self) -> datetime:
        """The present by the shop's clock."""
        return self.shop.client.shop_time or current_clock().now()

    async def subscribe(
        self, *, is_run: bool, starts_at: datetime | None = None, **attributes: Any
    ) -> OrderSubscription:
        """Create a subscription of the probe's own source order."""
        assert self.source_order_id is not None
        made = await self.shop.subscribe(self.source_order_id, is_run=is_run, starts_at=starts_at, **attributes)
        self.subscriptions.append(made.id)
        return made

    def payer_of(self, order: Order, cards: Cards) -> Payer:
        """The card that an order is paid with. Raises NoAnswer if orders of this shop do not show that."""
        payer, shows = observations.payer_of(order, cards), self.found.get(Question.SHOWS_CARD)
        if payer is Payer.ANOTHER and shows is not None and shows.value == "nothing":
            raise NoAnswer("orders do not show which card pays for them")
        return payer

    async def order_of_copy(self, source_order_id: str) -> Order:
        """Copy an order, and wait for the new one, which is unplaced. Raises NoAnswer if the copy ends otherwise."""
        copy = await self.follow(await self.shop.copy(source_order_id))
        if copy.target_order is None:
            raise NoAnswer(f"the copy of order {source_order_id} is {copy.raw_status}: {copy.errors_log}")
        return await self.shop.client.get_order(copy.target_order.id)

    async def follow(self, made: OrderCopy) -> OrderCopy:
        """Watch a copy until it has ended. Raises NoAnswer if that takes too long."""
        self.copies.append(made.id)
        await self._measure(made.id)
        ended = await until(lambda: self.ended_copy(made.id), LONGEST)
        if ended is None:
            raise NoAnswer(f"order copy {made.id} has not ended after {LONGEST:g} s")
        self.ended.append(ended)
        self.orders += [ended.target_order_id] if ended.target_order_id else []
        return ended

    async def _measure(self, copy_id: str) -> None:
        """When a new copy can be read by its id, and when a list shows it. Both times are rather too long."""
        readable = await _when(lambda: self._is_readable(copy_id), since=current_clock().monotonic())
        if readable is None:
            raise NoAnswer(f"order copy {copy_id} could not be read for {LONGEST:g} s")
        self.delays.append(readable.seconds)
        if len(self.lags) < MEASURED:
            listed = await _when(lambda: self.shop.is_listed(copy_id), since=readable.not_before)
            self.lags.append(LONGEST if listed is None else listed.seconds)

    async def _is_readable(self, copy_id: str) -> bool:
        try:
            await self.shop.copy_now(copy_id)
        except NotFound:
            return False
        return True

    async def ended_copy(self, copy_id: str) -> OrderCopy | None:
        """A copy, once it has ended."""
        copy = await self.shop.copy_now(copy_id)
        return copy if copy.is_final else None


async def until(look: Callable[[], Awaitable[T | None]], patience: float) -> T | None:
    """What `look` returns as soon as it returns anything; None if it does not for so many seconds."""
    clock, pause = current_clock(), FIRST_PAUSE
    end = clock.monotonic() + patience
    while (seen := await look()) is None and clock.monotonic() < end:
        await clock.sleep(pause)
        pause = min(pause * GROWTH, LONGEST_PAUSE)
    return seen


@dataclass(frozen=True)
class _Seen:
    """When something became true: seconds after the start, 0 if it was at the first look; and the look before."""

    seconds: float
    not_before: float


async def _when(look: Callable[[], Awaitable[bool]], since: float) -> _Seen | None:
    """When `look` becomes true, in seconds after `since`; None if that takes too long."""
    clock = current_clock()
    last: float | None = None

    async def seen() -> _Seen | None:
        nonlocal last
        moment = clock.monotonic()
        if not await look():
            last = moment
            return None
        return _Seen(0.0, since) if last is None else _Seen(clock.monotonic() - since, last)

    return await until(seen, LONGEST)
