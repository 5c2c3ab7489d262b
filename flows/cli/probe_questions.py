"""How each question of `perennial probe` is asked: with copies of one order of the probe's own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable
from dataclasses import dataclass
from datetime import timedelta

from blocks.commerce_layer.clock import current_clock
from blocks.commerce_layer.errors import CommerceLayerError, Refused
from blocks.commerce_layer.probing import Template
from blocks.commerce_layer.resources import CustomerPaymentSource, Order
from blocks.commerce_layer.views import WALLET
from blocks.commerce_layer.wallets import wallet_of
from flows.cli.probe_engine import active_subscription, ask_about_a_failing_run, ask_the_engine, wait_for_the_end
from flows.cli.probe_work import LONGEST, ProbeWork, until
from flows.rules import observations
from flows.rules.cards import is_paid_with
from flows.rules.observations import Cards
from flows.rules.probing import NEVER_ASKED, Found, NoAnswer, Question, not_found_out

CHANGES = 8
"""Writes that precede a deletion when counters are compared; other programs at this address hardly delete as much."""

BETWEEN_CARDS = 1.1
"""Seconds, so that it is certain which card is the newest."""

MARK = "perennial_probe_refused"
"""A key of the metadata that a refused placing sets."""


@dataclass(frozen=True)
class Source:
    """The probe's own source order, and the cards of its customer."""

    order: Order
    cards: Cards


async def ask(work: ProbeWork, template: Template, spare_card: str | None, patience: float) -> None:
    """Ask every question once. What the shop does not show stays without an answer."""
    with work.asking(*Question):
        work.note(*(not_found_out(each, why) for each, why in NEVER_ASKED.items()))
        await _ask_where_the_mode_is(work)
        source = await _make_source(work, template, spare_card)
        await _ask_about_a_copy(work, source)
        draft = await _ask_about_a_new_subscription(work, source)
        await _ask_who_pays(work, source, draft)
        await _ask_about_failures(work, source)
        await _ask_about_counters(work)
        ends = await ask_the_engine(work, source.cards, patience)
        await _ask_about_a_missing_card(work, source, draft, patience)
        await wait_for_the_end(work, ends)
        _ask_about_time(work)


async def _ask_where_the_mode_is(work: ProbeWork) -> None:
    await work.shop.require_test()
    work.note(observations.place_of_mode(work.shop.organization["data"].get("meta")))


async def _make_source(work: ProbeWork, template: Template, spare_card: str | None) -> Source:
    """Copy the merchant's order, and place the copy: the source of everything else."""
    order = await work.order_of_copy(template.order.id)
    refusal = None
    async for cards in _cards(work, template, spare_card):
        try:
            await _place_thrice(work, order, cards)
        except Refused as refused:
            refusal = refused
            continue
        work.source_order_id = order.id
        return Source(await work.shop.client.get_order(order.id), cards)
    work.note(Found(Question.PLACED_LATER, f"no: {refusal}", is_wrong=True))
    raise NoAnswer("the order of an unplaced copy could not be placed")


async def _cards(work: ProbeWork, template: Template, spare_card: str | None) -> AsyncIterator[Cards]:
    """Two cards of the probe's own, if the API makes them; then two of the customer's."""
    own = [] if spare_card is not None else await _own_cards(work, template)
    if own:
        yield Cards(own[0], own[1], may_be_deleted=True)
    wallet = [
        card
        for card in await wallet_of(work.shop.client, template.order.customer_email or "")
        if card.id not in work.cards
    ]
    yield observations.chosen_cards(wallet, template.order, spare_card)


async def _own_cards(work: ProbeWork, template: Template) -> list[CustomerPaymentSource]:
    """Two new cards, the newer one last; none if the API lets no integration make them."""
    assert template.customer_id is not None
    made = []
    for _ in range(2):
        try:
            card = await work.shop.add_card(template.customer_id)
        except CommerceLayerError:
            return []
        work.cards.append(card.id)
        made.append(card)
        await current_clock().sleep(BETWEEN_CARDS)
    return made


async def _place_thrice(work: ProbeWork, order: Order, cards: Cards) -> None:
    """Place an order twice at the same time, and once more. Raises Refused if it is not placed."""
    shop = work.shop
    if not is_paid_with(order, cards.of_order):
        await shop.client.use_payment_source(order.id, cards.of_order.id)
    metadata = {**order.metadata, **shop.labels["metadata"]}
    await _both(shop.place(order.id, metadata), shop.place(order.id, metadata))
    if await until(lambda: _placed(work, order.id), LONGEST) is None:
        raise NoAnswer(f"the order was not placed within {LONGEST:g} s")
    work.note(Found(Question.PLACED_LATER, "yes"))
    with work.asking(Question.PLACED_TWICE):
        await shop.place(order.id, metadata)
        work.note(observations.charged(await shop.count_charges(order.id)))


