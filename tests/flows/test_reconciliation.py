"""Periods against placed orders: anomalies of all kinds among healthy renewals, and how many reads it takes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

import pytest
from meanwhile import patch
from merchant import Merchant
from renewed_shop import RenewedShop, RenewedSubscription, minute, text
from sandbox_clock import SandboxClock

from blocks.commerce_layer.clock import use_clock
from blocks.commerce_layer.errors import CommerceLayerError
from blocks.policy import Policy
from blocks.sandbox.running import RunningSandbox
from flows.rules.dashboard_links import Dashboard
from flows.rules.reconciliation_reports import Reconciliation
from flows.rules.reconciling import ReconciledPeriod, Reconciler
from flows.rules.span_periods import ShopRecords
from flows.rules.spans import Span
from flows.run.reconciliation import reconcile

WEEKS = 5
"""Weeks of renewals in the shop. The span begins after the first of them."""
EACH = 15
"""How many anomalies of each of the eight kinds."""


def renewed_twice(shop: RenewedShop, one: RenewedSubscription, week: int) -> None:
    shop.copy(one, week)


def held(shop: RenewedShop, one: RenewedSubscription, week: int) -> None:
    """The last week's order was declined for good."""
    _, order = one.of(WEEKS - 1)
    order |= {"status": "pending", "placed_at": None, "payment_status": "unpaid", "errors_count": 1}
    before = one.dues[WEEKS - 2]
    one.row["next_run_at"] = text(one.dues[-1])
    one.state |= {
        "done_through": minute(before), "last_period": minute(before), "outcome": "needs_attention", "held": True,
        "error_class": "payment", "error": "Your card was declined", "target_order_id": order["id"],
    }  # fmt: skip


def lost(shop: RenewedShop, one: RenewedSubscription, week: int) -> None:
    one.remove(week)
    if week == WEEKS - 1:
        one.state |= {"last_period": minute(one.dues[week - 1]), "outcome": "in_progress"}


def by_somebody_else(shop: RenewedShop, one: RenewedSubscription, week: int) -> None:
    copy, order = one.of(week)
    theirs = {"reference": f"crm-{one.id}", "reference_origin": "crm", "metadata": "{}"}
    copy |= theirs
    order |= theirs
    if week == WEEKS - 1:
        one.state |= {"last_period": minute(one.dues[week - 1]), "outcome": "skipped"}


def another_amount(shop: RenewedShop, one: RenewedSubscription, week: int) -> None:
    _, order = one.of(week)
    order["total_amount_with_taxes_cents"] += 500


def not_recorded(shop: RenewedShop, one: RenewedSubscription, week: int) -> None:
    before = one.dues[WEEKS - 2]
    one.row |= {"next_run_at": text(one.dues[-1])}
    one.state |= {"period": minute(before), "done_through": minute(before), "last_period": minute(before)}


def not_placed(shop: RenewedShop, one: RenewedSubscription, week: int) -> None:
    _, order = one.of(WEEKS - 1)
    order |= {"status": "pending", "placed_at": None, "payment_status": "unpaid"}


def surplus_left(shop: RenewedShop, one: RenewedSubscription, week: int) -> None:
    _, order = shop.copy(one, week)
    order |= {"status": "draft", "placed_at": None, "payment_status": "unpaid"}


KINDS: dict[Callable[..., None], tuple[str, bool]] = {
    renewed_twice: ("renewed twice", False),
    held: ("not renewed", True),
    lost: ("not renewed", False),
    by_somebody_else: ("renewed by somebody else", True),
    another_amount: ("charged a different amount", False),
    not_recorded: ("placed but not recorded", False),
    not_placed: ("recorded but not placed", False),
    surplus_left: ("surplus copies left", False),
}
"""Each kind with what must be said about it, and whether the shop explains it."""

LAST_WEEK_ONLY = {held, not_recorded, not_placed}


@pytest.fixture
def shop() -> Iterator[Merchant]:
    """A merchant without a Prefect server: a reconciliation needs none."""
    with RunningSandbox("--limits", "off", "--frozen") as sandbox, use_clock(SandboxClock(sandbox)):
        yield Merchant(sandbox)


async def reconciled(shop: Merchant, span: Span, **policy: Any) -> Reconciliation:
    """The reconciliation of a span at the shop's present."""
    async with shop.dashboard() as client:
        await client.claims()
        board = Dashboard(shop.sandbox.organization, "test")
        return await reconcile(client, board, Policy(**policy), span, shop.sandbox.clock())


def reads(shop: Merchant) -> int:
    """How many reads the sandbox has counted."""
    counted = shop.sandbox.counters()["requests"].items()
    return sum(count for name, count in counted if name.startswith("GET /api/"))


