"""
The reads of a preflight: everything that sweeps will work on until an instant, looked at as they will look at it.

It sends the same reads as the first look, and a few more for 25 subscriptions: their source orders, their cards, and
the copies of later periods. It changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial
from itertools import takewhile
from zoneinfo import ZoneInfo

from blocks.commerce_layer import listings
from blocks.commerce_layer.credentials import CommerceLayerCredentials
from blocks.commerce_layer.errors import CommerceLayerError
from blocks.commerce_layer.pages import Page
from blocks.commerce_layer.placed_orders import iter_placed_orders
from blocks.commerce_layer.rate_limit.rate_limits import Windows
from blocks.commerce_layer.resources import CustomerPaymentSource, Order, OrderCopy, OrderSubscription
from blocks.commerce_layer.splitting import read_in_parts
from blocks.commerce_layer.wallets import cards_by_id, wallet_of
from flows.rules.calendar_warnings import calendar_warnings
from flows.rules.caps import Charged, has_caps, start_of_day
from flows.rules.cards import card_in
from flows.rules.dashboard_links import Dashboard
from flows.rules.predictions import Expected, Known, Prediction, left_alone, predict, waiting_for
from flows.rules.preflight import Preflight
from flows.rules.preflight_limits import brake_expected, time_needed, within_caps
from flows.rules.preparing import OutOfDate
from flows.rules.price import Price
from flows.rules.renewal import Renewal, Skipped, SkipReason, plan
from flows.rules.upcoming import UpcomingRenewal, upcoming_renewals
from flows.run.context import Run
from flows.sweep.first_look import Due, FirstLook, take_first_look

Tell = Callable[[int], None]
"""Called with the number of subscriptions that were looked at so far."""


async def look_ahead(run: Run, until: datetime, tell: Tell = lambda _: None) -> Preflight:
    """
    What sweeps until `until` (UTC, not included) will do, if they begin now.

    Raises:
        CommerceLayerError: the shop cannot be read.
    """
    looking = _LookingAhead(run, until)
    async for page in listings.iter_due(run.client, until):
        await looking.at(page)
        tell(looking.seen)
    zone, windows = ZoneInfo(run.policy.time_zone), await _limit_of_writes(run)
    found, caps = within_caps(looking.found, run.policy, await _charged_today(run), run.as_of, until)
    switch = await run.stop_switch.look()
    return Preflight(
        run.as_of, until, zone, Dashboard(run.organization, (await run.client.claims()).mode), looking.seen, found,
        time_needed(found, run.policy, windows), caps, brake_expected(found, run.policy),
        switch.sentence if switch.is_stopped else None,
        tuple(looking.unread),
    )  # fmt: skip


async def _limit_of_writes(run: Run) -> Windows | None:
    block: CommerceLayerCredentials = await CommerceLayerCredentials.aload(run.credentials_name)
    return None if block.rate_limits.unlimited else block.rate_limits.window_of("write", block.mode)


async def _charged_today(run: Run) -> Charged:
    charged = Charged()
    if has_caps(run.policy):
        since = start_of_day(run.now(), ZoneInfo(run.policy.time_zone))
        async for page in iter_placed_orders(run.client, since):
            charged += Charged.of(map(Price.of, page))
    return charged


class _LookingAhead:
    """What was found so far."""

    def __init__(self, run: Run, until: datetime) -> None:
        self._run, self._until = run, until
        self.seen = 0
        self.found: list[Prediction] = []
        self.unread: set[str] = set()

    async def at(self, page: Page[OrderSubscription]) -> None:
        """Look at the subscriptions of one page."""
        self.seen += len(page.readable) + len(page.unreadable)
        for unreadable, error in page.unreadable.items():
            self._unreadable(unreadable, page.dates.get(unreadable), error)
        coming = {each.id: periods for each in page.readable if (periods := self._coming(each))}
        listed = {each.id: each for each in page.readable if each.id in coming}
        due = [Due(each.id, each.source_order_id, each.next_run_at, coming[each.id][0].at) for each in listed.values()]
        parts = await read_in_parts(due, partial(take_first_look, self._run))
        if parts.trouble is not None:
            raise parts.trouble
        for unread, error in parts.unreadable.items():
            self._unreadable(unread.subscription_id, unread.next_run_at, error)
        for look in parts.read:
            await self._take_in(look, listed, coming)

    def _coming(self, subscription: OrderSubscription) -> list[UpcomingRenewal]:
        """Its periods until the end. One that will never be renewed without a person is noted, too."""
        run = self._run
        try:
            upcoming = upcoming_renewals(subscription, run.policy, run.as_of)
            coming = list(takewhile(lambda each: each.at < self._until, upcoming))
            answer = None if coming else plan(subscription, run.policy, run.as_of)
        except Exception as error:  # noqa: BLE001 - one odd subscription must not hide the others
            said = f"it cannot be planned: {type(error).__name__}: {error}"
            answer, coming = Skipped(subscription.id, None, SkipReason.NOT_READABLE, said), []
        if isinstance(answer, Skipped) and (answer.reason.needs_person or answer.reason is SkipReason.NOT_READABLE):
            self.found.append(left_alone(answer, run.as_of, subscription.customer_email))
        return coming

    async def _take_in(
        self, look: FirstLook, listed: Mapping[str, OrderSubscription], coming: Mapping[str, Sequence[UpcomingRenewal]]
    ) -> None:
        for skipped in look.skipped:
            one, first = listed[skipped.subscription_id], coming[skipped.subscription_id][0]
            # One that is paused, say, has nothing to do: it is no renewal.
            if skipped.reason.leaves_it_open:
                self.found.append(left_alone(skipped, first.at, one.customer_email))
        renewals = [_with_its_prepared_copy(each, look.out_of_date.get(each.subscription_id)) for each in look.renewals]
        known = await self._known([(each, listed[each.subscription_id]) for each in renewals])
        later = [each for renewal in renewals for each in self._later(renewal, coming)]
        copies = await self._run.client.find_order_copies(each.reference for each in later) if later else {}
        for renewal in renewals:
            self._predict(renewal, known[renewal.subscription_id], coming[renewal.subscription_id], copies)

    def _predict(
        self,
        renewal: Renewal,
        known: Known,
        coming: Sequence[UpcomingRenewal],
        copies: Mapping[str, Sequence[OrderCopy]],
    ) -> None:
        warnings = tuple(calendar_warnings(renewal.schedule, self._run.as_of, self._until))
        before = predict(renewal, known, coming[0].at, warnings)
        self.found.append(before)
        for each in coming[1:]:
            following = renewal.for_due(each.due)
            following = replace(following, found=tuple(copies.get(following.reference, ())), warnings=())
            if before.expected is Expected.RENEWED:
                before = predict(following, known, each.at)
            else:
                before = waiting_for(before, following, each.at)
            self.found.append(before)

    @staticmethod
    def _later(renewal: Renewal, coming: Mapping[str, Sequence[UpcomingRenewal]]) -> list[Renewal]:
        return [renewal.for_due(each.due) for each in coming[renewal.subscription_id][1:]]

    # --- what is known beside the copies --------------------------------------------------------

    async def _known(self, renewals: Sequence[tuple[Renewal, OrderSubscription]]) -> dict[str, Known]:
        client = self._run.client
        sources = sorted({renewal.source_order_id for renewal, _ in renewals})
        parts = await read_in_parts(sources, client.get_orders)
        if parts.trouble is not None:
            raise parts.trouble
        orders = {order_id: order for part in parts.read for order_id, order in part.items()}
        for source, error in parts.unreadable.items():
            self.unread.add(f"source order {source} cannot be read ({error})")
        cards = await self._cards(subscription for _, subscription in renewals)
        return {
            renewal.subscription_id: await self._known_of(renewal, subscription, orders, set(parts.unreadable), cards)
            for renewal, subscription in renewals
        }

    async def _known_of(
        self,
        renewal: Renewal,
        subscription: OrderSubscription,
        orders: Mapping[str, Order],
        unreadable: set[str],
        cards: Mapping[str, CustomerPaymentSource] | None,
    ) -> Known:
        source = orders.get(renewal.source_order_id)
        is_gone = source is None and renewal.source_order_id not in unreadable
        if cards is None:
            return Known(subscription, source, is_gone, is_card_known=False)
        if (chosen := subscription.customer_payment_source_id) is not None:
            return Known(subscription, source, is_gone, cards.get(chosen))
        if source is None or source.payment_source_id is None or subscription.customer_email is None:
            return Known(subscription, source, is_gone, is_card_known=False)
        return await self._without_a_card(subscription, source)

    async def _without_a_card(self, subscription: OrderSubscription, source: Order) -> Known:
        """A copy is paid with the source order's card, if that is still in the wallet."""
        try:
            wallet = await wallet_of(self._run.client, subscription.customer_email or "")
        except CommerceLayerError as error:
            self.unread.add(f"wallets cannot be read ({error})")
            return Known(subscription, source, is_card_known=False)
        found = card_in(wallet, source)
        return Known(subscription, source, card=next((each for each in wallet if each.id == found), None))

    async def _cards(self, subscriptions: Iterable[OrderSubscription]) -> dict[str, CustomerPaymentSource] | None:
        ids = [each.customer_payment_source_id for each in subscriptions if each.customer_payment_source_id]
        try:
            return await cards_by_id(self._run.client, ids)
        except CommerceLayerError as error:
            self.unread.add(f"cards cannot be read ({error})")
            return None

    def _unreadable(self, subscription_id: str, due: datetime | None, error: CommerceLayerError) -> None:
        skipped = Skipped(subscription_id, due, SkipReason.NOT_READABLE, f"it cannot be read: {error}")
        self.found.append(left_alone(skipped, max(self._run.as_of, due or self._run.as_of), None))


def _with_its_prepared_copy(renewal: Renewal, outdated: OutOfDate | None) -> Renewal:
    """The renewal with the copy that a sweep would withdraw for its price: the new one will cost the same."""
    if outdated is None or outdated.is_of_other_terms:
        return renewal
    return replace(renewal, found=(*renewal.found, outdated.copy))
