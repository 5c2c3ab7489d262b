"""What the observations of `perennial probe` mean: each is turned into the answer to a question."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum

from blocks.commerce_layer.resources import CustomerPaymentSource, Order, OrderCopy, OrderSubscription
from blocks.commerce_layer.statuses import OrderCopyStatus, OrderStatus, SubscriptionStatus
from flows.rules.cards import is_paid_with
from flows.rules.probing import Found, NoAnswer, Question, Value, not_found_out


@dataclass(frozen=True)
class Cards:
    """The cards with which a probe asks: the source order's, and another one, which is the wallet's newest."""

    of_order: CustomerPaymentSource
    other: CustomerPaymentSource | None = None
    may_be_deleted: bool = False
    """Whether the source order's card may be deleted: the probe has made it, or the merchant offers it."""
    why_no_other: str = ""

    def one_and_other(self) -> tuple[CustomerPaymentSource, CustomerPaymentSource]:
        """Both cards. Raises NoAnswer if there is only one."""
        if self.other is None:
            raise NoAnswer(self.why_no_other)
        return self.of_order, self.other


class Payer(Enum):
    """Which of the two cards an order is paid with."""

    OF_ORDER = "the source order's"
    OTHER = "the other one"
    ANOTHER = "one that is neither of the two"
    NONE = "none"


def payer_of(order: Order, cards: Cards) -> Payer:
    """The card that an order is paid with."""
    if is_paid_with(order, cards.of_order):
        return Payer.OF_ORDER
    if is_paid_with(order, cards.other):
        return Payer.OTHER
    return Payer.NONE if order.payment_source_id is None and not order.payment_source_details else Payer.ANOTHER


def chosen_cards(wallet: Sequence[CustomerPaymentSource], template: Order, spare: str | None) -> Cards:
    """
    Two cards of a wallet, which is sorted by age, the newest first. The older one pays for the source order.

    It is the spare card, which may be deleted, else that of the order that is copied, else the oldest.

    Raises:
        NoAnswer: the wallet is empty, or the spare card cannot be used.
    """
    if not wallet:
        raise NoAnswer("the wallet of the order's customer is empty: save a card at the checkout")
    newest, older = wallet[0], wallet[1:]
    if spare is not None and all(card.id != spare for card in older):
        raise NoAnswer(f"{spare} is no older card in the wallet of the order's customer; its newest is {newest.id}")
    if not older:
        return Cards(newest, why_no_other="the wallet has only one card: save a second one at the checkout")
    wanted = [card for card in older if card.id == spare or (spare is None and is_paid_with(template, card))]
    return Cards((wanted or [older[-1]])[0], newest, may_be_deleted=spare is not None)


def copy_pays(with_order_card: Payer, with_other_card: Payer) -> Found:
    """Who pays for a copy: two copies, with either card on the subscription of the source order."""
    match with_order_card, with_other_card:
        case Payer.OF_ORDER, Payer.OF_ORDER:
            return Found(Question.COPY_PAYS, "the source order's", "source-order")
        case Payer.OF_ORDER, Payer.OTHER:
            return Found(Question.COPY_PAYS, "the subscription's", "subscription")
        case Payer.OTHER | Payer.ANOTHER, Payer.OTHER | Payer.ANOTHER:
            return Found(Question.COPY_PAYS, "the newest of the wallet", "newest")
    return not_found_out(
        Question.COPY_PAYS, f"one copy is paid with {with_order_card.value}, the other with {with_other_card.value}"
    )


def missing_card(payer: Payer, usual: Value | None) -> Found:
    """Who pays for a copy once the card of its source order and of its subscription is gone."""
    if usual == "newest":
        return not_found_out(Question.MISSING_CARD, "the newest card pays anyway")
    match payer:
        case Payer.NONE:
            return Found(Question.MISSING_CARD, "none: its order stays unpaid", "pending")
        case Payer.OTHER | Payer.ANOTHER:
            return Found(Question.MISSING_CARD, "the newest of the wallet pays", "newest")
    return not_found_out(Question.MISSING_CARD, "the order still shows the card that was deleted")


