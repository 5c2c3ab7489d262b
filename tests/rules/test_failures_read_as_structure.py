"""Gateway messages in objects, fields and codes, and texts that only look like hard declines."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rules.making import POLICY, copy

from blocks.commerce_layer.errors import ErrorItem, Refused, storable
from blocks.policy import Policy
from flows.rules.failure_bodies import read_body
from flows.rules.failure_codes import ACH, ADVICE, BRAINTREE, NETWORK, SEPA
from flows.rules.failures import classify_copy, classify_error

REF = "SubAbcdefg@2026-03-01T06:00Z"


def read(message, attribute="base", policy=POLICY):
    return classify_copy(copy(REF, "failed", errors_log={attribute: [message]}), policy)


def reading(message, attribute="base"):
    failure = read(message, attribute)
    return str(failure.cls), failure.permanent


ADYEN = {
    "resultCode": "Refused",
    "refusalReason": "Not enough balance",
    "refusalReasonCode": "12",
    "additionalData": {"fraudX": "GREEN", "fraudManualReview": "false", "merchantAdviceCode": "02 : Try again later"},
}
STRIPE = {
    "error": {
        "type": "card_error",
        "code": "card_declined",
        "decline_code": "lost_card",
        "doc_url": "https://docs.example.com/error-codes/card-declined",
        "requires_action": False,
    }
}


@pytest.mark.parametrize("attribute", ["base", "payment_source", "status"])
@pytest.mark.parametrize("form", [lambda body: body, json.dumps, lambda body: f"Refused: {json.dumps(body)} (see log)"])
def test_an_object_means_the_same_inside_a_text(form, attribute):
    assert reading(form(ADYEN), attribute) == ("payment", False)
    assert reading(form(STRIPE), attribute) == ("payment", True)


def test_an_object_inside_an_object_inside_a_text_is_read():
    inner = json.dumps({"response": json.dumps({"network_decline_code": "43"})})
    assert reading(f"gateway answered {inner}") == ("payment", True)


def test_an_object_that_was_cut_off_is_read_by_its_fields():
    cut = json.dumps({"message": "Your card was declined.", "requires_action": False, "network_decline_code": "41"})[
        :-1
    ]
    assert reading(cut) == ("payment", True)
    assert reading('{"message":"Not enough balance","requires_action":false,"fraudX":"GREEN","lon') == (
        "payment",
        False,
    )


def test_a_gateway_message_in_the_meta_of_an_error_is_read():
    meta = {"error": "invalid", "decline_code": "stolen_card", "value": "x"}
    item = ErrorItem(title="is invalid", pointer="/data/attributes/payment_source", meta=meta)
    failure = classify_error(Refused(422, (item,), "PATCH", "/api/orders/x"), POLICY)
    assert failure.permanent
    sent = ErrorItem(
        title="is invalid", pointer="/data/attributes/note", meta={"error": "invalid", "value": "lost card"}
    )
    assert not classify_error(Refused(422, (sent,), "PATCH", "/api/orders/x"), POLICY).permanent


@pytest.mark.parametrize("code", sorted(NETWORK))
def test_a_card_network_code_means_the_same_in_every_field_that_may_hold_it(code):
    for key in ("network_decline_code", "networkResponseCode", "issuer_response_code", "decline_code"):
        assert reading({key: code}) == (str(NETWORK[code][0]), NETWORK[code][1]), key


@pytest.mark.parametrize("code", sorted(ADVICE))
def test_a_merchant_advice_code_decides_where_the_message_does_not(code):
    for key in ("merchant_advice_code", "network_advice_code", "advice_code", "merchantAdviceCode", "mac"):
        assert reading({key: code, "message": "Your card was declined."})[1] is ADVICE[code][1], key


@pytest.mark.parametrize("code", sorted(SEPA) + sorted(ACH))
def test_a_bank_reason_code_is_read_in_a_field_and_in_a_sentence(code):
    cls, hard = (SEPA | ACH)[code]
    assert reading({"reason_code": code}) == (str(cls), hard)
    if code[-1].isdigit() and code in {"AC04", "AM04", "MD01", "MS02", "MS03", "R01", "R02", "R10", "R29"}:
        assert reading(f"Direct debit returned, reason {code}")[1] is hard


def test_a_braintree_code_is_read_only_in_its_own_field():
    assert {code for code, (_, hard) in BRAINTREE.items() if hard} >= {"2012", "2013", "2014", "2047"}
    assert reading({"processor_response_code": "2013"}) == ("payment", True)
    assert reading({"year": "2013"})[1] is False


NO_CODES = [
    {"country_code": "43"}, {"phone": {"country_code": 41}}, {"postal_code": "57"}, {"zip": "04"}, {"amount": "14"},
    {"responseCode": 4}, {"responseCode": "4"}, {"grpc_code": 14}, {"code": 12}, {"code": 14}, {"status": 57},
    {"quantity": 41}, {"risk_score": "43"}, {"http_status": 41}, {"currency_code": "46"}, {"size": "R16"},
    {"mac": "03:5b:a1:00:00:01"}, {"exit_code": 57},
]  # fmt: skip
ONLY_BESIDE_PAYMENTS = [
    {"code": "43", "message": "Quantity"}, {"error": {"code": "41"}}, {"code": "07"}, {"error_code": "43"},
    {"code": "R10", "message": "Quantity"}, {"errors": [{"code": "57", "title": "Too many"}]}, {"reason": "43"},
]  # fmt: skip


@pytest.mark.parametrize("body", NO_CODES, ids=str)
def test_a_number_in_any_other_field_is_not_a_hard_decline(body):
    assert reading(body)[1] is False
    assert reading(f"Not enough balance {json.dumps(body)}") == ("payment", False)


@pytest.mark.parametrize("body", ONLY_BESIDE_PAYMENTS, ids=str)
def test_a_number_that_is_only_called_a_code_counts_beside_a_word_of_payments(body):
    assert reading(body) == ("unknown", False)
    assert reading([body, "card"])[1] is True
    assert reading(f"Refused {json.dumps(body)}")[1] is True
    assert reading(body, "payment_source")[1] is True


@pytest.mark.parametrize(
    "text",
    [
        "country code 43", "postal code 57", "VAT code 43 is invalid", "area code 41", "rpc error: code 14",
        "MAC 03:5b:a1:00:00:01", "SKU AC04 is gone", "size R16", "Apartment R10", "coupon code 43", "sku_code 41",
        "Could not capture card payment", "collect card details again", "the parcel was lost", "lost update",
        "fraud check timed out", "Delivery instructions not found", "merchant account is blocked",
        "Connected account not found", "customer is not authorized to use this coupon", "access token revoked",
        "Direct debit rejected: insufficient funds", "authorization expired", "card restricted to EUR",
    ],
)  # fmt: skip
def test_texts_that_only_look_like_hard_declines_are_not(text):
    assert reading(text)[1] is False


SCRIPTS = st.characters(codec="utf-8", categories=["Ll", "Lo"], exclude_characters="abcdefghijklmnopqrstuvwxyz")
FOREIGN = st.lists(st.text(SCRIPTS, min_size=3, max_size=12), min_size=1, max_size=12).map(" ".join)


@given(FOREIGN)
def test_a_text_in_another_script_is_never_hard(text):
    assert reading(text) == ("unknown", False)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=20), inner, max_size=4),
        max_leaves=20,
    )
)
def test_any_message_is_read_without_an_error(message):
    assert read(message).in_short
    assert isinstance(read_body(message).phrases, tuple)


@pytest.mark.parametrize("text", ["{" * 20_000, '{"a":' * 20_000, '{"a":[' * 5000, "[" * 20_000, '"key":"v",' * 3000])
def test_a_body_without_an_end_is_read_quickly(text):
    assert read(text).in_short


@pytest.mark.parametrize(
    ("raw", "kept"),
    [
        ("declined\0", "declined"),
        ("half \ud83d an emoji", "half  an emoji"),
        ("the other \ude00 half", "the other  half"),
        ("whole \N{GRINNING FACE}", "whole \N{GRINNING FACE}"),
        ("\0\ud83d", ""),
    ],
)
def test_characters_that_cannot_be_stored_are_left_out(raw, kept):
    assert storable(raw) == kept
    failure = read(raw)
    assert failure.text == f"base: {kept}"
    failure.text.encode()
    failure.in_short.encode()


def test_a_refusal_with_half_an_emoji_in_it_can_be_stored():
    item = ErrorItem(title="card \ud83d declined\0", pointer="/data/attributes/payment_source")
    failure = classify_error(Refused(422, (item,), "PATCH", "/api/orders/x"), POLICY)
    assert failure.text == "payment_source: card  declined"


@pytest.mark.parametrize(
    ("message", "words"),
    [
        ({"decline_code": "insufficient_funds", "requires_action": False}, "insufficient funds"),
        ("Not enough balance, no authentication required", "insufficient funds"),
        ({"network_decline_code": "41"}, "payment declined for good"),
        ("mandate revoked", "the direct debit mandate is not valid any more"),
        ("token permanently revoked", "the stored card is not valid any more"),
        ("account holder deceased", "the account holder is deceased"),
        ("blocked card", "card or account blocked"),
    ],
)
def test_structured_messages_have_a_short_text_too(message, words):
    assert read(message).in_short == words


# The merchant's own patterns.

RUNAWAY = r"(\w+\s?)+:$"


def classified_with(patterns, message):
    failure = read(message, policy=Policy(failure_patterns=patterns))
    return str(failure.cls), failure.permanent


def test_a_merchants_pattern_sets_the_class_and_may_say_hard_or_soft():
    assert classified_with({"conto bloccato": "payment, hard"}, "Il conto bloccato") == ("payment", True)
    assert classified_with({"warehouse shut": "stock"}, "Warehouse shut") == ("stock", False)
    assert classified_with({"warehouse shut": "stock, hard"}, "Warehouse shut") == ("stock", True)
    assert classified_with({"blocked": "payment, soft"}, "blocked card") == ("payment", False)
    assert classified_with({"blocked": "transient, soft"}, "blocked card") == ("transient", False)
    assert classified_with({"blocked": "transient"}, "blocked card") == ("transient", True)


def test_a_soft_pattern_leaves_the_other_lines_hard():
    policy = Policy(failure_patterns={"blocked": "payment, soft"})
    log = {"base": ["blocked card", "stolen card"]}
    assert classify_copy(copy(REF, "failed", errors_log=log), policy).permanent


@pytest.mark.parametrize("text", ["word " * 4000 + "!", "a" * 20_000 + "!", "aé" * 9000])
@pytest.mark.parametrize("pattern", [RUNAWAY, "(a|a)+$", "(a+)+$", "(.*a){20}b"])
def test_a_pattern_that_backtracks_in_other_engines_is_matched_quickly(pattern, text):
    assert classified_with({pattern: "stock"}, text)[1] is False


def test_a_pattern_ignores_upper_and_lower_case():
    assert classified_with({"CONTO È CHIUSO": "payment, hard"}, "conto è chiuso") == ("payment", True)
