"""
What is wrong in the shop although no run reports it, such as renewals that no run attempts and forgotten orders.

Only the shop's data decide. A stopped scheduler, a lost worker and a misread due list look the same here: a renewal is
overdue, and no run has attempted it.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from zoneinfo import ZoneInfo

from blocks.commerce_layer.resources import OrderCopy, OrderSubscription
from blocks.commerce_layer.statuses import SubscriptionStatus
from blocks.policy import Policy
from flows.rules.copy_periods import is_of_a_rescue
from flows.rules.references import parse_reference, whole_minute
from flows.rules.renewal import Renewal, SkipReason, plan
from flows.rules.skips import damage_in_words, status_refusal
from flows.rules.state import KEY, RenewalState
from flows.rules.stop_switch import WAY_OUT, StopSwitch
from flows.rules.zones import with_year


class Alarm(StrEnum):
    """What is wrong, the worst first."""

    CHARGED_TWICE = "charged twice"
    CHARGING_STOPPED = "charging stopped"
    OVERDUE = "overdue"
    RETRY_OVERDUE = "retry overdue"
    STUCK = "stuck"
    LOST = "metadata lost"
    DAMAGED = "state damaged"
    NOT_INACTIVE = "not inactive"
    NO_DATE = "no date"
    CANNOT_BE_RENEWED = "cannot be renewed"
    UNREADABLE = "unreadable"
    HELD = "held"
    UNPLACED = "order left unplaced"


@dataclass(frozen=True, slots=True)
class WatchLimits:
    """How long something may last before it is an alarm."""

    overdue_after: timedelta = timedelta(hours=6)
    """A due renewal or retry that no run attempts."""
    unplaced_after: timedelta = timedelta(days=1)
    """An unplaced order of ours that belongs to no waiting renewal."""
    held_after: timedelta = timedelta(days=14)
    """A subscription that is held for a person."""
    stopped_after: timedelta = timedelta(hours=6)
    """Charging that a person has stopped and not started again."""
    placed_within: timedelta = timedelta(days=2)
    """How far back to look for orders placed as the second of their period."""


@dataclass(frozen=True, slots=True)
class WatchFinding:
    """One alarm: its subscription, since when (UTC, if that is known), and what to do."""

    alarm: Alarm
    subscription_id: str
    sentence: str
    since: datetime | None = None
    email: str | None = None
    order_id: str | None = None

    @property
    def rank(self) -> tuple[int, datetime, str]:
        """Sorts the worst first, and the oldest first among those."""
        beginning = datetime.min.replace(tzinfo=ZoneInfo("UTC"))
        return list(Alarm).index(self.alarm), self.since or beginning, self.subscription_id


def finding_about(
    subscription: OrderSubscription, policy: Policy, as_of: datetime, limits: WatchLimits
) -> WatchFinding | None:
    """The alarm about one subscription, if there is one; never raises for what a shop may contain."""
    if subscription.status is SubscriptionStatus.CANCELLED:
        return None
    state = RenewalState.read(subscription.metadata)
    if state is None:
        return None
    return _Watching(subscription, state, policy, as_of, limits).finding()


def was_adopted(subscription: OrderSubscription, as_of: datetime) -> bool:
    """
    Whether a subscription may have lost its `metadata.perennial`; its order copies show whether it has.

    Only a due one can be recognised: it is inactive, so no engine renews it, and its date has passed.
    """
    due = subscription.next_run_at
    is_due = subscription.status is SubscriptionStatus.INACTIVE and due is not None and due <= as_of
    return is_due and KEY not in subscription.metadata


def lost_metadata(
    subscription: OrderSubscription, copies: Iterable[OrderCopy], as_of: datetime, limits: WatchLimits
) -> WatchFinding | None:
    """The alarm about a subscription of `was_adopted`, if our `copies` show that Perennial has renewed it before."""
    ours = [
        copy.created_at
        for copy in copies
        if copy.created_at is not None
        and not is_of_a_rescue(copy)
        and (reference := parse_reference(copy.reference)) is not None
        and reference.subscription_id == subscription.id
    ]
    due, ran_at = subscription.next_run_at, subscription.last_run_at
    if not ours or due is None or due + limits.overdue_after > as_of:
        return None
    if ran_at is not None and ran_at > max(ours):  # given back, and renewed by Commerce Layer's own engine since
        return None
    sentence = (
        "Perennial has renewed it before, and its metadata.perennial is gone: something has overwritten its metadata. "
        f"`perennial adopt {subscription.id} --apply` adopts it again; set metadata.perennial to null if it is meant so"
    )
    return WatchFinding(Alarm.LOST, subscription.id, sentence, due, subscription.customer_email)


def charging_stopped(switch: StopSwitch, as_of: datetime, limits: WatchLimits) -> WatchFinding | None:
    """The alarm about charging that has been stopped for too long, or since an unknown time."""
    if not switch.is_stopped or (switch.since is not None and switch.since + limits.stopped_after > as_of):
        return None
    return WatchFinding(Alarm.CHARGING_STOPPED, "", f"{switch.sentence}; {WAY_OUT}", switch.since)


def unreadable(subscription_id: str, error: Exception) -> WatchFinding:
    """The alarm about a subscription that Commerce Layer does not show."""
    sentence = f"Commerce Layer cannot show it, so it is not renewed: tell their support ({error})"
    return WatchFinding(Alarm.UNREADABLE, subscription_id, sentence)


def unreadable_copies(which: str, error: Exception) -> WatchFinding:
    """The alarm about an order copy, or the copies with one reference, that Commerce Layer does not show."""
    sentence = f"Commerce Layer cannot show order copy {which}, so it is not checked: tell their support ({error})"
    return WatchFinding(Alarm.UNREADABLE, which, sentence)


@dataclass(frozen=True, slots=True)
class _Watching:
    """One adopted subscription."""

    subscription: OrderSubscription
    state: RenewalState
    policy: Policy
    as_of: datetime
    limits: WatchLimits

    def finding(self) -> WatchFinding | None:
        one, state = self.subscription, self.state
        if (refusal := status_refusal(one)) is not None:
            return self._alarm(Alarm.NOT_INACTIVE, refusal[1], one.updated_at)
        if state.damaged is not None:
            return self._alarm(Alarm.DAMAGED, damage_in_words(one, state), one.updated_at)
        if state.paused:
            return None
        if one.next_run_at is None:
            return self._alarm(Alarm.NO_DATE, "it has no next_run_at: set one to have it renewed", one.updated_at)
        return self._held() if state.held else self._not_renewed(one.next_run_at)

    def _not_renewed(self, next_run_at: datetime) -> WatchFinding | None:
        if self.state.is_unsettled and self.state.next_attempt_at is not None:
            return self._retry(self.state.next_attempt_at)
        since = self.state.unsettled_since or self.state.under_way_since
        if self.state.is_unsettled and since is not None:
            return self._stuck(since)
        return self._overdue(next_run_at)

    def _held(self) -> WatchFinding | None:
        since = self.state.held_since or self._held_at_the_latest_since()
        if since is None or since + self.limits.held_after > self.as_of:
            return None
        why = f" after: {self.state.error}" if self.state.error else ""
        return self._alarm(Alarm.HELD, f"held for a person{why}; nobody has released it: release or cancel it", since)

    def _held_at_the_latest_since(self) -> datetime | None:
        """Since when a hold without a date counts; any write of another system changes `updated_at`."""
        if self.state.is_unsettled:
            return self.state.period
        known = (self.subscription.updated_at, self.subscription.next_run_at)
        return min((moment for moment in known if moment is not None), default=None)

    def _retry(self, due: datetime) -> WatchFinding | None:
        if due + self.limits.overdue_after > self.as_of:
            return None
        sentence = f"its next attempt was due on {self._say(due)}, and nothing has made it"
        return self._alarm(Alarm.RETRY_OVERDUE, sentence, due)

    def _stuck(self, since: datetime) -> WatchFinding | None:
        if since + self.policy.stuck_after_delay > self.as_of:
            return None
        why = f" ({self.state.error})" if self.state.error else ""
        what = f"its period of {self._say(self.state.period or since)} is neither renewed nor failed{why}"
        return self._alarm(Alarm.STUCK, f"{what}: `perennial explain {self.subscription.id}` says more", since)

    def _overdue(self, next_run_at: datetime) -> WatchFinding | None:
        planned = plan(self.subscription, self.policy, self.as_of)
        if not isinstance(planned, Renewal) and planned.settlement is None:
            return self._cannot(planned.reason, planned.sentence, next_run_at)
        since = self._unattempted_since(whole_minute(next_run_at), planned.due or next_run_at)
        if since + self.limits.overdue_after > self.as_of or self._had_to_wait():
            return None
        sentence = (
            f"due since {self._say(since)}, and nothing has attempted it: is the schedule on, a worker running, or is "
            "charging stopped? Does the last sweep find it? "
            f"`perennial explain {self.subscription.id}` says what a sweep would do"
        )
        return self._alarm(Alarm.OVERDUE, sentence, since)

    def _had_to_wait(self) -> bool:
        """Whether a sweep would not have renewed it yet, such as too soon after the last order."""
        earlier = plan(self.subscription, self.policy, self.as_of - self.limits.overdue_after)
        return not isinstance(earlier, Renewal) and earlier.settlement is None

    def _unattempted_since(self, next_run_at: datetime, planned_due: datetime) -> datetime:
        done = self.state.done_through
        is_settled = done is not None and next_run_at <= done
        since = planned_due if is_settled else next_run_at
        # It was just adopted, released, or settled with another period already due: the next sweep renews it, even if
        # its date is old.
        if self.state.is_unsettled or done is None or is_settled:
            return max(since, self.subscription.updated_at or since)
        return since

    def _cannot(self, reason: SkipReason, sentence: str, since: datetime) -> WatchFinding | None:
        if not reason.needs_person or since + self.limits.overdue_after > self.as_of:
            return None
        return self._alarm(Alarm.CANNOT_BE_RENEWED, sentence, since)

    def _alarm(self, alarm: Alarm, sentence: str, since: datetime | None) -> WatchFinding:
        return WatchFinding(alarm, self.subscription.id, sentence, since, self.subscription.customer_email)

    def _say(self, instant: datetime) -> str:
        return with_year(instant, ZoneInfo(self.policy.time_zone))