def native_pays(payer: Payer) -> Found:
    """Who pays for a run of a subscription that has the other card."""
    match payer:
        case Payer.OF_ORDER:
            return Found(Question.NATIVE_PAYS, "the source order's", "source-order")
        case Payer.OTHER:
            return Found(Question.NATIVE_PAYS, "the subscription's", "subscription")
    return not_found_out(Question.NATIVE_PAYS, f"the run's order is paid with {payer.value}")


def created_card(subscription: OrderSubscription, cards: Cards) -> Found:
    """Whether a new subscription has the card of its source order."""
    card = subscription.customer_payment_source
    if subscription.customer_payment_source_id is None:
        return Found(Question.CREATED_CARD, "none", "none")
    of_order = cards.of_order
    tokens = {of_order.payment_source_token, of_order.payment_source_id} - {None}
    same = card is not None and bool({card.payment_source_token, card.payment_source_id} & tokens)
    if same or subscription.customer_payment_source_id == of_order.id:
        return Found(Question.CREATED_CARD, "the source order's", "source-order")
    return not_found_out(Question.CREATED_CARD, "it has a card, but not the source order's")


def failed_target(copy: OrderCopy) -> Found:
    """The status of the order that a copy left that could not place it."""
    order = copy.target_order
    if copy.status is not OrderCopyStatus.FAILED:
        said = f"a copy with nothing to pay with did not fail: it is {copy.raw_status}"
        return not_found_out(Question.FAILED_TARGET, said)
    if order is None:
        return not_found_out(Question.FAILED_TARGET, "the failed copy has left no order")
    if order.status not in {OrderStatus.PENDING, OrderStatus.DRAFT}:
        return not_found_out(Question.FAILED_TARGET, f"the order of the failed copy is {order.raw_status}")
    return Found(Question.FAILED_TARGET, order.raw_status, order.raw_status)


def refused_place(order: Order, mark: str) -> Found:
    """Whether the metadata of a placing that was refused are on the order."""
    if mark in order.metadata:
        return Found(Question.REFUSED_PLACE, "it keeps them", "keeps")
    return Found(Question.REFUSED_PLACE, "no", "rolls-back")


def charged(times: int) -> Found:
    """Whether placing an order three times has charged it once."""
    if not times:
        return not_found_out(Question.PLACED_TWICE, "the order shows no authorizations and no captures")
    if times == 1:
        return Found(Question.PLACED_TWICE, "yes", "charges-once")
    said = f"no: it shows {times} authorizations or captures"
    return Found(Question.PLACED_TWICE, said, "charges-again", is_wrong=True)


def shows_card(order: Order, card: CustomerPaymentSource) -> Found:
    """Whether an unplaced order that was told another card shows that one."""
    if is_paid_with(order, card):
        return Found(Question.SHOWS_CARD, "yes", "token")
    said = "no: the card is set before each attempt, which costs one more write"
    return Found(Question.SHOWS_CARD, said, "nothing")


def shows_refusal(before: Order, after: Order) -> Found:
    """Whether an order whose placing was refused looks otherwise than before."""
    if (after.errors_count or 0) > (before.errors_count or 0) or after.updated_at != before.updated_at:
        return Found(Question.SHOWS_REFUSAL, "yes", "error")
    return Found(Question.SHOWS_REFUSAL, "no: leave prepare_ahead off", "nothing")


def copying_changes(before: Order, after: Order) -> Found:
    """Whether copying an order has changed it."""
    if before.updated_at == after.updated_at:
        return Found(Question.COPY_CHANGES, "yes", "unchanged")
    return Found(Question.COPY_CHANGES, "no: with prepare_ahead, each order is copied again when it is due", "changes")


