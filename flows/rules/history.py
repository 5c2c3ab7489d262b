"""
What the shop still tells about past renewals: when each attempt failed and why, and how the renewal ended.

Commerce Layer keeps each order copy with its errors, and each order with its errors and their times. So the reports of
a span need no books of their own.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from blocks.commerce_layer.resource_errors import ResourceError
from blocks.commerce_layer.resources import Order, OrderCopy
from blocks.commerce_layer.statuses import NOT_PAID
from blocks.policy import FailureClass, Policy
from flows.rules.copy_periods import period_of
from flows.rules.failed_attempts import FailedAttempt, attempts_on_order, failed_copies
from flows.rules.order_copies import CopiesOfPeriod
from flows.rules.prepared_copies import has_failed_ahead
from flows.rules.price import Price
from flows.rules.references import Reference
from flows.rules.state import KEY, RenewalState
from flows.rules.unpaid import what_became_of

LOOK_BACK = timedelta(days=62)
"""How long before a span a renewal may have begun whose later attempts the reports of that span know."""


@dataclass(frozen=True, slots=True)
class PastRenewal:
    """One subscription's renewal of one period, as its copies, its orders and their `errors` (oldest first) show it."""

    of: Reference
    ended: Sequence[OrderCopy]
    """The copies that failed, or whose order was cancelled before it was placed, oldest first."""
    errors: Sequence[ResourceError]
    order: Order | None
    """The order that was placed, whatever became of it since; None when none was."""
    last_order: Order | None
    """The same, else the order that may still be placed, else the newest of the ended copies' orders."""
    price: Price
    """What it costs: its order's total, else its source order's. Unknown parts are None."""

    def failed(self, policy: Policy) -> list[FailedAttempt]:
        """
        The failed attempts, oldest first, classed as `policy` reads the words of the shop.

        A failed try of the customer at the checkout is one of them: the shop does not tell them apart. A copy that
        failed when it was made ahead is none.
        """
        tried = [copy for copy in self.ended if not has_failed_ahead(copy, self.of.due, RenewalState())]
        told = failed_copies(tried, policy) + attempts_on_order(self.errors, policy)
        until = self.placed_at
        return sorted((each for each in told if until is None or each.at <= until), key=lambda each: each.at)

    @property
    def placed_at(self) -> datetime | None:
        """When it was renewed (UTC); None while it is not."""
        return self.order.placed_at if self.order is not None else None

    @property
    def is_paid_by_customer(self) -> bool:
        """Whether the customer placed it at the checkout: our own request writes on the order whose it is."""
        return self.order is not None and "subscription_id" not in _ours(self.order)

    @property
    def is_lost(self) -> bool:
        """Whether the order was placed, and is cancelled, refunded or not paid now."""
        return self.order is not None and what_became_of(self.order) in {"cancelled", *NOT_PAID}

    def attempt_that_renewed(self, failed: Sequence[FailedAttempt]) -> int:
        """
        The number of the attempt that succeeded, from 1.

        The shop may have kept fewer errors than attempts failed; the request that placed the order wrote its number.
        """
        ours = _ours(self.order) if self.order is not None else {}
        written = ours.get("attempt")
        return max(len(failed) + 1, written if isinstance(written, int) else 1)

    def class_before(self, failed: Sequence[FailedAttempt]) -> FailureClass:
        """Why the last attempt before the successful one failed; `unknown` where neither errors nor notes say."""
        if failed:
            return failed[-1].failure.cls
        written = _ours(self.order).get("failures") if self.order is not None else None
        known = [each for each in FailureClass if isinstance(written, Mapping) and each.value in written]
        return known[0] if len(known) == 1 else FailureClass.UNKNOWN

    @property
    def has_trouble(self) -> bool:
        """Whether an attempt may have failed."""
        return bool(self.errors or self.ended)


def past_renewals(
    copies: Iterable[OrderCopy], errors: Mapping[str, Sequence[ResourceError]]
) -> dict[Reference, PastRenewal]:
    """The renewals that these copies were made for; `errors` are those of their orders, by order id."""
    of_period: dict[Reference, list[OrderCopy]] = defaultdict(list)
    for copy in copies:
        if (period := period_of(copy)) is not None:  # not of a reorder by hand
            of_period[period].append(copy)
    return {period: _past(period, made, errors) for period, made in sorted(of_period.items())}


def _past(period: Reference, made: list[OrderCopy], errors: Mapping[str, Sequence[ResourceError]]) -> PastRenewal:
    copies = CopiesOfPeriod.of(made)
    orders = [copy.target_order for copy in (*copies.placed, *copies.live, *copies.ended) if copy.target_order]
    placed = min((each for each in orders if each.placed_at), key=lambda each: str(each.placed_at), default=None)
    live = next((copy.target_order for copy in copies.live if copy.target_order), None)
    last = placed or live or (orders[-1] if orders else None)
    shown = last or next((copy.source_order for copy in made if copy.source_order), None)
    price = Price.of(shown) if shown is not None else Price(cents=None, currency=None)
    told = [error for order in orders for error in errors.get(order.id, ())]
    return PastRenewal(period, copies.ended, told, placed, last, price)


def _ours(order: Order) -> Mapping[str, Any]:
    ours = order.metadata.get(KEY)
    return ours if isinstance(ours, dict) else {}
