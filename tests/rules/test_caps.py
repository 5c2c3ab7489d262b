"""How much may be charged in a day."""

from collections import Counter
from zoneinfo import ZoneInfo

import pytest
from pydantic import ValidationError
from rules.making import at

from blocks.policy import Policy, PolicyOverrideInvalid
from flows.rules.caps import SHARE, Charged, cap_reached, has_caps, is_within_share, start_of_day
from flows.rules.price import Price

NONE, THREE, EUROS = Policy(), Policy(max_renewals_per_day=3), Policy(max_amount_per_day={"EUR": 1000})


def euros(cents):
    return Price(cents=cents, currency="EUR")


def charged(orders=0, **cents):
    return Charged(orders, Counter(cents))


def test_without_caps_there_is_always_room():
    assert not has_caps(NONE)
    assert has_caps(THREE)
    assert has_caps(EUROS)
    assert cap_reached(NONE, charged(10**6, EUR=10**9), euros(10**9)) is None


@pytest.mark.parametrize(("orders", "full"), [(0, False), (2, False), (3, True), (4, True)])
def test_the_number_of_renewals_is_bounded(orders, full):
    assert (cap_reached(THREE, charged(orders), euros(1)) is not None) is full
    assert (cap_reached(THREE, charged(orders)) is not None) is full


@pytest.mark.parametrize(
    ("used", "wanted", "full"), [(0, 1000, False), (999, 1, False), (999, 2, True), (0, 1001, True)]
)
def test_no_order_is_placed_that_would_exceed_the_amount(used, wanted, full):
    assert (cap_reached(EUROS, charged(1, EUR=used), euros(wanted)) is not None) is full


def test_a_cap_that_is_used_up_stops_orders_in_other_currencies_too():
    dollars = Price(cents=1, currency="USD")
    assert cap_reached(EUROS, charged(1, EUR=999), dollars) is None
    assert cap_reached(EUROS, charged(1, EUR=1000), dollars) is not None
    assert cap_reached(EUROS, charged(1, USD=10**9), Price(cents=10**9, currency="USD")) is None


def test_the_sentence_names_the_cap_how_much_is_used_and_the_way_out():
    policy = Policy(max_renewals_per_day=1, time_zone="Europe/Rome")
    assert cap_reached(policy, charged(1)) == (
        "max_renewals_per_day is 1, and 1 order was placed today: nothing more is charged until tomorrow "
        "(Europe/Rome), or until the policy allows more"
    )
    assert "and 4 orders were placed today:" in cap_reached(THREE, charged(4))
    assert cap_reached(EUROS, charged(9, EUR=950), euros(100)) == (
        "max_amount_per_day is 10.00 EUR, 9.50 EUR were charged today, and the next renewal costs 1.00 EUR: nothing "
        "more is charged until tomorrow (UTC), or until the policy allows more"
    )


def test_amounts_are_added_by_currency_and_an_unknown_amount_still_counts_as_an_order():
    all_of_them = Charged.of([euros(5), euros(7), Price(cents=9, currency="USD"), Price(cents=None, currency=None)])
    assert all_of_them.orders == 4
    assert (all_of_them.cents["EUR"], all_of_them.cents["USD"], all_of_them.cents["JPY"]) == (12, 9, 0)
    assert (all_of_them + all_of_them).cents["EUR"] == 24
    assert (all_of_them + all_of_them).orders == 8


@pytest.mark.parametrize(
    ("moment", "zone", "began"),
    [
        ("2026-03-05T07:59", "America/Los_Angeles", "2026-03-04T08:00"),
        ("2026-03-05T08:00", "America/Los_Angeles", "2026-03-05T08:00"),
        ("2026-03-29T12:00", "Europe/Rome", "2026-03-28T23:00"),
        ("2026-03-29T22:30", "Europe/Rome", "2026-03-29T22:00"),
        ("2026-03-05T00:00", "UTC", "2026-03-05T00:00"),
    ],
)
def test_a_day_begins_at_midnight_in_the_merchants_time_zone(moment, zone, began):
    assert start_of_day(at(moment), ZoneInfo(zone)) == at(began)


def test_the_first_order_after_a_count_needs_no_second_count():
    assert is_within_share(THREE, charged(2), charged(), euros(1))
    assert is_within_share(EUROS, charged(2, EUR=999), charged(), euros(1))


def test_near_a_cap_every_order_needs_a_new_count_and_far_from_it_only_some_do():
    assert not is_within_share(THREE, charged(0), charged(1), euros(1))
    many = Policy(max_renewals_per_day=10 * SHARE)
    assert is_within_share(many, charged(0), charged(9), euros(1))
    assert not is_within_share(many, charged(0), charged(10), euros(1))
    assert not is_within_share(many, charged(9 * SHARE), charged(1), euros(1))
    much = Policy(max_amount_per_day={"EUR": 100 * SHARE})
    assert is_within_share(much, charged(0), charged(1, EUR=99), euros(1))
    assert not is_within_share(much, charged(0), charged(1, EUR=99), euros(2))
    assert is_within_share(much, charged(0), charged(1, EUR=99), Price(cents=10**6, currency="USD"))
    assert is_within_share(much, charged(0), charged(1, EUR=100), Price(cents=None, currency="EUR"))


def test_the_share_is_a_part_of_what_is_left_and_is_rounded_down():
    many = Policy(max_renewals_per_day=11 * SHARE - 1)
    assert is_within_share(many, charged(0), charged(9), euros(1))
    assert not is_within_share(many, charged(0), charged(10), euros(1))
    much = Policy(max_amount_per_day={"EUR": 100 * SHARE})
    assert is_within_share(much, charged(1, EUR=90 * SHARE), charged(1, EUR=9), euros(1))
    assert not is_within_share(much, charged(1, EUR=90 * SHARE), charged(1, EUR=9), euros(2))


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"max_renewals_per_day": 0}, "max_renewals_per_day"),
        ({"max_amount_per_day": {"EUR": 0}}, "max_amount_per_day"),
        (
            {"max_amount_per_day": {"euro": 100}},
            "'euro' is not a currency code: write three capital letters such as EUR",
        ),
        ({"price_tolerance": -1}, "price_tolerance"),
    ],
)
def test_a_cap_that_makes_no_sense_is_refused(fields, said):
    with pytest.raises(ValidationError, match=said):
        Policy(**fields)


@pytest.mark.parametrize("policy", [{"max_renewals_per_day": 5}, {"max_amount_per_day": {"EUR": 5}}])
def test_a_subscription_cannot_raise_the_caps_of_the_shop(policy):
    with pytest.raises(PolicyOverrideInvalid, match="speaks of a whole sweep"):
        NONE.overridden_by(policy)
