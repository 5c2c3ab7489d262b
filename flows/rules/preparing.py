"""
Preparing renewals: which order copies are made ahead, what they show, and whether they may be used when they are due.

Nothing is charged and nothing recorded ahead. A prepared order is used only if neither its subscription nor its source
order has changed since, and if it costs what it should. Otherwise it is withdrawn, and the order is copied again.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from blocks.commerce_layer.errors import CommerceLayerError
from blocks.commerce_layer.resources import Order, OrderCopy, OrderSubscription
from blocks.policy import Policy
from flows.rules.amounts import money
from flows.rules.cards import is_confirmed, takes_another_card
from flows.rules.failures import Failure, classify_copy, classify_error
from flows.rules.far_dates import end_of
from flows.rules.findings import CopyEnded, HeldBack, NotCreated, StillRunning
from flows.rules.next_action import Conclude, Hold, NextAction, Place, copies_of
from flows.rules.order_copies import is_open
from flows.rules.prepared_copies import SOON, has_failed_ahead, is_untried
from flows.rules.price import expected_price, unexpected
from flows.rules.references import period_text, whole_minute
from flows.rules.renewal import Renewal, Skipped, SkipReason, plan
from flows.rules.skips import Refusal
from flows.rules.state import RenewalState
from flows.rules.unrecorded import made_since

Prepared = Place | CopyEnded | StillRunning | NotCreated | HeldBack
"""How preparing can end: with an order that waits for its date, or without one."""


@dataclass(frozen=True, slots=True)
class Preparation:
    """
    What is known ahead about one renewal, as a person reads it; `due` is UTC.

    `is_ready`: its order exists, and nothing is known that would keep it from being placed. `will_fail`: it fails, or
    waits for a person, unless something changes before it is due. With neither, nothing is known yet.
    """

    subscription_id: str
    due: datetime
    sentence: str
    is_ready: bool = False
    will_fail: bool = False
    failure_class: str | None = None
    customer_email: str | None = None
    order: Order | None = None

    @classmethod
    def left_alone(cls, skipped: Skipped, subscription: OrderSubscription) -> "Preparation | None":
        """What is known of a subscription that cannot be prepared, if a person must act until it is due."""
        if not skipped.reason.needs_person or subscription.next_run_at is None:
            return None
        due = whole_minute(subscription.next_run_at)
        return cls(subscription.id, due, skipped.sentence, will_fail=True, customer_email=subscription.customer_email)

    @property
    def row(self) -> dict[str, str]:
        """Its line in the table."""
        number = self.order.shown_number if self.order else ""
        return {
            "due": period_text(self.due), "why": self.sentence, "class": self.failure_class or "",
            "customer": self.customer_email or "", "order": number,
        }  # fmt: skip


class PreparedAhead(BaseModel):
    """How many renewals that come due soon are prepared, and how many of them are known to fail."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    ready: int = Field(default=0, ge=0)
    """Their orders wait for the date."""
    will_fail: int = Field(default=0, ge=0)
    """They fail, or wait for a person, unless something changes before they are due."""
    not_known: int = Field(default=0, ge=0)
    """Their copies are not done yet; the next sweep looks again."""

    @property
    def sentence(self) -> str:
        """`prepared ahead: 118 ready, 2 will fail`."""
        parts = [(self.ready, "ready"), (self.will_fail, "will fail"), (self.not_known, "not known yet")]
        return "prepared ahead: " + (", ".join(f"{count} {what}" for count, what in parts if count) or "none")


def to_prepare(subscription: OrderSubscription, policy: Policy, now: datetime) -> Renewal | Skipped | None:
    """
    The renewal whose order can be copied ahead, or why the subscription is not renewed; None when there is none.

    It is what a sweep at the date of the subscription will plan. A period that a run has worked on already is none, nor
    one whose copy the first look would not find when it is due.
    """
    if subscription.next_run_at is None or (due := whole_minute(subscription.next_run_at)) <= now + SOON:
        return None
    planned = plan(subscription, policy, due)
    if isinstance(planned, Skipped):
        return planned
    is_begun = planned.state.was_tried or planned.state.outcome is not None
    return None if planned.due != due or is_begun or made_since(planned) > now else planned


def known_ahead(action: NextAction) -> Prepared | None:
    """What the copies of a period show that an earlier sweep has prepared; None when there is something to do."""
    match action:
        case Place():
            return action
        case Conclude(copy):
            return CopyEnded(copy)
        case Hold():
            return HeldBack(action)
    return None


def preparation_of(renewal: Renewal, found: Prepared) -> Preparation:
    """What preparing a renewal has shown."""
    match found:
        case Place(copy, order):
            return _of_order(renewal, copy, order)
        case CopyEnded(copy) if copy.target_order is not None and copy.target_order.is_placed:
            return _ready(renewal, copy.target_order, "placed already")
        case CopyEnded(copy):
            return failing(renewal, classify_copy(copy, renewal.policy))
        case NotCreated(error):
            return _not_created(renewal, error)
        case HeldBack(hold):
            return _of(renewal, hold.sentence, will_fail=hold.until is None or hold.until > renewal.due)
        case StillRunning(copy):
            return _of(renewal, f"order copy {copy.id} is still {copy.raw_status or copy.status}")


def failing(renewal: Renewal, failure: Failure, order: Order | None = None) -> Preparation:
    """What is known of a renewal that will fail in this way."""
    return _of(renewal, failure.in_short, will_fail=True, failure_class=failure.cls.value, order=order)


