"""
The next period of a subscription to work on, or the reason why there is none.

`plan` decides from the subscription as it was listed. It never looks at order copies; what to
do about those that exist is decided in `next_action`.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import islice
from typing import Any
from zoneinfo import ZoneInfo

from blocks.commerce_layer.resources import CustomerPaymentSource, OrderCopy, OrderSubscription
from blocks.policy import Policy, PolicyOverrideInvalid
from flows.rules.anchors import anchor_of
from flows.rules.cards import has_new_card
from flows.rules.far_dates import end_of
from flows.rules.frequencies import UnknownFrequency
from flows.rules.periods import Schedule
from flows.rules.references import period_text, reference_of, whole_minute
from flows.rules.skips import CHECKS, Settlement, Skip, Skipped, SkipReason, waits_for_payment, without_a_state
from flows.rules.spacing import TooClose, duration_in_words, held_for, once_moved_on, too_close
from flows.rules.state import ERROR_LENGTH, KEY, Outcome, RenewalState
from flows.rules.zones import in_words, wall_of, with_year

__all__ = ["Renewal", "Settlement", "SkipReason", "Skipped", "plan"]

_NAMED_AT_MOST = 5


@dataclass(frozen=True, slots=True)
class Renewal:
    """
    One period of one subscription to renew, with everything needed to decide about it.

    `due` is UTC in whole minutes. `state` is the state of this very period (a fresh start for a
    new one); `policy` is the merchant's, with the subscription's own fields in place of the merchant's.
    """

    subscription_id: str
    source_order_id: str
    due: datetime
    state: RenewalState
    metadata: dict[str, Any]
    policy: Policy
    frequency: str
    starts_at: datetime | None
    expires_at: datetime | None
    next_run_at: datetime
    payment_source_id: str | None = None
    card: CustomerPaymentSource | None = None
    customer_email: str | None = None
    warnings: tuple[str, ...] = field(default=())
    found: tuple[OrderCopy, ...] = field(default=())
    """The order copies of this period at the first look."""
    state_key: str = KEY
    """Where in the subscription's metadata the state is."""
    looked_back_to: datetime | None = None
    """Copies made before this instant do not matter; None: as far back as the settled periods say."""

    @property
    def reference(self) -> str:
        """The reference of every copy of this period; it is the renewal's name in all records and reports."""
        return reference_of(self.subscription_id, self.due)

    def for_due(self, due: datetime) -> "Renewal":
        """The same subscription's renewal of another period."""
        return replace(self, due=due, state=self.state.for_period(due))

    def with_state(self, state: RenewalState) -> "Renewal":
        """The same renewal with another state of its period."""
        return replace(self, state=state)

    @property
    def schedule(self) -> Schedule:
        """The calendar of the subscription."""
        return Schedule(self.frequency, self.anchor, self.policy.time_zone)

    def _moved_to(self, schedule: Schedule, settled_at: datetime) -> datetime:
        """The date to which a customer moved this period while it was worked on. It is not an additional period."""
        now_at = whole_minute(self.next_run_at)
        if now_at <= self.due:
            return self.due
        # If the date stands for a later period, settling this one earlier than that date does not settle the later one:
        # a customer chose the date meanwhile, or this period was settled before by a record that was overwritten since.
        nearest = schedule.nearest
        later = (nearest(now_at) or now_at) > (nearest(self.due) or self.due)
        return self.due if later and settled_at < now_at else now_at

    @property
    def anchor(self) -> datetime:
        """What the calendar counts from; see `anchor_of`."""
        return anchor_of(self.state, self.frequency, self.starts_at, self.next_run_at, self.policy.time_zone)

    @property
    def zone(self) -> ZoneInfo:
        """The merchant's time zone."""
        return ZoneInfo(self.policy.time_zone)

    def settlement(self, state: RenewalState, as_of: datetime, placed_at: datetime | None = None) -> Settlement:
        """
        The state with this period settled, and the date to move on to unless another period is due already.

        `placed_at` is when its order was placed, if it was.
        """
        schedule = self.schedule
        moved = self._moved_to(schedule, placed_at or as_of)
        # A date that is not on the calendar stands for the nearest one that is: after a crontab's date was moved from
        # the 15th to the 14th, or any date by an hour, the 15th does not follow. So no two dates are closer than half
        # an interval.
        through = max(moved, schedule.nearest(moved) or moved, state.done_through or moved)
        following = schedule.next_after(through)
        from_start = self.starts_at is not None and schedule.anchor == whole_minute(self.starts_at)
        settled = state.model_copy(
            update={
                "done_through": through, "next_attempt_at": None, "frequency": self.frequency,
                "anchor": None if from_start else schedule.anchor,
            }
        )  # fmt: skip
        return Settlement(settled, following if following > as_of else None)


