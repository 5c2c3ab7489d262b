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


class Books:
    """A shop's database, written by hand: one monthly subscription with two dates that have come."""

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
        """One order copy with its order, placed or not; returns the id of the order."""
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


def renewed(books: Books, due: datetime, after: timedelta = NOON) -> str:
    return books.copy(due + after, _reference(due), due + after + A_MINUTE)


@pytest.fixture
def books(tmp_path: Path) -> Books:
    return Books(tmp_path / "shop.sqlite")


@pytest.fixture
def auditor(books: Books) -> Auditor:
    return Auditor(books.path)


def test_two_dates_renewed_once_each_are_clean(books: Books, auditor: Auditor) -> None:
    renewed(books, FIRST)
    renewed(books, SECOND, timedelta())

    findings = auditor.audit(END)

    assert findings.is_clean, findings.complaints
    assert (findings.renewals, findings.surplus, findings.worst_delay) == (2, 0, NOON + A_MINUTE)


def test_surplus_copies_whose_orders_are_cancelled_are_clean_and_counted(books: Books, auditor: Auditor) -> None:
    renewed(books, FIRST)
    books.cancel(books.copy(FIRST + NOON + A_MINUTE, _reference(FIRST)), FIRST + DAY)
    books.cancel(books.copy(SECOND, _reference(SECOND)), SECOND + A_MINUTE)
    renewed(books, SECOND)
    books.cancel(books.copy(SECOND + DAY, _reference(SECOND)), SECOND + 2 * DAY)

    findings = auditor.audit(END)

    assert findings.is_clean, findings.complaints
    assert (findings.renewals, findings.surplus) == (2, 3)


def test_a_second_copy_after_one_that_made_no_order_is_clean_and_no_surplus(books: Books, auditor: Auditor) -> None:
    books.copy(FIRST, _reference(FIRST), target_order_id=None, status="failed")
    books.copy(FIRST + DAY, _reference(FIRST), FIRST + DAY)
    renewed(books, SECOND)

    findings = auditor.audit(END)

    assert findings.is_clean, findings.complaints
    assert (findings.renewals, findings.surplus) == (2, 0)


def a_date_without_an_order(books: Books) -> None:
    books.run("DELETE FROM order_copies WHERE reference = ?", _reference(SECOND))


def an_order_that_was_never_placed(books: Books) -> None:
    books.run("UPDATE orders SET placed_at = NULL, status = 'pending' WHERE id = 'Order1'")


def an_order_placed_before_its_date(books: Books) -> None:
    books.run("UPDATE orders SET placed_at = ? WHERE id = 'Order2'", _text(SECOND - timedelta(minutes=1)))


def a_copy_made_before_its_date(books: Books) -> None:
    books.run("UPDATE order_copies SET created_at = ? WHERE id = 'Copy2'", _text(SECOND - timedelta(minutes=1)))


def the_next_period_charged_early(books: Books) -> None:
    books.copy(END - DAY, _reference(datetime(2026, 5, 31, 6, tzinfo=UTC)), END - DAY)


def a_second_charge(books: Books) -> None:
    books.copy(SECOND + DAY, _reference(SECOND), SECOND + DAY)


def a_second_charge_that_was_cancelled_later(books: Books) -> None:
    books.cancel(books.copy(SECOND + DAY, _reference(SECOND), SECOND + DAY), END)


def a_first_charge_that_was_cancelled_after_the_second(books: Books) -> None:
    books.copy(SECOND + DAY, _reference(SECOND), SECOND + DAY)
    books.cancel("Order2", SECOND + 2 * DAY)


def a_charge_that_was_cancelled_before_the_next_one(books: Books) -> None:
    books.cancel("Order2", SECOND + DAY)
    books.copy(SECOND + DAY, _reference(SECOND), SECOND + 2 * DAY)


def a_charge_that_was_cancelled(books: Books) -> None:
    books.cancel("Order2", SECOND + DAY)


def a_surplus_order_that_can_still_be_placed(books: Books) -> None:
    books.copy(SECOND + DAY, _reference(SECOND))


def two_orders_that_can_still_be_placed(books: Books) -> None:
    an_order_that_was_never_placed(books)
    books.copy(FIRST + DAY, _reference(FIRST))


def a_later_copy_placed_instead_of_an_earlier_one(books: Books) -> None:
    books.cancel(books.copy(SECOND, _reference(SECOND)), SECOND + DAY)


