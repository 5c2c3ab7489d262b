"""
Open failures: renewals that failed and are not settled yet, and adopted subscriptions that no sweep can renew.

One that was postponed, paused or cancelled is none: its order is withdrawn, and it fails or not on another date.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from enum import IntEnum

from blocks.commerce_layer.resources import Order, OrderSubscription
from blocks.commerce_layer.statuses import SubscriptionStatus
from blocks.policy import FailureClass, Policy
from flows.rules.renewal import Renewal, Skipped, SkipReason, plan
from flows.rules.state import FAILED_BEFORE, KEY, Outcome, RenewalState


class Awaited(IntEnum):
    """What an open failure waits for, the worst first."""

    A_PERSON = 0
    THE_NEXT_SWEEP = 1
    ITS_NEXT_ATTEMPT = 2

    @property
    def in_words(self) -> str:
        """`a person`, `the next sweep`, `its next attempt`."""
        return self.name.lower().replace("_", " ")


@dataclass(frozen=True, slots=True)
class OpenFailure:
    """
    One open failure. All instants are UTC.

    `failure_class` is a failure class, or why it cannot be renewed; `said` are the shop's own words, as they were
    recorded. `attempts_allowed` is how many the policy allows for this class; None unless another one is planned.
    `since` is when the period was due; None where there is none. `amount_cents` is what its order costs, or else the
    source order, in the smallest unit of `currency_code`; None when it is not known.
    """

    subscription_id: str
    awaits: Awaited
    failure_class: str
    what_to_do: str
    said: str = ""
    attempts: int = 0
    attempts_allowed: int | None = None
    next_attempt_at: datetime | None = None
    since: datetime | None = None
    customer_email: str | None = None
    order_id: str | None = None
    order_number: str | None = None
    source_order_id: str | None = None
    amount_cents: int | None = None
    currency_code: str | None = None

    @property
    def priced_by(self) -> str | None:
        """The id of the order that says what is at stake."""
        return self.order_id or self.source_order_id

    def with_order(self, order: Order) -> "OpenFailure":
        """The same with what `order`, the one of `priced_by`, costs. Once its own order is placed, nobody need act."""
        news = replace(self, amount_cents=order.total_amount_with_taxes_cents, currency_code=order.currency_code)
        if order.id != self.order_id:
            return news
        news = replace(news, order_number=order.number)
        if not order.is_placed or self.failure_class not in set(FailureClass):
            return news
        said = f"its order {order.shown_number} is placed: the next sweep records it"
        return replace(news, awaits=Awaited.THE_NEXT_SWEEP, what_to_do=said, next_attempt_at=None)


def open_failure(subscription: OrderSubscription, policy: Policy, as_of: datetime) -> OpenFailure | None:
    """The open failure of a subscription at `as_of`, by the merchant's `policy`; None when it has none."""
    if subscription.status is SubscriptionStatus.CANCELLED:
        return None
    planned = plan(subscription, policy, as_of)
    state = RenewalState.read(subscription.metadata) or RenewalState()
    if isinstance(planned, Renewal):
        return _of_renewal(subscription, planned, as_of)
    if planned.reason is SkipReason.HELD:
        what_to_do = _how_to_release(subscription.id, state)
        return _described(subscription, state, Awaited.A_PERSON, _class_of(state), what_to_do, planned.due)
    if planned.reason.needs_person and _is_concerned(subscription, as_of):
        cls = planned.reason.value.replace("_", " ")
        return _described(subscription, state, Awaited.A_PERSON, cls, planned.sentence, planned.due)
    if planned.reason is SkipReason.RETRY_NOT_DUE:
        return _of_retry(subscription, state, planned, policy)
    return None


def unreadable_failure(subscription_id: str, error: Exception) -> OpenFailure:
    """The open failure of a subscription that Commerce Layer does not show, or that cannot be planned."""
    what_to_do = f"it cannot be read, so it is not renewed: tell Commerce Layer's support ({error})"
    return OpenFailure(subscription_id, Awaited.A_PERSON, "not readable", what_to_do)


