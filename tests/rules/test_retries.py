from datetime import time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rules.clocks import first_showing, transitions
from rules.making import at

from blocks.policy import FailureClass, Policy
from flows.rules.retries import DAY, MONTH, calendar_of_retries, earliest_allowed, next_attempt
from flows.rules.zones import next_time_of_day

NOW = at("2026-03-01T06:10")
offsets = st.lists(st.integers(-45 * 24 * 60, 0), max_size=40)


@pytest.mark.parametrize(
    ("attempt", "expected"),
    [
        pytest.param(1, "2026-03-02T06:10", id="the first failure"),
        pytest.param(4, "2026-03-06T06:10", id="the last retry but one failed"),
        pytest.param(5, None, id="retries spent"),
        pytest.param(6, None, id="released by a person, and failed again"),
    ],
)
def test_payment_retries_follow_the_policy_until_they_are_used_up(attempt, expected):
    found = next_attempt(Policy(), FailureClass.PAYMENT, attempt, [NOW], NOW)
    assert found == (at(expected) if expected else None)


def test_a_class_without_retries_is_not_tried_again():
    assert next_attempt(Policy(), FailureClass.COUPON, 1, [], NOW) is None


def test_seconds_are_rounded_up_never_down():
    assert next_attempt(Policy(), FailureClass.PAYMENT, 1, [], NOW + timedelta(seconds=1)) == at("2026-03-02T06:11")


@given(offsets, st.integers(1, 10), st.integers(10, 20))
def test_no_card_is_charged_more_often_than_the_policy_allows(minutes, per_day, per_month):
    policy = Policy(max_attempts_per_day=per_day, max_attempts_per_month=per_month)
    charges = [NOW + timedelta(minutes=minute) for minute in minutes]
    allowed = earliest_allowed(policy, charges, NOW)
    assert allowed >= NOW
    for window, limit in ((DAY, per_day), (MONTH, per_month)):
        assert sum(charge > allowed - window for charge in charges) < limit
    if allowed > NOW:
        early = allowed - timedelta(seconds=1)
        assert any(
            sum(charge > early - window for charge in charges) >= limit
            for window, limit in ((DAY, per_day), (MONTH, per_month))
        ), "it does not wait longer than it must"


@given(
    st.sampled_from(["UTC", "Europe/Rome", "America/New_York", "Australia/Lord_Howe", "Pacific/Apia"]),
    st.integers(0, 23), st.integers(0, 59), st.integers(0, 366 * 24 * 60), st.sampled_from([2011, 2026]),
)  # fmt: skip
def test_the_next_time_of_day_is_the_next_such_local_time(zone_name, hour, minute, minutes, year):
    zone, at_o_clock = ZoneInfo(zone_name), time(hour, minute)
    not_before = at(f"{year}-01-01") + timedelta(minutes=minutes)
    found = next_time_of_day(not_before, at_o_clock, zone)
    assert not_before <= found
    noon = not_before.astimezone(zone).replace(tzinfo=None, hour=hour, minute=minute, second=0, fold=0)
    expected = min(
        moment for days in range(-2, 4) if (moment := first_showing(noon + timedelta(days=days), zone)) >= not_before
    )
    assert found == expected


def test_a_retry_time_that_the_spring_change_leaves_out_moves_forward():
    (change, *_) = transitions("Europe/Rome", 2026)
    policy = Policy(time_zone="Europe/Rome", retry_at="02:30", payment_retries=["1d"])
    found = next_attempt(policy, FailureClass.PAYMENT, 1, [], change - timedelta(days=1, hours=1))
    assert found == change + timedelta(minutes=30)


def test_a_transient_failure_is_retried_within_the_day_whatever_the_preferred_time():
    policy = Policy(retry_at="08:00")
    waits = [moment.strftime("%d %H:%M") for moment in calendar_of_retries(policy, FailureClass.TRANSIENT, NOW)]
    assert waits == ["01 06:10", "01 06:20", "01 07:20", "01 11:20", "03 08:00"]


def test_a_calendar_of_retries_ends_with_the_last_one():
    days = [moment.day for moment in calendar_of_retries(Policy(), FailureClass.PAYMENT, NOW)]
    assert days == [1, 2, 5, 10, 15]


def test_a_calendar_of_retries_respects_the_card_networks():
    policy = Policy(payment_retries=["5m"] * 9, max_attempts_per_day=5)
    moments = calendar_of_retries(policy, FailureClass.PAYMENT, NOW)
    assert len(moments) == 10
    assert moments[5] == NOW + DAY


@given(st.lists(st.sampled_from(["5m", "1h", "12h", "1d", "3d"]), max_size=14), st.integers(1, 10))
def test_thirty_days_of_constant_decline_stay_within_the_limits(delays, per_day):
    policy = Policy(payment_retries=delays, max_attempts_per_day=per_day)
    moments = calendar_of_retries(policy, FailureClass.PAYMENT, NOW)
    assert len(moments) == len(delays) + 1
    for moment in moments:
        assert sum(moment - DAY < other <= moment for other in moments) <= per_day
        assert sum(moment - MONTH < other <= moment for other in moments) <= 15
