"""The anchor from which dates are counted. Sweeps, explanations and adoptions all use the same one."""

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rules.making import POLICY, at, planned, subscription

from blocks.commerce_layer.resources import OrderSubscription
from blocks.policy import Policy
from flows.rules.anchors import anchor_of
from flows.rules.explanations import explain
from flows.rules.handover import Handover, HandoverRequest
from flows.rules.pausing import decide
from flows.rules.renewal import Renewal, plan
from flows.rules.state import RenewalState


def settled(sub: OrderSubscription, policy: Policy = POLICY) -> OrderSubscription:
    """The subscription after a renewal on its date."""
    as_of = sub.next_run_at + timedelta(minutes=5)
    work = plan(sub, policy, as_of)
    assert isinstance(work, Renewal), work
    state, next_run_at = work.settlement(work.state, as_of)
    return sub.model_copy(update={"metadata": state.written_into(sub.metadata), "next_run_at": next_run_at})


def explained(sub: OrderSubscription, policy: Policy = POLICY):
    as_of = sub.next_run_at + timedelta(minutes=5)
    return explain(sub, policy, as_of, plan(sub, policy, as_of), None)


def days(sub: OrderSubscription, count: int) -> list[str]:
    found = []
    for _ in range(count):
        sub = settled(sub)
        found.append(f"{sub.next_run_at:%m-%d}")
    return found


ON_THE_15TH: dict[str, Any] = {"starts_at": "2026-01-15T06:00:00Z", "next_run_at": "2026-03-15T06:00:00Z"}


def test_a_moved_date_moves_all_following_dates():
    moved = subscription(**ON_THE_15TH | {"next_run_at": "2026-03-20T06:00:00Z"})
    assert days(moved, 4) == ["04-20", "05-20", "06-20", "07-20"]


def test_a_date_that_is_moved_back_moves_the_following_dates_back():
    moved = settled(subscription(**ON_THE_15TH | {"next_run_at": "2026-03-20T06:00:00Z"}))
    back = moved.model_copy(update={"next_run_at": at("2026-04-15T06:00")})
    assert days(back, 2) == ["05-15", "06-15"]


def test_a_date_moved_to_the_end_of_a_month_stays_there():
    moved = subscription(**ON_THE_15TH | {"next_run_at": "2026-03-31T06:00:00Z"})
    assert days(moved, 3) == ["04-30", "05-31", "06-30"]


def test_skipping_whole_periods_does_not_move_the_anchor():
    skipped = settled(subscription(**ON_THE_15TH | {"next_run_at": "2026-06-15T06:00:00Z"}))
    assert RenewalState.read(skipped.metadata).anchor is None


def test_a_clock_change_does_not_move_the_anchor():
    rome = Policy(time_zone="Europe/Rome")
    summer = subscription(**ON_THE_15TH | {"next_run_at": "2026-04-15T06:00:00Z"})  # an engine that counts in UTC
    assert settled(summer, rome).next_run_at == at("2026-05-15T05:00")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("monthly", "MONTHLY"),
        ("two-month", "Two-Months"),
        ("0 6 15 * MON", "0 6  15 * mon"),
        ("0 6 15 * MON", "0 6 15 * 1"),
        ("monthly", " monthly"),
    ],
)
def test_another_spelling_of_the_frequency_does_not_move_the_anchor(before, after):
    state = {"period": "2026-02-15T06:00Z", "done_through": "2026-02-15T06:00Z", "frequency": before}
    one = subscription(state, **ON_THE_15TH | {"frequency": after, "next_run_at": "2026-03-15T07:00:00Z"})
    assert planned(one, "2026-03-15T07:05").anchor == at("2026-01-15T06:00")


def test_the_explanation_of_a_changed_frequency_counts_from_the_anchor_of_the_renewal():
    state = {"period": "2026-02-01T06:00Z", "done_through": "2026-02-01T06:00Z", "frequency": "monthly"}
    one = subscription(state, frequency="yearly", starts_at="2025-08-01T06:00:00Z")
    told = explained(one).next_dates[:2]
    assert told == (at("2026-03-01T06:00"), at("2027-03-01T06:00"))
    assert settled(one).next_run_at == told[1]


def test_a_warning_counts_from_the_anchor_that_the_sweep_counts_from():
    moved = subscription(**ON_THE_15TH | {"next_run_at": "2026-03-31T06:00:00Z"})
    assert any("it counts from day 31" in warning for warning in explained(moved).warnings)


@settings(max_examples=20)  # each example calculates two dozen dates three times
@given(
    frequency=st.sampled_from(["daily", "weekly", "monthly", "three-month", "yearly", "0 6 1 * *", "0 6 * * FRI"]),
    minutes=st.integers(0, 60 * 24 * 500),
    before=st.sampled_from([None, "monthly", "weekly"]),
    zone=st.sampled_from(["UTC", "Europe/Rome"]),
)
def test_sweep_explanation_and_adoption_count_from_the_same_anchor(frequency, minutes, before, zone):
    policy, date = Policy(time_zone=zone), at("2026-02-01T06:00") + timedelta(minutes=minutes)
    one = subscription({"frequency": before}, frequency=frequency, next_run_at=date.isoformat())
    promised = explained(one, policy).next_dates
    after = settled(one, policy)
    assert promised[:2] == (date, after.next_run_at)
    state = RenewalState.read(after.metadata)
    assert anchor_of(state, frequency, one.starts_at, after.next_run_at, zone) == (state.anchor or one.starts_at)
    again = explained(after, policy).next_dates
    assert again[:2] == promised[1:3]
    native = one.model_copy(update={"status": "active", "metadata": {}})
    change = decide(native, HandoverRequest(Handover.ADOPT), policy, date - timedelta(days=1)).change
    assert change is not None
    adopted = one.model_copy(update={"metadata": change.metadata})
    as_of = date + timedelta(minutes=5)
    fresh = one.model_copy(update={"metadata": {"perennial": {}}})
    expected, answer = plan(fresh, policy, as_of), plan(adopted, policy, as_of)
    assert answer.anchor == expected.anchor