def worst_first(failures: Iterable[OpenFailure]) -> list[OpenFailure]:
    """
    What waits for a person first, and the largest amounts first.

    Amounts of different currencies cannot be compared: the currency with the most failures comes first.
    """
    failures = list(failures)
    of_currency = Counter(each.currency_code for each in failures)

    def rank(each: OpenFailure) -> tuple[object, ...]:
        currency, cents = each.currency_code, each.amount_cents
        return each.awaits, cents is None, -of_currency[currency], currency or "", -(cents or 0), each.subscription_id

    return sorted(failures, key=rank)


def _is_concerned(subscription: OrderSubscription, as_of: datetime) -> bool:
    """Whether a sweep should have come to it by now, or never can. What is wrong with another one may still change."""
    date = subscription.next_run_at
    if subscription.status is SubscriptionStatus.INACTIVE and date is not None:
        return date <= as_of
    return KEY in subscription.metadata


def _of_renewal(subscription: OrderSubscription, renewal: Renewal, as_of: datetime) -> OpenFailure | None:
    """A period that the next sweep takes up again, or one that every sweep has left as it was for too long."""
    state = renewal.state
    since = state.unsettled_since or state.under_way_since
    is_stuck = since is not None and since + renewal.policy.stuck_after_delay <= as_of
    failed = bool(state.failures or state.error) or state.outcome in FAILED_BEFORE | {Outcome.UNCONFIRMED}
    if not failed and not is_stuck:
        return None
    awaits, what_to_do = Awaited.THE_NEXT_SWEEP, "nothing: the next sweep goes on with it"
    if is_stuck:
        awaits = Awaited.A_PERSON
        what_to_do = f"no sweep has settled it: `perennial explain {subscription.id}` says what it waits for"
    return _described(subscription, state, awaits, _class_of(state), what_to_do, renewal.due)


def _of_retry(subscription: OrderSubscription, state: RenewalState, waiting: Skipped, policy: Policy) -> OpenFailure:
    failure = _described(
        subscription, state, Awaited.ITS_NEXT_ATTEMPT, _class_of(state), f"nothing: {waiting.sentence}", waiting.due
    )
    if state.error_class not in set(FailureClass):
        return replace(failure, next_attempt_at=state.next_attempt_at)
    retries = policy.overridden_by(state.policy).retry_delays(FailureClass(state.error_class))
    return replace(failure, next_attempt_at=state.next_attempt_at, attempts_allowed=1 + len(retries))


def _described(
    subscription: OrderSubscription,
    state: RenewalState,
    awaits: Awaited,
    cls: str,
    what_to_do: str,
    due: datetime | None,
) -> OpenFailure:
    is_open = state.is_unsettled
    return OpenFailure(
        subscription.id, awaits, cls, what_to_do,
        said=(state.error or "") if is_open or state.held else "", attempts=state.attempt if is_open else 0,
        since=due or state.held_since, customer_email=subscription.customer_email,
        order_id=state.target_order_id if is_open else None, source_order_id=subscription.source_order_id,
    )  # fmt: skip


def _class_of(state: RenewalState) -> str:
    if state.error_class is not None:
        return state.error_class
    return "held by hand" if state.held and not state.is_unsettled else (state.outcome or "held").replace("_", " ")


def _how_to_release(subscription_id: str, state: RenewalState) -> str:
    release = f"`perennial adopt --release --apply {subscription_id}`"
    if state.price_to_accept is not None:
        return f"correct the price if it is wrong; {release} accepts it"
    if state.error_class == FailureClass.PAYMENT:
        return (
            "ask the customer for another card: it goes on once the subscription has one, or its order is paid at the "
            f"checkout; {release} tries this card again"
        )
    if state.error is None:
        return f"it was held by hand; {release} lets it go on"
    return f"remove the cause, then {release}"
