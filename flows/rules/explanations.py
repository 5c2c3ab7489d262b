"""Explains why a subscription is due or not, when it will be, and what may be surprising about its dates."""

from dataclasses import dataclass
from datetime import datetime
from itertools import islice, pairwise
from zoneinfo import ZoneInfo

from blocks.commerce_layer.resources import OrderCopy, OrderSubscription
from blocks.policy import FailureClass, Policy, PolicyOverrideInvalid
from flows.rules.anchors import anchor_of
from flows.rules.calendar_warnings import calendar_warnings
from flows.rules.cards import charges_on
from flows.rules.far_dates import end_of, unusable_date
from flows.rules.next_action import Conclude, Create, Hold, NextAction, Place, Wait
from flows.rules.periods import Schedule, UnknownFrequency
from flows.rules.references import whole_minute
from flows.rules.renewal import Renewal, Skipped, SkipReason
from flows.rules.retries import calendar_of_retries, earliest_allowed
from flows.rules.state import RenewalState
from flows.rules.upcoming import UpcomingRenewal, upcoming_renewals
from flows.rules.zones import with_year

DATES_SHOWN = 24

_A_PERSON_STARTS_IT = frozenset({SkipReason.HELD, SkipReason.PAUSED, SkipReason.NOT_ADOPTED, SkipReason.NO_NEXT_RUN})


@dataclass(frozen=True, slots=True)
class Explanation:
    """
    Why a subscription is due or not at an instant. All instants are UTC.

    `is_due`: a sweep at `as_of` would work on it. `next_dates` are the next 24 periods that will be renewed, including
    one that is due or overdue; if the subscription waits for a person, those that wait with it. `attempts_left` are,
    for each failure class, the next attempt and those that would follow if all of them failed in this way; empty when
    no attempt is planned.
    """

    subscription_id: str
    as_of: datetime
    is_due: bool
    waits_for_person: bool
    sentence: str
    policy: Policy
    next_dates: tuple[datetime, ...]
    attempts_left: dict[FailureClass, tuple[datetime, ...]]
    warnings: tuple[str, ...]


def explain(
    subscription: OrderSubscription,
    policy: Policy,
    as_of: datetime,
    answer: Renewal | Skipped,
    action: NextAction | None,
) -> Explanation:
    """
    Why `subscription` is due or not at `as_of` under `policy`; never raises for what a shop may contain.

    `answer` is what a sweep would plan after its first look; `action` is what it would do next, if anything.
    """
    own = _own_policy(subscription, policy)
    schedule = _schedule(subscription, own)
    coming = tuple(islice(upcoming_renewals(subscription, policy, as_of), DATES_SHOWN))
    warnings = answer.warnings if isinstance(answer, Renewal) else ()
    if schedule is not None:
        warnings = (
            *warnings,
            *calendar_warnings(schedule, as_of, None if (end := end_of(subscription)) is None else max(end, as_of)),
            *_overlong(schedule, own, as_of),
        )
    first = coming[0] if coming else None
    card = subscription.customer_payment_source_id
    left = {} if first is None or _is_paid(action) else _attempts_left(own, first, card)
    return Explanation(
        subscription_id=subscription.id, as_of=as_of,
        is_due=isinstance(answer, Renewal) and not isinstance(action, Hold),
        waits_for_person=_waits_for_person(answer), sentence=_sentence(answer, action, first, own), policy=own,
        next_dates=tuple(each.due for each in coming), attempts_left=left, warnings=warnings,
    )  # fmt: skip


def _own_policy(subscription: OrderSubscription, policy: Policy) -> Policy:
    state = RenewalState.read(subscription.metadata)
    try:
        return policy.overridden_by(state.policy if state else None)
    except PolicyOverrideInvalid:
        return policy  # plan has said so


def _schedule(subscription: OrderSubscription, policy: Policy) -> Schedule | None:
    state = RenewalState.read(subscription.metadata)
    date = subscription.next_run_at or subscription.starts_at
    if date is None or unusable_date(subscription) is not None:
        return None
    try:
        anchor = anchor_of(state, subscription.frequency, subscription.starts_at, date, policy.time_zone)
        return Schedule(subscription.frequency, anchor, policy.time_zone)
    except UnknownFrequency:
        return None  # plan has said so