def write_counters(used: int | None, sent: int) -> Found:
    """
    How writes are counted: `used` is what the headers of a deletion say, `sent` how many writes preceded it at once.

    Other programs at the same address can only make `used` larger, and delete little.
    """
    if used is None:
        return not_found_out(Question.WRITE_COUNTERS, "the answers have no X-Ratelimit-* headers")
    if used < sent:
        return Found(Question.WRITE_COUNTERS, "no, each method by itself", "per-method")
    return Found(Question.WRITE_COUNTERS, "yes", "shared")


def seconds_until(question: Question, seconds: Sequence[float]) -> Found:
    """The longest of some times until something could be read."""
    if not seconds:
        return not_found_out(question, "no copy could be read in time")
    longest = round(max(seconds), 1)
    return Found(question, f"after {longest:g} s at the most" if longest else "at once", longest)


def durations(copies: Iterable[OrderCopy], late: float) -> list[Found]:
    """How long copies took. `late`: how long they could not be read, a time in which they do not wait for a worker."""
    ended = [copy for copy in copies if copy.created_at and copy.started_at and (copy.completed_at or copy.failed_at)]
    if not ended:
        nothing = "no copy shows when it started and ended"
        return [not_found_out(each, nothing) for each in (Question.QUEUE, Question.COPYING, Question.SPREAD)]
    waits = [_between(copy.created_at, copy.started_at) - late for copy in ended]
    takes = [_between(copy.started_at, copy.completed_at or copy.failed_at) for copy in ended]
    mean = sum(takes) / len(takes)
    spread = min(1.0, (max(takes) - min(takes)) / 2 / mean) if mean else 0.0
    of = f"{len(ended)} copies"
    wait = max(0.0, sum(waits) / len(waits))
    return [
        Found(Question.QUEUE, f"{wait:.2g} s on average of {of}", round(wait, 2)),
        Found(Question.COPYING, f"{mean:.2g} s on average of {of}", round(mean, 2)),
        Found(Question.SPREAD, f"{spread:.0%}", round(spread, 2)),
    ]


def without_card(subscription: OrderSubscription) -> Found:
    """Whether a subscription that no card can pay is pending."""
    is_pending = subscription.status is SubscriptionStatus.PENDING
    return Found(Question.WITHOUT_CARD, "yes" if is_pending else "no", "on" if is_pending else "off")


def failing_run(subscription: OrderSubscription) -> list[Found]:
    """What a run without anything to pay with has shown."""
    pending = without_card(subscription)
    if pending.value == "on":
        return [pending, not_found_out(Question.OCCURRENCIES, "no run failed: the subscription is pending")]
    if subscription.succeeded_on_last_run:
        paid = "the run without a card did not fail"
        return [not_found_out(each, paid) for each in (Question.WITHOUT_CARD, Question.OCCURRENCIES)]
    counted = subscription.occurrencies > 0
    said = "all runs" if counted else "those that succeed"
    return [pending, Found(Question.OCCURRENCIES, said, "runs" if counted else "successes")]


def past_expiry(subscription: OrderSubscription) -> Found:
    """The status of a subscription that was active until it expired."""
    if subscription.status is SubscriptionStatus.ACTIVE:
        return Found(Question.PAST_EXPIRY, "it stays active", "keeps")
    if subscription.status is SubscriptionStatus.INACTIVE:
        return Found(Question.PAST_EXPIRY, "it becomes inactive", "inactive")
    return not_found_out(Question.PAST_EXPIRY, f"it is {subscription.raw_status}")


def place_of_mode(resource: object) -> Found:
    """Where an answer says `mode`: at the resource, or at the document. `resource`: the `meta` of the resource."""
    if isinstance(resource, dict) and "mode" in resource:
        return Found(Question.META, "at the resource", "resource")
    return Found(Question.META, "at the document", "document")


def _between(start: datetime | None, end: datetime | None) -> float:
    assert start is not None
    assert end is not None
    return (end - start) / timedelta(seconds=1)