async def _both(*placings: Awaitable[Order]) -> None:
    """Await both. Raises the error of one if both have failed, and at once what is no answer of the shop."""
    ends = await asyncio.gather(*placings, return_exceptions=True)
    errors = [end for end in ends if isinstance(end, BaseException)]
    for error in errors:
        if len(errors) == len(ends) or not isinstance(error, CommerceLayerError):
            raise error


async def _placed(work: ProbeWork, order_id: str) -> Order | None:
    order = await work.shop.client.get_order(order_id)
    return order if order.is_placed else None


async def _ask_about_a_new_subscription(work: ProbeWork, source: Source) -> str | None:
    """Returns the id of a subscription that no engine runs."""
    draft = None
    with work.asking(Question.CREATED_CARD):
        made = await work.subscribe(is_run=False, starts_at=work.now() + timedelta(days=30))
        draft = made.id
        work.note(observations.created_card(made, source.cards))
    with work.asking(Question.EMPTY_PATCH):
        await _change_nothing(work, draft)
    return draft


async def _change_nothing(work: ProbeWork, subscription: str | None) -> None:
    if subscription is None:
        raise NoAnswer("no subscription could be made")
    try:
        await work.shop.change_nothing(subscription)
    except Refused as refused:
        work.note(Found(Question.EMPTY_PATCH, f"no: {refused}", is_wrong=True))
    else:
        work.note(Found(Question.EMPTY_PATCH, "yes"))


async def _ask_about_a_copy(work: ProbeWork, source: Source) -> None:
    """What a copy does to its source order, and whether its order takes another card."""
    with work.asking(Question.SHOWS_CARD, Question.COPY_CHANGES):
        client, other = work.shop.client, source.cards.other
        before = await client.get_order(source.order.id)
        order = await work.order_of_copy(source.order.id)
        work.note(observations.copying_changes(before, await client.get_order(source.order.id)))
        if other is None:
            raise NoAnswer(source.cards.why_no_other)
        other = other if not is_paid_with(order, other) else source.cards.of_order
        work.note(observations.shows_card(await client.use_payment_source(order.id, other.id), other))


async def _ask_who_pays(work: ProbeWork, source: Source, draft: str | None) -> None:
    with work.asking(Question.COPY_PAYS):
        if draft is None:
            raise NoAnswer("no subscription could be made")
        payers = []
        for card in source.cards.one_and_other():
            await work.shop.give_card(draft, card.id)
            order = await work.order_of_copy(source.order.id)
            payers.append(work.payer_of(order, source.cards))
        work.note(observations.copy_pays(*payers))


async def _ask_about_failures(work: ProbeWork, source: Source) -> None:
    """A copy with nothing to pay with, and then a placing of its order."""
    unpayable: Order | None = None
    with work.asking(Question.FAILED_TARGET):
        copy = await work.follow(await work.shop.copy_that_fails(source.order.id))
        unpayable = copy.target_order
        work.note(observations.failed_target(copy))
    with work.asking(Question.REFUSED_PLACE, Question.SHOWS_REFUSAL):
        if unpayable is None or unpayable.is_placed:
            raise NoAnswer("there is no order that cannot be placed")
        try:
            await work.shop.place(unpayable.id, {**unpayable.metadata, MARK: True})
        except Refused:
            order = await work.shop.client.get_order(unpayable.id)
            work.note(observations.refused_place(order, MARK), observations.shows_refusal(unpayable, order))
        else:
            raise NoAnswer("an order with nothing to pay with was placed")


async def _ask_about_counters(work: ProbeWork) -> None:
    with work.asking(Question.WRITE_COUNTERS):
        said, sent = await work.shop.counted_writes(CHANGES)
        work.note(observations.write_counters(said.used if said is not None else None, sent))


async def _ask_about_a_missing_card(work: ProbeWork, source: Source, draft: str | None, patience: float) -> None:
    """Delete the card of the source order and of two subscriptions; then copy the order, and let one of them run."""
    cards = source.cards
    with work.asking(Question.MISSING_CARD, Question.WITHOUT_CARD, Question.OCCURRENCIES):
        if not cards.may_be_deleted:
            raise NoAnswer("no card of the wallet may be deleted: offer an older one with --spare-card")
        failing = await active_subscription(work, cards.of_order)
        if draft is not None:
            await work.shop.give_card(draft, cards.of_order.id)
        await work.shop.delete(WALLET, cards.of_order.id)
        with work.asking(Question.MISSING_CARD):
            payer = work.payer_of(await work.order_of_copy(source.order.id), cards)
            usual = work.found[Question.COPY_PAYS].value
            work.note(observations.missing_card(payer, usual))
        await ask_about_a_failing_run(work, failing, patience)


def _ask_about_time(work: ProbeWork) -> None:
    """What all copies of this probe have shown."""
    late = observations.seconds_until(Question.LATE_CREATIONS, work.delays)
    delay = late.value if isinstance(late.value, float) else 0.0
    work.note(late, observations.seconds_until(Question.LIST_LAG, work.lags))
    work.note(*observations.durations(work.ended, delay))