def plan(subscription: OrderSubscription, policy: Policy, as_of: datetime, *, paid: bool = False) -> Renewal | Skipped:
    """
    The next period of a subscription to work on at `as_of`, or why there is none.

    An open period comes first. Otherwise the pending periods are `next_run_at` and the dates of the calendar after it,
    up to `as_of`, that are not settled yet. If `next_run_at` was moved, the dates before it were postponed, not missed.
    The policy's catch-up chooses among the pending periods.

    `paid`: the order of the open period is placed, or its payment confirmed, so that it waits no longer (see
    `waits_for_payment`). Another card ends the waiting, too.
    """
    skipped = Skip(subscription)
    state = RenewalState.read(subscription.metadata)
    if state is None:
        return skipped(*without_a_state(subscription))
    if (paid and waits_for_payment(state)) or has_new_card(subscription, state):
        state = state.model_copy(update={"held": False, "next_attempt_at": None})
    state = once_moved_on(subscription, state)
    for check in CHECKS:
        if refusal := check(subscription, state):
            return skipped(*refusal, due=state.period if state.is_unsettled else None)
    try:
        own_policy = policy.overridden_by(state.policy)
        renewal = _draft(subscription, state, own_policy)
        return _Choice(subscription, renewal, renewal.schedule, state, as_of, skipped).choose()
    except PolicyOverrideInvalid as error:
        return skipped(SkipReason.BAD_POLICY, str(error))
    except UnknownFrequency as error:
        return skipped(SkipReason.UNKNOWN_FREQUENCY, str(error))


