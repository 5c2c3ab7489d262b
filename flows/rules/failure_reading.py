"""
Reads one line of an answer: first its structure, then its prose, in English and in six other languages.

If a line has several readings, a hard one comes before the others, and a specific one before a general one.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from blocks.policy import FailureClass
from flows.rules.failure_bodies import read_body
from flows.rules.failure_codes import Reading, read_codes_in_prose, read_fields
from flows.rules.failure_denials import without_denials
from flows.rules.failure_hard_words import PRODUCT
from flows.rules.failure_languages import read_in_other_languages
from flows.rules.failure_words import READ, RULES, plain

_PHRASES = 60
"""How many phrases of one line are read: an answer may be a whole page."""

_OF_PRODUCTS = re.compile(rf"\b{PRODUCT}\b", re.IGNORECASE)
_OF_PAYMENTS = re.compile(r"(base|status|transactions?|payment\w*|customer_payment_source|authorizations?|)")
_NOTHING_SAID: Reading = (FailureClass.UNKNOWN, False)


@dataclass(frozen=True, slots=True)
class Line:
    """One message of Commerce Layer: its attribute, its words for a person, and its original form."""

    attribute: str
    text: str
    message: object

    def __str__(self) -> str:
        return f"{self.attribute}: {self.text}" if self.attribute else self.text


@dataclass(frozen=True, slots=True, order=True)
class _Ranked:
    rank: int
    reading: Reading


_HARD, _FIRST, _GENERAL = 0, 1, 100
_RANK_OF_CLASS: dict[FailureClass, int] = {
    cls: _FIRST + next(at for at, rule in enumerate(RULES) if rule.cls is cls and not rule.permanent)
    for cls in FailureClass
    if cls is not FailureClass.UNKNOWN
}


def read_line(line: Line) -> Reading:
    """The class of a line, and whether it is permanent."""
    body = read_body(line.message)
    phrases = [phrase[:READ] for phrase in body.phrases[:_PHRASES]]
    of_payments = _is_of_payments(line.attribute, phrases)
    beside = [line.attribute, *phrases]
    found = [_ranked(reading) for reading in read_fields(body.fields, of_payments=of_payments, beside=beside)]
    for phrase in phrases:
        found += _read_phrase(line.attribute, phrase, of_payments=of_payments)
    return min(found, key=lambda each: each.rank).reading if found else _NOTHING_SAID


def _is_of_payments(attribute: str, phrases: list[str]) -> bool:
    """Whether a number is likely to be a code of a bank or a card network: a SKU may be called R10."""
    return bool(_OF_PAYMENTS.fullmatch(attribute)) and not any(_OF_PRODUCTS.search(plain(each)) for each in phrases)


def _ranked(reading: Reading) -> _Ranked:
    cls, permanent = reading
    return _Ranked(_HARD if permanent else _RANK_OF_CLASS[cls], reading)


def _read_phrase(attribute: str, phrase: str, *, of_payments: bool) -> Iterator[_Ranked]:
    said = without_denials(plain(phrase))
    whole = f"{attribute}: {said}" if attribute else said
    english = next((at for at, rule in enumerate(RULES) if rule.fits(whole)), None)
    if english is not None:
        rule = RULES[english]
        rank = _HARD if rule.permanent else english + (_GENERAL if rule.general else _FIRST)
        yield _Ranked(rank, (rule.cls, rule.permanent))
        if rule.cls is FailureClass.COUPON and not rule.general:
            return  # a stolen gift card is not a stolen card
    other = read_in_other_languages(said)
    if other is not None:
        yield _ranked(other)
    if of_payments:
        for reading in read_codes_in_prose(said):
            yield _ranked(reading)
