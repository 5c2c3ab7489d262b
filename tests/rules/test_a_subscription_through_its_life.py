"""
Random lives of one subscription, and what must hold in every one of them.

The shop below is a list of copies and orders with none of the rules' thinking in it. Workers die
before and after every write, answers get lost, customers pay, postpone and cancel, people release.
"""

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import Random

import pytest
from rules.making import at, copy, order, subscription

from blocks.commerce_layer.errors import ErrorItem, Fenced, NotConnected, Refused, Unauthorized, WriteFateUnknown
from blocks.commerce_layer.resources import Order, OrderCopy
from blocks.policy_terms import FailureClass, PolicyTerms
from flows.rules.next_action import Act, Adopt, Create, Hold, Place, guard, next_act, references_to_look_up
from flows.rules.outcomes import (
    CopySettled,
    CreationRefused,
    FateUnknown,
    Judgement,
    NothingDone,
    OrderPlaced,
    Outcome,
    PlacementRefused,
    StillRunning,
    judge,
)
from flows.rules.references import parse_reference
from flows.rules.renewal import Renewal, Skipped, plan
from flows.rules.state import RenewalState

LOGS = {
    "payment": {"payment_source": ["was declined"]},
    "hard": {"payment_source": ["stolen_card"]},
    "stock": {"line_items": ["is out of stock"]},
    "coupon": {"coupon_code": ["is invalid"]},
    "transient": {"base": ["temporarily unavailable"]},
    "unknown": {"status": ["cannot transition from draft to placed"]},
}
REFUSALS = {
    name: Refused(422, (ErrorItem(detail=f"{attribute}: {texts[0]}"),), "PATCH", "/x")
    for name, log in LOGS.items()
    for attribute, texts in log.items()
}
NOT_SENT = [
    NotConnected("POST", "/x", "refused"),
    Fenced("lease too old"),
    Unauthorized(401, (ErrorItem(code="UNAUTHORIZED"),), "POST", "/x"),
]
DAY, MONTH = timedelta(days=1), timedelta(days=30)


@dataclass
class Shop:
    """Copies and orders by id, and the failed charges that a worker could know of."""

    copies: dict[str, OrderCopy] = field(default_factory=dict)
    orders: dict[str, Order] = field(default_factory=dict)
    charges: list[datetime] = field(default_factory=list)

    def create(self, reference: str, how: str, log: str) -> str:
        name = f"Cpy{len(self.copies):07d}"
        target = None
        if how not in {"running", "failed"}:
            status = {"placed": "placed", "placing": "placing"}.get(how, "pending")
            target = order(status, id=f"Tgt{len(self.orders):07d}", number=str(len(self.orders)))
            self.orders[target.id] = target
        status = {"running": "in_progress", "placed": "completed", "unplaced": "completed", "placing": "completed"}
        self.copies[name] = copy(
            reference, status.get(how, "failed"), target, id=name, errors_log=LOGS[log] if "failed" in how else None
        )
        return name

    def copy(self, name: str) -> OrderCopy:
        found = self.copies[name]
        target = self.orders.get(found.target_order_id or "")
        return found.model_copy(update={"target_order": target})

    def under(self, references: list[str]) -> list[OrderCopy]:
        return [self.copy(name) for name, found in self.copies.items() if found.reference in references]

    def set_order(self, name: str, status: str) -> None:
        self.orders[name] = order(status, id=name, number=self.orders[name].number)

    def open_orders(self) -> list[str]:
        return [name for name, found in self.orders.items() if found.status in {"pending", "draft"}]