def _draft(subscription: OrderSubscription, state: RenewalState, policy: Policy) -> Renewal:
    assert subscription.source_order_id is not None
    assert subscription.next_run_at is not None
    due = whole_minute(subscription.next_run_at)
    return Renewal(
        subscription_id=subscription.id, source_order_id=subscription.source_order_id, due=due,
        state=state.for_period(due), metadata=dict(subscription.metadata), policy=policy,
        frequency=subscription.frequency, starts_at=subscription.starts_at, expires_at=end_of(subscription),
        next_run_at=subscription.next_run_at, payment_source_id=subscription.customer_payment_source_id,
        card=subscription.customer_payment_source, customer_email=subscription.customer_email,
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Choice:
    """Chooses the next period of a subscription that may be renewed."""

    subscription: OrderSubscription
    draft: Renewal
    schedule: Schedule
    state: RenewalState
    as_of: datetime
    skipped: Skip

    def choose(self) -> Renewal | Skipped:
        end = self.draft.expires_at
        if end is not None and end <= self.as_of:
            return self.skipped(SkipReason.EXPIRED, f"it expired on {self._say(end)}")
        if whole_minute(self.draft.next_run_at) > self.as_of:
            return self.skipped(SkipReason.NOT_DUE, f"due on {self._say(self.draft.next_run_at)}", self.draft.due)
        if self.state.is_unsettled and self.state.period is not None:
            return self._begun(whole_minute(self.state.period))
        return self._pending()

    def _begun(self, due: datetime) -> Renewal | Skipped:
        if due > self.as_of:
            return self.skipped(SkipReason.NOT_DUE, f"due on {self._say(due)}", due)
        wait = self.state.next_attempt_at
        if wait is not None and wait > self.as_of:
            sentence = f"next attempt {self._say(wait)}"
            return self.skipped(SkipReason.RETRY_NOT_DUE, sentence, due)
        return self._for(due)

    def _pending(self) -> Renewal | Skipped:
        newest = self._newest()
        if newest is None:
            return self.skipped(SkipReason.NOTHING_PENDING, "every period up to now is settled")
        if self.draft.policy.catch_up == "all":
            oldest = self._oldest_to_make_up()
            return self._unless_too_close(self._for(oldest, self._older_than(oldest)))
        if self.draft.policy.catch_up == "skip" and self.as_of - newest > self.draft.policy.late_after_delay:
            return self._late(newest)
        return self._unless_too_close(self._for(newest, self._older_than(newest)))

    def _oldest_to_make_up(self) -> datetime:
        """The oldest pending period that the policy makes up: it makes up the newest few."""
        after, oldest = self._settled_before(), self._newest()
        assert oldest is not None
        for _ in range(self.draft.policy.catch_up_limit - 1):
            older = self.schedule.latest_until(oldest - timedelta(minutes=1))
            if older is None or older <= after:
                return self._moved() or oldest
            oldest = older
        return oldest

    def _unless_too_close(self, renewal: Renewal) -> Renewal | Skipped:
        found = too_close(self.subscription, self.state, renewal.policy, renewal.due, self.as_of)
        if found is None:
            return renewal
        last = found.last
        before = f"order {last.order_id or '(unknown)'} of the period of {self._say(last.period)} was placed"
        if last.is_native:
            before = "it was renewed by Commerce Layer's own engine"
        if found.until is not None:
            sentence = (
                f"{before} late, on {self._say(last.placed_at)}: the period of {self._say(renewal.due)} "
                f"waits until half an interval is over, {self._say(found.until)}"
            )
            return self.skipped(SkipReason.TOO_SOON, sentence, renewal.due, until=found.until)
        return self._held(found, renewal.due, f"{before} on {self._say(last.placed_at)}")

    def _held(self, found: TooClose, due: datetime, before: str) -> Skipped:
        sentence = (
            f"{before}, and the period of {self._say(due)} would follow within half an interval "
            f"({duration_in_words(found.half)}): release it to have it charged all the same, or move next_run_at"
        )
        state = held_for(found, self.subscription, self.state, due, sentence[:ERROR_LENGTH], self.as_of)
        return self.skipped(SkipReason.TOO_CLOSE, sentence, due, Settlement(state, None))

    def _dates(self) -> Iterator[datetime]:
        """The pending periods, oldest first."""
        moved = self._moved()
        if moved is not None and moved <= self.as_of:
            yield moved
        yield from self.schedule.between(self._settled_before(), self.as_of)

    def _settled_before(self) -> datetime:
        """The pending dates of the calendar are later than this."""
        return self._moved() or self.state.done_through or self.draft.due

    def _newest(self) -> datetime | None:
        after = self._settled_before()
        on_grid = self.schedule.latest_until(self.as_of)
        if on_grid is not None and on_grid > after:
            return on_grid
        return self._moved() if after <= self.as_of else None

    def _moved(self) -> datetime | None:
        """`next_run_at` when it is a separate period: not settled yet, on the calendar or not."""
        done = self.state.done_through
        return self.draft.due if done is None or self.draft.due > done else None

    def _late(self, newest: datetime) -> Skipped:
        for_newest = self._for(newest)
        state = self.state.for_period(newest).model_copy(update={"outcome": Outcome.SKIPPED})
        sentence = (
            f"the period of {self._say(newest)} is more than {self.draft.policy.late_after} late: skipped on purpose"
        )
        return self.skipped(SkipReason.LATE, sentence, newest, for_newest.settlement(state, self.as_of))

    def _older_than(self, newest: datetime) -> tuple[str, ...]:
        older = list(islice((date for date in self._dates() if date < newest), _NAMED_AT_MOST + 1))
        if not older:
            return ()
        more = " and more" if len(older) > _NAMED_AT_MOST else ""
        named = ", ".join(period_text(date) for date in older[:_NAMED_AT_MOST])
        policy = self.draft.policy
        why = f"catch_up_limit is {policy.catch_up_limit}" if policy.catch_up == "all" else "catch_up is latest"
        return (f"older periods are skipped on purpose ({why}): {named}{more}",)

    def _for(self, due: datetime, warnings: tuple[str, ...] = ()) -> Renewal:
        return replace(self.draft, due=due, state=self.state.for_period(due), warnings=warnings)

    def _say(self, instant: datetime) -> str:
        zone = self.draft.zone
        is_this_year = wall_of(instant, zone).year == wall_of(self.as_of, zone).year
        return in_words(instant, zone) if is_this_year else with_year(instant, zone)
