"""
A random year of one subscription. People move its date at every point: before, during and after renewal and record.

The shop below is a list of orders and shares no logic with the rules. Records get lost, cards fail, and on some days
there is no sweep.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import pairwise
from random import Random

from rules.making import at, copy, order, subscription

from blocks.commerce_layer.errors import ErrorItem, Refused
from blocks.commerce_layer.resources import OrderCopy, OrderSubscription
from blocks.policy import Policy
from flows.rules.findings import CopyEnded, Finding, OrderAnswered, PlacementRefused
from flows.rules.handover import Handover, HandoverRequest
from flows.rules.next_action import Conclude, Create, Hold, Place, next_action
from flows.rules.outcomes import result_of
from flows.rules.pausing import decide
from flows.rules.records import record_of, skip_record_of
from flows.rules.references import parse_reference
from flows.rules.renewal import Renewal, Skipped, SkipReason, plan
from flows.rules.skips import waits_for_payment
from flows.rules.state import RenewalState
from flows.rules.still_wanted import still_wanted
from flows.rules.unrecorded import looked_back_to, recorded_copy, stale_copies, unrecorded_period

SHORTEST = {"daily": 1, "weekly": 7, "monthly": 28, "two-month": 59, "yearly": 365, "0 6 1 * *": 28, "0 6 * * 1": 7}
"""Days of the shortest interval of each frequency."""

DECLINED = Refused(422, (ErrorItem(detail="was declined", pointer="/data/attributes/payment_source"),), "PATCH", "/x")
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


@dataclass
class Year:
    """One subscription with its shop and its random events."""

    random: Random
    frequency: str
    policy: Policy
    now: datetime = field(default_factory=lambda: at("2026-03-01T06:05"))
    copies: dict[str, OrderCopy] = field(default_factory=dict)
    charges: list[tuple[datetime, str]] = field(default_factory=list)
    allowed: set[str] = field(default_factory=set)
    """References that a person has released although their dates were too close."""
    told: list[str] = field(default_factory=list)
    seen: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.sub = subscription({}, frequency=self.frequency)

    def run(self, until: datetime) -> None:
        """Sweep every few hours, and let people act in between."""
        while self.now < until:
            self.now += self.random.choice([15 * MINUTE, HOUR, 6 * HOUR, 20 * HOUR])
            if self.random.random() < 0.02:
                self.now += self.random.randint(1, 20) * DAY  # an outage: no sweep
            if self.random.random() < 0.05:
                self.a_person_moves_the_date("before")
            if self.random.random() < 0.2:
                self.the_customer_pays()
            if self.random.random() < 0.1:
                self.a_person_looks_at_what_is_held()
            self.sweep()

    # --- what people do ----------------------------------------------------------------------------

    def a_person_moves_the_date(self, when: str) -> None:
        """Move it back or on, by minutes to weeks, from its date or from now. The API accepts no past date."""
        by = self.random.choice([MINUTE, 15 * MINUTE, HOUR, 15 * HOUR, 3 * DAY, 12 * DAY, 40 * DAY])
        start = self.random.choice([self.now, self.sub.next_run_at, self.sub.next_run_at])
        to = start + by * self.random.uniform(-1.5, 1.5)
        if to > self.now:
            self.seen[f"moved {when}"] += 1
            self.sub = self.sub.model_copy(update={"next_run_at": to})

    def the_customer_pays(self) -> None:
        state = self._state()
        open_order = next(
            (each for each in self.copies.values() if each.target_order_id == state.target_order_id), None
        )
        if waits_for_payment(state) and open_order is not None and open_order.target_order.status == "pending":
            self.seen["paid at the checkout"] += 1
            self.charge(open_order)

    def a_person_looks_at_what_is_held(self) -> None:
        state = self._state()
        if not state.held:
            return
        if state.too_close_to is not None:
            self.seen["held: too close"] += 1
            if self.random.random() < 0.5:
                self.a_person_moves_the_date("held")
                return
            self.allowed.add(f"{self.sub.id}@{state.period:%Y-%m-%dT%H:%MZ}")
        change = decide(self.sub, HandoverRequest(Handover.RELEASE), self.policy, self.now).change
        self.sub = self.sub.model_copy(update={"metadata": change.metadata})

    # --- the sweep -----------------------------------------------------------------------------------

    def sweep(self) -> None:
        state = self._state()
        mine = [each for each in self.copies.values() if each.target_order_id == state.target_order_id]
        paid = waits_for_payment(state) and any(each.target_order.is_placed for each in mine)
        answer = plan(self.sub, self.policy, self.now, paid=paid)
        if isinstance(answer, Skipped):
            self.skip(answer)
            return
        work = self.first_look(answer)
        if still_wanted(work, self.sub, [], list(self.copies.values()), self.now) is not None:
            return
        finding = self.renew(work)
        if self.random.random() < 0.15:
            self.a_person_moves_the_date("while")
        if finding is None or self.random.random() < 0.1:
            self.seen["the record was lost"] += 1
            self.a_person_moves_the_date("instead of the record")
            return
        result = result_of(work, finding, self.now, f"run-{self.now}")
        self.told += [result.sentence] if result.needs_person else []
        self.write(record_of(result, self.sub))
        if self.random.random() < 0.25:
            self.now += MINUTE
            self.a_person_moves_the_date("after")

    def skip(self, answer: Skipped) -> None:
        self.seen[f"skipped: {answer.reason}"] += 1
        if answer.reason is SkipReason.TOO_CLOSE:
            last = self._state().last_order_id
            assert last is None or last in answer.sentence, "the sentence names the order"
            assert "release it" in answer.sentence
        self.told += [answer.sentence] if answer.reason.needs_person else []
        if answer.settlement is not None and self.random.random() < 0.9:
            self.write(skip_record_of(answer, self.sub))

    def first_look(self, renewal: Renewal) -> Renewal:
        since, known = min(renewal.due, looked_back_to(renewal)), recorded_copy(renewal)
        shown = [each for each in self.copies.values() if each.created_at >= since and each.id != known]
        for stale in stale_copies(renewal, shown):
            self.set_order(stale, "cancelled", metadata={"perennial": {"withdrawn": "moved"}})
        period = unrecorded_period(renewal, shown)
        self.seen["an unrecorded charge is found"] += period is not None
        return renewal if period is None else renewal.for_due(period)

    def renew(self, work: Renewal) -> Finding | None:
        action = self.next_of(work)
        if isinstance(action, Create):
            name = f"Cpy{len(self.copies):07d}"
            draft = order("draft", id=name.replace("Cpy", "Tgt"))
            self.copies[name] = copy(action.reference, "completed", draft, id=name, created_at=self.now)
            if self.random.random() < 0.05:
                return None  # the run dies here
            action = self.next_of(work)
        match action:
            case Conclude(found):
                return CopyEnded(found)
            case Place(found):
                if self.random.random() < 0.2:
                    self.set_order(found, "pending")
                    return PlacementRefused(action, DECLINED, self.copies[found.id].target_order)
                self.charge(found)
                return OrderAnswered(action, self.copies[found.id].target_order)
            case Hold():
                return None
        raise AssertionError(f"{action} is not expected here")

    def next_of(self, work: Renewal):
        own = [each for each in self.copies.values() if parse_reference(each.reference).due == work.due]
        return next_action(work, own, self.now)

    # --- the shop --------------------------------------------------------------------------------------

    def charge(self, found: OrderCopy) -> None:
        self.set_order(found, "placed", placed_at=self.now)
        self.charges.append((self.now, found.reference))

    def set_order(self, found: OrderCopy, status: str, **fields) -> None:
        target = order(status, id=found.target_order.id, **fields)
        self.copies[found.id] = found.model_copy(update={"target_order": target})

    def write(self, record) -> None:
        if record is not None:
            moved = {"next_run_at": record.next_run_at} if record.next_run_at else {}
            self.sub = OrderSubscription.model_validate(
                self.sub.model_dump() | {"metadata": dict(record.metadata)} | moved
            )

    def _state(self) -> RenewalState:
        state = RenewalState.read(self.sub.metadata)
        assert state is not None
        assert state.damaged is None
        return state

    # --- what must hold ----------------------------------------------------------------------------------

    def pairs_too_close(self) -> list[str]:
        """Charges within half an interval of the one before, except those that a person released."""
        half = timedelta(days=SHORTEST[self.frequency]) / 2
        charges = sorted(self.charges)
        return [
            f"{first} at {one:%m-%d %H:%M}, {second} at {other:%m-%d %H:%M}"
            for (one, first), (other, second) in pairwise(charges)
            if other - one < half and second not in self.allowed
        ]