async def test_120_anomalies_of_eight_kinds_are_all_found_and_nothing_else(shop: Merchant) -> None:
    now = shop.sandbox.clock().replace(second=0, microsecond=0)
    books = RenewedShop(shop.sandbox, 1200, WEEKS, now - timedelta(days=33))
    expected = set()
    victims = iter(books.all[7::9])
    for spoil, (match, is_explained) in KINDS.items():
        for number in range(EACH):
            one, week = next(victims), WEEKS - 1 if spoil in LAST_WEEK_ONLY else 1 + number % (WEEKS - 1)
            spoil(books, one, week)
            expected.add((one.id, minute(one.dues[week]), match, is_explained))
    books.write()
    shop.sandbox.reset_counters()

    found = await reconciled(shop, Span(now - timedelta(days=28), now))

    told = {(each.subscription_id, minute(each.due), each.match, each.is_explained) for each in found.mismatches}
    assert told == expected
    assert len(found.mismatches) == 8 * EACH
    assert found.sentence == "4,800 periods, 4,680 renewed once, 30 explained, 90 unexplained"
    assert reads(shop) == found.reads
    assert found.reads / len(found.periods) <= 0.05


async def test_a_fleet_with_one_period_each_takes_at_most_0_05_reads_a_period(shop: Merchant) -> None:
    now = shop.sandbox.clock().replace(second=0, microsecond=0)
    RenewedShop(shop.sandbox, 1200, 2, now - timedelta(days=9)).write()
    shop.sandbox.seed(active=30, foreign=30)

    found = await reconciled(shop, Span(now - timedelta(days=7), now))

    assert found.sentence == "1,200 periods, 1,200 renewed once, 0 explained, 0 unexplained"
    assert found.reads / len(found.periods) <= 0.05


async def test_nothing_is_told_of_renewals_that_are_only_recorded_unusually(shop: Merchant) -> None:
    now = shop.sandbox.clock().replace(second=0, microsecond=0)
    books = RenewedShop(shop.sandbox, 40, 5, now - timedelta(days=33))
    retagged, without_copy, paid_late, refunded, cancelled, given_back = books.all[:6]
    for each in retagged.of(2):
        each |= {"reference": "ERP-7", "reference_origin": "erp"}
    without_copy.copies.remove(without_copy.of(4)[0])
    copy, order = paid_late.of(3)
    copy["created_at"] = order["placed_at"] = text(now - timedelta(days=1))
    refunded.of(4)[1]["payment_status"] = "refunded"
    cancelled.row |= {"status": "cancelled", "updated_at": text(now - timedelta(days=20))}
    for week in (4, 3):
        cancelled.remove(week)
    cancelled.state |= dict.fromkeys(("period", "done_through", "last_period"), minute(cancelled.dues[2]))
    given_back.row["status"] = "active"
    given_back.remove(4)
    given_back.state = {}
    books.write()
    patch(shop, "order_subscriptions", given_back.id, metadata={})
    # Adopted a moment ago, and renewed by nobody yet.
    shop.sandbox.create_subscription(
        frequency="weekly", starts_at=text(now - timedelta(days=90)), next_run_at=text(now + timedelta(days=1))
    )

    found = await reconciled(shop, Span(now - timedelta(days=28), now))

    assert found.mismatches == []
    assert len(found.periods) == 40 * 4 - 2 - 1
    longer = await reconciled(shop, Span(now - timedelta(days=100), now))
    assert longer.mismatches == []
    assert len(longer.periods) == 40 * 5 - 2 - 1


async def test_a_subscription_that_commerce_layer_cannot_show_is_named_and_the_others_are_compared(
    shop: Merchant,
) -> None:
    now = shop.sandbox.clock().replace(second=0, microsecond=0)
    books = RenewedShop(shop.sandbox, 30, 2, now - timedelta(days=8))
    first, *_, last = books.all
    for each in (first, last):
        each.remove(1)
        each.row["next_run_at"] = text(each.dues[1])
    books.write()
    listed, alone = "frequency.*next_run_at_lt[^e]", f"id_in.*{first.id}"
    shop.sandbox.fault("status", status=500, path="/api/order_subscriptions", match=listed)
    shop.sandbox.fault("status", status=500, path="/api/order_subscriptions", match=alone)

    found = await reconciled(shop, Span(now - timedelta(days=7), now))

    assert found.sentence == (
        f"29 periods, 28 renewed once, 0 explained, 1 unexplained; 1 subscription cannot be read: {first.id}"
    )
    assert found.needs_person


async def test_a_shop_that_refuses_all_subscriptions_is_not_taken_for_one_without_any(shop: Merchant) -> None:
    shop.sandbox.fault("status", status=500, path="/api/order_subscriptions")

    with pytest.raises(CommerceLayerError):
        await reconciled(shop, Span(shop.sandbox.clock() - timedelta(days=1), shop.sandbox.clock()))


async def test_a_subscription_that_cannot_be_compared_does_not_hide_the_others(shop: Merchant, monkeypatch) -> None:
    now = shop.sandbox.clock().replace(second=0, microsecond=0)
    books = RenewedShop(shop.sandbox, 3, 1, now - timedelta(days=1))
    books.write()
    compare = Reconciler.compare

    def compare_others(self: Reconciler, records: ShopRecords, dates: Sequence[datetime]) -> list[ReconciledPeriod]:
        if records.subscription_id == books.all[1].id:
            raise OverflowError("date value out of range")
        return compare(self, records, dates)

    monkeypatch.setattr(Reconciler, "compare", compare_others)

    found = await reconciled(shop, Span(now - timedelta(days=2), now))

    assert found.sentence.startswith("2 periods, 2 renewed once, 0 explained, 0 unexplained; 1 subscription cannot")
    assert "OverflowError" in found.unreadable[books.all[1].id]