class Life:
    """One subscription from adoption on, as chance will have it."""

    def __init__(self, chance: Random) -> None:
        self.chance = chance
        self.terms = PolicyTerms(
            catch_up=chance.choice(["latest", "all", "skip"]),
            final_action=chance.choice(["hold", "hold", "skip_period", "cancel"]),
            max_attempts_per_day=chance.randint(1, 5),
        )
        self.shop, self.now = Shop(), at("2026-03-01T06:00")
        self.sub = subscription({"instance": "prod", "note": "keep"}, frequency=chance.choice(["daily", "monthly"]))
        self.releases: Counter[datetime] = Counter()
        self.through: datetime | None = None
        self.seen: Counter[str] = Counter()

    def step(self) -> None:
        happenings = [self.sweep] * 8 + [self.the_next_attempt_is_due] * 6 + [self.time_passes] * 2
        happenings += [self.a_running_copy_ends, self.a_placing_order_ends] * 3
        happenings += [self.the_customer_pays_or_cancels, self.the_customer_postpones, self.a_person_releases_it]
        self.chance.choice([*happenings, self.somebody_writes_metadata])()
        self.check()

    # --- the sweep -----------------------------------------------------------------------------

    def sweep(self) -> None:
        how = self.chance.choice(["placed", "running", "unplaced", "placing", *["failed_with_order", "failed"] * 3])
        log = self.chance.choice(sorted(LOGS))
        fates = ["lost after", "lost before", "not sent", "refused", "crash", "no record"]
        fate = self.chance.choice(["answered"] * 10 + fates)
        # A scheduler that was down starts late runs, which work up to an instant of days ago.
        self.as_of = self.now - timedelta(days=self.chance.choice([0, 0, 0, 1, 5]))
        for _ in range(self.chance.randint(1, 2)):
            answer = plan(self.sub, self.terms, self.as_of, "prod")
            if isinstance(answer, Skipped):
                self.seen[f"skipped: {answer.reason}"] += 1
                if answer.settlement is not None:
                    self._record(answer.settlement.state, answer.settlement.next_run_at)
                return
            self._renew(answer, how, log, fate, self.chance.choice(NOT_SENT))

    def _renew(self, renewal: Renewal, how: str, log: str, fate: str, not_sent: Exception) -> None:
        act = next_act(renewal, self.shop.under(references_to_look_up(renewal)), self.as_of)
        assert guard(renewal, self.sub, [self.sub], list(self.shop.copies.values()), self.as_of) is None
        self.seen[_name(act)] += 1
        match act:
            case Create():
                evidence = self._create(renewal, act, how, log, fate, not_sent)
            case Place():
                evidence = self._place(renewal, act, how, log, fate, not_sent)
            case Adopt(found):
                evidence = CopySettled(found, adopted=True) if found.is_final else StillRunning(found)
            case Hold():
                assert act.reason != "duplicate"
                assert act.reason != "copy_missing"
                evidence = NothingDone(act)
        if evidence is None or fate == "no record":
            return
        verdict = judge(renewal, act, evidence, self.now, "run")
        self._charge(verdict, act)
        self.seen[verdict.outcome.value] += 1
        self._check(renewal, verdict)
        self._record(verdict.state, verdict.next_run_at)
        if verdict.cancel:
            self.sub = self.sub.model_copy(update={"status": "cancelled", "raw_status": "cancelled"})

    def _create(self, renewal, act, how, log, fate, not_sent):
        self._check_write(renewal, act)
        if fate == "not sent":
            return CreationRefused(not_sent)
        if fate == "refused":
            return CreationRefused(REFUSALS[log])
        if fate == "lost before":
            return FateUnknown(act.reference)
        name = self.shop.create(act.reference, how, log)
        if fate == "crash":
            return None
        if fate == "lost after":
            return CreationRefused(WriteFateUnknown("POST", "/x", "timeout", act.reference))
        found = self.shop.copy(name)
        return CopySettled(found) if found.is_final else StillRunning(found)

    def _place(self, renewal, act, how, log, fate, not_sent):
        self._check_write(renewal, act)
        if fate == "not sent":
            return PlacementRefused(not_sent, None)
        if fate != "lost before" and how in {"placed", "placing"}:
            self.shop.set_order(act.target_order_id, how)
        if fate == "crash":
            return None
        found = self.shop.orders[act.target_order_id]
        if fate.startswith("lost"):
            return PlacementRefused(WriteFateUnknown("PATCH", "/x", "timeout"), None)
        return OrderPlaced(found) if found.status != "pending" else PlacementRefused(REFUSALS[log], found)

    def _charge(self, verdict: Judgement, act: object) -> None:
        """A charge that failed now. One that is only found now was made earlier, under the limit of that time."""
        failure = verdict.failure
        if failure is None or not failure.attempted or verdict.outcome is Outcome.UNCONFIRMED:
            return
        if failure.cls in {"payment", "transient", "unknown"} and not isinstance(act, Adopt):
            self.shop.charges.append(self.now)

    def _record(self, state: RenewalState, next_run_at: datetime | None) -> None:
        fields = {"metadata": state.written_into(self.sub.metadata)}
        self.sub = self.sub.model_copy(update=fields | ({"next_run_at": next_run_at} if next_run_at else {}))

    # --- what others do meanwhile --------------------------------------------------------------

    def time_passes(self) -> None:
        self.now += timedelta(minutes=self.chance.choice([1, 15, 60, 60 * 24, 60 * 24 * 4, 60 * 24 * 40]))

    def the_next_attempt_is_due(self) -> None:
        self.now = max(self.now, self._state().next_attempt_at or self.sub.next_run_at)

    def a_running_copy_ends(self) -> None:
        for name in [name for name, found in self.shop.copies.items() if found.status == "in_progress"]:
            ended, how = Shop(orders=self.shop.orders), self.chance.choice(["placed", "failed", "failed_with_order"])
            twin = ended.create(self.shop.copies[name].reference, how, self.chance.choice(sorted(LOGS)))
            self.shop.copies[name] = ended.copies[twin].model_copy(update={"id": name})

    def a_placing_order_ends(self) -> None:
        for name in [name for name, found in self.shop.orders.items() if found.status == "placing"]:
            self.shop.set_order(name, self.chance.choice(["placed", "pending"]))

    def the_customer_pays_or_cancels(self) -> None:
        for name in self.shop.open_orders()[-1:]:
            self.shop.set_order(name, self.chance.choice(["placed", "cancelled"]))

    def the_customer_postpones(self) -> None:
        if self.chance.random() < 0.3:
            self.sub = self.sub.model_copy(
                update={"next_run_at": self.now + timedelta(days=self.chance.randint(1, 20))}
            )

    def a_person_releases_it(self) -> None:
        state = self._state()
        if state.held:
            self.releases[state.period] += 1
            self._record(state.model_copy(update={"held": False}), None)

    def somebody_writes_metadata(self) -> None:
        self.sub = self.sub.model_copy(update={"metadata": {**self.sub.metadata, "erp": {"seen": f"{self.now:%F}"}}})

    # --- what must hold ------------------------------------------------------------------------

    def _state(self) -> RenewalState:
        state = RenewalState.read(self.sub.metadata)
        assert state is not None
        return state

    def _check_write(self, renewal: Renewal, act: Create | Place) -> None:
        """No write for a period that is renewed, or that may be by what is still running."""
        existing = [found for found in self.shop.copies.values() if _period(found) == renewal.due]
        for found in map(self.shop.copy, [found.id for found in existing]):
            assert found.status != "in_progress"
            assert found.target_order is None or not found.target_order.is_placed
            assert found.target_order is None or found.target_order.status != "placing"
        if isinstance(act, Create):
            assert act.reference not in {found.reference for found in existing}
            orders = {found.target_order_id for found in existing} - {None}
            assert not orders & set(self.shop.open_orders())
            assert not orders or self.releases[renewal.due], "a person cancelled it: only a person may have it again"
        assert renewal.state.done_through is None or renewal.due > renewal.state.done_through
        recorded = renewal.state.attempts_until(self.now)
        assert sum(moment > self.now - timedelta(days=1) for moment in recorded) < self.terms.max_attempts_per_day

    def _check(self, renewal: Renewal, verdict: Judgement) -> None:
        before, after = renewal.state, verdict.state
        assert after.attempt - before.attempt in {0, 1}
        assert after.copies >= before.copies
        for cls, failed in after.failures.items():
            retries = len(renewal.terms.retry_delays(FailureClass(cls)))
            assert failed <= retries + 1 + self.releases[renewal.due], "each class has its own retries, and no more"
        assert verdict.next_run_at is None or verdict.next_run_at > self.now
        assert (verdict.next_run_at is None) or after.done_through is not None
        if verdict.outcome in {Outcome.RENEWED, Outcome.ALREADY_RENEWED}:
            placed = [found for found in self.shop.copies.values() if _period(found) == renewal.due]
            assert any(self.shop.orders[found.target_order_id].is_placed for found in placed if found.target_order_id)
            assert after.done_through >= renewal.due
        if verdict.needs_person and not after.held:
            # It goes on by itself: when the shop lets us in again, or when what is under way ends.
            assert after.under_way_since or verdict.failure.attempted is False
        assert len(verdict.sentence) < 400

    def check(self) -> None:
        alive = Counter(_period(found) for found in map(self.shop.copy, self.shop.copies) if _counts(found))
        assert all(count == 1 for count in alive.values()), "a second copy that is not failed"
        placed = Counter(
            _period(found)
            for found in self.shop.copies.values()
            if found.target_order_id and self.shop.orders[found.target_order_id].is_placed
        )
        assert all(count == 1 for count in placed.values()), "a second order for one period"
        used = Counter(found.reference for found in self.shop.copies.values())
        assert all(count == 1 for count in used.values()), "a reference used twice"
        self._check_state(self._state())
        self._check_charges()

    def _check_state(self, state: RenewalState) -> None:
        assert state.damaged is None
        assert self.through is None or (state.done_through is not None and state.done_through >= self.through)
        self.through = state.done_through
        assert self.sub.metadata["crm"] == {"id": 7}
        stored = self.sub.metadata["perennial"]
        assert (stored["note"], stored["instance"]) == ("keep", "prod")

    def _check_charges(self) -> None:
        for moment in self.shop.charges:
            for window, limit in ((DAY, self.terms.max_attempts_per_day), (MONTH, self.terms.max_attempts_per_month)):
                assert sum(moment - window < other <= moment for other in self.shop.charges) <= limit