def a_copy_placed_while_an_earlier_one_was_running(books: Books) -> None:
    books.copy(SECOND, _reference(SECOND), target_order_id=None, status="in_progress")


def a_copy_placed_before_an_earlier_one_had_failed(books: Books) -> None:
    failed_at = _text(SECOND + DAY)
    books.copy(SECOND, _reference(SECOND), target_order_id=None, status="failed", updated_at=failed_at)


def a_date_that_nobody_agreed_to(books: Books) -> None:
    books.copy(SECOND + DAY, _reference(SECOND + DAY), SECOND + DAY)


def a_copy_of_another_order(books: Books) -> None:
    books.run("UPDATE order_copies SET source_order_id = 'Another' WHERE id = 'Copy2'")


def a_copy_without_a_name(books: Books) -> None:
    books.copy(SECOND + DAY, None, reference_origin=None)


def a_copy_with_a_numbered_name(books: Books) -> None:
    books.cancel(books.copy(SECOND + DAY, f"{_reference(SECOND)}#2"), SECOND + DAY)


def a_copy_with_a_name_of_somebody_else(books: Books) -> None:
    books.copy(SECOND + DAY, "goodwill")


def a_copy_by_the_shops_own_engine(books: Books) -> None:
    books.write("recurring_order_copies", id="Own", source_order_id="Source", status="completed",
                created_at=_text(SECOND + DAY), updated_at=_text(SECOND + DAY))  # fmt: skip


HARM: dict[Callable[[Books], None], set[str]] = {
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
    a_date_that_nobody_agreed_to: {"unknown_dates"},
    a_copy_of_another_order: {"unknown_dates", "lost"},
    a_copy_without_a_name: {"unnamed"},
    a_copy_with_a_name_of_somebody_else: {"unnamed"},
    a_copy_with_a_numbered_name: {"unnamed"},
    a_copy_by_the_shops_own_engine: {"unnamed"},
}


@pytest.mark.parametrize("harm", HARM, ids=lambda harm: harm.__name__)
def test_harm_is_found(books: Books, auditor: Auditor, harm: Callable[[Books], None]) -> None:
    renewed(books, FIRST)
    renewed(books, SECOND)
    assert auditor.audit(END).is_clean
    harm(books)
    assert auditor.audit(END).complaints.keys() == HARM[harm]


def test_a_copy_by_hand_that_was_asked_for_is_owed_once(books: Books, auditor: Auditor) -> None:
    renewed(books, FIRST)
    renewed(books, SECOND)
    auditor.asked_by_hand.add("goodwill")
    assert auditor.audit(END).complaints == {"lost": ["goodwill"]}
    books.copy(SECOND + DAY, "goodwill", SECOND + DAY)
    assert auditor.audit(END).is_clean
    surplus = books.copy(SECOND + DAY + A_MINUTE, "goodwill")
    assert auditor.audit(END).complaints == {"surplus_left": ["goodwill (Copy4)"]}
    books.cancel(surplus, SECOND + 2 * DAY)
    findings = auditor.audit(END)
    assert (findings.is_clean, findings.by_hand, findings.surplus) == (True, 1, 1)
    books.copy(SECOND + 2 * DAY, "goodwill", SECOND + 2 * DAY)
    assert auditor.audit(END).complaints.keys() == {"charged_twice", "placed_too_soon"}


def test_who_cancelled_is_owed_nothing_and_charged_nothing(books: Books, auditor: Auditor) -> None:
    renewed(books, FIRST)
    auditor.contracts["Sub"].cancelled_at = SECOND - DAY
    assert auditor.audit(END).is_clean
    renewed(books, SECOND)
    assert auditor.audit(END).complaints.keys() == {"unknown_dates"}


def test_no_order_is_placed_for_a_date_in_arrears_after_a_customer_cancelled(books: Books, auditor: Auditor) -> None:
    renewed(books, FIRST)
    auditor.contracts["Sub"].cancelled_at = SECOND + timedelta(hours=1)
    assert auditor.audit(END).is_clean
    renewed(books, SECOND)
    assert auditor.audit(END).complaints.keys() == {"after_leaving"}


def test_a_copy_alone_charges_nobody_who_has_cancelled_but_its_order_must_be_cancelled_too(
    books: Books, auditor: Auditor
) -> None:
    renewed(books, FIRST)
    auditor.contracts["Sub"].cancelled_at = SECOND + timedelta(hours=1)
    order_id = books.copy(SECOND + NOON, _reference(SECOND))
    assert auditor.audit(END).complaints.keys() == {"unwanted_left"}
    books.cancel(order_id, SECOND + DAY)
    assert auditor.audit(END).is_clean