# --- the sentence ------------------------------------------------------------------------------


def _sentence(
    answer: Renewal | Skipped, action: NextAction | None, first: UpcomingRenewal | None, policy: Policy
) -> str:
    if isinstance(answer, Skipped):
        return _why_not(answer, first, policy)
    but = ""
    if isinstance(action, Hold):
        but = ", but it waits" if action.until is not None else ", but nothing is sent"
    attempt = (
        f", attempt {answer.state.attempt + 1}"
        if answer.state.attempt and not isinstance(action, (Conclude, Wait))
        else ""
    )
    return f"due{but}: the period of {_dated(answer.due, policy)}{attempt}; {_next_step(answer, action)}"


def _why_not(answer: Skipped, first: UpcomingRenewal | None, policy: Policy) -> str:
    sentence = answer.sentence
    match answer.reason:
        case SkipReason.NOT_DUE | SkipReason.TOO_SOON:
            return f"not due yet: {sentence}"
        case SkipReason.RETRY_NOT_DUE if first is not None:
            period = f"the period of {_dated(first.due, policy)}"
            return f"not due yet: {sentence}, which is attempt {first.state.attempt + 1} of {period}"
        case SkipReason.NOTHING_PENDING:
            coming = f"; the next is due on {_dated(first.due, policy)}" if first else ""
            return f"not due: {sentence}{coming}"
    waiting = f"the period of {_dated(answer.due, policy)} waits, " if answer.due and _waits_for_person(answer) else ""
    return f"not renewed: {waiting}{sentence}"


def _waits_for_person(answer: Renewal | Skipped) -> bool:
    """Whether its calendar goes on as soon as a person acts."""
    return isinstance(answer, Skipped) and (answer.reason.needs_person or answer.reason in _A_PERSON_STARTS_IT)


def _next_step(renewal: Renewal, action: NextAction | None) -> str:
    match action:
        case Hold():
            return action.sentence
        case Conclude(copy) | Wait(copy):
            return _under_way(copy)
        case Place(_, order):
            return f"the next sweep places its order {order.id}"
        case Create() | None:
            return f"the next sweep copies order {renewal.source_order_id}"


def _under_way(copy: OrderCopy) -> str:
    order, status = copy.target_order, copy.raw_status or copy.status
    if order is not None and order.is_placed:
        return f"its order {order.number or order.id} is placed, and the next sweep records it as renewed"
    if copy.is_final:
        return f"order copy {copy.id} is {status}, and the next sweep records that"
    return f"order copy {copy.id} is {status}, and the next sweep looks how it ended"


# --- the retries -------------------------------------------------------------------------------


def _is_paid(action: NextAction | None) -> bool:
    order = action.copy.target_order if isinstance(action, Conclude) else None
    return order is not None and order.is_placed


def _attempts_left(
    policy: Policy, first: UpcomingRenewal, card: str | None
) -> dict[FailureClass, tuple[datetime, ...]]:
    made, charges = first.state.attempt, charges_on(first.state, card, first.at)
    start = whole_minute(earliest_allowed(policy, charges, first.at))
    return {cls: tuple(calendar_of_retries(policy, cls, start, made, charges)) for cls in FailureClass}


def _overlong(schedule: Schedule, policy: Policy, as_of: datetime) -> list[str]:
    """Warn of retries that go on into the next period and delay it."""
    shortest = min(later - earlier for earlier, later in pairwise(schedule.upcoming(as_of, DATES_SHOWN)))
    calendars = {cls: calendar_of_retries(policy, cls, whole_minute(as_of)) for cls in FailureClass}
    long = [cls for cls, moments in calendars.items() if moments[-1] - moments[0] >= shortest]
    if not long:
        return []
    return [f"retries ({', '.join(long)}) can outlast a period: later ones wait, or are caught up by policy"]


def _dated(instant: datetime, policy: Policy) -> str:
    return with_year(instant, ZoneInfo(policy.time_zone))
