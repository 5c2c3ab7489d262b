import pytest
from rules.making import at, copy, order, planned, subscription

from blocks.policy import FailureClass, Policy
from flows.rules.failures import Failure, classify_copy
from flows.rules.findings import CopyEnded, OrderAnswered
from flows.rules.next_action import Place
from flows.rules.outcomes import result_of
from flows.rules.state import Outcome
from flows.rules.waves import Brake

TRANSITION = "cannot transition from pending to placed"


@pytest.mark.parametrize(
    ("log", "cls", "words"),
    [
        ({"status": [TRANSITION], "payment_source": ["Your card was declined."]}, "payment", "card declined"),
        ({"payment_source": ["Your card has insufficient funds."]}, "payment", "insufficient funds"),
        ({"payment_source": ["Your card has expired."]}, "payment", "card expired"),
        (
            {"payment_source": ["Your card was declined. Do not retry: lost or stolen card."]},
            "payment",
            "card lost or stolen",
        ),
        (
            {"payment_source": ["The payment requires authentication by the customer."]},
            "payment",
            "the customer must confirm the payment",
        ),
        ({"payment_source": ["Invalid card security code"]}, "payment", "security code not accepted"),
        ({"payment_source": ["Not enough balance"]}, "payment", "insufficient funds"),
        ({"payment_source": ["was declined"], "base": ["connection lost"]}, "payment", "card declined"),
        ({"payment_source": ["R1"]}, "payment", "payment declined for good"),
        ({"payment_method": ["can't be blank"]}, "payment", "no payment source in the customer's wallet"),
        (
            {"status": [TRANSITION], "payment_source": ["The payment gateway did not answer in time."]},
            "transient",
            "the payment gateway did not answer",
        ),
        ({"line_items": ["is out of stock"]}, "stock", "out of stock"),
        ({"coupon_code": ["is not a valid coupon"]}, "coupon", "coupon not accepted"),
        ({"line_items": ["sku_code not found"]}, "catalogue", "a product does not exist any more"),
        ({"shipments": ["no shipping methods"]}, "catalogue", "no shipping method"),
        ({"billing_address": ["can't be blank"]}, "catalogue", "an address is missing"),
        ({"flux": ["is off"]}, "unknown", "failed (flux: is off)"),
    ],
)
def test_a_failure_has_a_short_text_and_keeps_the_full_one(log, cls, words):
    failure = classify_copy(copy(planned().reference, "failed", errors_log=log), Policy())
    assert (failure.cls, failure.in_short) == (cls, words)
    assert all(message in failure.text for messages in log.values() for message in messages)


def test_a_message_with_a_semicolon_is_read_as_a_whole():
    message = "Refused: limit; stolen"
    failure = classify_copy(
        copy(planned().reference, "failed", errors_log={"base": [message, "Do not retry"]}), Policy()
    )
    assert failure.text == "base: Refused: limit; stolen; base: Do not retry"
    assert failure.in_short == "payment declined for good"


def test_an_unknown_failure_is_quoted_and_cut():
    words = Failure(FailureClass.UNKNOWN, "x" * 500).in_short
    assert words.startswith("failed (xxx")
    assert words.endswith("…)")
    assert len(words) < 200


def test_a_renewal_says_that_its_order_was_placed_after_a_failed_attempt():
    renewal = planned()
    attempt = Place(copy(renewal.reference, "completed", order("pending")), order("pending"), 1)
    before = result_of(renewal, OrderAnswered(attempt, order("pending")), at("2026-03-01T06:06"))
    again = planned(subscription(before.state), "2026-03-03T06:06")
    result = result_of(again, CopyEnded(copy(renewal.reference, "completed", order("placed"))), at("2026-03-03T06:06"))
    assert result.outcome is Outcome.RENEWED
    assert ", which was placed since the last attempt; next on" in result.sentence


def test_unexpected_errors_in_a_row_pull_the_brake():
    brake = Brake(Policy(max_unconfirmed=2))
    brake.note_error("KeyError: 'a'")
    assert brake.pulled is None
    brake.note_error("KeyError: 'a'")
    pulled = brake.pulled
    assert pulled is not None
    assert pulled.sentence == "2 renewals in a row ended in an unexpected error (KeyError: 'a')"
