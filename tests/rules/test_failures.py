from time import process_time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rules.making import POLICY, copy, order

from blocks.commerce_layer.errors import (
    AuthenticationFailed,
    CommerceLayerError,
    ErrorItem,
    InvalidToken,
    NotConnected,
    NotFound,
    ReadFailed,
    Refused,
    Throttled,
    Unauthorized,
    WriteFateUnknown,
    WrongShop,
    storable,
)
from blocks.policy import FailureClass, Policy
from flows.rules.failures import classify_copy, classify_error, classify_order

REF = "SubAbcdefg@2026-03-01T06:00Z"
PAYMENT, STOCK, COUPON, CATALOGUE, TRANSIENT, UNKNOWN = FailureClass


def failed(log, **fields):
    return copy(REF, "failed", errors_log=log, **fields)


@pytest.mark.parametrize(
    ("log", "cls"),
    [
        ({"status": ["cannot transition from draft to placed"]}, UNKNOWN),
        ({"payment_method": ["can't be blank"]}, PAYMENT),
        ({"payment_source": ["is invalid"]}, PAYMENT),
        ({"base": ["Your card was declined."]}, PAYMENT),
        ({"base": ["Your card was declined. Try again later."]}, PAYMENT),
        ({"base": ["insufficient_funds"]}, PAYMENT),
        ({"base": ["Do not honor"]}, PAYMENT),
        ({"base": ["expired_card"]}, PAYMENT),
        ({"base": ["Your card has expired."]}, PAYMENT),
        ({"base": ["PAYMENT_NOT_APPROVED_FOR_EXECUTION"]}, PAYMENT),
        ({"customer_payment_source": ["must exist in the wallet"]}, PAYMENT),
        ({"line_items": ["is out of stock"]}, STOCK),
        ({"quantity": ["out_of_stock"]}, STOCK),
        ({"quantity": ["must be less than or equal to 3"]}, STOCK),
        ({"line_items.quantity": ["OUT_OF_STOCK"]}, STOCK),
        ({"coupon_code": ["is not valid"]}, COUPON),
        ({"gift_card_or_coupon_code": ["noent_coupon"]}, COUPON),
        ({"gift_card_code": ["is expired"]}, COUPON),
        ({"line_items": ["price can't be found"]}, CATALOGUE),
        ({"shipments": ["NO_SHIPPING_METHODS"]}, CATALOGUE),
        ({"shipping_address": ["can't be blank"]}, CATALOGUE),
        ({"customer_email": ["can't be blank"]}, CATALOGUE),
        ({"market": ["is disabled"]}, CATALOGUE),
        ({"sku_code": ["INVALID_RESOURCE_ID"]}, CATALOGUE),
        ({"base": ["Unauthorized"]}, CATALOGUE),
        ({"base": ["You are not authorized to perform this action on the requested resource."]}, CATALOGUE),
        ({"payment_source": ["gateway timeout"]}, TRANSIENT),
        ({"base": ["The service is temporarily unavailable"]}, TRANSIENT),
        ({"base": ["execution timed out"]}, TRANSIENT),
        ({"base": ["Too Many Requests"]}, TRANSIENT),
        ({"base": ["something new"]}, UNKNOWN),
        ({"base": "not even a list"}, UNKNOWN),
        ({"base": [{"code": 7}, None, 3]}, UNKNOWN),
    ],
)
def test_an_errors_log_is_classified_by_its_words(log, cls):
    failure = classify_copy(failed(log), POLICY)
    assert failure.cls is cls
    assert not failure.permanent
    assert failure.attempted


@pytest.mark.parametrize(
    "words",
    [
        "lost_card", "Stolen card, pick up", "This card was reported lost", "pickup_card", "Account closed",
        "closed account", "do_not_try_again", "Do not retry", "revocation_of_all_authorizations", "stop_payment_order",
        "invalid account", "No such issuer", "transaction_not_allowed", "suspected fraud", "incorrect_number",
        "authentication_required", "PAYMENT_INTENT_AUTHENTICATION_FAILURE", "restricted_card",
    ],
)  # fmt: skip
def test_a_hard_decline_is_never_retried_automatically(words):
    failure = classify_copy(failed({"base": ["cannot transition from pending to placed", words]}), POLICY)
    assert failure.cls is PAYMENT
    assert failure.permanent


def test_of_several_reasons_the_most_serious_counts_and_all_are_kept():
    log = {"status": ["cannot transition from draft to placed"], "line_items": ["is out of stock", "no price"]}
    failure = classify_copy(failed(log), POLICY)
    assert failure.cls is STOCK
    assert failure.text == (
        "status: cannot transition from draft to placed; line_items: is out of stock; line_items: no price"
    )


@pytest.mark.parametrize("log", [None, {}, {"base": []}])
def test_a_failed_copy_without_an_error_has_the_class_unknown(log):
    assert classify_copy(failed(log), POLICY).cls is UNKNOWN
    aborted = classify_copy(copy(REF, "aborted", errors_log=log), POLICY)
    assert aborted.cls is UNKNOWN
    assert "was aborted without saying why" in aborted.text


