"""A random history of one subscription: what its sweeps, its customer, staff and other runs do."""

from collections import Counter
from datetime import datetime, timedelta
from random import Random

from rules.making import at, subscription
from rules.modelled_shop import DAY, LOGS, LOST, MONTH, NOT_SENT, REFUSALS, Shop, period_of

from blocks.commerce_layer.resources import OrderCopy
from blocks.commerce_layer.statuses import SubscriptionStatus
from blocks.policy import FailureClass, Policy
from flows.rules.findings import (
    CopyEnded,
    Finding,
    HeldBack,
    NotCreated,
    NotPlaced,
    OrderAnswered,
    PlacementRefused,
    StillRunning,
)
from flows.rules.next_action import (
    Conclude,
    Create,
    Hold,
    HoldReason,
    NextAction,
    Place,
    Wait,
    next_action,
    references_to_look_up,
)
from flows.rules.order_copies import CopiesOfPeriod
from flows.rules.outcomes import result_of
from flows.rules.records import record_of, skip_record_of
from flows.rules.renewal import Renewal, Skipped, plan
from flows.rules.results import RenewalResult
from flows.rules.state import Outcome, RenewalState
from flows.rules.still_wanted import still_wanted
from flows.rules.unrecorded import stale_copies, unrecorded_period


