"""
A shop for `fidelity.py`: subscriptions of every kind of trouble, and what their customers, staff and networks do.

It acts as they would: through the API with a token of its own, or at the sandbox's checkout.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from card_charges import attach_card
from chaos.checker import Auditor
from fidelity_checker import Diary, Verdict, judge
from meanwhile import create, delete, patch
from merchant import Merchant

START = datetime(2026, 3, 2, 6, tzinfo=UTC)
DAY = timedelta(days=1)
Made = dict[str, Any]

ONCE = ("out_of_stock", "aborted", "placing", "gateway_timeout", "no_shipping_method")
"""What a renewal meets once; each has a subscription of its own."""


class FidelityShop:
    """The people of one shop. What they do goes into the diary."""

    def __init__(self, merchant: Merchant, weeks: int, *, orders_show_cards: bool = True) -> None:
        self._merchant, self._box, self._weeks = merchant, merchant.sandbox, weeks
        self._orders_show_cards = orders_show_cards
        self.diary = Diary()
        self.auditor: Auditor
        self.adopted: dict[str, Made] = {}
        self.native: dict[str, Made] = {}

    async def open(self) -> None:
        """Make the subscriptions. The adopted ones are due; the native ones run in an hour."""
        for name in ("plain", "new card", "source's card gone", "no card", "ends", "leaves", "declined twice"):
            self._adopted(name)
        for name in ("declined, new card", "declined, paid at the checkout", *ONCE):
            self._adopted(name)
        self._box.advance(1)
        self._change_cards()
        for name in ("plain", "declined", "aborted", "out_of_stock", "new card", "card gone", "ends"):
            self._native(name)
        self._change_native_cards()
        await self._create_one()
        self._fail()
        self.auditor = Auditor(self._box.database)

    def _adopted(self, name: str) -> None:
        ends = {"expires_at": (START + 10 * DAY).isoformat()} if name == "ends" else {}
        made = self.adopted[name] = self._box.create_subscription(frequency="weekly", **ends)
        self._remember(made, made["customer_payment_source_id"])
        self._note_the_end(made, ends)

    def _native(self, name: str) -> None:
        due = self._box.clock().replace(microsecond=0) + timedelta(hours=1)
        ends = {"expires_at": (due + timedelta(hours=12)).isoformat()} if name == "ends" else {}
        made = self.native[name] = self._box.create_subscription(
            status="active", adopted=False, frequency="weekly", next_run_at=due.isoformat(), starts_at=due.isoformat(),
            **ends,
        )  # fmt: skip
        self._note_the_end(made, ends)
        self._remember(made, made["customer_payment_source_id"])

    def _note_the_end(self, made: Made, ends: dict[str, str]) -> None:
        if ends:
            self.diary.ends[made["id"]] = datetime.fromisoformat(ends["expires_at"])

    def _remember(self, made: Made, card: str | None) -> None:
        self.diary.cards[made["id"]].append((self._box.clock(), card))

    def _attach(self, made: Made, card: str | None = None) -> str:
        """The customer gives the subscription a card, and adds one more to the wallet for something else."""
        attached = attach_card(self._merchant, made, card)
        self._remember(made, attached)
        self._box.advance(1)
        self._box.add_payment_source(made["customer_id"])
        return attached

    def _change_cards(self) -> None:
        self._attach(self.adopted["new card"])
        gone = self.adopted["source's card gone"]
        self._attach(gone)
        delete(self._merchant, "customer_payment_sources", gone["customer_payment_source_id"])
        none = self.adopted["no card"]
        patch(self._merchant, "order_subscriptions", none["id"], relationships=_NO_CARD)
        self._remember(none, None)

    def _change_native_cards(self) -> None:
        changed, gone = self.native["new card"], self.native["card gone"]
        self._attach(changed)
        self._box.set_card_failure(changed["customer_payment_source_id"], "declined")
        delete(self._merchant, "customer_payment_sources", gone["customer_payment_source_id"])
        self._remember(gone, None)

    async def _create_one(self) -> None:
        """Staff create a subscription through the API and hand it to Perennial; it may have no card."""
        order = self._box.create_subscription(adopted=False, status="cancelled", frequency="weekly")
        source = {"source_order": {"data": {"type": "orders", "id": order["source_order_id"]}}}
        key = create(self._merchant, "order_subscriptions", relationships=source, frequency="weekly")
        made = self.adopted["created"] = {**order, "id": key}
        if self._merchant.subscription(key)["status"] == "pending":  # Commerce Layer wants a card first
            self._attach(made, order["customer_payment_source_id"])
            patch(self._merchant, "order_subscriptions", key, _activate=True)
        self._remember(made, self._merchant.subscription(key)["customer_payment_source_id"])
        self._box.advance(30)  # lists may lag
        ended = await self._merchant.hand_over(key)
        assert self._merchant.subscription(key)["status"] == "inactive", ended.message

    def _fail(self) -> None:
        for name in ONCE:
            self._box.set_failure(self.adopted[name]["source_order_id"], name, times=1)
        self._box.set_failure(self.adopted["declined twice"]["source_order_id"], "declined", times=2)
        for name in ("declined, new card", "declined, paid at the checkout"):
            self._box.set_card_failure(self.adopted[name]["customer_payment_source_id"], "declined")
        for name, kind in (("declined", "declined"), ("aborted", "aborted"), ("out_of_stock", "out_of_stock")):
            self._box.set_failure(self.native[name]["source_order_id"], kind, times=1)
        self._box.set_failure(self.native["ends"]["source_order_id"], "declined", times=1)

    async def run(self, rescue: Callable[[], Any]) -> None:
        """Let the weeks pass, with a sweep on most days."""
        for week in range(self._weeks):
            begin = START + 7 * week * DAY + timedelta(minutes=1)
            self._come_to(begin)
            await self._trouble(week)
            await self._merchant.sweep()
            self._box.clear_faults()
            self._come_to(begin + timedelta(hours=6))  # the native engine has run
            self._customers_act(week)
            for days in (1, 2) if week == 0 else (2,):
                self._come_to(begin + days * DAY + timedelta(hours=2))
                await self._merchant.sweep()
            await rescue()

    @property
    def database(self) -> Path:
        """The sandbox's file."""
        return self._box.database

    def judge(self, database: Path | None = None) -> Verdict:
        """How the renewals went, by the sandbox's database or another one in its place."""
        auditor = Auditor(database or self._box.database)
        auditor.contracts = self.auditor.contracts
        return judge(database or self._box.database, auditor, self.diary, self._box.clock())

    def _come_to(self, instant: datetime) -> None:
        self._box.set_clock(max(instant, self._box.clock()))

    async def _trouble(self, week: int) -> None:
        """Answers get lost in even weeks, a process dies in odd ones."""
        if week % 2:
            await self._merchant.sweep_that_dies_before_placing()
            return
        copies, orders = {"method": "POST", "path": "/api/order_copies"}, {"method": "PATCH", "path": "/api/orders/*"}
        self._box.fault("reset", when="after", **copies, nth=[1, 5])
        self._box.fault("status", when="before", status=502, **copies, nth=[2])
        self._box.fault("reset", when="after", **orders, match="_place", nth=[1, 4])
        self._box.fault("status", when="before", status=502, **orders, match="_place", nth=[2])

    def _customers_act(self, week: int) -> None:
        self._box.forget_limits()  # people have addresses of their own
        if week == 0:
            self._attach(self.adopted["declined, new card"])
            self._pay_at_the_checkout(self.adopted["declined, paid at the checkout"])
            gone = self.native["card gone"]
            self._attach(gone)
            if self._merchant.subscription(gone["id"])["status"] == "pending":
                patch(self._merchant, "order_subscriptions", gone["id"], _activate=True)
        if week == 1:
            leaves = self.adopted["leaves"]["id"]
            patch(self._merchant, "order_subscriptions", leaves, _cancel=True)
            self.auditor.contracts[leaves].cancelled_at = self._box.clock()

    def _pay_at_the_checkout(self, made: Made) -> None:
        """
        Pay the declined order with another card; from the next renewal on, the subscription has that card.

        Where orders do not show their card, nobody can know which one it was, and the subscription keeps its own.
        """
        (order,) = self._merchant.rows(
            "SELECT o.id FROM order_copies c JOIN orders o ON o.id = c.target_order_id "
            "WHERE c.source_order_id = ? AND o.status IN ('draft', 'pending')",
            made["source_order_id"],
        )
        card = self._box.add_payment_source(made["customer_id"])
        self._box.customer_pays(order["id"], card)
        self.diary.by_customers.add(order["id"])
        if self._orders_show_cards:
            self._remember(made, card)


_NO_CARD = {"customer_payment_source": {"data": None}}