def test_the_merchants_own_patterns_come_first():
    policy = Policy(failure_patterns={"warehouse [0-9]+ shut": "stock", "was aborted": "transient"})
    assert classify_copy(failed({"base": ["payment held, Warehouse 12 shut"]}), policy).cls is STOCK
    assert classify_copy(copy(REF, "aborted"), policy).cls is TRANSIENT


def test_a_pattern_that_names_only_a_class_leaves_a_hard_decline_hard():
    policy = Policy(failure_patterns={"stolen": "transient"})
    failure = classify_copy(failed({"base": ["stolen_card"]}), policy)
    assert failure.cls is TRANSIENT
    assert failure.permanent


def refused(status, *items, kind=Refused):
    return kind(status, tuple(ErrorItem(**item) for item in items), "PATCH", "/api/orders/x")


OUT_OF_STOCK = {"title": "is out of stock", "code": "VALIDATION_ERROR", "meta": {"error": "out_of_stock"}}
BY_POINTER = {"detail": "is invalid", "pointer": "/data/attributes/coupon_code", "code": "VALIDATION_ERROR"}
BY_META = {"title": "nope", "meta": {"error": "noent_coupon"}}
TRANSITION = {"detail": "cannot transition from pending to placed", "pointer": "/data/attributes/status"}


@pytest.mark.parametrize(
    ("error", "cls", "permanent", "attempted"),
    [
        (refused(422, OUT_OF_STOCK), STOCK, False, True),
        (refused(422, BY_POINTER), COUPON, False, True),
        (refused(422, BY_META), COUPON, False, True),
        (refused(422, TRANSITION), UNKNOWN, False, True),
        (refused(422, {"detail": "stolen_card"}, TRANSITION), PAYMENT, True, True),
        (refused(422), UNKNOWN, False, True),
        (refused(422, {}), UNKNOWN, False, True),
        (refused(400, {"detail": "x", "code": "PARAM_NOT_ALLOWED"}), CATALOGUE, False, True),
        (refused(403, {"code": "FORBIDDEN"}), CATALOGUE, False, True),
        (refused(409, {"detail": "Record not unique"}), TRANSIENT, False, True),
        (refused(423, {"title": "Locked resource", "code": "LOCKED"}), TRANSIENT, False, True),
        (refused(404, {"code": "RECORD_NOT_FOUND"}, kind=NotFound), CATALOGUE, True, True),
        (refused(429, kind=Throttled), TRANSIENT, False, False),
        (refused(401, {"code": "UNAUTHORIZED"}, kind=Unauthorized), CATALOGUE, False, False),
        (refused(401, {"code": "INVALID_TOKEN"}, kind=InvalidToken), CATALOGUE, False, False),
        (AuthenticationFailed("check client_id", 401), CATALOGUE, False, False),
        (WrongShop("mode", "live", "test", "use the live credential"), CATALOGUE, False, False),
        (NotConnected("POST", "/api/order_copies", "refused"), TRANSIENT, False, False),
        (ReadFailed("/api/orders", "timeout", 4), TRANSIENT, False, False),
        (WriteFateUnknown("PATCH", "/api/orders/x", "timeout"), TRANSIENT, False, True),
        (CommerceLayerError("new"), UNKNOWN, False, True),
    ],
)
def test_an_error_is_classified_by_what_it_means_for_this_renewal(error, cls, permanent, attempted):
    failure = classify_error(error, POLICY)
    assert (failure.cls, failure.permanent, failure.attempted) == (cls, permanent, attempted)
    assert failure.text


def test_the_text_of_a_refusal_names_the_attribute():
    assert classify_error(refused(422, BY_POINTER), POLICY).text == "coupon_code: is invalid - VALIDATION_ERROR"


@pytest.mark.parametrize(
    ("target", "cls", "permanent"),
    [
        (order("pending"), PAYMENT, False),
        (order("draft", payment_status="authorized"), UNKNOWN, False),
        (order("cancelled"), CATALOGUE, True),
    ],
)
def test_an_unplaced_order_is_classified_by_its_status(target, cls, permanent):
    failure = classify_order(target, POLICY)
    assert (failure.cls, failure.permanent) == (cls, permanent)
    assert "#" not in failure.text
    assert "1001" in failure.text


WORDS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
"""Any text that can be stored."""


@given(st.dictionaries(WORDS, WORDS | st.lists(WORDS | st.integers() | st.none())))
def test_any_log_is_classified_and_kept_word_for_word(log):
    failure = classify_copy(failed(log), POLICY)
    said = [line for lines in log.values() for line in (lines if isinstance(lines, list) else [lines])]
    assert all(str(line) in failure.text for line in said)


@pytest.mark.parametrize("word", ["declin", "exceed ", "card ", "account ", "coupon ", "refus (", "fraud ", "a"])
def test_a_long_repetition_of_one_word_is_classified_quickly(word):
    began = process_time()
    assert classify_copy(failed({"base": [word * 20_000]}), POLICY).in_short
    assert process_time() - began < 5


@given(st.text(max_size=300))
def test_any_repeated_text_is_classified_quickly(text):
    # A pattern with nested repetitions would hang on such texts; the tables have none.
    assert classify_copy(failed({"base": [text * 100]}), POLICY).text == storable(f"base: {text * 100}")
