"""Which price of its order a renewal accepts, and which waits for a person."""

import pytest
from rules.making import at, copy, order, planned, subscription

from blocks.policy import FailureClass
from flows.rules.amounts import money
from flows.rules.findings import CopyEnded, HeldBack
from flows.rules.next_action import HoldReason, Place
from flows.rules.outcomes import result_of
from flows.rules.price import Price, difference, expected_price, objection
from flows.rules.state import Outcome, RenewalState
from flows.rules.still_wanted import price_hold

REF = "SubAbcdefg@2026-03-01T06:00Z"
TEN = Price(cents=1000, currency="EUR", items=2)


def costing(cents=1000, currency="EUR", items=2, **fields):
    return order("pending", total_amount_with_taxes_cents=cents, currency_code=currency, skus_count=items, **fields)


def attempt(target, source=None):
    return Place(copy(REF, target=target, source_order=source), target, 1)


@pytest.mark.parametrize("target", [costing(), costing(999), costing(1), costing(1000, items=3)])
def test_the_same_price_or_less_needs_no_person(target):
    assert objection(target, TEN, None, 0) is None


@pytest.mark.parametrize("items", [None, 1, 2])
def test_the_number_of_items_matters_only_if_it_was_known_before(items):
    assert objection(costing(items=items), Price(cents=1000, currency="EUR"), None, 0) is None


@pytest.mark.parametrize(
    ("target", "said"),
    [
        (costing(1001), "its order costs 10.01 EUR instead of 10.00 EUR (price_tolerance is 0 %)"),
        (costing(0), "its order costs nothing: 0.00 EUR instead of 10.00 EUR"),
        (costing(0, items=1), "its order has 1 of 2 items: it costs 0.00 EUR instead of 10.00 EUR"),
        (costing(900, items=1), "its order has 1 of 2 items: it costs 9.00 EUR instead of 10.00 EUR"),
        (
            costing(items=None),
            "its order has an unknown number of items instead of 2: it costs 10.00 EUR instead of 10.00 EUR",
        ),
        (
            costing(500, items=None),
            "its order has an unknown number of items instead of 2: it costs 5.00 EUR instead of 10.00 EUR",
        ),
        (costing(1000, "USD"), "its order is in another currency: it costs 10.00 USD instead of 10.00 EUR"),
        (costing(1, "JPY"), "its order is in another currency: it costs 1 JPY instead of 10.00 EUR"),
        (costing(None), "its order costs an unknown amount instead of 10.00 EUR"),
        (costing(1000, None), "its order costs an unknown amount instead of 10.00 EUR"),
    ],
)
def test_any_other_price_waits_for_a_person_and_names_both_amounts_and_the_way_out(target, said):
    sentence = objection(target, TEN, None, 0)
    assert sentence is not None
    assert sentence.startswith(f"{said}: no one is charged. If that is wrong, mend the price; then release")
    assert sentence.endswith(f"accepts {Price.of(target)} for this renewal, and no other price")


@pytest.mark.parametrize(
    ("tolerance", "cents", "waits"),
    [(5, 1050, False), (5, 1051, True), (0.1, 1001, False), (0.1, 1002, True), (100, 2000, False), (100, 2001, True)],
)
def test_the_tolerance_is_an_increase_in_percent(tolerance, cents, waits):
    assert (objection(costing(cents), TEN, None, tolerance) is not None) is waits


def test_no_tolerance_lets_a_free_renewal_cost_something():
    free = Price(cents=0, currency="EUR")
    assert objection(costing(0), free, None, 0) is None
    assert objection(costing(1), free, None, 1000) is not None


def test_only_the_price_that_a_person_accepted_is_allowed():
    accepted = Price.of(costing(1200))
    assert objection(costing(1200), TEN, accepted, 0) is None
    assert objection(costing(1201), TEN, accepted, 0) is not None
    assert objection(costing(1100), TEN, accepted, 0) is not None
    assert objection(costing(1200, items=1), TEN, accepted, 0) is not None
    assert objection(costing(1200, "USD"), TEN, accepted, 0) is not None


def test_an_unknown_price_can_be_accepted_too():
    for target in (costing(None), costing(items=None)):
        assert objection(target, TEN, Price.of(target), 0) is None


def test_the_expected_price_is_that_of_the_last_renewal_or_else_of_the_source_order():
    assert expected_price(TEN, costing(500)) == TEN
    assert expected_price(None, costing(500)) == Price(cents=500, currency="EUR", items=2)
    assert expected_price(Price(cents=None, currency=None), costing(500)) == Price.of(costing(500))
    assert expected_price(None, costing(None)) is None
    assert expected_price(None, None) is None


@pytest.mark.parametrize("target", [costing(999_999), costing(0), costing(None), costing(1000, None)])
def test_an_order_with_nothing_to_compare_its_price_with_waits_for_a_person(target):
    said = objection(target, None, None, 1000)
    assert said is not None
    price = Price.of(target)
    assert said.startswith(
        f"its order costs {price}, and neither the last renewal's price nor the source order's is known"
    )
    assert objection(target, None, price, 0) is None, "a person has accepted it"
    assert price_hold(planned(), attempt(target, source=costing(None))) is not None
    assert price_hold(planned(), attempt(target)) is not None


