"""
The words by which failures are told apart, and the few in which a person is told.

Sources: Commerce Layer "Handling errors" and the `errors_log` sample of "Order copies"; codes and
`meta.error` symbols from its official front ends; decline wording from Stripe's decline codes and
from Visa's and Mastercard's response codes (the ones never to be repeated: 04, 07, 12, 14, 15, 41,
43, 46, 57, R0, R1, R3; merchant advice codes 03 and 21).
"""

import re
from dataclasses import dataclass

from blocks.policy_terms import FailureClass


@dataclass(frozen=True, slots=True)
class Rule:
    """Lines that fit `pattern` belong to `cls`."""

    pattern: re.Pattern[str]
    cls: FailureClass
    permanent: bool = False


def _rule(cls: FailureClass, *patterns: str, permanent: bool = False) -> Rule:
    return Rule(re.compile("|".join(patterns), re.IGNORECASE), cls, permanent)


HARD_DECLINE = _rule(
    FailureClass.PAYMENT,
    r"(lost|stolen|restricted|blocked)[ _]card", r"(?<!gift[ _])card[^.]{0,30}(lost|stolen)", r"pick[ _-]?up[ _]card",
    r"closed[ _]account", r"account[^.]{0,20}closed", r"do[ _]not[ _](retry|try[ _]again)", r"never[ _]retry",
    r"revocation[ _]of", r"stop[ _]payment", r"no[ _]such[ _](issuer|card|account)", r"incorrect[ _]number",
    r"invalid[ _](account|card)([ _]number)?\b", r"transaction[ _]not[ _](allowed|permitted)", r"fraud",
    r"authentication[ _](required|failure)", r"requires[ _]authentication",
    r"highest[ _]risk", r"hard[ _]declin", r"payment[ _]cancel",
    permanent=True,
)  # fmt: skip
"""Declines that the card networks forbid to repeat, or that only the customer can lift."""

# In this order: the first rule that fits a line wins. Blanks stand for a blank or an underscore.
RULES = (
    HARD_DECLINE,
    _rule(
        FailureClass.PAYMENT,
        r"declin", r"insufficient[ _]funds", r"do[ _]not[ _]hono", r"not[ _]approved", r"expired[ _]card",
        r"(?<!gift[ _])card[^.]{0,30}expired", r"exceeds[^.]{0,20}limit", r"\bcv[cv2]\b",
        r"refused[ _]by[ _](the[ _])?(issuer|bank)",
    ),
    _rule(
        FailureClass.TRANSIENT,
        r"time[ds]?[ -]?out", r"(did|does) not (answer|respond)", r"no (answer|response)\b", r"temporar",
        r"try[ _]again[ _]later", r"unavailable", r"connection[ _]\w+",
        r"rate[ _]limit", r"too[ _]many[ _]requests", r"throttled", r"gateway[ _](error|timeout|problem)",
        r"bad[ _]gateway", r"internal[ _]server[ _]error", r"processing[ _]error", r"\blocked\b", r"circuit",
    ),
    _rule(
        FailureClass.STOCK,
        r"out[ _]of[ _]stock", r"\bstock\b", r"less[ _]than[ _]or[ _]equal[ _]to", r"not[ _]enough",
    ),
    _rule(FailureClass.CATALOGUE, r"access[ _]denied", r"authori[sz]ed[ _]to[ _]perform", r"\bunauthori[sz]ed\b"),
    _rule(FailureClass.COUPON, r"coupon", r"gift[ _]?card", r"promotion[ _]code"),
    _rule(
        FailureClass.PAYMENT,
        r"payment", r"\bwallet\b", r"\bcards?\b", r"authori[sz]", r"\bbank\b", r"\bgateway\b",
        r"\bmandate\b", r"\bfunds\b",
    ),
    _rule(
        FailureClass.CATALOGUE,
        r"price", r"\bskus?\b", r"sku[ _]code", r"\bbundle", r"shipping", r"deliver", r"\bmarket", r"address", r"\btax",
        r"customer[ _]email", r"currency", r"not[ _]found", r"must[ _]exist", r"invalid[ _]resource[ _]id",
        r"\bblank\b", r"line[ _]?items?", r"forbidden",
    ),
)  # fmt: skip


_SHORT: dict[FailureClass, tuple[tuple[str, str], ...]] = {
    FailureClass.PAYMENT: (
        (r"lost|stolen|pick[ _-]?up", "card lost or stolen"),
        (r"authenticat", "the customer must confirm the payment"),
        (r"account[^.]{0,20}closed|closed[ _]account", "account closed"),
        (r"fraud|highest[ _]risk", "declined as possible fraud"),
        (r"insufficient[ _]funds", "insufficient funds"),
        (r"expired", "card expired"),
        (r"(invalid|incorrect)[ _](account|card|number)|no[ _]such[ _]", "card number not accepted"),
        (r"exceeds[^.]{0,20}limit", "card limit exceeded"),
        (r"\bcv[cv2]\b", "security code not accepted"),
        (r"do[ _]not[ _](retry|try)|never[ _]retry|revocation|stop[ _]payment", "payment declined for good"),
        (r"declin|do[ _]not[ _]hono|refused[ _]by", "card declined"),
        (r"not[ _]approved", "payment not approved"),
        (r"payment_method[^;]*blank|\bwallet\b", "no payment source in the customer's wallet"),
        (r"unpaid, not placed", "the order was not paid"),
    ),
    FailureClass.STOCK: (),
    FailureClass.COUPON: ((r"gift[ _]?card", "gift card not accepted"),),
    FailureClass.CATALOGUE: (
        (r"was cancelled", "its order was cancelled"),
        (r"shipping|deliver", "no shipping method"),
        (r"source_order[^;]*(exist|not found)", "the source order does not exist any more"),
        (r"\bsku|bundle", "a product does not exist any more"),
        (r"price", "a price is missing"),
        (r"address", "an address is missing"),
        (r"authori[sz]ed|access[ _]denied|forbidden", "not permitted to the API client"),
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


def in_short(cls: FailureClass, text: str) -> str:
    """`card declined`: a failure in a few words for a person; what is not known by heart is quoted from `text`."""
    for pattern, words in _SHORT[cls]:
        if re.search(pattern, text, re.IGNORECASE):
            return words
    if cls in _SPEAKS_FOR_ITSELF:
        return _GENERAL[cls]
    return f"{_GENERAL[cls]} ({text if len(text) <= _QUOTED else text[: _QUOTED - 1] + '…'})"