class RandomHistory:
    """One subscription with random events from its adoption on."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.policy = Policy(
            catch_up=random.choice(["latest", "all", "skip"]),
            final_action=random.choice(["hold", "hold", "skip_period", "cancel"]),
            max_attempts_per_day=random.randint(1, 5),
        )
        self.shop, self.now, self.runs = Shop(), at("2026-03-01T06:00"), 0
        self.sub = subscription({"note": "keep"}, frequency=random.choice(["daily", "monthly"]))
        self.releases: Counter[datetime] = Counter()
        self.refused: set[datetime] = set()
        self.through: datetime | None = None
        self.seen: Counter[str] = Counter()

    def step(self) -> None:
        events = [self.sweep] * 8 + [self.the_next_attempt_is_due] * 6 + [self.time_passes] * 2
        events += [self.a_running_copy_ends, self.a_placing_order_ends] * 3
        events += [self.the_customer_pays, self.the_customer_cancels_the_order, self.the_customer_postpones]
        events += [self.a_person_releases_it, self.another_run_creates_a_copy, self.another_system_writes_metadata]
        self.random.choice(events)()
        self.check()

    # --- the sweep -----------------------------------------------------------------------------

    def sweep(self) -> None:
        self.runs += 1
        # A scheduler that was down starts runs late: their instant is then days ago.
        self.as_of = self.now - timedelta(days=self.random.choice([0, 0, 0, 1, 5]))
        for _ in range(self.random.randint(1, 2)):
            answer = plan(self.sub, self.policy, self.as_of)
            if isinstance(answer, Skipped):
                self.seen[f"skipped: {answer.reason}"] += 1
                self._write(skip_record_of(answer, self.sub))
                return
            self.renew(self.first_look(answer))

    def first_look(self, renewal: Renewal) -> Renewal:
        copies = [self.shop.copy(name) for name in self.shop.copies]
        for stale in stale_copies(renewal, copies):
            self.seen["withdrawn: stale"] += 1
            self.shop.withdraw(stale.target_order_id)
        period = unrecorded_period(renewal, copies)
        self.seen["an unrecorded period is settled first"] += period is not None
        return renewal if period is None else renewal.for_due(period)

    def renew(self, renewal: Renewal) -> None:
        assert still_wanted(renewal, self.sub, [self.sub], list(self.shop.copies.values()), self.as_of) is None
        self.announced = self.sent = False
        finding = self.create_and_poll(renewal)
        if finding is None:
            self.nothing_is_recorded()
            return
        result = result_of(renewal, finding, self.now, f"run-{self.runs}")
        self.seen[result.outcome.value] += 1
        self._check(renewal, result)
        if self.random.random() < 0.1:
            self.seen["died before the record"] += 1
            self.nothing_is_recorded()
            return
        if self.announced:
            self.shop.charges.remove(self.now)
        if self.sent and _may_be_a_failed_charge(result):
            self.shop.charges.append(self.now)
        self._write(record_of(result, self.sub))

    def nothing_is_recorded(self) -> None:
        """Nothing is recorded, and often the customer then moves the date."""
        if self.random.random() < 0.7:
            self.postpone()

    def create_and_poll(self, renewal: Renewal) -> Finding | None:
        action, created = self.look(renewal), None
        if isinstance(action, Create):
            created = self.create(renewal)
            if not isinstance(created, str):
                return created
            if self.random.random() < 0.7:
                self.a_running_copy_ends()
            action = self.look(renewal)
        for surplus in CopiesOfPeriod.of(self.shop.under(references_to_look_up(renewal))).surplus:
            self.seen["withdrawn: surplus"] += 1
            self.shop.withdraw(surplus.target_order_id)
        match action:
            case Place(found):
                return self.place(renewal, action, is_ours=found.id == created)
            case Conclude(found):
                return CopyEnded(found)
            case Wait(found):
                return StillRunning(found)
            case Hold(reason):
                assert reason not in {HoldReason.DUPLICATE, HoldReason.COPY_MISSING}
                return HeldBack(action)
        raise AssertionError(f"polling does not end with {action}")

    def look(self, renewal: Renewal) -> NextAction:
        action = next_action(renewal, self.shop.under(references_to_look_up(renewal)), self.as_of)
        self.seen[f"Hold: {action.reason}" if isinstance(action, Hold) else type(action).__name__] += 1
        return action

    def create(self, renewal: Renewal) -> str | NotCreated | None:
        self._check_creation(renewal)
        fate = self.random.choice(["answered"] * 10 + ["answered late", "lost", "not sent", "refused", "died"])
        if fate == "not sent":
            return NotCreated(self.random.choice(NOT_SENT))
        if fate == "refused":
            return NotCreated(REFUSALS[self.random.choice(sorted(LOGS))])
        if fate == "lost":
            return NotCreated(LOST)
        if fate == "answered late":  # the run created it again meanwhile
            self.shop.create(renewal.reference, self.now)
        name = self.shop.create(renewal.reference, self.now)
        return None if fate == "died" else name

    def place(self, renewal: Renewal, attempt: Place, *, is_ours: bool) -> Finding | None:
        self._check_placement(renewal, attempt)
        if not is_ours:
            state = renewal.state.announcing(
                attempt.attempt, attempt.copy.id, attempt.order.id, self.now, f"run-{self.runs}"
            )
            self.announced = True
            self._record(state)
            self.shop.charges.append(self.now)
            if self.random.random() < 0.1:
                self.seen["died after the announcement"] += 1
                return None
        fate = self.random.choice(["answered"] * 8 + ["lost after", "lost before", "not sent", "died", "unwanted"])
        if fate in {"not sent", "unwanted"}:
            return self.not_placed(attempt, fate, renewal)
        self.sent = True
        return self.answer(attempt, fate)

    def not_placed(self, attempt: Place, fate: str, renewal: Renewal) -> NotPlaced | None:
        if fate == "not sent":
            return NotPlaced(attempt, self.random.choice(NOT_SENT))
        # The last look shows that the customer postponed it: the run takes its announcement back.
        if self.announced:
            self.shop.charges.remove(self.now)
            self._record(renewal.state)
        self.shop.withdraw(attempt.order.id)
        self.postpone()
        return None

    def answer(self, attempt: Place, fate: str) -> Finding | None:
        order_id = attempt.order.id
        how = self.random.choice(["placed", "placing", "declined", "declined", "declined"])
        if fate != "lost before" and how in {"placed", "placing"}:
            self.shop.set_order(order_id, how, placed_at=self.now if how == "placed" else None)
        elif fate != "lost before":
            self.shop.set_order(order_id, "pending")
        if fate == "died":
            self.seen["died after the placement"] += 1
            return None
        found = self.shop.orders[order_id]
        if fate == "lost before" or (fate == "lost after" and how == "declined"):
            return PlacementRefused(attempt, LOST, found)
        if how == "declined":
            return PlacementRefused(attempt, REFUSALS[self.random.choice(sorted(LOGS))], found)
        return OrderAnswered(attempt, found)

    def _record(self, state: RenewalState, next_run_at: datetime | None = None) -> None:
        fields = {"metadata": state.written_into(self.sub.metadata)}
        self.sub = self.sub.model_copy(update=fields | ({"next_run_at": next_run_at} if next_run_at else {}))

    def _write(self, record) -> None:
        if record is None:
            return
        moved = {"next_run_at": record.next_run_at} if record.next_run_at else {}
        self.sub = self.sub.model_copy(update={"metadata": dict(record.metadata), **moved})
        if record.cancel:
            cancelled = SubscriptionStatus.CANCELLED
            self.sub = self.sub.model_copy(update={"status": cancelled, "raw_status": cancelled.value})

    # --- what others do meanwhile --------------------------------------------------------------

    def time_passes(self) -> None:
        self.now += timedelta(minutes=self.random.choice([1, 15, 60, 60 * 24, 60 * 24 * 4, 60 * 24 * 40]))

    def the_next_attempt_is_due(self) -> None:
        self.now = max(self.now, self._state().next_attempt_at or self.sub.next_run_at)

    def a_running_copy_ends(self) -> None:
        for name in [name for name, found in self.shop.copies.items() if found.status == "in_progress"]:
            how = self.random.choice(["completed"] * 4 + ["failed", "failed with an order"])
            self.shop.end_copy(name, how, self.random.choice(sorted(LOGS)))

    def a_placing_order_ends(self) -> None:
        for name in [name for name, found in self.shop.orders.items() if found.status == "placing"]:
            is_placed = self.random.random() < 0.5
            self.shop.set_order(name, "placed" if is_placed else "pending", placed_at=self.now if is_placed else None)

    def another_run_creates_a_copy(self) -> None:
        answer = plan(self.sub, self.policy, self.now)
        if isinstance(answer, Renewal):
            self.shop.create(answer.reference, self.now)

    def the_customer_pays(self) -> None:
        """The customer pays the declined order at the checkout."""
        name = self._state().target_order_id
        if name in self.shop.orders and self.shop.orders[name].status == "pending" and not self._is_charged(name):
            self.shop.set_order(name, "placed", placed_at=self.now)

    def the_customer_cancels_the_order(self) -> None:
        state = self._state()
        name = state.target_order_id
        if name not in self.shop.orders or self.shop.orders[name].status != "pending":
            return
        self.shop.set_order(name, "cancelled")
        if state.is_unsettled and (state.held or state.outcome not in {"needs_attention", "exhausted"}):
            self.refused.add(state.period)

    def the_customer_postpones(self) -> None:
        if self.random.random() < 0.3:
            self.postpone()

    def postpone(self) -> None:
        later = self.now + timedelta(days=self.random.randint(1, 20))
        self.sub = self.sub.model_copy(update={"next_run_at": later})

    def a_person_releases_it(self) -> None:
        state = self._state()
        if state.held:
            self.releases[state.period] += 1
            self.refused.discard(state.period)
            self._record(state.model_copy(update={"held": False}))

    def another_system_writes_metadata(self) -> None:
        self.sub = self.sub.model_copy(update={"metadata": {**self.sub.metadata, "erp": {"seen": f"{self.now:%F}"}}})

    def periods_with_a_placed_order(self) -> Counter[datetime]:
        return Counter(
            period_of(found)
            for found in self.shop.copies.values()
            if found.target_order_id and self.shop.orders[found.target_order_id].placed_at
        )

    def _is_charged(self, order_id: str) -> bool:
        """Whether another order of the same period is placed."""
        (period,) = {period_of(found) for found in self.shop.copies.values() if found.target_order_id == order_id}
        return any(found.target_order and found.target_order.placed_at for found in self.shop.of_period(period))

    # --- what must hold ------------------------------------------------------------------------

    def _state(self) -> RenewalState:
        state = RenewalState.read(self.sub.metadata)
        assert state is not None
        return state

    def _check_creation(self, renewal: Renewal) -> None:
        """No copy is created for a period that is renewed, has a live copy, or whose order a person cancelled."""
        assert renewal.state.done_through is None or renewal.due > renewal.state.done_through
        assert not [found.id for found in self.shop.of_period(renewal.due) if _counts(found)]
        assert renewal.due not in self.refused, "a person cancelled it: only a person may renew it"

    def _check_placement(self, renewal: Renewal, attempt: Place) -> None:
        """No period is charged twice, and no card more often than the card networks allow."""
        for found in self.shop.of_period(renewal.due):
            assert found.target_order is None or found.target_order.placed_at is None
            assert found.target_order is None or found.target_order.status != "placing"
        through = renewal.state.done_through
        for paid in self.periods_with_a_placed_order():
            assert through is not None, f"{paid} is charged and not recorded yet"
            assert paid <= through, f"{paid} is charged and not recorded yet"
        alive = [found for found in self.shop.of_period(renewal.due) if _counts(found)]
        assert attempt.copy.id == min(alive, key=lambda found: found.created_at).id, (
            "only the order of the earliest live copy is placed"
        )
        assert attempt.order.id == attempt.copy.target_order_id
        assert renewal.due not in self.refused, "a person cancelled it: only a person may renew it"
        assert renewal.state.done_through is None or renewal.due > renewal.state.done_through
        recorded = renewal.state.attempts_until(self.now)
        assert sum(moment > self.now - timedelta(days=1) for moment in recorded) < self.policy.max_attempts_per_day

    def _check(self, renewal: Renewal, result: RenewalResult) -> None:
        before, after = renewal.state, result.state
        assert after.attempt - before.attempt in {0, 1}
        for cls, failed in after.failures.items():
            retries = len(renewal.policy.retry_delays(FailureClass(cls)))
            assert failed <= retries + 1 + self.releases[renewal.due], "each class has its own retries, and no more"
        assert result.next_run_at is None or result.next_run_at > self.now
        assert (result.next_run_at is None) or after.done_through is not None
        if result.outcome in {Outcome.RENEWED, Outcome.ALREADY_RENEWED}:
            orders = [found.target_order for found in self.shop.of_period(renewal.due)]
            assert any(order is not None and order.is_placed for order in orders)
            assert after.done_through >= renewal.due
        if result.needs_person and not after.held:
            # It continues by itself: when the credentials work again, or when the copy or order under way ends.
            assert after.under_way_since or after.unsettled_since or result.failure.attempted is False
        assert len(result.sentence) < 400

    def check(self) -> None:
        placed = self.periods_with_a_placed_order()
        assert all(count == 1 for count in placed.values()), "a second order for one period"
        assert {found.reference.partition("#")[1] for found in self.shop.copies.values()} <= {""}
        self._check_state(self._state())
        self._check_charges()

    def _check_state(self, state: RenewalState) -> None:
        assert state.damaged is None
        assert self.through is None or (state.done_through is not None and state.done_through >= self.through)
        self.through = state.done_through
        assert self.sub.metadata["crm"] == {"id": 7}
        assert self.sub.metadata["perennial"]["note"] == "keep"

    def _check_charges(self) -> None:
        for moment in self.shop.charges:
            for window, limit in ((DAY, self.policy.max_attempts_per_day), (MONTH, self.policy.max_attempts_per_month)):
                assert sum(moment - window < other <= moment for other in self.shop.charges) <= limit


def _may_be_a_failed_charge(result: RenewalResult) -> bool:
    if result.outcome is Outcome.RENEWED:
        return False
    on_the_card = {FailureClass.PAYMENT, FailureClass.TRANSIENT, FailureClass.UNKNOWN}
    return result.failure is None or result.failure.cls in on_the_card


def _counts(found: OrderCopy) -> bool:
    return found.status != "failed" and (found.target_order is None or found.target_order.status != "cancelled")