def test_who_paused_is_renewed_afterwards_and_not_before(books: Books, auditor: Auditor) -> None:
    renewed(books, FIRST)
    renewed(books, SECOND)
    pauses = auditor.contracts["Sub"].pauses
    pauses.append((SECOND - DAY, SECOND + timedelta(hours=11)))
    findings = auditor.audit(END)
    assert (findings.is_clean, findings.worst_delay) == (True, NOON + A_MINUTE)
    pauses[0] = (SECOND - DAY, SECOND + timedelta(hours=13))
    assert auditor.audit(END).complaints.keys() == {"after_leaving"}


def test_a_due_date_that_was_postponed_is_owed_one_order_with_the_date_it_was_postponed_to(
    books: Books, auditor: Auditor
) -> None:
    renewed(books, FIRST)
    withdrawn = books.copy(SECOND, _reference(SECOND))
    later = SECOND + DAY
    auditor.contracts["Sub"].postponed[SECOND] = (SECOND + A_MINUTE, later)
    assert auditor.audit(later - A_MINUTE).is_clean
    assert auditor.audit(END).complaints == {"lost": [_reference(SECOND)]}
    renewed(books, later, timedelta())
    assert auditor.audit(END).complaints.keys() == {"surplus_left", "placed_too_soon"}
    books.cancel(withdrawn, SECOND + NOON)
    findings = auditor.audit(END)
    assert (findings.is_clean, findings.renewals, findings.surplus) == (True, 2, 0)


@pytest.mark.parametrize(
    ("placed_after", "complaints"),
    [(timedelta(minutes=2), {"charged_twice", "placed_too_soon"}),
     (NOON, {"charged_twice", "placed_too_soon", "after_leaving"})],
)  # fmt: skip
def test_a_date_and_the_one_it_was_postponed_to_are_not_both_charged(
    books: Books, auditor: Auditor, placed_after: timedelta, complaints: set[str]
) -> None:
    renewed(books, FIRST)
    later = SECOND + DAY
    auditor.contracts["Sub"].postponed[SECOND] = (SECOND + A_MINUTE, later)
    books.copy(SECOND, _reference(SECOND), SECOND + placed_after)
    books.copy(later, _reference(later), later)
    assert auditor.audit(END).complaints.keys() == complaints


def test_the_copy_of_a_date_that_was_postponed_may_be_placed_when_the_new_date_has_come(
    books: Books, auditor: Auditor
) -> None:
    renewed(books, FIRST)
    later = SECOND + DAY
    auditor.contracts["Sub"].postponed[SECOND] = (SECOND + A_MINUTE, later)
    books.copy(SECOND, _reference(SECOND), later)
    assert auditor.audit(END).is_clean


def test_a_date_that_was_moved_takes_the_place_of_the_nearest_one(books: Books, auditor: Auditor) -> None:
    renewed(books, FIRST)
    moved = SECOND - 4 * DAY
    auditor.contracts["Sub"].moves.append((FIRST + DAY, moved))
    assert auditor.audit(END).complaints.keys() == {"lost"}
    renewed(books, moved)
    assert auditor.audit(END).is_clean
    renewed(books, SECOND)
    assert auditor.audit(END).complaints.keys() == {"unknown_dates"}


def _dates(frequency: str, first: str, until: str) -> list[str]:
    first_due = datetime.fromisoformat(first).replace(tzinfo=UTC)
    contract = Contract("Sub", "Source", frequency, first_due, first_due)
    return [f"{date:%m-%d %H:%M}" for date in contract.dates(datetime.fromisoformat(until).replace(tzinfo=UTC))]


def test_the_calendar_of_the_auditor() -> None:
    assert _dates("monthly", "2026-01-31 06:00", "2026-04-15") == ["01-31 06:00", "02-28 06:00", "03-31 06:00"]
    assert _dates("weekly", "2026-01-31 06:00", "2026-02-14") == ["01-31 06:00", "02-07 06:00"]
    assert _dates("30 6 * * 1", "2026-02-02 06:30", "2026-02-17") == ["02-02 06:30", "02-09 06:30", "02-16 06:30"]
    assert _dates("0 5 10 * *", "2026-02-10 05:00", "2026-04-01") == ["02-10 05:00", "03-10 05:00"]
