"""Why a period has no placed order: what the sweep would say about it, and what its order copies tell."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from blocks.commerce_layer.resources import OrderCopy
from blocks.policy import Policy
from flows.rules.failures import classify_copy
from flows.rules.order_copies import FAILED_STATUSES, WITHDRAWN, CopiesOfPeriod, is_refused, is_withdrawn
from flows.rules.references import whole_minute
from flows.rules.renewal import Renewal, plan
from flows.rules.skips import NATIVE_STATUSES, SkipReason, without_a_state
from flows.rules.span_periods import ShopRecords
from flows.rules.state import KEY, Outcome, RenewalState
from flows.rules.zones import with_year

SWEPT_WITHIN = timedelta(hours=1)
"""For so long a due period simply waits for the next sweep."""

_UNEXPLAINED = frozenset({SkipReason.STATE_LOST, SkipReason.EXPIRED, SkipReason.NOTHING_PENDING})
"""What a sweep says about a subscription now, although it should have renewed it before."""


@dataclass(frozen=True, slots=True)
class Reason:
    """A sentence, and whether it explains what is amiss, so that no person need look."""

    sentence: str
    is_explained: bool


def why_not_renewed(
    records: ShopRecords, due: datetime, copies: CopiesOfPeriod, policy: Policy, as_of: datetime, *, was_idle: bool
) -> Reason:
    """
    Why the period `due` has no placed order at `as_of`. `policy` is the subscription's own.

    `was_idle`: no run made any copy while it was the newest period that was due.
    """
    return _Looking(records, due, copies, policy, as_of, was_idle).reason()


@dataclass(frozen=True, slots=True)
class _Looking:
    records: ShopRecords
    due: datetime
    copies: CopiesOfPeriod
    policy: Policy
    as_of: datetime
    was_idle: bool

    def reason(self) -> Reason:
        one, state = self.records.subscription, self.records.state
        if one is None:
            return Reason("the subscription does not exist any more", is_explained=True)
        ran_at = one.last_run_at
        if ran_at is not None and ran_at >= self.due and one.succeeded_on_last_run and one.status in NATIVE_STATUSES:
            return Reason(f"Commerce Layer's own engine drives it, and ran on {self._say(ran_at)}", is_explained=True)
        if state is None:
            reason, sentence = without_a_state(one)
            return Reason(sentence, is_explained=reason is SkipReason.NOT_ADOPTED)
        if state.damaged is not None or state.done_through is None or state.done_through < self.due:
            return self._open(state)
        return self._settled(state)

    def _open(self, state: RenewalState) -> Reason:
        """A period that is not settled: what the sweep says."""
        one = self.records.subscription
        assert one is not None
        date = one.next_run_at
        is_begun = state.is_unsettled and state.period == self.due
        if state.damaged is None and not is_begun and date is not None and whole_minute(date) > self.due:
            why = f" ({said})" if (said := self._of_copies()) else ""
            return Reason(f"its date was moved past it, to {self._say(date)}{why}", is_explained=True)
        answer = plan(one, self.policy, self.as_of)
        if not isinstance(answer, Renewal):
            return Reason(answer.sentence, is_explained=answer.reason not in _UNEXPLAINED)
        if answer.due > self.due and self.policy.catch_up != "all":
            return self._passed_over()
        since = state.under_way_since or state.unsettled_since
        if is_begun and since is not None:
            why = f": {state.error}" if state.error else ""
            is_new = since + self.policy.stuck_after_delay > self.as_of
            return Reason(f"under way since {self._say(since)}{why}", is_explained=is_new)
        said = self._of_copies() or "no sweep has renewed it"
        return Reason(f"due, and {said}", is_explained=self.due + SWEPT_WITHIN > self.as_of)

    def _settled(self, state: RenewalState) -> Reason:
        """A period that was settled without an order."""
        if state.period == self.due and state.outcome in {Outcome.SKIPPED, Outcome.EXHAUSTED, Outcome.NEEDS_ATTENTION}:
            why = f": {state.error}" if state.error else ""
            return Reason(f"given up ({state.outcome.replace('_', ' ')}){why}", is_explained=True)
        if (said := self._of_copies()) is not None:
            return Reason(f"given up: {said}", is_explained=True)
        if self.copies.live:
            copy = self.copies.live[0]
            order = copy.target_order_id or "none"
            return Reason(f"settled, but order {order} of copy {copy.id} was never placed", is_explained=False)
        if self._is_before_what_was_skipped(state):
            return Reason("passed over with the later period that was skipped on purpose", is_explained=True)
        return self._passed_over()

    def _is_before_what_was_skipped(self, state: RenewalState) -> bool:
        """Whether a resumed pause, or a late period, has settled all since the last renewal."""
        last = state.last_period
        is_after = last is not None and self.due > last
        return is_after and state.outcome is Outcome.SKIPPED and not state.is_unsettled

    def _passed_over(self) -> Reason:
        if self.was_idle and self.policy.catch_up != "all":
            said = f"no sweep ran until the next period was due, and catch_up is {self.policy.catch_up}"
            return Reason(said, is_explained=True)
        return Reason(
            "no order copy was made of it, and nothing in the shop says why; if its date was moved past it on purpose, "
            "nothing is wrong",
            is_explained=False,
        )

    def _of_copies(self) -> str | None:
        """What the copies of the period tell, the newest one first."""
        told = (self._of_copy(copy) for copy in reversed(self.copies.ended + self.copies.live))
        return next((each for each in told if each is not None), None)

    def _of_copy(self, copy: OrderCopy) -> str | None:
        order = copy.target_order
        if order is not None and is_withdrawn(order):
            return f"order {order.id} was withdrawn: {order.metadata[KEY][WITHDRAWN]}"
        if is_refused(copy):
            return f"order {copy.target_order_id} was cancelled by the customer or staff"
        if copy.status in FAILED_STATUSES:
            return f"order copy {copy.id} failed: {classify_copy(copy, self.policy).in_short}"
        if order is not None and order.errors_count:
            return f"order {order.shown_number} could not be paid in {order.errors_count} attempts"
        return None

    def _say(self, instant: datetime) -> str:
        return with_year(instant, ZoneInfo(self.policy.time_zone))
