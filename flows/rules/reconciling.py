"""
Compares the periods of a span with the shop's orders: was each renewed once, at the right price, and recorded so?

What deviates is *explained* if the shop itself says why: a hold, a pause, a retry that waits, a cancelled order. All
else is *unexplained*, and a person must look at it.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from blocks.commerce_layer.resources import Order, OrderCopy
from blocks.commerce_layer.statuses import OrderStatus, PaymentStatus
from blocks.policy import Policy
from flows.rules.order_copies import CopiesOfPeriod, is_moving
from flows.rules.price import Price, deviation
from flows.rules.references import REFERENCE_ORIGIN
from flows.rules.rivals import BESIDES_RENEWAL
from flows.rules.span_periods import ShopRecords, interval_of
from flows.rules.spans import Span
from flows.rules.state import KEY, RENEWED
from flows.rules.why_not_renewed import Reason, why_not_renewed

SOON = timedelta(hours=1)
"""For so long after an order was placed, or its surplus copy was made, the next sweep deals with it by itself."""


_RETURNED = frozenset({PaymentStatus.VOIDED, PaymentStatus.REFUNDED})


class Match(StrEnum):
    """How a period and the shop's orders match, the worst first."""

    TWICE = "renewed twice"
    NOT_PLACED = "recorded but not placed"
    NOT_RECORDED = "placed but not recorded"
    AMOUNT = "charged a different amount"
    BY_OTHERS = "renewed by somebody else"
    SURPLUS = "surplus copies left"
    NOT_RENEWED = "not renewed"
    ONCE = "renewed once"


@dataclass(frozen=True, slots=True)
class ReconciledPeriod:
    """One period with what the shop says about it. `orders` are the orders that charged, the first one first."""

    subscription_id: str
    due: datetime
    match: Match
    is_explained: bool = True
    sentence: str = ""
    email: str | None = None
    orders: tuple[Order, ...] = ()
    expected: Price | None = None

    @property
    def place(self) -> tuple[datetime, str]:
        """Sorts the oldest first."""
        return self.due, self.subscription_id

    @property
    def is_unexplained(self) -> bool:
        """Whether a person must look at it."""
        return self.match is not Match.ONCE and not self.is_explained


@dataclass(frozen=True)
class Reconciler:
    """Compares the subscriptions of one shop. `activity` is when our order copies were made, sorted, UTC."""

    span: Span
    policy: Policy
    as_of: datetime
    activity: Sequence[datetime]

    def compare(self, records: ShopRecords, dates: Sequence[datetime]) -> list[ReconciledPeriod]:
        """Each of a subscription's periods in the span; `dates` are all of them, in order."""
        one = _OneSubscription(self, records)
        last = [dates[-1] + interval_of(records, dates[-1], self.policy)] if dates else []
        following = [*dates[1:], *last]
        return [one.compare(due, until) for due, until in zip(dates, following, strict=True)]

    def was_idle(self, since: datetime, until: datetime) -> bool:
        """Whether no run made any order copy in this time, as far as the span tells: no sweep ran."""
        place = bisect_left(self.activity, since)
        return until <= self.span.end and (place == len(self.activity) or self.activity[place] >= until)