class OutOfDate(NamedTuple):
    """
    A prepared copy, and why its order must not be used.

    `is_of_other_terms`: the subscription or its source order was changed. Else it is the price, and a new copy will
    cost the same.
    """

    copy: OrderCopy
    why: str
    is_of_other_terms: bool


def out_of_date(renewal: Renewal, subscription: OrderSubscription) -> OutOfDate | None:
    """The prepared copy of a due renewal, if its order must not be used; None when it may, or there is none."""
    copies = copies_of(renewal, renewal.found)
    copy = next(iter(copies.live), None)
    if copies.placed or copies.awaited is not None or copy is None or not is_open(copy) or copy.target_order is None:
        return None
    if not is_untried(copy, renewal.due, renewal.state) or is_confirmed(copy.target_order):
        return None
    changed = of_another_source(renewal, copy) or _changed_since(copy, subscription.updated_at, "the subscription")
    why = changed or _unexpected_price(renewal, copy, copy.target_order)
    return None if why is None else OutOfDate(copy, why, is_of_other_terms=changed is not None)


def of_another_source(renewal: Renewal, copy: OrderCopy) -> str | None:
    """Why a copy does not show the source order as it is now; None when it does, or was not made ahead."""
    if not is_untried(copy, renewal.due, renewal.state):
        return None
    if copy.source_order_id not in {None, renewal.source_order_id}:
        return f"order copy {copy.id} was made of order {copy.source_order_id}, which is not its source order any more"
    return _changed_since(copy, copy.source_order.updated_at if copy.source_order else None, "its source order")


def no_longer_prepared_for(subscription: OrderSubscription, copy: OrderCopy, due: datetime) -> Refusal | None:
    """
    Why no renewal will use the prepared copy of the period `due`; None when one may.

    Its order is withdrawn at once: the customer could still pay it, and no sweep finds it due.
    """
    state = RenewalState.read(subscription.metadata)
    if not is_untried(copy, due, (state or RenewalState()).for_period(due)):
        return None
    if state is None:
        return SkipReason.NOT_ADOPTED, "metadata.perennial was removed: Perennial does not drive it"
    if state.damaged is not None:
        return None
    if state.held:
        return SkipReason.HELD, "the subscription is held for a person"
    return _other_terms(subscription, due)


def _other_terms(subscription: OrderSubscription, due: datetime) -> Refusal | None:
    end, date = end_of(subscription), subscription.next_run_at
    if date is None or whole_minute(date) != due:
        return SkipReason.NOT_DUE, f"its date was moved to {period_text(date) if date else 'none'}"
    if end is not None and end <= due:
        return SkipReason.EXPIRED, "the subscription ends before it is due"
    return None


def without_failed_copies(renewal: Renewal, found: Iterable[OrderCopy], made_before: datetime) -> Renewal:
    """The renewal with its copies, except those that failed ahead so long ago that it is copied once more."""

    def is_old(copy: OrderCopy) -> bool:
        failed = has_failed_ahead(copy, renewal.due, renewal.state)
        return failed and copy.created_at is not None and copy.created_at < made_before

    return replace(renewal, found=tuple(copy for copy in found if not is_old(copy)))


def _of_order(renewal: Renewal, copy: OrderCopy, order: Order) -> Preparation:
    if (price := _unexpected_price(renewal, copy, order)) is not None:
        return _of(renewal, price, will_fail=True, failure_class="catalogue", order=order)
    if not takes_another_card(renewal.policy, renewal.card, order):
        return _ready(renewal, order, "ready")
    if renewal.payment_source_id is not None:
        return _of(renewal, "its order does not show the subscription's card, which is set when it is due", order=order)
    if order.payment_source_id is not None:
        return _ready(renewal, order, "ready")
    missing = "nothing to pay with: neither the subscription nor its order has a payment source"
    return _of(renewal, missing, will_fail=True, failure_class="payment", order=order)


def _ready(renewal: Renewal, order: Order, how: str) -> Preparation:
    cost = money(order.total_amount_with_taxes_cents, order.currency_code)
    return _of(renewal, f"{how}: order {order.shown_number} for {cost}", is_ready=True, order=order)


def _not_created(renewal: Renewal, error: CommerceLayerError) -> Preparation:
    failure = classify_error(error, renewal.policy)
    return failing(renewal, failure) if failure.attempted else _of(renewal, failure.text)


def _of(
    renewal: Renewal, sentence: str, *, is_ready: bool = False, will_fail: bool = False,
    failure_class: str | None = None, order: Order | None = None,
) -> Preparation:  # fmt: skip
    return Preparation(
        renewal.subscription_id,
        renewal.due,
        sentence,
        is_ready,
        will_fail,
        failure_class,
        renewal.customer_email,
        order,
    )


def _changed_since(copy: OrderCopy, updated_at: datetime | None, what: str) -> str | None:
    if copy.created_at is not None and updated_at is not None and updated_at <= copy.created_at:
        return None
    return f"{what} was changed after order copy {copy.id} was made"


def _unexpected_price(renewal: Renewal, copy: OrderCopy, order: Order) -> str | None:
    state = renewal.state
    expected = expected_price(state.price, copy.source_order)
    return unexpected(order, expected, state.price_to_accept, renewal.policy.price_tolerance)
