"""
What another policy would have done with the failures that the shop has recorded.

Whether an attempt at another time would have succeeded, nobody knows. So an attempt has a known result only if it would
have been made when a recorded one was. From the first other attempt on there are two bounds: it succeeds, or it and all
that follow fail for the recorded reason. No recovery is claimed that was not made.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from enum import StrEnum
from zoneinfo import ZoneInfo

from blocks.commerce_layer.resources import OrderSubscription
from blocks.policy import FinalAction, Policy, PolicyOverrideInvalid
from flows.rules.caps import Charged, cap_reached
from flows.rules.failed_attempts import FailedAttempt
from flows.rules.failures import Failure
from flows.rules.history import PastRenewal
from flows.rules.price import Price
from flows.rules.retries import MONTH, ON_THE_CARD, earliest_allowed, next_attempt
from flows.rules.spans import Span
from flows.rules.state import RenewalState
from flows.rules.zones import wall_of

SAME_TIME = timedelta(hours=1)
"""An attempt that would be made at most this long before a recorded one is that one: sweeps come some time after."""


class End(StrEnum):
    """How a renewal would stand at the end of the span."""

    RENEWED = "renewed"  # by an attempt that was made, or by the customer at the checkout
    WAITS = "waits for a retry"
    HELD = "waits for a person"
    GIVEN_UP = "given up"  # the period is skipped, or the subscription is cancelled


@dataclass(slots=True)
class Bounds:
    """A number that lies between two bounds: if every attempt of unknown result succeeds, and if each fails."""

    fewest: int = 0
    most: int = 0

    def add(self, fewest: int, most: int) -> None:
        """Count so many more."""
        self.fewest += fewest
        self.most += most

    def __str__(self) -> str:
        return f"{self.fewest}" if self.fewest == self.most else f"{self.fewest} to {self.most}"


@dataclass(slots=True)
class Rehearsal:
    """What one policy would have done in a span with the renewals that failed at least once."""

    renewals: int = 0
    """How many were replayed."""
    attempts: Bounds = field(default_factory=Bounds)
    """Attempts made in the span, the first ones included."""
    ends: dict[End, Bounds] = field(default_factory=lambda: {end: Bounds() for end in End})
    """How the renewals stand at the end of the span. One with an attempt of unknown result is only in `most`."""
    unknown: int = 0
    """Renewals with an attempt at another time than the recorded ones: nobody knows how it would have ended."""
    card_limits: Bounds = field(default_factory=Bounds)
    """Retries that had to wait longer for the card networks' limits than the policy's delays."""
    capped_days: int = 0
    """Days on which a cap of the policy would have stopped the recorded charges."""
    capped_orders: int = 0
    """Recorded charges that would have waited for a later day."""


@dataclass(slots=True)
class _Walk:
    """One renewal on its way through the attempts that a policy makes."""

    attempts: int = 0
    card_limits: int = 0
    end: End | None = None

    def copy(self) -> "_Walk":
        return _Walk(self.attempts, self.card_limits, self.end)


def rehearse(
    renewals: Iterable[PastRenewal], subscriptions: Mapping[str, OrderSubscription], span: Span, policy: Policy
) -> Rehearsal:
    """
    Replay the recorded failures under `policy`. A subscription's own policy fields are used in place of its fields.

    Only renewals that failed in the span, or had failed before and went on in it, are replayed; every renewal placed in
    the span counts for the caps of the day.
    """
    rehearsal, renewals = Rehearsal(), list(renewals)
    charges: dict[str, list[datetime]] = {}
    for renewal in sorted(renewals, key=lambda each: each.of.due):
        own = _own_policy(subscriptions.get(renewal.of.subscription_id), policy)
        recorded = [each for each in renewal.failed(own) if each.at < span.end]
        if recorded and _concerns(renewal, recorded, span):
            on_card = charges.setdefault(renewal.of.subscription_id, [])
            _add(rehearsal, *_replay(renewal, recorded, span, own, on_card))
    _count_caps(rehearsal, renewals, span, policy)
    return rehearsal


def recorded_attempts(renewal: PastRenewal, recorded: Sequence[FailedAttempt], span: Span) -> int:
    """How many attempts of a renewal were made in the span, by the records; a payment at the checkout is none."""
    placed = renewal.placed_at is not None and renewal.placed_at in span and not renewal.is_paid_by_customer
    return sum(each.at in span for each in recorded) + placed


def _concerns(renewal: PastRenewal, recorded: Sequence[FailedAttempt], span: Span) -> bool:
    is_renewed_here = renewal.placed_at is not None and renewal.placed_at in span
    return is_renewed_here or any(each.at in span for each in recorded)


def _own_policy(subscription: OrderSubscription | None, policy: Policy) -> Policy:
    state = RenewalState.read(subscription.metadata) if subscription is not None else None
    try:
        return policy.overridden_by(state.policy if state is not None else None)
    except PolicyOverrideInvalid:  # such a subscription is not renewed until it is repaired
        return policy


def _replay(
    renewal: PastRenewal, recorded: Sequence[FailedAttempt], span: Span, policy: Policy, charges: list[datetime]
) -> tuple[_Walk, _Walk]:
    """
    The walks with the fewest and with the most attempts; one and the same if every attempt falls on a recorded one.

    `charges` are the failed charges of the subscription's earlier renewals; those of the longer walk are added.
    """
    walk, certain = _Walk(), None
    at, failed_by_class, number = recorded[0].at, Counter[str](), 0
    while True:
        walk.attempts += at in span
        failure = recorded[min(number, len(recorded) - 1)].failure
        failed_by_class[failure.cls] += 1
        if failure.cls in ON_THE_CARD:
            charges.append(at)
        following = _following(walk, policy, failure, failed_by_class[failure.cls], charges, at)
        if _customer_pays_first(renewal, walk, following, span):
            walk.end = End.RENEWED
            return certain or walk, walk
        if following is None or following >= span.end:
            walk.end = walk.end or End.WAITS
            return certain or walk, walk
        number += 1
        made = _recorded_at(renewal, recorded, number, following) if certain is None else None
        if made is not None and made == renewal.placed_at:
            walk.attempts += made in span
            walk.end = End.RENEWED
            return walk, walk
        if certain is None and made is None:
            certain = walk.copy()
            certain.attempts += following in span
        at = made or following


def _following(
    walk: _Walk, policy: Policy, failure: Failure, failed: int, charges: Sequence[datetime], at: datetime
) -> datetime | None:
    """When the next attempt follows the one at `at`; None, with the walk's end, when none does."""
    if failure.permanent:
        walk.end = End.HELD
        return None
    counted = [each for each in charges if at - MONTH < each <= at]
    following = next_attempt(policy, failure.cls, failed, counted, at)
    if following is None:
        walk.end = End.HELD if policy.final_action_for(failure.cls) is FinalAction.HOLD else End.GIVEN_UP
        return None
    wanted = at + policy.retry_delays(failure.cls)[failed - 1]
    walk.card_limits += earliest_allowed(policy, counted, wanted) > wanted
    return following


