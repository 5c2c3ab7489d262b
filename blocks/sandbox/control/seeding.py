"""Demo data: customers with a wallet, placed source orders, and subscriptions that are due."""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from datetime import datetime, timedelta
from random import Random
from typing import Any

import orjson
from croniter import croniter

from blocks.sandbox.control.market import market
from blocks.sandbox.resources.derived_ids import derived_id
from blocks.sandbox.shop import wallet_cards
from blocks.sandbox.shop.database import Row
from blocks.sandbox.shop.failure_kinds import FAILURES, set_failure
from blocks.sandbox.shop.run_dates import MONTHS, STEPS, is_frequency
from blocks.sandbox.shop.shop import Shop
from blocks.sandbox.shop.subscriptions import NativeEngine
from blocks.sandbox.shop.views import SEEDED
from blocks.sandbox.shop.virtual_clock import instant_of, text_of


@dataclass(slots=True)
class SeedPlan:
    """What to seed. Counts below 1 in `failures` and `frequencies` are shares of `subscriptions`."""

    subscriptions: int = 0
    """Adopted and due: inactive, with `metadata.perennial`."""
    active: int = 0
    """Run by the native engine."""
    foreign: int = 0
    """Inactive and not adopted: without `metadata.perennial`."""
    due: str | None = None
    """`next_run_at` of the first one; default: one minute ago."""
    spread_seconds: float = 0.0
    """Seconds after the first one over which the others are due, evenly spread."""
    frequencies: dict[str, float] = field(default_factory=lambda: {"monthly": 1.0})
    failures: dict[str, float] = field(default_factory=dict)
    active_failures: dict[str, float] = field(default_factory=dict)
    """The same for `active`: their runs fail."""
    instance: str | None = None
    policy: dict[str, Any] | None = None

    def check(self) -> None:
        """
        Check the plan.

        Raises:
            ValueError: names the member and the value.
        """
        for name in ("subscriptions", "active", "foreign"):
            count = getattr(self, name)
            if isinstance(count, bool) or not isinstance(count, int) or not 0 <= count <= 1_000_000:  # noqa: PLR2004  enough for any test
                raise ValueError(f"{name} is {count!r}; it lies between 0 and 1000000")
        kinds = dict.fromkeys(("failures", "active_failures"), FAILURES.__contains__)
        for name, known in {**kinds, "frequencies": is_frequency}.items():
            mix = getattr(self, name)
            if not isinstance(mix, dict):
                raise TypeError(f"{name} is {mix!r}; it maps names to counts or shares")
            for key, amount in mix.items():
                if not known(key):
                    raise ValueError(f"{name}: {key!r} is not known")
                if isinstance(amount, bool) or not isinstance(amount, int | float) or amount < 0:
                    raise ValueError(f"{name}: {key} is {amount!r}; it is a count, or a share below 1")
        if self.due is not None:
            instant_of(self.due)


def read_plan(given: dict[str, Any]) -> SeedPlan:
    """
    A plan from a JSON object.

    Raises:
        ValueError, TypeError: unknown member or impossible value.
    """
    known = {member.name for member in fields(SeedPlan)}
    unknown = sorted(set(given) - known)
    if unknown:
        raise ValueError(f"a seed plan has no {unknown[0]!r}; it may have {', '.join(sorted(known))}")
    plan = SeedPlan(**given)
    plan.check()
    return plan


def seed(shop: Shop, engine: NativeEngine, plan: SeedPlan) -> dict[str, Any]:
    """Create what the plan says in one transaction; returns counts, and ids when there are at most 1000."""
    total = plan.subscriptions + plan.active + plan.foreign
    first_due = instant_of(plan.due) if plan.due else _last_minute(shop.now())
    kinds = ["adopted"] * plan.subscriptions + ["active"] * plan.active + ["foreign"] * plan.foreign
    frequencies = list(distribute(plan.frequencies, total, "monthly"))
    failures = [
        *distribute(plan.failures, plan.subscriptions, None),
        *distribute(plan.active_failures, plan.active, None),
    ]
    step = plan.spread_seconds / max(total - 1, 1)
    rows: dict[str, list[Row]] = {
        name: []
        for name in ("customers", "stripe_payments", "customer_payment_sources", "orders", "order_subscriptions")
    }
    with shop.database.transaction():
        market_id = market(shop)
        numbers = int(shop.database.state("number:orders", "0")) + 1
        shop.database.set_state("number:orders", str(numbers + total))
        for index, kind in enumerate(kinds):
            due = first_due + timedelta(seconds=index * step)
            planned = _Planned(numbers + index, kind, due, str(frequencies[index]))
            made = _customer_with_subscription(shop, market_id, planned, plan)
            for table, row in made.items():
                rows[table].append(row)
            if index < len(failures) and (failure := failures[index]) is not None:
                set_failure(shop, made["orders"]["id"], failure)
        for table, many in rows.items():
            if many:
                shop.database.insert_many(table, many[0], [tuple(row.values()) for row in many])
    for row in rows["order_subscriptions"]:
        engine.schedule(row)
    return _report(plan, rows)


def _report(plan: SeedPlan, rows: dict[str, list[Row]]) -> dict[str, Any]:
    report: dict[str, Any] = {"subscriptions": plan.subscriptions, "active": plan.active, "foreign": plan.foreign}
    subscriptions = rows["order_subscriptions"]
    if len(subscriptions) <= 1000:  # noqa: PLR2004  a list that a person or a test can still read
        report["subscription_ids"] = [row["id"] for row in subscriptions]
        report["source_order_ids"] = [row["source_order_id"] for row in subscriptions]
    return report


