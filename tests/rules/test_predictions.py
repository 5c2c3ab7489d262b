"""What is expected of one renewal, from its copies where there are some, else from its source order and its card."""

from __future__ import annotations

from dataclasses import replace

import pytest
from rules.making import at, copy, order, planned, subscription

from blocks.commerce_layer.resources import CustomerPaymentSource
from flows.rules.predictions import Expected, Known, left_alone, predict, waiting_for
from flows.rules.skips import Skipped, SkipReason

DUE = at("2026-03-01T06:00")
REFERENCE = "SubAbcdefg@2026-03-01T06:00Z"
EUROS = {"total_amount_with_taxes_cents": 1000, "currency_code": "EUR"}
CARD = CustomerPaymentSource(id="crd", payment_source_token="pm_1", payment_source_id="pay")
SOURCE = order(id="SrcAbcdefg", payment_source_id="pay", payment_source_details={"payment_method_id": "pm_1"}, **EUROS)
PAID_BY_CARD = {"payment_source_id": "pay", "payment_source_details": {"payment_method_id": "pm_1"}}


def predicted(*found, state=None, card=CARD, source=SOURCE, as_of="2026-03-01T06:05", **known):
    one = subscription(state, customer_payment_source_id=card.id if card else None, customer_payment_source=card)
    renewal = replace(planned(one, as_of), found=found)
    return predict(renewal, Known(one, source, card=card, **known), at(as_of))


def test_a_renewal_about_which_nothing_is_wrong_succeeds_at_the_price_of_its_source_order():
    made = predicted()

    assert (made.expected, made.cents, made.currency, made.sentence) == (Expected.RENEWED, 1000, "EUR", "")
    assert (made.writes, made.is_exact, made.reference) == (3, False, REFERENCE)


def test_the_price_of_the_last_renewal_counts_more_than_the_source_orders():
    made = predicted(state={"price": {"cents": 1200, "currency": "EUR"}})

    assert made.cents == 1200


def test_a_copy_that_exists_shows_the_exact_amount():
    target = order("pending", total_amount_with_taxes_cents=900, currency_code="EUR", **PAID_BY_CARD)

    made = predicted(copy(REFERENCE, target=target, source_order=SOURCE))

    assert (made.expected, made.cents, made.is_exact, made.writes) == (Expected.RENEWED, 900, True, 3)
    assert made.sentence == "for 9.00 EUR instead of 10.00 EUR"


def test_a_copy_with_a_price_that_a_person_must_see_is_not_charged():
    target = order("pending", total_amount_with_taxes_cents=2000, currency_code="EUR", **PAID_BY_CARD)

    made = predicted(copy(REFERENCE, target=target, source_order=SOURCE))

    assert (made.expected, made.cents, made.needs_person) == (Expected.NOT_CHARGED, 2000, True)
    assert made.sentence.startswith("its order costs 20.00 EUR instead of 10.00 EUR")


@pytest.mark.parametrize(
    ("log", "cls", "words"),
    [
        ({"line_items": ["is out of stock"]}, "stock", "out of stock"),
        ({"line_items": ["sku_code not found"]}, "catalogue", "a product does not exist any more"),
    ],
)
def test_a_copy_that_failed_shows_the_failure(log, cls, words):
    made = predicted(copy(REFERENCE, "failed", errors_log=log))

    assert (made.expected, made.failure_class, made.cents) == (Expected.FAILED, cls, 1000)
    assert words in made.sentence


PREPARED = {"created_at": "2026-02-28T06:00:00Z"}


def test_a_prepared_order_costs_two_writes_when_it_is_due():
    target = order("pending", updated_at="2026-02-28T06:00:00Z", errors_count=0, **EUROS, **PAID_BY_CARD)

    made = predicted(copy(REFERENCE, target=target, source_order=SOURCE, **PREPARED))

    assert (made.expected, made.is_exact, made.writes) == (Expected.RENEWED, True, 2)


def test_a_copy_that_failed_ahead_shows_how_the_one_at_the_due_time_will_fail():
    made = predicted(
        copy(REFERENCE, "failed", errors_log={"line_items": ["is out of stock"]}, **PREPARED),
        copy(REFERENCE, "failed", errors_log={"line_items": ["sku_code not found"]}, created_at="2026-02-28T07:00:00Z"),
    )

    assert (made.expected, made.failure_class, made.writes) == (Expected.FAILED, "catalogue", 2)


