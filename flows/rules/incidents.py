"""
What one run did, as the shop shows it: the copies it made, the orders it placed, the subscriptions it recorded.

Order copies carry the run that made them, placed orders the run that placed them, and subscriptions the run that
recorded last. So a record that a later run has overwritten is not known any more.
"""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from blocks.commerce_layer.resources import Order, OrderCopy, OrderSubscription
from blocks.commerce_layer.statuses import OrderStatus
from flows.rules.amounts import money
from flows.rules.copy_periods import first_reference, period_of, period_of_order
from flows.rules.order_copies import WITHDRAWN, is_moving, is_open
from flows.rules.references import REFERENCE_ORIGIN, Reference
from flows.rules.state import KEY, RenewalState

FLOW_RUN, PARENT, RUN_NAME = "flow_run_id", "parent_flow_run_id", "flow_run_name"
"""The keys of `metadata.perennial` that name a run: its id, the id of the run that started it, and its name."""


class Standing(StrEnum):
    """What became of what the run did, in the order in which a person looks at it."""

    PLACED = "placed"  # by this run
    UNPLACED = "unplaced"  # it can be withdrawn
    UNDECIDED = "undecided"  # it is being placed or edited, or its status is not known
    PLACED_BY_OTHERS = "placed by others"  # by another run, or by the customer at the checkout
    CANCELLED = "cancelled"
    WITHOUT_ORDER = "without an order"  # the copy has failed, or is under way


@dataclass(frozen=True, slots=True)
class OrderOfRun:
    """An order copy that the run made, an order that it placed, or both."""

    standing: Standing
    copy: OrderCopy | None
    order: Order | None
    period: Reference | None
    is_ours: bool
    """Whether this run made the copy."""

    @property
    def order_id(self) -> str | None:
        """The order that it is about."""
        return self.order.id if self.order is not None else self.copy.target_order_id if self.copy is not None else None

    @property
    def reference(self) -> str | None:
        """The reference that Perennial gave it, also if another system has changed it since."""
        made = self.copy or self.order
        return first_reference(made) if made is not None else None

    @property
    def can_be_withdrawn(self) -> bool:
        """Whether its order may be cancelled: it is not placed, and this run made its copy."""
        return self.standing is Standing.UNPLACED and self.is_ours

    @property
    def sentence(self) -> str:
        """What became of it, and what a person can do."""
        match self.standing:
            case Standing.PLACED:
                return f"placed{self._when()}; {self._payment()}"
            case Standing.PLACED_BY_OTHERS:
                return f"copied by this run, placed by another one or by the customer{self._when()}; {self._payment()}"
            case Standing.UNPLACED:
                return "not placed: --withdraw cancels it" if self.is_ours else "not placed, and not copied by this run"
            case Standing.UNDECIDED:
                return (
                    f"{self.order.raw_status if self.order else 'unknown'}: it may be placed at any moment; look again"
                )
            case Standing.CANCELLED:
                return f"cancelled{self._why_cancelled()}"
            case Standing.WITHOUT_ORDER:
                return f"the order copy is {self.copy.raw_status if self.copy else 'gone'}, and has no order"

    def _when(self) -> str:
        placed_at = self.order.placed_at if self.order is not None else None
        return f" on {placed_at:%Y-%m-%d %H:%M} UTC" if placed_at else ""

    def _payment(self) -> str:
        status = self.order.payment_status.value if self.order is not None else "unknown"
        return f"its payment is {status}"

    def _why_cancelled(self) -> str:
        ours = self.order.metadata.get(KEY) if self.order is not None else None
        why = ours.get(WITHDRAWN) if isinstance(ours, dict) else None
        after = " after it was placed" if self.order is not None and self.order.placed_at is not None else ""
        return f"{after} ({why})" if isinstance(why, str) else after


@dataclass(frozen=True, slots=True)
class RecordedSubscription:
    """What is known about the record of a subscription that the run worked on."""

    subscription: OrderSubscription
    state: RenewalState | None
    is_by_this_run: bool

    @property
    def sentence(self) -> str:
        """How it stands, and what its date was moved to, as far as that can be known."""
        state, date = self.state, self.subscription.next_run_at
        now = f"next_run_at is {date:%Y-%m-%d %H:%M} UTC now" if date else "it has no next_run_at now"
        if state is None or not self.is_by_this_run:
            by = f"run {state.flow_run_id}" if state is not None and state.flow_run_id else "something else"
            return f"{by} has written it since: what this run wrote is not known; {now}"
        how = (state.outcome or "recorded").replace("_", " ")
        if state.is_unsettled or state.done_through is None or state.period is None:
            return f"{how}; its date was not moved: {now}"
        return f"{how}; its date was moved on from the period of {state.period:%Y-%m-%d %H:%M} UTC: {now}"