@pytest.mark.parametrize(
    ("cents", "currency", "said"),
    [
        *[(1200, "EUR", "12.00 EUR"), (123456789, "USD", "1,234,567.89 USD"), (500, "JPY", "500 JPY")],
        *[(1500, "KWD", "1.500 KWD"), (None, "EUR", "an unknown amount"), (5, None, "0.05 (unknown currency)")],
    ],
)
def test_amounts_are_written_as_people_read_them(cents, currency, said):
    assert money(cents, currency) == said


def test_a_renewal_mentions_its_price_only_if_it_differs():
    assert difference(Price.of(costing(900)), TEN) == ", for 9.00 EUR instead of 10.00 EUR"
    assert difference(Price.of(costing()), TEN) == ""
    assert difference(Price.of(costing(None)), TEN) == ""
    assert difference(Price.of(costing(900)), None) == ""


def test_a_renewal_that_is_held_for_its_price_remembers_the_price_to_accept():
    renewal = planned(subscription({"price": TEN.model_dump(), "attempt": 0}))
    hold = price_hold(renewal, attempt(costing(1200), source=costing(1200)))
    assert hold is not None
    assert hold.reason is HoldReason.PRICE

    result = result_of(renewal, HeldBack(hold), at("2026-03-01T06:05"), "run")

    assert (result.outcome, result.needs_person, result.was_attempted) == (Outcome.NEEDS_ATTENTION, True, False)
    assert (result.hold, result.sentence) == (hold, hold.sentence)
    assert result.failure is not None
    assert (result.failure.cls, result.failure.permanent) == (FailureClass.CATALOGUE, True)
    state = result.state
    assert (state.held, state.attempt, state.attempts, state.price) == (True, 0, [], TEN)
    assert state.price_to_accept == Price(cents=1200, currency="EUR", items=2)
    assert (state.order_copy_id, state.target_order_id) == ("CpyAbcdefb", "TgtAbcdefg")


def test_a_retry_that_is_held_for_its_price_has_no_date_any_more():
    begun = {"period": "2026-03-01T06:00Z", "attempt": 1, "next_attempt_at": "2026-03-01T06:05Z"}
    renewal = planned(subscription({"price": TEN.model_dump(), **begun}))
    hold = price_hold(renewal, attempt(costing(1200)))
    assert result_of(renewal, HeldBack(hold), at("2026-03-01T06:05")).state.next_attempt_at is None


def test_a_released_renewal_is_placed_at_the_price_that_it_was_held_for():
    released = {"period": "2026-03-01T06:00Z", "outcome": "needs_attention", "held": False}
    asked = {"price": TEN.model_dump(), "price_to_accept": {"cents": 1200, "currency": "EUR", "items": 2}}
    renewal = planned(subscription(released | asked))
    assert price_hold(renewal, attempt(costing(1200))) is None
    assert price_hold(renewal, attempt(costing(1201))) is not None


def test_the_next_period_keeps_the_last_price_and_forgets_the_price_to_accept():
    state = RenewalState(period=at("2026-03-01T06:00"), price=TEN, price_to_accept=Price(cents=1, currency="EUR"))
    following = state.for_period(at("2026-04-01T06:00"))
    assert (following.price, following.price_to_accept) == (TEN, None)


def test_a_subscriptions_own_policy_may_tolerate_more():
    renewal = planned(subscription({"price": TEN.model_dump(), "policy": {"price_tolerance": 20}}))
    assert price_hold(renewal, attempt(costing(1200))) is None
    assert price_hold(renewal, attempt(costing(1201))) is not None


def test_the_price_of_a_renewal_is_recorded():
    renewal = planned(subscription())
    placed = order(total_amount_with_taxes_cents=900, currency_code="EUR", skus_count=2)
    ended = CopyEnded(copy(REF, target=placed, source_order=costing(1000)))

    result = result_of(renewal, ended, at("2026-03-01T06:05"), "run")

    assert result.state.price == Price(cents=900, currency="EUR", items=2)
    assert ", for 9.00 EUR instead of 10.00 EUR" in result.sentence


def test_a_renewal_is_compared_with_the_last_one_and_not_with_the_source_order():
    accepted = {"period": "2026-03-01T06:00Z", "price_to_accept": {"cents": 900, "currency": "EUR", "items": 2}}
    renewal = planned(subscription({"price": TEN.model_dump(), **accepted}))
    placed = order(total_amount_with_taxes_cents=900, currency_code="EUR", skus_count=2)
    result = result_of(renewal, CopyEnded(copy(REF, target=placed, source_order=costing(900))), at("2026-03-01T06:05"))
    assert ", for 9.00 EUR instead of 10.00 EUR" in result.sentence
    assert result.state.price_to_accept is None


def test_a_placed_order_without_a_total_keeps_the_last_price():
    renewal = planned(subscription({"price": TEN.model_dump()}))

    result = result_of(renewal, CopyEnded(copy(REF, target=order())), at("2026-03-01T06:05"), "run")

    assert result.state.price == TEN
