"""How periods and orders are compared, in cases that a shop seldom shows."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rules.making import POLICY, at, copy, order, subscription, withdrawn

from blocks.commerce_layer.resources import OrderCopy, OrderSubscription
from blocks.policy import Policy
from flows.rules.dashboard_links import Dashboard
from flows.rules.periods import Schedule
from flows.rules.reconciliation_reports import COLUMNS, Reconciliation
from flows.rules.reconciling import Match, ReconciledPeriod, Reconciler
from flows.rules.references import period_text, reference_of
from flows.rules.renewal import Renewal, plan
from flows.rules.span_periods import ShopRecords, periods_in
from flows.rules.spans import Span
from flows.rules.state import Outcome

ID = "SubAbcdefg"
SPAN = Span(at("2026-02-01"), at("2026-05-01"))
NOW = at("2026-05-01")
MARCH, APRIL, MAY = "2026-03-01T06:00Z", "2026-04-01T06:00Z", "2026-05-01T06:00Z"
RENEWED = {"period": APRIL, "done_through": APRIL, "last_period": APRIL, "outcome": "renewed", "frequency": "monthly"}
"""The state after February, March and April were renewed."""


def renewed(due: str, number: int = 1, cents: int = 1200, **fields: Any) -> OrderCopy:
    """A copy of the period `due` with a placed order."""
    placed_at = datetime.fromisoformat(due) + timedelta(minutes=number)
    given = {"placed_at": placed_at, "total_amount_with_taxes_cents": cents, "currency_code": "EUR", "skus_count": 1}
    target = order(id=f"Order{due[5:7]}{number}", number=f"{due[5:7]}{number}", **{**given, **fields.pop("target", {})})
    reference = fields.pop("reference", f"{ID}@{due}")
    return copy(reference, target=target, **{"id": f"Copy{due[5:7]}{number}", "created_at": placed_at, **fields})


THREE = (renewed("2026-02-01T06:00Z"), renewed(MARCH), renewed(APRIL))


def compared(
    one: OrderSubscription | None,
    copies: tuple[OrderCopy, ...] = THREE,
    *,
    policy: Policy = POLICY,
    span: Span = SPAN,
    now: datetime = NOW,
    activity: tuple[OrderCopy, ...] = (),
    **more: Any,
) -> list[ReconciledPeriod]:
    made = sorted(each.created_at for each in (*copies, *activity) if each.created_at)
    records = ShopRecords(ID, one, copies, **more)
    return Reconciler(span, policy, now, made).compare(records, periods_in(span, records, policy).dates)


def settled(**state: Any) -> OrderSubscription:
    return subscription(RENEWED | state, next_run_at=MAY)


def odd(periods: list[ReconciledPeriod]) -> list[tuple[str, Match, bool]]:
    return [(period_text(each.due), each.match, each.is_explained) for each in periods if each.match is not Match.ONCE]


def test_periods_that_were_renewed_once_match() -> None:
    found = compared(settled())

    assert [period_text(each.due) for each in found] == ["2026-02-01T06:00Z", MARCH, APRIL]
    assert odd(found) == []


def test_a_reference_of_version_0_1_belongs_to_its_period() -> None:
    numbered = copy(f"{ID}@{MARCH}#2", target=THREE[1].target_order)

    assert odd(compared(settled(), (THREE[0], numbered, THREE[2]))) == []


def test_an_order_that_was_refunded_was_renewed_and_a_cancelled_one_explains_itself() -> None:
    refunded = renewed(MARCH, target={"payment_status": "refunded"})
    cancelled = renewed(APRIL, target={"status": "cancelled", "payment_status": "voided"})

    assert odd(compared(settled(), (THREE[0], refunded, cancelled))) == [(APRIL, Match.NOT_RENEWED, True)]


def test_a_second_order_counts_until_it_is_cancelled() -> None:
    second = renewed(MARCH, 2)
    cancelled = renewed(MARCH, 2, target={"status": "cancelled"})
    refunded = renewed(MARCH, 2, target={"payment_status": "refunded"})

    (twice,) = [each for each in compared(settled(), (*THREE, second)) if each.match is Match.TWICE]
    assert "orders #031 (12.00 EUR) and #032 (12.00 EUR) charged for it" in twice.sentence
    assert len(twice.orders) == 2
    assert odd(compared(settled(), (*THREE, refunded))) == [(MARCH, Match.TWICE, True)]
    assert odd(compared(settled(), (*THREE, cancelled))) == []


def test_an_order_of_another_program_besides_ours_is_a_second_charge() -> None:
    theirs = renewed(MARCH, 3, reference="crm", reference_origin="crm", metadata={})

    assert odd(compared(settled(), others=[theirs])) == [(MARCH, Match.TWICE, False)]
    assert odd(compared(settled(), (THREE[0], THREE[2]), others=[theirs])) == [(MARCH, Match.BY_OTHERS, True)]


@pytest.mark.parametrize(("meant", "expected"), [(False, Match.BY_OTHERS), (True, Match.NOT_RENEWED)])
def test_an_order_by_hand_is_no_second_charge_but_may_be_the_only_one(meant: bool, expected: Match) -> None:  # noqa: FBT001 - given by pytest
    by_hand = renewed(MARCH, 3, reference="Src@run", metadata={"perennial": {"besides_renewal": meant}})

    assert odd(compared(settled(), others=[by_hand])) == []
    assert [match for _, match, _ in odd(compared(settled(), (THREE[0], THREE[2]), others=[by_hand]))] == [expected]


@pytest.mark.parametrize(
    ("state", "next_run_at", "explained", "says"),
    [
        ({"held": True, "error": "declined"}, APRIL, True, "held for a person"),
        ({"paused": True}, APRIL, True, "it is paused"),
        ({"outcome": "retry_scheduled", "next_attempt_at": "2026-05-02T06:00Z"}, APRIL, True, "next attempt"),
        ({}, APRIL, False, "no sweep has renewed it"),
        ({"period": MARCH}, "2026-06-15T06:00Z", True, "its date was moved past it"),
        ({"under_way_since": "2026-04-30T12:00Z"}, APRIL, True, "under way since"),
        ({"under_way_since": "2026-04-02T12:00Z"}, APRIL, False, "under way since"),
        ({"v": 9}, APRIL, True, "its renewal state cannot be read"),
    ],
)  # fmt: skip
def test_an_open_period_is_explained_as_the_sweep_explains_it(state, next_run_at, explained, says) -> None:
    before = RENEWED | {"done_through": MARCH, "last_period": MARCH, "outcome": "in_progress"}
    one = subscription(before | state, next_run_at=next_run_at)

    (found,) = [each for each in compared(one, THREE[:2]) if each.match is not Match.ONCE]

    assert (period_text(found.due), found.match, found.is_explained) == (APRIL, Match.NOT_RENEWED, explained)
    assert says in found.sentence


def test_a_period_that_has_just_come_due_waits_for_the_next_sweep() -> None:
    one = subscription(RENEWED | {"period": MARCH, "done_through": MARCH, "last_period": MARCH}, next_run_at=APRIL)
    span = Span(SPAN.start, at("2026-04-01T06:30"))

    assert odd(compared(one, THREE[:2], span=span, now=span.end)) == [(APRIL, Match.NOT_RENEWED, True)]


@pytest.mark.parametrize(
    ("attempt", "says"),
    [
        (copy(f"{ID}@{MARCH}", "failed", errors_log={"sku": ["is out of stock"]}), "failed: out of stock"),
        (copy(f"{ID}@{MARCH}", target=withdrawn()), "was withdrawn: postponed"),
        (copy(f"{ID}@{MARCH}", target=order("cancelled")), "cancelled by the customer or staff"),
        (copy(f"{ID}@{MARCH}", target=order("pending", errors_count=3)), "could not be paid in 3 attempts"),
    ],
)
def test_a_period_that_was_given_up_is_explained_by_its_copies(attempt, says) -> None:
    (found,) = [each for each in compared(settled(), (THREE[0], attempt, THREE[2])) if each.match is not Match.ONCE]

    assert (found.match, found.is_explained) == (Match.NOT_RENEWED, True)
    assert says in found.sentence


def test_a_complete_order_that_was_never_placed_explains_nothing() -> None:
    unplaced = copy(f"{ID}@{MARCH}", target=order("draft"))

    assert odd(compared(settled(), (THREE[0], unplaced, THREE[2]))) == [(MARCH, Match.NOT_RENEWED, False)]


def test_a_period_without_a_trace_is_unexplained_unless_no_sweep_ran_and_the_policy_passes_over_it() -> None:
    gap = (THREE[0], THREE[2])
    others = (renewed(MARCH, 5),)  # of another subscription: a sweep did run

    assert odd(compared(settled(), gap)) == [(MARCH, Match.NOT_RENEWED, True)]
    assert odd(compared(settled(), gap, activity=others)) == [(MARCH, Match.NOT_RENEWED, False)]
    assert odd(compared(settled(), gap, policy=Policy(catch_up="all"))) == [(MARCH, Match.NOT_RENEWED, False)]


def test_what_came_due_in_a_pause_is_explained_once_it_is_resumed() -> None:
    resumed = settled(last_period="2026-02-01T06:00Z", outcome="skipped")

    assert odd(compared(resumed, THREE[:1], activity=THREE)) == [
        (MARCH, Match.NOT_RENEWED, True),
        (APRIL, Match.NOT_RENEWED, True),
    ]


def test_periods_before_the_adoption_are_not_ours_unless_an_older_copy_shows_that_they_were() -> None:
    adopted = subscription({"frequency": "monthly"}, next_run_at=MAY)
    older = renewed("2026-01-01T06:00Z")

    assert compared(adopted, ()) == []
    assert periods_in(SPAN, ShopRecords(ID, adopted), POLICY).unproven == (at("2026-02-01T06:00"), at("2026-03-01T06:00"), at("2026-04-01T06:00"))  # fmt: skip  # noqa: E501
    assert len(odd(compared(adopted, (older,)))) == 3


def test_a_date_that_was_moved_stands_for_the_period_on_the_calendar() -> None:
    moved = renewed("2026-03-09T06:00Z")
    state = RENEWED | {
        "anchor": "2026-03-09T06:00Z",
        "period": "2026-04-09T06:00Z",
        "done_through": "2026-04-09T06:00Z",
    }
    one = subscription(state | {"last_period": "2026-04-09T06:00Z"}, next_run_at="2026-05-09T06:00Z")

    found = compared(one, (THREE[0], moved, renewed("2026-04-09T06:00Z")))

    assert (len(found), odd(found)) == (3, [])


def test_nothing_is_expected_of_a_subscription_after_its_end() -> None:
    ended = subscription(RENEWED | {"period": MARCH, "done_through": MARCH, "last_period": MARCH}, next_run_at=APRIL)
    until = "2026-03-15T06:00:00Z"

    for change in ({"expires_at": until}, {"status": "cancelled", "updated_at": until}):
        assert len(compared(OrderSubscription.model_validate({**ended.model_dump(), **change}), THREE[:2])) == 2


def test_orders_of_a_deleted_subscription_are_compared_with_nothing_but_each_other() -> None:
    assert odd(compared(None)) == []
    assert odd(compared(None, (*THREE, renewed(MARCH, 2)))) == [(MARCH, Match.TWICE, False)]


def test_a_subscription_that_was_given_back_has_no_record_to_compare_with() -> None:
    given_back = subscription(status="active", metadata={}, next_run_at=MAY)

    assert odd(compared(given_back)) == []


def test_an_order_whose_copy_was_deleted_counts() -> None:
    assert THREE[2].target_order is not None
    tagged = THREE[2].target_order.model_copy(update={"reference": f"{ID}@{APRIL}"})

    assert odd(compared(settled(), THREE[:2])) == [(APRIL, Match.NOT_PLACED, False)]
    assert odd(compared(settled(), THREE[:2], orders=[tagged])) == []


PRICE = {"cents": 1200, "currency": "EUR", "items": 1}


@pytest.mark.parametrize(
    ("amounts", "recorded", "expected"),
    [
        ((1200, 1200, 1200), 1200, []),
        ((1200, 1200, 1500), 1200, [(APRIL, False)]),
        ((1200, 1200, 900), 1200, [(APRIL, False)]),
        ((1200, 1500, 1200), 1200, [(MARCH, False)]),
        ((1200, 1500, 1500), 1500, [(MARCH, True)]),
        ((1200, 1200, 1500), 1500, [(APRIL, True)]),
        ((1500, 1500, 1500), 1500, []),
        ((1500, 1200, 1200), 1200, [("2026-02-01T06:00Z", False)]),
        ((1200, 1100, 1000), 1000, []),
    ],
)
def test_an_amount_is_compared_with_the_record_and_with_the_renewals_nearby(amounts, recorded, expected) -> None:
    source = order(id="SrcAbcdefg", total_amount_with_taxes_cents=1200, currency_code="EUR", skus_count=1)
    dues = ("2026-02-01T06:00Z", MARCH, APRIL)
    copies = tuple(renewed(due, cents=cents, source_order=source) for due, cents in zip(dues, amounts, strict=True))

    found = compared(settled(price=PRICE | {"cents": recorded}), copies)

    assert odd(found) == [(due, Match.AMOUNT, explained) for due, explained in expected]


def test_a_period_with_two_problems_is_listed_once_with_both() -> None:
    surplus = copy(f"{ID}@{APRIL}", target=order("draft", id="Surplus"), id="CpyLater", created_at="2026-04-01T07:00Z")
    one = subscription(RENEWED | {"period": MARCH, "done_through": MARCH, "last_period": MARCH}, next_run_at=APRIL)

    (found,) = [each for each in compared(one, (*THREE, surplus)) if each.match is not Match.ONCE]

    assert (found.match, found.is_explained) == (Match.NOT_RECORDED, False)
    assert "metadata.perennial does not say so" in found.sentence
    assert "order Surplus of copy CpyLater could still be placed" in found.sentence


FREQUENCIES = ("hourly", "daily", "weekly", "monthly", "three-month", "yearly", "0 6 1,15 * *")


@given(
    st.sampled_from(FREQUENCIES),
    st.integers(0, 500_000),
    st.integers(1, 40_000),
    st.sampled_from(("UTC", "Europe/Rome")),
)
def test_what_the_sweeps_renew_is_what_is_expected_of_them(
    frequency: str, minutes: int, length: int, zone: str
) -> None:
    start = at("2024-12-31T23:00") + timedelta(minutes=minutes)
    policy = Policy(time_zone=zone)
    one = subscription(
        frequency=frequency, starts_at=start, next_run_at=Schedule(frequency, start, zone).next_after(start)
    )
    span = Span(start, start + timedelta(minutes=length))
    copies: list[OrderCopy] = []
    while one.next_run_at is not None and one.next_run_at < span.end and len(copies) < 50:
        due = one.next_run_at
        answer = plan(one, policy, due)
        assert isinstance(answer, Renewal)
        state = answer.state.model_copy(update={"outcome": Outcome.RENEWED, "last_period": due, "last_placed_at": due})
        state, following = answer.settlement(state, due, due)
        one = one.model_copy(update={"metadata": state.written_into(one.metadata), "next_run_at": following})
        copies.append(copy(reference_of(ID, due), target=order(placed_at=due)))
    if copies and len(copies) == 50:
        span = Span(start, one.next_run_at or span.end)

    found = compared(one, tuple(copies), policy=policy, span=span, now=span.end)

    assert [reference_of(ID, each.due) for each in found] == [each.reference for each in copies]
    assert {each.match for each in found} <= {Match.ONCE}
    assert all(earlier.due < later.due for earlier, later in pairwise(found))


def report(*periods: ReconciledPeriod, **unreadable: str) -> Reconciliation:
    return Reconciliation(SPAN, NOW, Dashboard("acme", "live"), periods, unreadable, 7)


def test_the_report_says_in_one_sentence_how_many_periods_match() -> None:
    found = compared(settled(), (*THREE, renewed(MARCH, 2)))

    assert report(*found).sentence == "3 periods, 2 renewed once, 0 explained, 1 unexplained"
    assert report(*found).needs_person
    assert not report(*compared(settled())).needs_person
    assert report(*found).counts == {"renewed once": 2, "renewed twice": 1}


def test_a_subscription_that_cannot_be_read_is_named_and_needs_a_person() -> None:
    found = report(*compared(settled()), OddOne="500")

    assert found.needs_person
    assert found.sentence.endswith("0 unexplained; 1 subscription cannot be read: OddOne")


def test_each_row_has_every_column_and_links_to_the_order_that_charged() -> None:
    (row, *_) = report(*compared(settled())).rows()

    assert tuple(row) == COLUMNS
    assert row["link"] == "https://dashboard.commercelayer.io/live/acme/apps/orders/list/Order021"
    assert (row["amount_cents"], row["currency"], row["match"]) == (1200, "EUR", "renewed once")
