"""
A shop in which several runs renew the same period at once, without knowing of each other.

Requests arrive late, out of order, or never. Lists show each copy as it was some seconds ago. They may not show a young
copy yet, even if they show a younger one. Copies fail, cards are declined, renewals are withdrawn, and staff cancel
orders. The shop below shares no logic with the rules.
"""

from collections import Counter
from datetime import datetime, timedelta
from random import Random

from rules.making import at, copy, order, planned, subscription

from blocks.commerce_layer.resources import Order, OrderCopy
from flows.rules.next_action import Conclude, Create, Hold, HoldReason, NextAction, Place, Wait, next_action
from flows.rules.order_copies import CopiesOfPeriod

REF = "SubAbcdefg@2026-03-01T06:00Z"
LATE = at("2026-03-01T07:00")
SETTLE = timedelta(seconds=5)
"""Lists show every copy that is at least this old, and no state of it that ended longer ago than this."""


class ManyRuns:
    """Four runs that work on one period, in random order."""

    settle = SETTLE

    def __init__(self, random: Random) -> None:
        self.random = random
        self.now = at("2026-03-01T06:05")
        self.renewal = planned()
        self.past: dict[str, list[tuple[datetime, OrderCopy]]] = {}
        self.looks: dict[int, tuple[datetime, list[OrderCopy]]] = {run: (self.now, []) for run in range(4)}
        self.creations = 0
        self.placements: list[str] = []
        self.cancellations: list[str] = []
        self.charged: Counter[str] = Counter()
        self.seen: Counter[str] = Counter()
        unwanted, by_staff = self.a_run_sees_that_the_renewal_is_not_wanted, self.staff_cancel_an_order
        self.rare = random.choice([[], [unwanted], [unwanted, by_staff]])

    def step(self) -> None:
        events = [self.a_run_looks, self.a_run_acts_on_its_look, self.a_placement_arrives_or_is_lost] * 3
        events += [self.a_creation_arrives_or_is_lost, self.a_copy_progresses, self.time_passes] * 2
        events += [self.an_order_is_placed_in_the_background, self.a_run_withdraws_what_is_surplus]
        events += [self.a_cancellation_of_ours_arrives]
        self.random.choice([*events * 2, *self.rare])()
        assert self.charged.total() <= 1, f"charged twice: {dict(self.charged)}"

    # --- the shop --------------------------------------------------------------------------------

    def copies_now(self) -> list[OrderCopy]:
        return [states[-1][1] for states in self.past.values()]

    def order_of(self, name: str) -> Order:
        target = self.past[name][-1][1].target_order
        assert target is not None
        return target

    def with_an_order(self, *statuses: str) -> list[str]:
        return [each.id for each in self.copies_now() if each.target_order and each.target_order.status in statuses]

    def change(self, name: str, **changes) -> None:
        fields = self.past[name][-1][1].model_dump() | changes
        self.past[name].append((self.now, OrderCopy.model_validate(fields)))

    def set_order(self, name: str, status: str, **changes) -> None:
        fields = self.order_of(name).model_dump() | {"status": status, "raw_status": status} | changes
        self.change(name, target_order=fields)

    def create(self) -> None:
        name = f"Cpy{len(self.past)}"
        self.past[name] = [(self.now, copy(REF, "pending", id=name, created_at=self.now))]

    def end_copy(self, name: str, status: str, *, with_order: bool) -> None:
        target = order("draft", id=name.replace("Cpy", "Tgt")).model_dump() if with_order else None
        made = {"target_order": target, "target_order_id": target and target["id"]}
        self.change(name, status=status, raw_status=status, **made)

    def charge(self, name: str) -> None:
        refused = CopiesOfPeriod.of(self.copies_now()).refused
        earlier = [each.id for each in refused if each.created_at < self.past[name][-1][1].created_at]
        assert not earlier, f"the order of {earlier} had been cancelled"
        self.charged[name] += 1
        self.set_order(name, "placed", placed_at=self.now)

    def one_of(self, names: list[str]) -> str | None:
        return self.random.choice(names) if names else None

    # --- what the runs do ------------------------------------------------------------------------

    def a_run_looks(self) -> None:
        shown = [self.as_a_list_shows_it(states) for states in self.past.values()]
        self.looks[self.random.randrange(4)] = self.now, [each for each in shown if each is not None]

    def as_a_list_shows_it(self, states: list[tuple[datetime, OrderCopy]]) -> OrderCopy | None:
        """Any state of the last seconds. A young copy may be missing."""
        if self.now - states[0][0] < SETTLE and self.random.random() < 0.5:
            return None
        ends = [moment for moment, _ in states[1:]]
        recent = [one for (_, one), end in zip(states[:-1], ends, strict=True) if end > self.now - SETTLE]
        return self.random.choice([*recent, states[-1][1]])

    def action_of(self, run: int) -> NextAction | None:
        looked_at, shown = self.looks[run]
        action = next_action(self.renewal, shown, LATE)
        if isinstance(action, Place):
            made_at = action.copy.created_at
            assert made_at is not None
            return action if looked_at - made_at >= self.settle else None
        return action

    def a_run_acts_on_its_look(self) -> None:
        run = self.random.randrange(4)
        action = self.action_of(run)
        if isinstance(action, Create) and self.looks[run][0] < self.now - 4 * SETTLE:
            return  # a run creates within seconds of its read; it may place an order much later
        self.seen[action.reason if isinstance(action, Hold) else type(action).__name__] += 1
        if isinstance(action, Create):
            self.creations += 1
        if isinstance(action, Place):
            self.placements.append(action.copy.id)

    def a_run_withdraws_what_is_surplus(self) -> None:
        for surplus in CopiesOfPeriod.of(self.looks[self.random.randrange(4)][1]).surplus:
            self.begin_to_cancel(surplus.id)

    def a_run_sees_that_the_renewal_is_not_wanted(self) -> None:
        action = self.action_of(self.random.randrange(4))
        if isinstance(action, Place):
            self.begin_to_cancel(action.copy.id)

    def begin_to_cancel(self, name: str) -> None:
        """Begin to cancel an order. The run reads it right before, so it must be an unplaced draft."""
        if name in self.with_an_order("draft"):
            self.cancellations.append(name)

    # --- what arrives in the shop ----------------------------------------------------------------

    def a_creation_arrives_or_is_lost(self) -> None:
        if self.creations:
            self.creations -= 1
            if self.random.random() < 0.7:
                self.create()

    def a_placement_arrives_or_is_lost(self) -> None:
        """Placing an order that is placed, being placed or cancelled changes nothing."""
        name = self.one_of(self.placements)
        if name is None:
            return
        self.placements.remove(name)
        ends = self.random.choice(["placed", "placed", "placing", "declined", "lost"])
        if name in self.with_an_order("draft") and ends in {"placed", "placing"}:
            self.seen[f"a placement arrives: {ends}"] += 1
            self.charge(name) if ends == "placed" else self.set_order(name, "placing")

    def a_cancellation_of_ours_arrives(self) -> None:
        name = self.one_of(self.cancellations)
        if name is None:
            return
        self.cancellations.remove(name)
        if name not in self.with_an_order("placing"):
            self.seen["cancelled after it was placed"] += self.order_of(name).placed_at is not None
            self.set_order(name, "cancelled", metadata={"perennial": {"withdrawn": "surplus"}})

    # --- what else happens in the shop -----------------------------------------------------------

    def a_copy_progresses(self) -> None:
        name = self.one_of([each.id for each in self.copies_now() if not each.is_final])
        if name is not None:
            status = self.random.choice(["in_progress", *["completed"] * 5, "failed"])
            with_order = status == "completed" or (status == "failed" and self.random.random() < 0.5)
            self.end_copy(name, status, with_order=with_order)

    def an_order_is_placed_in_the_background(self) -> None:
        name = self.one_of(self.with_an_order("placing"))
        if name is not None:
            self.charge(name) if self.random.random() < 0.5 else self.set_order(name, "draft")

    def staff_cancel_an_order(self) -> None:
        name = self.one_of(self.with_an_order("draft", "placed"))
        if name is not None:
            self.set_order(name, "cancelled")

    def time_passes(self) -> None:
        self.now += timedelta(seconds=self.random.choice([0.5, 1.0, 1.5, 4.5, 5.0]))

    # --- the end ---------------------------------------------------------------------------------

    def finish(self) -> None:
        """After all cancellations have arrived, one undisturbed run finishes the period."""
        while self.cancellations:
            self.a_cancellation_of_ours_arrives()
            self.an_order_is_placed_in_the_background()
        for _ in range(20):
            self.now += SETTLE
            action = next_action(self.renewal, self.copies_now(), LATE)
            if self.ends_with(action):
                self.seen["held in the end" if isinstance(action, Hold) else "renewed in the end"] += 1
                return
            assert self.charged.total() <= 1, "charged twice in the end"
        raise AssertionError("the period does not end")

    def ends_with(self, action: NextAction) -> bool:
        match action:
            case Create():
                self.create()
            case Wait(found) if found.target_order is None:
                self.end_copy(found.id, "completed", with_order=True)
            case Wait(found) | Place(found):
                self.charge(found.id)
            case Conclude(found) if found.id in self.charged:
                return True
            case Conclude(found):
                recorded = {"period": "2026-03-01T06:00Z", "order_copy_id": found.id, "outcome": "retry_scheduled"}
                self.renewal = planned(subscription(recorded))
            case Hold(reason):
                assert reason is HoldReason.TARGET_CANCELLED
                return True
        return False


class Impatient(ManyRuns):
    """Runs that place an order one second before every earlier copy is surely visible."""

    settle = SETTLE - timedelta(seconds=1)


class Forgetful(ManyRuns):
    """A shop that does not show whether a cancelled order was placed before."""

    def set_order(self, name: str, status: str, **changes) -> None:
        super().set_order(name, status, **changes)
        if status == "cancelled":
            super().set_order(name, status, placed_at=None)
