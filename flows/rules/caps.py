"""
How much may be charged in a day: this limits the cost of any mistake.

The charges are counted from the shop's own orders, so the caps apply to all sweeps and workers together, also after
restarts.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, time
from typing import Self
from zoneinfo import ZoneInfo

from blocks.policy import Policy
from flows.rules.amounts import money
from flows.rules.price import Price
from flows.rules.zones import instant_of, wall_of

SHARE = 16
"""
One run may use the remaining room divided by this number before it counts again.

That many runs may count at the same moment; together they exceed a cap by at most one order each and the orders that
they are placing.
"""


@dataclass(frozen=True, slots=True)
class Charged:
    """How many orders were placed, and for how much: cents by currency."""

    orders: int = 0
    cents: Counter[str] = field(default_factory=Counter)

    @classmethod
    def of(cls, prices: Iterable[Price]) -> Self:
        """The total of orders at these prices. An order of an unknown amount counts as an order of 0."""
        cents: Counter[str] = Counter()
        orders = 0
        for price in prices:
            orders += 1
            cents[price.currency or ""] += price.cents or 0
        return cls(orders, cents)

    def __add__(self, other: "Charged") -> "Charged":
        return Charged(self.orders + other.orders, self.cents + other.cents)


def has_caps(policy: Policy) -> bool:
    """Whether the policy bounds what may be charged in a day."""
    return policy.max_renewals_per_day is not None or bool(policy.max_amount_per_day)


def start_of_day(moment: datetime, zone: ZoneInfo) -> datetime:
    """When the merchant's day of this moment began, UTC."""
    return instant_of(datetime.combine(wall_of(moment, zone).date(), time.min), zone)


def cap_reached(policy: Policy, charged: Charged, following: Price | None = None) -> str | None:
    """
    Which cap forbids an order at the price `following`, and what to do; None when there is room.

    Without `following`: which cap leaves no room for any order.
    """
    cap = policy.max_renewals_per_day
    if cap is not None and charged.orders >= cap:
        return f"max_renewals_per_day is {cap}, and {_orders(charged.orders)} placed today: {_way_out(policy)}"
    for currency, most in sorted(policy.max_amount_per_day.items()):
        used = charged.cents[currency]
        wanted = (following.cents or 0) if following is not None and following.currency == currency else 0
        if used >= most or used + wanted > most:
            costs = f", and the next renewal costs {following}" if wanted else ""
            said = f"max_amount_per_day is {money(most, currency)}, {money(used, currency)} were charged today{costs}"
            return f"{said}: {_way_out(policy)}"
    return None


def is_within_share(policy: Policy, seen: Charged, since: Charged, following: Price) -> bool:
    """
    Whether one more order may be placed before the charges of all runs are counted again.

    `seen` is the last count, `since` what this run has begun to charge after it.
    """
    if since.orders == 0:
        return True
    cap = policy.max_renewals_per_day
    if cap is not None and since.orders >= max(1, (cap - seen.orders) // SHARE):
        return False
    most = policy.max_amount_per_day.get(following.currency or "")
    if most is None:
        return True
    wanted = since.cents[following.currency or ""] + (following.cents or 0)
    return wanted <= (most - seen.cents[following.currency or ""]) // SHARE


def _orders(count: int) -> str:
    return "1 order was" if count == 1 else f"{count} orders were"


def _way_out(policy: Policy) -> str:
    return f"nothing more is charged until tomorrow ({policy.time_zone}), or until the policy allows more"
