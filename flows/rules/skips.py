"""Why a subscription is left alone: all reasons, and the checks that need only the subscription itself."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

from blocks.commerce_layer.resources import OrderSubscription
from blocks.commerce_layer.statuses import SubscriptionStatus
from blocks.policy import FailureClass
from flows.rules.failure_summaries import in_short
from flows.rules.far_dates import never_due, unusable_date
from flows.rules.state import KEY, TAG, VERSION, Outcome, RenewalState

NATIVE_STATUSES = frozenset({SubscriptionStatus.ACTIVE, SubscriptionStatus.RUNNING, SubscriptionStatus.PENDING})


class SkipReason(StrEnum):
    """Why a subscription is left alone this time."""

    NOT_ADOPTED = "not_adopted"
    NOT_DUE = "not_due"
    NO_NEXT_RUN = "no_next_run"
    RETRY_NOT_DUE = "retry_not_due"
    NOTHING_PENDING = "nothing_pending"
    LATE = "late"
    EXPIRED = "expired"
    CANCELLED = "cancelled"
    PAUSED = "paused"
    HELD = "held"
    NOT_INACTIVE = "not_inactive"
    GONE = "gone"
    CHANGED = "changed"
    DAMAGED = "damaged"
    STATE_LOST = "state_lost"
    NO_SOURCE_ORDER = "no_source_order"
    BAD_POLICY = "bad_policy"
    UNKNOWN_FREQUENCY = "unknown_frequency"
    BAD_DATE = "bad_date"
    TOO_CLOSE = "too_close"  # to the renewal before it: a date was moved, or that renewal was paid late
    TOO_SOON = "too_soon"  # after the renewal before it, which was late because of us: it waits by itself
    SECOND_ENGINE = "second_engine"
    FOREIGN_COPY = "foreign_copy"
    SHARED_SOURCE_ORDER = "shared_source_order"
    MANUAL_COPY = "manual_copy"
    PLACED_WITHOUT_COPY = "placed_without_copy"
    CAP_REACHED = "cap_reached"
    OUT_OF_DATE = "out_of_date"  # its order was prepared, and is not used: it is copied again
    NOT_READABLE = "not_readable"  # nothing is charged that could not be read
    CHARGING_STOPPED = "charging_stopped"  # by the stop switch; the order stays, and the next sweep goes on
    NOT_WRITABLE = "not_writable"  # nothing is charged that could not be recorded

    @property
    def needs_person(self) -> bool:
        """Whether it stays this way until a person acts. A held subscription was reported when it was held."""
        return self in _FOR_A_PERSON

    @property
    def leaves_it_open(self) -> bool:
        """Whether a due period stays neither renewed nor given up."""
        return self.needs_person or self in _OPEN

    @property
    def ends_the_renewal(self) -> bool:
        """Whether the unplaced order of the period must be withdrawn."""
        return self in _NO_LONGER_WANTED


_FOR_A_PERSON = frozenset(
    {SkipReason.NOT_INACTIVE, SkipReason.DAMAGED, SkipReason.NO_SOURCE_ORDER, SkipReason.NO_NEXT_RUN}
    | {SkipReason.NOT_WRITABLE}
    | {SkipReason.BAD_POLICY, SkipReason.UNKNOWN_FREQUENCY, SkipReason.SECOND_ENGINE, SkipReason.FOREIGN_COPY}
    | {SkipReason.SHARED_SOURCE_ORDER, SkipReason.MANUAL_COPY, SkipReason.PLACED_WITHOUT_COPY}
    | {SkipReason.STATE_LOST}
    | {SkipReason.BAD_DATE, SkipReason.TOO_CLOSE}
)

_OPEN = frozenset(
    {SkipReason.HELD, SkipReason.RETRY_NOT_DUE, SkipReason.NOT_READABLE, SkipReason.CHANGED}
    | {SkipReason.CHARGING_STOPPED, SkipReason.CAP_REACHED, SkipReason.OUT_OF_DATE}
)

_NO_LONGER_WANTED = frozenset(
    {SkipReason.NOT_DUE, SkipReason.EXPIRED, SkipReason.CANCELLED, SkipReason.NOT_INACTIVE, SkipReason.GONE}
    | {SkipReason.SECOND_ENGINE, SkipReason.FOREIGN_COPY, SkipReason.NOT_ADOPTED, SkipReason.HELD}
    | {SkipReason.PAUSED, SkipReason.OUT_OF_DATE}
    | {SkipReason.SHARED_SOURCE_ORDER, SkipReason.MANUAL_COPY}
)


class Settlement(NamedTuple):
    """What to write when a period is settled: the state, and `next_run_at` if it moves."""

    state: RenewalState
    next_run_at: datetime | None


@dataclass(frozen=True, slots=True)
class Skipped:
    """A subscription that is left alone, with the reason in words. `settlement` is set if it is to be recorded."""

    subscription_id: str
    due: datetime | None
    reason: SkipReason
    sentence: str
    settlement: Settlement | None = None
    until: datetime | None = None
    """When it goes on by itself, if that is known and is not one of its own dates."""


Refusal = tuple[SkipReason, str]


class Skip:
    """Makes `Skipped` for one subscription."""

    def __init__(self, subscription: OrderSubscription) -> None:
        self._subscription = subscription

    def __call__(
        self, reason: SkipReason, sentence: str, due: datetime | None = None, settlement: Settlement | None = None,
        until: datetime | None = None,
    ) -> Skipped:  # fmt: skip
        """The subscription, left alone for this reason."""
        return Skipped(self._subscription.id, due, reason, sentence, settlement, until)


def status_refusal(subscription: OrderSubscription) -> Refusal | None:
    """Why a subscription with this status is not driven; None when it is inactive."""
    status = subscription.status
    if status is SubscriptionStatus.INACTIVE:
        return None
    if status is SubscriptionStatus.CANCELLED:
        return SkipReason.CANCELLED, "the subscription is cancelled"
    said = f"the subscription's status is {subscription.raw_status or str(status)!r}, not 'inactive'"
    if status in NATIVE_STATUSES:
        return SkipReason.SECOND_ENGINE, f"{said}: Commerce Layer's own engine may renew it; deactivate it to go on"
    return SkipReason.NOT_INACTIVE, f"{said}: deactivate it to have it renewed"


def _status(subscription: OrderSubscription, _state: RenewalState) -> Refusal | None:
    return status_refusal(subscription)


def _damage(subscription: OrderSubscription, state: RenewalState) -> Refusal | None:
    if state.damaged is None:
        return None
    return SkipReason.DAMAGED, damage_in_words(subscription, state)


def without_a_state(subscription: OrderSubscription) -> Refusal:
    """Why a subscription without a state is left alone: it was never adopted, or its state was removed."""
    if TAG not in subscription.tags:
        return SkipReason.NOT_ADOPTED, f"metadata.{KEY} is missing: Perennial does not drive it"
    return SkipReason.STATE_LOST, (
        f"it carries the tag {TAG!r}, but metadata.{KEY} is missing, so that no engine renews it: restore "
        f"metadata.{KEY}, or adopt it again; remove the tag if Perennial is to leave it alone"
    )


def damage_in_words(subscription: OrderSubscription, state: RenewalState) -> str:
    """What to do about an unreadable state. Never remove it: then no engine would renew the subscription."""
    stored = subscription.metadata[KEY]
    version = stored.get("v") if isinstance(stored, dict) else None
    if isinstance(version, int) and version > VERSION:
        return (
            f"its renewal state cannot be read: a newer Perennial wrote it (metadata.{KEY}.v = {version}, this one "
            f"reads up to {VERSION}); upgrade this installation"
        )
    return f"its renewal state cannot be read, repair it: {state.damaged}"


def pause_refusal(state: RenewalState) -> Refusal | None:
    """Why a paused subscription is not renewed; None when it is not paused."""
    return (SkipReason.PAUSED, "it is paused; `perennial resume` lets it go on") if state.paused else None


def _pause(_subscription: OrderSubscription, state: RenewalState) -> Refusal | None:
    return pause_refusal(state)


def _hold(_subscription: OrderSubscription, state: RenewalState) -> Refusal | None:
    if not state.held:
        return None
    cls = FailureClass(state.error_class) if state.error_class in set(FailureClass) else FailureClass.UNKNOWN
    # A person must see the price before they accept it.
    said = state.error if state.price_to_accept else in_short(cls, state.error or "")
    why = f": {said}" if state.error else ""
    return SkipReason.HELD, f"held for a person{why}; set metadata.perennial.held to false to go on"


def waits_for_payment(state: RenewalState) -> bool:
    """
    Whether a subscription is held, or waits for its next attempt, while the order of its period is open.

    The customer may pay that order at the checkout. Then no person needs to release the subscription, and no later date
    has to wait for an unnecessary attempt.
    """
    if not (state.is_unsettled and state.target_order_id):
        return False
    if not state.held:
        return state.outcome is Outcome.RETRY_SCHEDULED and state.next_attempt_at is not None
    # Other holds, such as for two placed orders of one period, need a person even if the order is paid.
    return state.outcome is Outcome.EXHAUSTED or (
        state.outcome is Outcome.NEEDS_ATTENTION and state.error_class == "payment"
    )


def _source(subscription: OrderSubscription, _state: RenewalState) -> Refusal | None:
    if subscription.source_order_id is not None:
        return None
    return SkipReason.NO_SOURCE_ORDER, "it has no source order, so there is nothing to copy"


def _date(subscription: OrderSubscription, _state: RenewalState) -> Refusal | None:
    if subscription.next_run_at is None:
        return SkipReason.NO_NEXT_RUN, "it has no next_run_at; set one to have it renewed"
    if (never := never_due(subscription)) is not None:
        return SkipReason.NO_NEXT_RUN, never
    unusable = unusable_date(subscription)
    return None if unusable is None else (SkipReason.BAD_DATE, unusable)


CHECKS: tuple[Callable[[OrderSubscription, RenewalState], Refusal | None], ...] = (
    _status, _damage, _pause, _hold, _source, _date,
)  # fmt: skip