def distribute(mix: dict[str, float], total: int, default: str | None) -> Iterator[str | None]:
    """
    `total` names in the proportions of `mix`, in random order; `default` fills up what the mix leaves.

    An amount of 1 or more is a count, below 1 it is a share. `{"monthly": 1.0}` alone means all of them.
    """
    shares = all(amount <= 1 for amount in mix.values()) and any(isinstance(amount, float) for amount in mix.values())
    names: list[str | None] = []
    for name, amount in mix.items():
        names += [name] * (round(amount * total) if shares or amount < 1 else int(amount))
    names = names[:total] + [default] * (total - len(names))
    Random(f"{total}:{sorted(mix)}").shuffle(names)  # noqa: S311  reproducible, not secret
    return iter(names)


def _last_minute(now: datetime) -> datetime:
    return now.replace(second=0, microsecond=0) - timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class _Planned:
    number: int
    kind: str
    due: datetime
    frequency: str


def _customer_with_subscription(shop: Shop, market_id: str, planned: _Planned, plan: SeedPlan) -> dict[str, Row]:
    """One customer with a card, a source order and a subscription, as rows by table."""
    new_id = shop.database.new_id
    customer_id, card_id, order_id, subscription_id = new_id(), new_id(), new_id(), new_id()
    placed_at = text_of(min(_one_period_before(planned.due, planned.frequency), shop.now()))
    times = {"metadata": "{}", "created_at": placed_at, "updated_at": placed_at}
    email = f"customer-{planned.number}@example.com"
    cents = 1000 + 100 * (planned.number % 90)
    customer = {"id": customer_id, "email": email, "status": "acquired", "has_password": 1, "total_orders_count": 1}
    address_id = derived_id(customer_id, "addresses")
    cards = wallet_cards.card_rows(card_id, customer_id, "4242", placed_at)
    paid_with = wallet_cards.paid_with(cards["customer_payment_sources"])
    order = {**source_order(order_id, planned.number, email, cents, placed_at), **paid_with}
    links = {"source_order_id": order_id, "customer_id": customer_id, "customer_payment_source_id": card_id}
    return {
        "customers": {**customer, **times, "_address": SEEDED},
        **cards,
        "orders": {
            **order,
            "billing_address_id": address_id,
            "shipping_address_id": address_id,
            "market_id": market_id,
            "customer_id": customer_id,
        },
        "order_subscriptions": {
            **_subscription(subscription_id, planned, email, placed_at, plan),
            **links,
            "market_id": market_id,
        },
    }


def _subscription(subscription_id: str, planned: _Planned, email: str, placed_at: str, plan: SeedPlan) -> Row:
    own: dict[str, Any] = {"v": 1, "instance": plan.instance}
    if plan.policy:
        own["policy"] = plan.policy
    return {
        "id": subscription_id,
        "number": str(planned.number),
        "status": "active" if planned.kind == "active" else "inactive",
        "frequency": planned.frequency,
        "activate_by_source_order": int(planned.kind == "active"),
        "place_target_order": 1,
        "renewal_alert_period": 1,
        "customer_email": email,
        "starts_at": placed_at,
        "expires_at": None,
        "next_run_at": text_of(planned.due),
        "occurrencies": 0,
        "errors_count": 0,
        "succeeded_on_last_run": 1,
        "subscription_model_id": None,
        "metadata": orjson.dumps({"perennial": own}).decode() if planned.kind == "adopted" else "{}",
        "created_at": placed_at,
        "updated_at": placed_at,
        "_anchor_day": planned.due.day,
        "_alerted_for": None,
    }


def source_order(order_id: str, number: int, email: str, cents: int, placed_at: str) -> Row:
    """A placed order of one item."""
    return {
        "id": order_id,
        "number": str(number),
        "status": "placed",
        "payment_status": "authorized",
        "fulfillment_status": "unfulfilled",
        "guest": 0,
        "customer_email": email,
        "language_code": "en",
        "currency_code": "EUR",
        "subtotal_amount_cents": cents,
        "discount_amount_cents": 0,
        "shipping_amount_cents": 0,
        "total_tax_amount_cents": 0,
        "total_amount_cents": cents,
        "total_amount_with_taxes_cents": cents,
        "place_total_amount_cents": cents,
        "skus_count": 1,
        "placed_at": placed_at,
        "payment_updated_at": placed_at,
        "circuit_state": "closed",
        "circuit_failure_count": 0,
        "errors_count": 0,
        "metadata": "{}",
        "created_at": placed_at,
        "updated_at": placed_at,
    }


def _one_period_before(due: datetime, frequency: str) -> datetime:
    """A run before `due` from which the subscription's frequency leads to `due`."""
    if frequency in STEPS:
        return due - STEPS[frequency]
    months = MONTHS.get(frequency.removesuffix("s"))
    if months is None:
        previous: datetime = croniter(frequency, due).get_prev(datetime)
        return previous
    for back in range(months, 13 * months, months):
        year, month = divmod(due.year * 12 + due.month - 1 - back, 12)
        # A start on 28 February would move all later runs to the 28th.
        if due.day <= monthrange(year, month + 1)[1]:
            return due.replace(year=year, month=month + 1)
    return due - timedelta(days=4 * 365 + 1)  # 29 February, yearly