def test_an_order_that_is_placed_already_only_has_to_be_recorded():
    made = predicted(copy(REFERENCE, target=order(**EUROS)))

    assert (made.expected, made.is_placed, made.writes) == (Expected.RENEWED, True, 1)
    assert made.sentence == "its order #1001 is placed already"


@pytest.mark.parametrize(("valid_until", "fails"), [("2026-03-01", True), ("2026-04-01", False)])
def test_a_card_that_ends_before_the_date_fails(valid_until, fails):
    made = predicted(card=CARD.model_copy(update={"valid_until": at(valid_until)}))

    assert (made.failure_class == "payment") is fails
    assert ("expires at the end of 2026-02" in made.sentence) is fails


def test_a_card_that_has_left_the_wallet_fails():
    one = subscription(customer_payment_source_id="crd")

    made = predict(planned(one), Known(one, SOURCE, card=None), DUE)

    assert (made.failure_class, made.sentence) == ("payment", "no payment source in the customer's wallet")


def test_a_card_that_could_not_be_looked_at_is_no_reason_to_fail():
    one = subscription(customer_payment_source_id="crd")

    made = predict(planned(one), Known(one, SOURCE, card=None, is_card_known=False), DUE)

    assert made.expected is Expected.RENEWED


def test_an_order_without_any_card_fails_unless_it_costs_nothing():
    bare = SOURCE.model_copy(update={"payment_source_id": None, "payment_source_details": None})
    free = bare.model_copy(update={"total_amount_with_taxes_cents": 0})

    assert predicted(card=None, source=bare, is_card_known=False).failure_class == "payment"
    assert predicted(card=None, source=free, is_card_known=False).expected is Expected.RENEWED


def test_another_card_than_the_source_orders_costs_one_more_write_and_is_told():
    made = predicted(card=CARD.model_copy(update={"payment_source_token": "pm_2", "payment_source_id": "other"}))

    assert (made.expected, made.writes) == (Expected.RENEWED, 4)
    assert "another one than its source order's" in made.warnings[0]


def test_a_source_order_that_is_gone_fails():
    made = predicted(source=None, is_source_gone=True)

    assert (made.failure_class, made.cents) == ("catalogue", None)
    assert made.sentence == "the source order SrcAbcdefg does not exist any more"


RETRY = {
    "period": "2026-03-01T06:00Z", "attempt": 1, "outcome": "retry_scheduled", "error": "Your card was declined.",
    "payment_source_id": "crd", "next_attempt_at": "2026-03-02T06:00Z",
}  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"error_class": "payment"}, Expected.FAILED),
        ({"error_class": "stock"}, Expected.FAILED),
        ({"error_class": "transient"}, Expected.RENEWED),
        ({"error_class": "payment", "payment_source_id": "old"}, Expected.RENEWED),
        ({"error_class": "payment", "outcome": "needs_attention"}, Expected.RENEWED),
    ],
    ids=["as before", "stock as before", "it passes by itself", "another card", "a person has released it"],
)
def test_a_retry_fails_as_the_attempt_before_it_unless_something_has_changed(changes, expected):
    made = predicted(state={**RETRY, **changes}, as_of="2026-03-02T06:05")

    assert made.expected is expected
    if expected is Expected.FAILED:
        assert made.sentence.startswith("attempt 2, and the last one failed: ")


def test_a_subscription_that_is_left_alone_is_not_charged():
    skipped = Skipped("SubAbcdefg", DUE, SkipReason.SECOND_ENGINE, "another engine may renew it")

    made = left_alone(skipped, DUE, "a@example.com")

    assert (made.expected, made.reference, made.needs_person) == (Expected.NOT_CHARGED, REFERENCE, True)


def test_a_period_waits_for_the_one_before_it():
    made = waiting_for(predicted(source=None, is_source_gone=True), planned().for_due(at("2026-04-01T06:00")), DUE)

    assert (made.expected, made.sentence) == (Expected.NOT_CHARGED, f"it waits for {REFERENCE}")