def _customer_pays_first(renewal: PastRenewal, walk: _Walk, following: datetime | None, span: Span) -> bool:
    """Whether the customer paid the open order in the span, before the next attempt or while it is held."""
    paid = renewal.placed_at if renewal.is_paid_by_customer else None
    if paid is None or paid not in span:
        return False
    return walk.end is End.HELD if following is None else paid <= following


def _recorded_at(
    renewal: PastRenewal, recorded: Sequence[FailedAttempt], number: int, wanted: datetime
) -> datetime | None:
    """When the recorded attempt after `number` failed ones was made, if it is the one at `wanted`; else None."""
    made = recorded[number].at if number < len(recorded) else renewal.placed_at
    if made is None or (number >= len(recorded) and renewal.is_paid_by_customer):
        return None
    return made if timedelta() <= made - wanted <= SAME_TIME else None


def _add(rehearsal: Rehearsal, fewest: _Walk, most: _Walk) -> None:
    rehearsal.renewals += 1
    rehearsal.attempts.add(fewest.attempts, most.attempts)
    rehearsal.card_limits.add(fewest.card_limits, most.card_limits)
    rehearsal.unknown += fewest is not most
    assert most.end is not None
    is_certain = fewest is most or most.end is End.RENEWED  # if not by an earlier attempt, then by the customer
    rehearsal.ends[most.end].add(int(is_certain), 1)


def _count_caps(rehearsal: Rehearsal, renewals: Iterable[PastRenewal], span: Span, policy: Policy) -> None:
    """Count the recorded charges of each day against the caps. What is over a cap goes first on the next day."""
    zone, by_day = ZoneInfo(policy.time_zone), dict[date, list[tuple[datetime, Price]]]()
    for each in renewals:
        if (placed := each.placed_at) is not None and placed in span and not each.is_paid_by_customer:
            by_day.setdefault(wall_of(placed, zone).date(), []).append((placed, each.price))
    day, left = min(by_day, default=date.max), list[Price]()
    while day <= max(by_day, default=date.min):
        charged, before, left_before = Charged(), left, len(left)
        due = [price for _, price in sorted(by_day.get(day, ()), key=lambda each: each[0])]
        left = []
        for number, price in enumerate([*before, *due]):
            if cap_reached(policy, charged, price) is None:
                charged += Charged.of([price])
            else:
                left.append(price)
                rehearsal.capped_orders += number >= left_before  # each once, on its own day
        rehearsal.capped_days += bool(left)
        day += timedelta(days=1)
