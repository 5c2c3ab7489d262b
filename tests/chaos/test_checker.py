"""The auditor must find each kind of error in a database that is otherwise correct."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from chaos.checker import Auditor
from chaos.contracts import Contract

from blocks.sandbox.shop.database import Database

DAY = timedelta(days=1)
NOON = timedelta(hours=12)
A_MINUTE = timedelta(minutes=1)
FIRST, SECOND = datetime(2026, 3, 31, 6, tzinfo=UTC), datetime(2026, 4, 30, 6, tzinfo=UTC)
END = datetime(2026, 5, 3, tzinfo=UTC)


class ShopDatabase:
    """A sandbox database written by hand, with one monthly subscription whose first two dates are due."""

    def __init__(self, path: Path) -> None:
        self.path, self._made = path, 0
        Database(path, seed=1, durable=False).close()
        self.write("order_subscriptions", id="Sub", frequency="monthly", status="inactive", starts_at=_text(FIRST),
                   next_run_at=_text(FIRST), source_order_id="Source", metadata='{"perennial": {"v": 1}}')  # fmt: skip

    def write(self, table: str, **row: str | None) -> None:
        marks = ", ".join("?" * len(row))
        self.run(f"INSERT INTO {table} ({', '.join(row)}) VALUES ({marks})", *row.values())

    def run(self, sql: str, *values: str | None) -> None:
        with closing(sqlite3.connect(self.path)) as connection, connection:
            connection.execute(sql, values)

    def copy(self, made_at: datetime, reference: str | None, placed_at: datetime | None = None, **differing: str | None
             ) -> str:  # fmt: skip
        """Add one order copy with its order, placed or not. Returns the id of the order."""
        self._made += 1
        order_id, minute_later = f"Order{self._made}", _text(made_at + timedelta(minutes=1))
        self.write("orders", id=order_id, status="placed" if placed_at else "pending",
                   placed_at=_text(placed_at) if placed_at else None)  # fmt: skip
        row = {"id": f"Copy{self._made}", "reference": reference, "reference_origin": "perennial",
               "status": "completed", "source_order_id": "Source", "target_order_id": order_id,
               "created_at": _text(made_at), "updated_at": minute_later}  # fmt: skip
        self.write("order_copies", **{**row, **differing})
        return order_id

    def cancel(self, order_id: str, at: datetime) -> None:
        self.run("UPDATE orders SET status = 'cancelled', cancelled_at = ? WHERE id = ?", _text(at), order_id)


def _text(instant: datetime) -> str:
    return instant.isoformat()


def _reference(due: datetime) -> str:
    return f"Sub@{due:%Y-%m-%dT%H:%MZ}"


def renewed(shop: ShopDatabase, due: datetime, after: timedelta = NOON) -> str:
    return shop.copy(due + after, _reference(due), due + after + A_MINUTE)


@pytest.fixture
def shop(tmp_path: Path) -> ShopDatabase:
    return ShopDatabase(tmp_path / "shop.sqlite")


@pytest.fixture
def auditor(shop: ShopDatabase) -> Auditor:
    return Auditor(shop.path)


def test_two_dates_renewed_once_each_are_no_error(shop: ShopDatabase, auditor: Auditor) -> None:
    renewed(shop, FIRST)
    renewed(shop, SECOND, timedelta())

    findings = auditor.audit(END)

    assert findings.is_clean, findings.complaints
    assert (findings.renewals, findings.surplus, findings.worst_delay) == (2, 0, NOON + A_MINUTE)


def test_surplus_copies_with_cancelled_orders_are_counted_and_are_no_error(
    shop: ShopDatabase, auditor: Auditor
) -> None:
    renewed(shop, FIRST)
    shop.cancel(shop.copy(FIRST + NOON + A_MINUTE, _reference(FIRST)), FIRST + DAY)
    shop.cancel(shop.copy(SECOND, _reference(SECOND)), SECOND + A_MINUTE)
    renewed(shop, SECOND)
    shop.cancel(shop.copy(SECOND + DAY, _reference(SECOND)), SECOND + 2 * DAY)

    findings = auditor.audit(END)

    assert findings.is_clean, findings.complaints
    assert (findings.renewals, findings.surplus) == (2, 3)


def test_a_second_copy_is_not_surplus_if_the_first_made_no_order(shop: ShopDatabase, auditor: Auditor) -> None:
    shop.copy(FIRST, _reference(FIRST), target_order_id=None, status="failed")
    shop.copy(FIRST + DAY, _reference(FIRST), FIRST + DAY)
    renewed(shop, SECOND)

    findings = auditor.audit(END)

    assert findings.is_clean, findings.complaints
    assert (findings.renewals, findings.surplus) == (2, 0)


def a_date_without_an_order(shop: ShopDatabase) -> None:
    shop.run("DELETE FROM order_copies WHERE reference = ?", _reference(SECOND))


def an_order_that_was_never_placed(shop: ShopDatabase) -> None:
    shop.run("UPDATE orders SET placed_at = NULL, status = 'pending' WHERE id = 'Order1'")


def an_order_placed_before_its_date(shop: ShopDatabase) -> None:
    shop.run("UPDATE orders SET placed_at = ? WHERE id = 'Order2'", _text(SECOND - timedelta(minutes=1)))


def a_copy_made_before_its_date(shop: ShopDatabase) -> None:
    shop.run("UPDATE order_copies SET created_at = ? WHERE id = 'Copy2'", _text(SECOND - timedelta(minutes=1)))


def the_next_period_charged_early(shop: ShopDatabase) -> None:
    shop.copy(END - DAY, _reference(datetime(2026, 5, 31, 6, tzinfo=UTC)), END - DAY)


def a_second_charge(shop: ShopDatabase) -> None:
    shop.copy(SECOND + DAY, _reference(SECOND), SECOND + DAY)


def a_second_charge_that_was_cancelled_later(shop: ShopDatabase) -> None:
    shop.cancel(shop.copy(SECOND + DAY, _reference(SECOND), SECOND + DAY), END)


def a_first_charge_that_was_cancelled_after_the_second(shop: ShopDatabase) -> None:
    shop.copy(SECOND + DAY, _reference(SECOND), SECOND + DAY)
    shop.cancel("Order2", SECOND + 2 * DAY)


def a_charge_that_was_cancelled_before_the_next_one(shop: ShopDatabase) -> None:
    shop.cancel("Order2", SECOND + DAY)
    shop.copy(SECOND + DAY, _reference(SECOND), SECOND + 2 * DAY)


def a_charge_that_was_cancelled(shop: ShopDatabase) -> None:
    shop.cancel("Order2", SECOND + DAY)


def a_surplus_order_that_can_still_be_placed(shop: ShopDatabase) -> None:
    shop.copy(SECOND + DAY, _reference(SECOND))


def two_orders_that_can_still_be_placed(shop: ShopDatabase) -> None:
    an_order_that_was_never_placed(shop)
    shop.copy(FIRST + DAY, _reference(FIRST))


def a_later_copy_placed_instead_of_an_earlier_one(shop: ShopDatabase) -> None:
    shop.cancel(shop.copy(SECOND, _reference(SECOND)), SECOND + DAY)


def a_copy_placed_while_an_earlier_one_was_running(shop: ShopDatabase) -> None:
    shop.copy(SECOND, _reference(SECOND), target_order_id=None, status="in_progress")


def a_copy_placed_before_an_earlier_one_had_failed(shop: ShopDatabase) -> None:
    failed_at = _text(SECOND + DAY)
    shop.copy(SECOND, _reference(SECOND), target_order_id=None, status="failed", updated_at=failed_at)


def a_date_that_is_not_in_the_contract(shop: ShopDatabase) -> None:
    shop.copy(SECOND + DAY, _reference(SECOND + DAY), SECOND + DAY)


def a_copy_of_another_order(shop: ShopDatabase) -> None:
    shop.run("UPDATE order_copies SET source_order_id = 'Another' WHERE id = 'Copy2'")


def a_copy_without_a_reference(shop: ShopDatabase) -> None:
    shop.copy(SECOND + DAY, None, reference_origin=None)


def a_copy_with_a_numbered_reference(shop: ShopDatabase) -> None:
    shop.cancel(shop.copy(SECOND + DAY, f"{_reference(SECOND)}#2"), SECOND + DAY)


def a_copy_with_a_foreign_reference(shop: ShopDatabase) -> None:
    shop.copy(SECOND + DAY, "goodwill")


def a_copy_made_by_the_native_engine(shop: ShopDatabase) -> None:
    shop.write("recurring_order_copies", id="Own", source_order_id="Source", status="completed",
                created_at=_text(SECOND + DAY), updated_at=_text(SECOND + DAY))  # fmt: skip


ERRORS: dict[Callable[[ShopDatabase], None], set[str]] = {
    a_date_without_an_order: {"lost"},
    an_order_that_was_never_placed: {"lost"},
    an_order_placed_before_its_date: {"early"},
    a_copy_made_before_its_date: {"early"},
    the_next_period_charged_early: {"early"},
    a_second_charge: {"charged_twice", "placed_too_soon"},
    a_second_charge_that_was_cancelled_later: {"charged_twice", "placed_too_soon", "undone"},
    a_first_charge_that_was_cancelled_after_the_second: {"charged_twice", "placed_too_soon", "undone"},
    a_charge_that_was_cancelled_before_the_next_one: {"undone"},
    a_charge_that_was_cancelled: {"undone"},
    a_surplus_order_that_can_still_be_placed: {"surplus_left"},
    two_orders_that_can_still_be_placed: {"surplus_left", "lost"},
    a_later_copy_placed_instead_of_an_earlier_one: {"placed_too_soon"},
    a_copy_placed_while_an_earlier_one_was_running: {"placed_too_soon"},
    a_copy_placed_before_an_earlier_one_had_failed: {"placed_too_soon"},
    a_date_that_is_not_in_the_contract: {"unknown_dates"},
    a_copy_of_another_order: {"unknown_dates", "lost"},
    a_copy_without_a_reference: {"unnamed"},
    a_copy_with_a_foreign_reference: {"unnamed"},
    a_copy_with_a_numbered_reference: {"unnamed"},
    a_copy_made_by_the_native_engine: {"unnamed"},
}


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: error.__name__)
def test_each_kind_of_error_is_found(
    shop: ShopDatabase, auditor: Auditor, error: Callable[[ShopDatabase], None]
) -> None:
    renewed(shop, FIRST)
    renewed(shop, SECOND)
    assert auditor.audit(END).is_clean
    error(shop)
    assert auditor.audit(END).complaints.keys() == ERRORS[error]


def test_a_manual_copy_must_be_placed_exactly_once(shop: ShopDatabase, auditor: Auditor) -> None:
    renewed(shop, FIRST)
    renewed(shop, SECOND)
    auditor.asked_by_hand.add("goodwill")
    assert auditor.audit(END).complaints == {"lost": ["goodwill"]}
    shop.copy(SECOND + DAY, "goodwill", SECOND + DAY)
    assert auditor.audit(END).is_clean
    surplus = shop.copy(SECOND + DAY + A_MINUTE, "goodwill")
    assert auditor.audit(END).complaints == {"surplus_left": ["goodwill (Copy4)"]}
    shop.cancel(surplus, SECOND + 2 * DAY)
    findings = auditor.audit(END)
    assert (findings.is_clean, findings.by_hand, findings.surplus) == (True, 1, 1)
    shop.copy(SECOND + 2 * DAY, "goodwill", SECOND + 2 * DAY)
    assert auditor.audit(END).complaints.keys() == {"charged_twice", "placed_too_soon"}


def test_a_date_after_the_cancellation_must_not_be_renewed(shop: ShopDatabase, auditor: Auditor) -> None:
    renewed(shop, FIRST)
    auditor.contracts["Sub"].cancelled_at = SECOND - DAY
    assert auditor.audit(END).is_clean
    renewed(shop, SECOND)
    assert auditor.audit(END).complaints.keys() == {"unknown_dates"}


def test_an_overdue_date_must_not_be_charged_after_the_customer_cancelled(shop: ShopDatabase, auditor: Auditor) -> None:
    renewed(shop, FIRST)
    auditor.contracts["Sub"].cancelled_at = SECOND + timedelta(hours=1)
    assert auditor.audit(END).is_clean
    renewed(shop, SECOND)
    assert auditor.audit(END).complaints.keys() == {"after_leaving"}


def test_an_unplaced_order_of_a_cancelled_subscription_must_be_cancelled(shop: ShopDatabase, auditor: Auditor) -> None:
    renewed(shop, FIRST)
    auditor.contracts["Sub"].cancelled_at = SECOND + timedelta(hours=1)
    order_id = shop.copy(SECOND + NOON, _reference(SECOND))
    assert auditor.audit(END).complaints.keys() == {"unwanted_left"}
    shop.cancel(order_id, SECOND + DAY)
    assert auditor.audit(END).is_clean


def test_a_paused_subscription_must_be_renewed_after_the_pause_and_not_during_it(
    shop: ShopDatabase, auditor: Auditor
) -> None:
    renewed(shop, FIRST)
    renewed(shop, SECOND)
    pauses = auditor.contracts["Sub"].pauses
    pauses.append((SECOND - DAY, SECOND + timedelta(hours=11)))
    findings = auditor.audit(END)
    assert (findings.is_clean, findings.worst_delay) == (True, NOON + A_MINUTE)
    pauses[0] = (SECOND - DAY, SECOND + timedelta(hours=13))
    assert auditor.audit(END).complaints.keys() == {"after_leaving"}


def test_a_postponed_date_and_its_new_date_are_owed_one_order_together(shop: ShopDatabase, auditor: Auditor) -> None:
    renewed(shop, FIRST)
    withdrawn = shop.copy(SECOND, _reference(SECOND))
    later = SECOND + DAY
    auditor.contracts["Sub"].postponed[SECOND] = (SECOND + A_MINUTE, later)
    assert auditor.audit(later - A_MINUTE).is_clean
    assert auditor.audit(END).complaints == {"lost": [_reference(SECOND)]}
    renewed(shop, later, timedelta())
    assert auditor.audit(END).complaints.keys() == {"surplus_left", "placed_too_soon"}
    shop.cancel(withdrawn, SECOND + NOON)
    findings = auditor.audit(END)
    assert (findings.is_clean, findings.renewals, findings.surplus) == (True, 2, 0)


@pytest.mark.parametrize(
    ("placed_after", "complaints"),
    [(timedelta(minutes=2), {"charged_twice", "placed_too_soon"}),
     (NOON, {"charged_twice", "placed_too_soon", "after_leaving"})],
)  # fmt: skip
def test_charging_both_a_postponed_date_and_its_new_date_is_a_double_charge(
    shop: ShopDatabase, auditor: Auditor, placed_after: timedelta, complaints: set[str]
) -> None:
    renewed(shop, FIRST)
    later = SECOND + DAY
    auditor.contracts["Sub"].postponed[SECOND] = (SECOND + A_MINUTE, later)
    shop.copy(SECOND, _reference(SECOND), SECOND + placed_after)
    shop.copy(later, _reference(later), later)
    assert auditor.audit(END).complaints.keys() == complaints


def test_the_copy_of_a_postponed_date_may_be_placed_once_the_new_date_has_come(
    shop: ShopDatabase, auditor: Auditor
) -> None:
    renewed(shop, FIRST)
    later = SECOND + DAY
    auditor.contracts["Sub"].postponed[SECOND] = (SECOND + A_MINUTE, later)
    shop.copy(SECOND, _reference(SECOND), later)
    assert auditor.audit(END).is_clean


def test_a_moved_date_replaces_the_nearest_regular_date(shop: ShopDatabase, auditor: Auditor) -> None:
    renewed(shop, FIRST)
    moved = SECOND - 4 * DAY
    auditor.contracts["Sub"].moves.append((FIRST + DAY, moved))
    assert auditor.audit(END).complaints.keys() == {"lost"}
    renewed(shop, moved)
    assert auditor.audit(END).is_clean
    renewed(shop, SECOND)
    assert auditor.audit(END).complaints.keys() == {"unknown_dates"}


def _dates(frequency: str, first: str, until: str) -> list[str]:
    first_due = datetime.fromisoformat(first).replace(tzinfo=UTC)
    contract = Contract("Sub", "Source", frequency, first_due, first_due)
    return [f"{date:%m-%d %H:%M}" for date in contract.dates(datetime.fromisoformat(until).replace(tzinfo=UTC))]


def test_the_auditor_computes_dates_from_words_and_from_crontabs() -> None:
    assert _dates("monthly", "2026-01-31 06:00", "2026-04-15") == ["01-31 06:00", "02-28 06:00", "03-31 06:00"]
    assert _dates("weekly", "2026-01-31 06:00", "2026-02-14") == ["01-31 06:00", "02-07 06:00"]
    assert _dates("30 6 * * 1", "2026-02-02 06:30", "2026-02-17") == ["02-02 06:30", "02-09 06:30", "02-16 06:30"]
    assert _dates("0 5 10 * *", "2026-02-10 05:00", "2026-04-01") == ["02-10 05:00", "03-10 05:00"]
