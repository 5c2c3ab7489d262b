"""A failure in a few words for a person."""

import re
from collections.abc import Iterable

from blocks.policy import FailureClass
from flows.rules.failure_bodies import read_body
from flows.rules.failure_denials import without_denials
from flows.rules.failure_hard_words import (
    BLOCKED,
    CLOSED,
    CONFIRM,
    FOR_GOOD,
    FRAUD,
    LOST,
    MANDATE,
    NUMBER,
    PERSON,
    TOKEN,
)
from flows.rules.failure_words import EXPIRED, FUNDS, LIMIT, SECURITY_CODE, plain

_FOR_GOOD = "payment declined for good"
_SHORT: dict[FailureClass, tuple[tuple[str, str], ...]] = {
    FailureClass.PAYMENT: (
        (LOST, "card lost or stolen"),
        (CONFIRM, "the customer must confirm the payment"),
        (r"\bdeceased\b", "the account holder is deceased"),
        (MANDATE, "the direct debit mandate is not valid any more"),
        (TOKEN, "the stored card is not valid any more"),
        (BLOCKED, "card or account blocked"),
        (CLOSED, "account closed"),
        (FRAUD, "declined as possible fraud"),
        (FUNDS, "insufficient funds"),
        (EXPIRED, "card expired"),
        (NUMBER, "card or account number not accepted"),
        (LIMIT, "card limit exceeded"),
        (SECURITY_CODE, "security code not accepted"),
        (PERSON, "stopped by the customer"),
        (FOR_GOOD, _FOR_GOOD),
        (r"declin|do not hono|refused", "card declined"),
        (r"not approved", "payment not approved"),
        (r"payment method[^;]*blank|\bwallet\b", "no payment source in the customer's wallet"),
        (r"unpaid, not placed", "the order was not paid"),
    ),
    FailureClass.STOCK: (),
    FailureClass.COUPON: ((r"gift[ -]?card", "gift card not accepted"),),
    FailureClass.CATALOGUE: (
        (r"was cancelled", "its order was cancelled"),
        (r"shipping|deliver", "no shipping method"),
        (r"source order[^;]*(exist|not found)", "the source order does not exist any more"),
        (r"\bsku|bundle", "a product does not exist any more"),
        (r"price", "a price is missing"),
        (r"address", "an address is missing"),
        (r"authori[sz]ed|access denied|forbidden", "not permitted to the API client"),
    ),
    FailureClass.TRANSIENT: ((r"gateway", "the payment gateway did not answer"),),
    FailureClass.UNKNOWN: (),
}
_GENERAL = {
    FailureClass.PAYMENT: "payment failed",
    FailureClass.STOCK: "out of stock",
    FailureClass.COUPON: "coupon not accepted",
    FailureClass.CATALOGUE: "catalogue or configuration",
    FailureClass.TRANSIENT: "passing fault",
    FailureClass.UNKNOWN: "failed",
}
_SPEAKS_FOR_ITSELF = frozenset({FailureClass.PAYMENT, FailureClass.STOCK, FailureClass.COUPON})
_QUOTED = 160


def in_short(cls: FailureClass, text: str, *, lines: Iterable[str] = (), permanent: bool = False) -> str:
    """
    `card declined`: a failure in a few words for a person. Where no short form is known, `text` is quoted.

    The lines of a text that was recorded are no longer known: it is read by what stands between semicolons.
    """
    phrases = [phrase for line in lines for phrase in read_body(line).phrases]
    phrases = phrases or [part for phrase in read_body(text).phrases for part in phrase.split("; ")]
    lines = [without_denials(plain(phrase)) for phrase in phrases]
    for pattern, words in _SHORT[cls]:
        if any(re.search(pattern, line, re.IGNORECASE) for line in lines):
            return words
    if permanent and cls is FailureClass.PAYMENT:
        return _FOR_GOOD
    if cls in _SPEAKS_FOR_ITSELF:
        return _GENERAL[cls]
    return f"{_GENERAL[cls]} ({text if len(text) <= _QUOTED else text[: _QUOTED - 1] + '…'})"