class _OneSubscription:
    def __init__(self, whole: Reconciler, records: ShopRecords) -> None:
        self._whole, self._records = whole, records
        self._policy = records.policy(whole.policy)
        self._by_period = {due: CopiesOfPeriod.of(copies) for due, copies in records.copies_by_period.items()}
        self._charges = {due: self._charges_of(due) for due in {*self._by_period, *records.orders_by_period}}
        self._charged = sorted(due for due, orders in self._charges.items() if orders)

    def compare(self, due: datetime, until: datetime) -> ReconciledPeriod:
        """The period `due`; the next one is due at `until`."""
        charges = [each for each in self._charges.get(due, ()) if each.status is not OrderStatus.CANCELLED]
        others = list(self._charges_of_others(due, until))
        if charges:  # `reorder` refuses to charge for a renewal: an order by hand besides one was wanted
            others = [(copy, order) for copy, order in others if copy.reference_origin != REFERENCE_ORIGIN]
        orders = tuple(charges + [order for _, order in others])
        if len(orders) > 1:
            return self._twice(due, orders, has_others=bool(others))
        if charges:
            return self._once(due, charges[0])
        if others:
            copy, order = others[0]
            origin = copy.reference_origin or "without an origin"
            said = f"order {order.shown_number} is of order copy {copy.id} ({origin}), which is no renewal of ours"
            return self._found(due, Match.BY_OTHERS, Reason(said, is_explained=True), orders)
        return self._not_renewed(due, until)

    def _twice(self, due: datetime, orders: tuple[Order, ...], *, has_others: bool) -> ReconciledPeriod:
        named = " and ".join(f"{each.shown_number} ({Price.of(each)})" for each in orders)
        whose = "; one of them is not ours" if has_others else ""
        kept = [each for each in orders if each.payment_status not in _RETURNED]
        todo = "cancel one" if len(kept) > 1 else "the money of the other was returned"
        reason = Reason(f"orders {named} charged for it: {todo}{whose}", is_explained=len(kept) <= 1)
        return self._found(due, Match.TWICE, reason, orders)

    def _charges_of(self, due: datetime) -> list[Order]:
        """The orders of a period that are, or were, placed; the earliest first."""
        copies = self._records.copies_by_period.get(due, ())
        orders = {copy.target_order.id: copy.target_order for copy in copies if copy.target_order is not None}
        orders |= {order.id: order for order in self._records.orders_by_period.get(due, ())}
        placed = [each for each in orders.values() if _has_charged(each)]
        return sorted(placed, key=lambda order: (order.placed_at or self._whole.as_of, order.id))

    def _charges_of_others(self, due: datetime, until: datetime) -> Iterator[tuple[OrderCopy, Order]]:
        for copy in self._records.others:
            order, ours = copy.target_order, copy.metadata.get(KEY)
            if order is None or order.status is OrderStatus.CANCELLED or not _has_charged(order):
                continue
            begun = max(filter(None, (copy.created_at, order.placed_at)), default=due)
            is_meant = isinstance(ours, dict) and ours.get(BESIDES_RENEWAL) is True
            if due <= begun < until and not is_meant:
                yield copy, order

    def _once(self, due: datetime, order: Order) -> ReconciledPeriod:
        problems = [*self._not_recorded(due, order), *self._different_amount(due, order), *self._surplus(due)]
        expected = self._recorded_price(due) or self._price_before(due) or self._price_of_source(due)
        if not problems:
            return self._found(due, Match.ONCE, Reason("", is_explained=True), (order,), expected)
        match = min((each for each, _ in problems), key=list(Match).index)
        sentence = "; ".join(reason.sentence for _, reason in problems)
        reason = Reason(sentence, is_explained=all(each.is_explained for _, each in problems))
        return self._found(due, match, reason, (order,), expected)

    def _not_recorded(self, due: datetime, order: Order) -> Iterator[tuple[Match, Reason]]:
        state = self._records.state
        if state is None or state.damaged is not None or self._is_recorded(due):
            return
        if state.done_through is not None and state.done_through >= due:
            return
        said = (
            f"order {order.shown_number} is {order.raw_status or order.status}, and metadata.perennial does not say so"
        )
        since = order.placed_at or order.updated_at
        is_new = since is not None and since + SOON > self._whole.as_of
        yield Match.NOT_RECORDED, Reason(f"{said}: the next sweep records it", is_explained=is_new)

    def _different_amount(self, due: datetime, order: Order) -> Iterator[tuple[Match, Reason]]:
        price, recorded = Price.of(order), self._recorded_price(due)
        if recorded is not None and (price.cents, price.currency) != (recorded.cents, recorded.currency):
            said = f"order {order.shown_number} costs {price}, and was recorded with {recorded}: it was changed since"
            yield Match.AMOUNT, Reason(said, is_explained=False)
            return
        before, after = self._price_before(due), self._price_after(due)
        if before is None and (recorded is not None or self._is_as(price, after)):
            return  # it may have risen since the source order, with a person's consent
        expected = before or self._price_of_source(due)
        objection = expected and deviation(price, expected, self._policy.price_tolerance)
        if objection:
            is_accepted = recorded is not None or self._is_as(price, after)
            said = ": a person has accepted that, or the policy has changed" if is_accepted else ""
            yield Match.AMOUNT, Reason(objection + said, is_explained=is_accepted)

    def _is_as(self, price: Price, other: Price | None) -> bool:
        """Whether a price needs no person's consent, compared with another one."""
        return other is not None and deviation(price, other, self._policy.price_tolerance) is None

    def _recorded_price(self, due: datetime) -> Price | None:
        state = self._records.state
        if state is None or state.last_period != due or state.price is None:
            return None
        return state.price if state.price.is_known else None

    def _price_before(self, due: datetime) -> Price | None:
        return self._price_at(bisect_left(self._charged, due) - 1)

    def _price_after(self, due: datetime) -> Price | None:
        return self._price_at(bisect_right(self._charged, due))

    def _price_at(self, place: int) -> Price | None:
        """The price of one of the periods that were charged; None before the first and after the last."""
        if not 0 <= place < len(self._charged):
            return None
        price = Price.of(self._charges[self._charged[place]][0])
        return price if price.is_known else None

    def _price_of_source(self, due: datetime) -> Price | None:
        sources = (copy.source_order for copy in self._records.copies_by_period.get(due, ()) if copy.source_order)
        return next((price for source in sources if (price := Price.of(source)).is_known), None)

    def _surplus(self, due: datetime) -> Iterator[tuple[Match, Reason]]:
        left = self._by_period[due].surplus if due in self._by_period else ()
        if not left:
            return
        named = ", ".join(f"order {copy.target_order_id} of copy {copy.id}" for copy in left)
        is_new = all(copy.created_at is not None and copy.created_at + SOON > self._whole.as_of for copy in left)
        yield Match.SURPLUS, Reason(f"{named} could still be placed: cancel it", is_explained=is_new)

    def _not_renewed(self, due: datetime, until: datetime) -> ReconciledPeriod:
        undone = self._charges.get(due)
        if undone:
            said = f"order {undone[0].shown_number} was placed and is cancelled ({undone[0].payment_status.value})"
            return self._found(due, Match.NOT_RENEWED, Reason(said, is_explained=True))
        if self._is_recorded(due):
            said = "metadata.perennial says that it was renewed, and no order of it is placed"
            return self._found(due, Match.NOT_PLACED, Reason(said, is_explained=False))
        idle = self._whole.was_idle(due, until)
        copies = self._by_period.get(due, CopiesOfPeriod((), (), ()))
        reason = why_not_renewed(self._records, due, copies, self._policy, self._whole.as_of, was_idle=idle)
        return self._found(due, Match.NOT_RENEWED, reason)

    def _is_recorded(self, due: datetime) -> bool:
        """Whether the subscription's state says that the period was renewed."""
        state = self._records.state
        if state is None or state.damaged is not None:
            return False
        return state.last_period == due or (state.period == due and state.outcome in RENEWED)

    def _found(
        self, due: datetime, match: Match, reason: Reason, orders: tuple[Order, ...] = (), expected: Price | None = None
    ) -> ReconciledPeriod:
        one, key = self._records.subscription, self._records.subscription_id
        email = one.customer_email if one else next((each.customer_email for each in orders), None)
        return ReconciledPeriod(key, due, match, reason.is_explained, reason.sentence, email, orders, expected)


def _has_charged(order: Order) -> bool:
    """Whether an order is placed or is being placed, or was until it was cancelled."""
    return order.placed_at is not None or order.is_placed or (is_moving(order) and order.status is OrderStatus.PLACING)
