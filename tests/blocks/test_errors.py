"""Errors say what to do next, and survive pickling, which Prefect does to store them."""

from __future__ import annotations

import pickle

import pytest

from blocks.commerce_layer import errors
from blocks.commerce_layer.errors import (
    AccessDenied,
    ApiError,
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
    error_for_answer,
)

BLANK = ErrorItem(title="Blank", detail="can't be blank", code="VALIDATION_ERROR", pointer="/data/attributes/x")

EXAMPLES: list[CommerceLayerError] = [
    NotConnected("POST", "/api/order_copies", "ConnectError"),
    WriteFateUnknown("POST", "/api/order_copies", "ReadTimeout", "sub@2026-03-01T06:00Z"),
    ReadFailed("/api/orders", "answered 503", 4),
    *(error_for_answer(status, (BLANK,), "GET", "/api/orders/x") for status in (400, 401, 404, 422, 429)),
    error_for_answer(401, (ErrorItem(code="INVALID_TOKEN"),), "GET", "/api/orders"),
    AuthenticationFailed("no", 401),
    WrongShop("mode", "live", "test", "Correct the block."),
]


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: type(error).__name__)
def test_an_error_survives_pickling_with_all_its_fields(error):
    copied = pickle.loads(pickle.dumps(error))

    assert (type(error), vars(error), str(error)) == (type(copied), vars(copied), str(copied))


def test_every_error_is_among_the_examples():
    named = {kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, CommerceLayerError)}

    assert {CommerceLayerError, ApiError, AccessDenied} == named - {type(error) for error in EXAMPLES}


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (401, "INVALID_TOKEN", InvalidToken),
        (401, "UNAUTHORIZED", Unauthorized),
        (401, "", Unauthorized),
        (404, "RECORD_NOT_FOUND", NotFound),
        (429, "THROTTLED", Throttled),
        *((status, "ANY", Refused) for status in (400, 403, 405, 406, 409, 410, 415, 422, 423)),
    ],
)
def test_an_answer_becomes_the_error_that_says_what_to_do(status, code, kind):
    error = error_for_answer(status, (ErrorItem(code=code),), "GET", "/api/orders")

    assert kind is type(error)
    assert (status, code) == (error.status, error.code)


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: type(error).__name__)
def test_errors_that_only_other_credentials_will_cure_are_access_denied(error):
    denied = isinstance(error, InvalidToken | Unauthorized | AuthenticationFailed | WrongShop)

    assert isinstance(error, AccessDenied) is denied


def test_an_error_has_the_fields_of_its_first_item():
    error = Refused(422, (BLANK, ErrorItem(code="OTHER")), "POST", "/api/order_copies")

    assert (
        error.code,
        error.detail,
        error.title,
        error.pointer,
    ) == ("VALIDATION_ERROR", "can't be blank", "Blank", "/data/attributes/x")
    assert str(error) == "POST /api/order_copies was answered 422: VALIDATION_ERROR: can't be blank; OTHER"


def test_an_answer_without_error_items_still_has_a_readable_message():
    assert str(Refused(403, (), "GET", "/api/orders")) == "GET /api/orders was answered 403: no reason given"


def test_the_wrong_shop_names_field_expectation_and_way_out():
    assert str(EXAMPLES[-1]) == "the token's mode is 'test', but 'live' is expected. Correct the block."