def _name(act: Act) -> str:
    if isinstance(act, Hold):
        return f"Hold: {act.reason}"
    return f"{type(act).__name__} #{act.copy}" if isinstance(act, Create) else type(act).__name__


def _counts(found: OrderCopy) -> bool:
    return found.status != "failed" and (found.target_order is None or found.target_order.status != "cancelled")


def _period(found: OrderCopy) -> datetime:
    reference = parse_reference(found.reference)
    assert reference is not None
    return reference.due


@pytest.mark.parametrize("chunk", range(4))
def test_whatever_happens_a_period_becomes_one_order_at_most(chunk):
    seen: Counter[str] = Counter()
    for seed in range(chunk * 60, chunk * 60 + 60):
        life = Life(Random(seed))
        try:
            for _ in range(60):
                life.step()
        except AssertionError as error:
            error.add_note(f"in the life of seed {seed}, at {life.now}, state {life.sub.metadata['perennial']}")
            raise
        seen += life.seen
    # Lives in which nothing happens would prove nothing.
    rare = {name for name in WORTH_SEEING if seen[name] < 2}
    assert not rare, seen


WORTH_SEEING = (
    *("renewed", "already_renewed", "in_progress", "retry_scheduled", "needs_attention", "exhausted", "unconfirmed"),
    *("Create #1", "Create #2", "Place", "Adopt", "Hold: target_cancelled"),
    *("skipped: held", "skipped: retry_not_due", "skipped: not_due"),
)