@dataclass(frozen=True)
class Incident:
    """
    Everything that the shop shows of the runs `flow_run_ids`: a run, and those that it started.

    `orders` has the target orders of `copies` as well, all by id.
    """

    flow_run_ids: Collection[str]
    copies: Mapping[str, OrderCopy] = field(default_factory=dict)
    orders: Mapping[str, Order] = field(default_factory=dict)
    subscriptions: Mapping[str, OrderSubscription] = field(default_factory=dict)

    @property
    def is_empty(self) -> bool:
        """Whether the shop shows nothing of these runs."""
        return not (self.copies or self.orders or self.subscriptions)

    @property
    def all_orders(self) -> list[OrderOfRun]:
        """All copies and orders, what the run placed first, and then by age."""
        in_order = list(Standing)
        return sorted(self._all_orders(), key=lambda each: (in_order.index(each.standing), _created_at(each)))

    @property
    def unplaced(self) -> list[OrderOfRun]:
        """The orders that may be withdrawn: of copies that this run made, and not placed."""
        return [each for each in self.all_orders if each.can_be_withdrawn]

    @property
    def recorded(self) -> list[RecordedSubscription]:
        """The subscriptions that it worked on, those that it recorded first."""
        found = [self._recorded(each) for each in self.subscriptions.values()]
        return sorted(found, key=lambda each: (not each.is_by_this_run, each.subscription.id))

    @property
    def charged(self) -> Counter[str | None]:
        """What the orders cost that it placed, without cancelled ones, in the smallest unit of each currency."""
        totals: Counter[str | None] = Counter()
        for each in self.all_orders:
            if each.standing is Standing.PLACED and each.order and each.order.total_amount_with_taxes_cents is not None:
                totals[each.order.currency_code] += each.order.total_amount_with_taxes_cents
        return totals

    @property
    def sentence(self) -> str:
        """`12 order copies made; 9 orders placed (340.00 EUR), 2 unplaced; 12 subscriptions recorded`."""
        if self.is_empty:
            return "it made no order copy, placed no order and recorded no subscription"
        counts = Counter(each.standing for each in self.all_orders)
        amounts = ", ".join(money(cents, currency) for currency, cents in self.charged.most_common())
        placed = f"{counted(counts[Standing.PLACED], 'order')} placed" + (f" ({amounts})" if amounts else "")
        others = [
            f"{counts[standing]} {standing.value}"
            for standing in Standing
            if standing is not Standing.PLACED and counts[standing]
        ]
        recorded = sum(each.is_by_this_run for each in self.recorded)
        made = f"{counted(len(self.copies), 'order copy', 'order copies')} made"
        return f"{made}; {', '.join((placed, *others))}; {counted(recorded, 'subscription')} recorded"

    def _all_orders(self) -> Iterator[OrderOfRun]:
        about: set[str | None] = set()
        for copy in self.copies.values():
            order = self.orders.get(copy.target_order_id or "")
            about.add(copy.target_order_id)
            is_ours = copy.reference_origin == REFERENCE_ORIGIN and is_marked(copy, self.flow_run_ids)
            yield OrderOfRun(self._standing(copy, order), copy, order, period_of(copy), is_ours)
        for order in self.orders.values():
            if order.id not in about:
                yield OrderOfRun(self._standing(None, order), None, order, period_of_order(order), is_ours=False)

    def _standing(self, copy: OrderCopy | None, order: Order | None) -> Standing:
        if order is None:
            return Standing.UNPLACED if copy is not None and is_open(copy) else Standing.WITHOUT_ORDER
        if order.status is OrderStatus.CANCELLED:
            return Standing.CANCELLED
        if order.is_placed:
            return Standing.PLACED if is_marked(order, self.flow_run_ids) else Standing.PLACED_BY_OTHERS
        return Standing.UNDECIDED if is_moving(order) else Standing.UNPLACED

    def _recorded(self, subscription: OrderSubscription) -> RecordedSubscription:
        state = RenewalState.read(subscription.metadata)
        is_by_this_run = state is not None and state.flow_run_id in self.flow_run_ids
        return RecordedSubscription(subscription, state, is_by_this_run)


def is_marked(made: OrderCopy | Order, flow_run_ids: Collection[str]) -> bool:
    """Whether one of these runs made the copy, or placed the order."""
    ours = made.metadata.get(KEY)
    return isinstance(ours, dict) and bool({ours.get(FLOW_RUN), ours.get(PARENT)} & set(flow_run_ids))


def _created_at(one: OrderOfRun) -> tuple[str, ...]:
    made = one.copy or one.order
    return (str(made.created_at), made.id) if made is not None else ()


def counted(count: int, one: str, many: str | None = None) -> str:
    """`1 order`, `2 orders`."""
    return f"{count} {one if count == 1 else many or one + 's'}"
