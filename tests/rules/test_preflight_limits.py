"""How long the coming sweeps take, and where the caps of the policy stop them."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rules.making import at

from blocks.commerce_layer.rate_limit import RateLimits
from blocks.policy import Policy
from flows.rules.caps import Charged
from flows.rules.predictions import Expected, Prediction
from flows.rules.preflight_limits import brake_expected, range_in_words, time_needed, within_caps
from flows.rules.zones import wall_of

NOW, UNTIL = at("2026-03-01T12:00"), at("2026-03-04T00:00")
LIMIT = RateLimits().window_of("write", "test")


def renewal(number: int = 0, hours: float = 1, cents: int = 1000, writes: int = 3) -> Prediction:
    return Prediction(
        subscription_id=f"sub{number}", at=NOW + timedelta(hours=hours), expected=Expected.RENEWED, cents=cents,
        currency="EUR", writes=writes,
    )  # fmt: skip


def renewals(count: int, **fields):
    return [renewal(number, **fields) for number in range(count)]


@pytest.mark.parametrize(
    ("count", "seconds", "said"),
    [
        (0, (0, 0), "0 to 0 s for 0 writes at 100 a minute"),
        (1, (5, 67), "5 to 67 s for 3 writes at 100 a minute"),
        (100, (130, 310), "2 to 6 min for 300 writes at 100 a minute"),
        (1000, (1755, 1995), "29 to 34 min for 3,000 writes at 100 a minute"),
    ],
)
def test_the_time_is_bounded_by_the_limit_of_writes(count, seconds, said):
    needed = time_needed(renewals(count), Policy(), LIMIT)

    assert (needed.seconds, needed.in_words) == (seconds, said)


def test_without_a_rate_limit_no_time_is_promised():
    assert time_needed(renewals(2), Policy(), None).in_words == "6 writes without a rate limit"


def test_a_time_that_may_be_short_has_no_lower_end_in_minutes():
    assert range_in_words((30, 150)) == "up to 3 min"


def test_without_caps_nothing_changes():
    given_ = renewals(3)

    assert within_caps(given_, Policy(), Charged(), NOW, UNTIL) == (given_, [])


def test_what_a_cap_leaves_is_charged_on_the_next_day():
    policy = Policy(max_renewals_per_day=4)

    found, said = within_caps(renewals(10), policy, Charged(1), NOW, UNTIL)

    assert said == [
        "2026-03-01: 3 of 10 renewals fit into max_renewals_per_day (4)",
        "2026-03-02: 4 of 7 renewals fit into max_renewals_per_day (4)",
    ]
    assert all(each.expected is Expected.RENEWED for each in found)


def test_what_no_day_has_room_for_is_not_charged():
    policy = Policy(max_amount_per_day={"EUR": 2500})

    found, said = within_caps(renewals(7), policy, Charged(), NOW, UNTIL)

    assert Counter(each.expected for each in found) == {Expected.RENEWED: 6, Expected.NOT_CHARGED: 1}
    assert said[-1] == "2026-03-03: 2 of 3 renewals fit into max_amount_per_day (25.00 EUR)"
    assert [each.writes for each in found if each.expected is Expected.NOT_CHARGED] == [0]


def test_failures_use_no_room():
    failing = [each.model_copy(update={"expected": Expected.FAILED}) for each in renewals(3)]

    _, said = within_caps([*failing, renewal(9)], Policy(max_renewals_per_day=1), Charged(), NOW, UNTIL)

    assert said == []


@pytest.mark.parametrize(
    ("failing", "retries", "said"),
    [
        (2, 0, None),
        (3, 0, "3 of 10 first attempts will fail for one reason (payment), more than 20%: the brake stops the sweep"),
        (3, 3, None),
    ],
    ids=["few", "many", "too few first attempts"],
)
def test_the_brake_is_expected_if_too_many_first_attempts_will_fail_for_one_reason(failing, retries, said):
    fails = {"expected": Expected.FAILED, "failure_class": "payment"}
    found = [each.model_copy(update=fails if number < failing else {}) for number, each in enumerate(renewals(10))]
    found = [each.model_copy(update={"is_retry": number < retries}) for number, each in enumerate(found)]

    assert brake_expected(found, Policy()) == said


@given(
    hours=st.lists(st.floats(0, 59.9), max_size=30),
    cap=st.integers(1, 12),
    before=st.integers(0, 12),
    zone=st.sampled_from(["UTC", "Europe/Rome", "Pacific/Auckland", "America/Los_Angeles"]),
)
def test_no_renewal_gets_lost_and_no_day_has_more_than_its_cap(hours, cap, before, zone):
    policy = Policy(max_renewals_per_day=cap, time_zone=zone)
    given_ = [renewal(number, hours=hour) for number, hour in enumerate(hours)]

    found, _ = within_caps(given_, policy, Charged(before), NOW, UNTIL)

    assert sorted(each.subscription_id for each in found) == sorted(each.subscription_id for each in given_)
    renewed = [each for each in found if each.expected is Expected.RENEWED]
    days = (wall_of(UNTIL - timedelta(minutes=1), ZoneInfo(zone)).date() - wall_of(NOW, ZoneInfo(zone)).date()).days + 1
    assert len(renewed) <= max(0, cap - before) + (days - 1) * cap
