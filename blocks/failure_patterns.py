"""
The merchant's own words for failures: a pattern, and what a failure that it fits means.

Patterns are read by RE2, which looks at a text once from left to right: none can run away, whatever the text.
"""

import re
from enum import StrEnum
from functools import lru_cache
from typing import Annotated, Any

import re2
from pydantic import AfterValidator, BeforeValidator


class FailureClass(StrEnum):
    """Why a renewal failed, as far as the next step depends on it."""

    PAYMENT = "payment"
    STOCK = "stock"
    COUPON = "coupon"
    CATALOGUE = "catalogue"  # the catalogue or the configuration: price, market, shipping, permissions
    TRANSIENT = "transient"
    UNKNOWN = "unknown"


class Meaning(StrEnum):
    """
    What a merchant's pattern teaches: a class, and, where it says so, whether a retry makes sense.

    `payment` leaves hard declines hard. `payment, hard` waits for a person at once. `payment, soft` is
    retried even where the words would be read as a hard decline.
    """

    PAYMENT = "payment"
    STOCK = "stock"
    COUPON = "coupon"
    CATALOGUE = "catalogue"
    TRANSIENT = "transient"
    UNKNOWN = "unknown"
    PAYMENT_HARD = "payment, hard"
    STOCK_HARD = "stock, hard"
    COUPON_HARD = "coupon, hard"
    CATALOGUE_HARD = "catalogue, hard"
    TRANSIENT_HARD = "transient, hard"
    UNKNOWN_HARD = "unknown, hard"
    PAYMENT_SOFT = "payment, soft"
    STOCK_SOFT = "stock, soft"
    COUPON_SOFT = "coupon, soft"
    CATALOGUE_SOFT = "catalogue, soft"
    TRANSIENT_SOFT = "transient, soft"
    UNKNOWN_SOFT = "unknown, soft"

    @property
    def cls(self) -> FailureClass:
        """The class that a failure belongs to."""
        return FailureClass(self.partition(",")[0])

    @property
    def permanent(self) -> bool | None:
        """True: never retried by machine. False: retried. None: the pattern does not say."""
        return {"hard": True, "soft": False}.get(self.partition(", ")[2])


@lru_cache(maxsize=256)
def _compiled(pattern: str) -> Any:
    options = re2.Options()
    options.case_sensitive = False
    options.log_errors = False  # it would write to stderr; we say it better
    return re2.compile(pattern, options)


def fits(pattern: str, text: str) -> bool:
    """Whether `pattern` occurs in `text`, in time that grows with the text's length and no faster."""
    return _compiled(pattern).search(text) is not None


def _an_expression(text: str) -> str:
    try:
        _compiled(text)
    except re2.error as error:
        reason = error.args[0].decode() if error.args and isinstance(error.args[0], bytes) else str(error)
        raise ValueError(f"{text!r} is not a regular expression: {reason}{_way_out(text)}") from None
    except UnicodeEncodeError:
        raise ValueError(f"{text!r} holds half a character: write the text that it should match") from None
    if not text.strip():
        raise ValueError("an empty pattern matches every failure: write part of the text it should match")
    return text


def _way_out(text: str) -> str:
    """Python's own expressions know more than RE2's: say so where that is the reason."""
    try:
        re.compile(text)
    except (re.error, OverflowError, RecursionError):
        return ""
    return (
        "; looking ahead or behind, references back and very long repetitions are not offered, since they can run away"
    )


def _spelled_as_listed(value: object) -> object:
    if not isinstance(value, str):
        return value
    return ", ".join(part for part in re.split(r"[\s,]+", value.lower()) if part)


Pattern = Annotated[str, AfterValidator(_an_expression)]
TaughtMeaning = Annotated[Meaning, BeforeValidator(_spelled_as_listed)]
