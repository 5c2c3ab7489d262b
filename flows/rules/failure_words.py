"""
The words by which failures are told apart, and the few in which a person is told.

Sources: Commerce Layer "Handling errors" and the `errors_log` sample of "Order copies"; codes and
`meta.error` symbols from its official front ends; decline wording of Stripe, Adyen, Braintree,
Checkout.com and PayPal; Visa's response codes that may never be repeated (04, 07, 12, 14, 15, 41, 43,
46, 57, R0, R1, R3) and Mastercard's merchant advice codes that forbid it (03 and 21).
"""

import re
from dataclasses import dataclass

from blocks.policy import FailureClass


@dataclass(frozen=True, slots=True)
class Rule:
    """Lines that `fits` belong to `cls`."""

    pattern: re.Pattern[str]
    cls: FailureClass
    permanent: bool = False

    def fits(self, line: str) -> bool:
        """Whether a line of what Commerce Layer said falls under this rule."""
        return self.pattern.search(_plain(line)) is not None


READ = 2000
"""Characters of a line that are read: a gateway may answer with a whole page, and its first words tell."""


def _plain(text: str) -> str:
    """Gateways pass on both words and symbols: `lost_card` is read as `lost card`."""
    return text[:READ].replace("_", " ").replace("\N{RIGHT SINGLE QUOTATION MARK}", "'")


def _any_of(*patterns: str) -> str:
    return "|".join(patterns)


def _rule(cls: FailureClass, *patterns: str, permanent: bool = False) -> Rule:
    return Rule(re.compile(_any_of(*patterns), re.IGNORECASE), cls, permanent)


_CARD = r"(?<!gift)(?<!gift[ -])\bcard"
_KIND = r"(credit |debit |bank |payment )?"
_END = r"(?=\W*($|- |[.;,(]))"
_GIFT = r"(coupon|gift[ -]?card|promotion code|voucher)"
_THREE_D = r"(3-?ds?\d?|3-?d[ -]?secure|sca)"
_MACHINE = r"(service|server|system|network|processor|reader|gateway|connection|terminal|data|details)"
_CHECK = r"(check|screening|prevention|detection|protection|filter|service|system)"
_PRODUCT = r"(skus?|products?|items?|bundles?|markets?|countr(y|ies)|regions?|prices?|(shipping|payment) methods?)"

LOST = _any_of(
    rf"\b(lost|stolen) card(?! {_MACHINE})", rf"{_CARD} (has been |was |is |been )?(reported )?(as )?(lost|stolen)\b",
    r"\breported (as )?(lost|stolen)\b", r"\blost(/| or )stolen\b", r"pick[ -]?up card", r"retain card",
    rf"{_CARD} should be captured", r"(^|: )(lost|stolen)$",
)  # fmt: skip
"""A card that is lost; not a connection that is, although it may be to the card's network."""

FRAUD = _any_of(
    r"fraudulent", rf"\b(suspected|possible|potential|acquirer|issuer|as|of|to) fraud\b(?! {_CHECK})",
    r"\bfraud[ -]*(suspected|suspicion|detected|declin|reject|refus|cancel|account)", r"\bfraud\W*(- |$)",
    r"(declin|reject|refus|block)\w{0,5}[^.;]{0,40}fraud(?![^.;]*(unavailable|time|respon|reach|error|temporar))",
    r"highest risk",
)  # fmt: skip
"""Fraud that somebody suspects; not the service that checks for it, which may be out of order."""

CONFIRM = _any_of(
    r"(?<!proxy )authentication required", r"requires authentication", r"payment intent authentication failure",
    rf"\b{_THREE_D}\b[^.;]{{0,20}}authentication[^.;]{{0,12}}(fail|required)", rf"failed {_THREE_D} authentication",
    r"(payer|cardholder|customer) authentication (is )?(required|fail)", r"has failed authentication",
    r"3d not authenticated", r"\bsca required", r"payer action required",
    r"requires (additional )?(user |customer )?action\b(?! (by|from|of))",
)  # fmt: skip
"""A payment that the customer must confirm in person."""

CLOSED = r"\bclosed account|\baccount[^.;]{0,20}\bclosed"

NUMBER = _any_of(
    rf"\b(incorrect|invalid) {_KIND}(account|card) number", rf"\binvalid {_KIND}(account|card){_END}",
    rf"(\baccount|{_CARD}) number[^.;]{{0,20}}(incorrect|invalid|not valid|wrong)",
    rf"not a valid {_KIND}{_CARD} number", r"the card is connected to, is invalid", r"\bincorrect number",
    r"(?<!quantity: )\binvalid number(?! of)",
    r"\bno such (issuer|card|account|number)", rf"\bno account{_END}",
)  # fmt: skip

_NEVER_AGAIN = r"(0[47]|1[245]|4[136]|57|R[013])"
FOR_GOOD = _any_of(
    r"do not (retry|try again)(?![^.;]{0,25}(immediately|too|before|until|within|for \d|today))", r"never retry",
    r"revocation of", r"(mandate|agreement)[^.;]{0,30}(revoked|cancel|inactive)", r"revoked[^.;]{0,30}authori[sz]ation",
    r"stop payment", r"stopped (all )?(billing|recurring)", r"excessive retr", r"hard declin",
    r"payment cancellation(?! (failed|error))",
    # Raw codes of the card networks, where it is plain that the number is one.
    rf"^(?!.*\b{_PRODUCT}\b)(base|status|payment[\w ]*|transactions?): {_NEVER_AGAIN}(?=\s*($|[:.)-]))",
    rf"\b(response|decline|network|issuer|refusal)( response| decline| refusal)? code\W{{0,3}}{_NEVER_AGAIN}\b",
    rf"(declin|refus)\w{{0,5}}\W{{0,2}}[(:\[]\s*(code\W{{0,2}})?{_NEVER_AGAIN}(?=\s*($|[)\]:.-]))",
    r"(\bmac|\badvice code)\W{0,3}(03|21)\b(?!:\d)",
)  # fmt: skip

HARD_DECLINE = _rule(
    FailureClass.PAYMENT,
    LOST, FRAUD, CONFIRM, CLOSED, NUMBER, FOR_GOOD,
    rf"\b(restricted|blocked) card(?! {_MACHINE})",
    r"transaction not (allowed|permitted)(?! (to|on|at|by) (the )?(terminal|merchant|acq))",
    permanent=True,
)  # fmt: skip
"""Declines that the card networks forbid to repeat, or that only the customer can lift."""

FUNDS = r"(not enough|insufficient) (available )?(balance|funds|credit)"
EXPIRED = rf"expired {_KIND}card|{_CARD}[^.;]{{0,30}}expired"
LIMIT = _any_of(
    r"^(?!.*(rate|requests?|api|usage|quantity|order)[ -]limit).*(exceed\w{0,3}[^.;]{0,30}limit|limit exceeded)",
    r"over \w+ limit", r"withdrawal[^.;]{0,20}exceeded",
)  # fmt: skip
SECURITY_CODE = r"\bcv[cvnd2]2?\b|security code|card verification"

# In this order: the first rule that fits a line wins.
RULES = (
    _rule(
        FailureClass.COUPON,
        r"^(coupon|gift card)[\w ]*:", rf"(expired|declined|invalid|used) {_GIFT}",
        rf"{_GIFT}[^.;]{{0,40}}(expired|declin|invalid|valid|used|insufficient|enough|stolen)",
    ),
    _rule(FailureClass.CATALOGUE, r"api[ -]?key", r"invalid (api |client )?credentials", r"invalid client"),
    HARD_DECLINE,
    _rule(
        FailureClass.PAYMENT,
        FUNDS, EXPIRED, LIMIT, SECURITY_CODE,
        r"declin", r"do not hono", r"not approved", r"address verification", r"\bavs\b", r"incorrect (zip|pin|address)",
        r"zip code failed", r"\b(account|card)\b[^.;]{0,20}\b(locked|restricted|suspended|blocked|frozen)",
        r"refused by (the )?(issuer|bank|acquirer)", r"(payment|transaction|card) (was |has been |is )?refused",
        r"^(base|status): refused(?! without)",
    ),
    _rule(FailureClass.STOCK, r"out of stock", r"sold out", r"(not enough|insufficient) (stock|inventory|quantity)"),
    _rule(
        FailureClass.TRANSIENT,
        r"\btime[ds]?[ -]?out", r"(did|does) not (answer|respond)", r"\bno (answer|response)\b",
        r"response[^.;]{0,20}too late", r"temporar", r"try again (later|in a)", rf"^(?!.*\b{_PRODUCT}\b).*unavailable",
        r"\b(issuer|bank|service) (is )?not available", r"(could not|couldn't|cannot|can't) be reached", r"unreachable",
        r"connection \w+", r"\b(lost|dropped)\b[^.;]{0,30}connection", r"\b(rate|requests?|api)[ -]limit",
        r"too many requests", r"throttled", r"bad gateway", r"gateway (error|timeout|problem)",
        r"internal (server )?error", r"processing error",
        r"error occurred while processing", r"(system|network|acquirer|communication|service) (error|problem)",
        r"malfunction", r"inoperative", r"\blocked\b", r"\block timeout", r"deadlock", r"\bcircuit\b",
    ),
    _rule(
        FailureClass.STOCK,
        r"\bstock\b(?! location)", r"^(?!.*(amount|balance|price)).*less than or equal to", r"not enough",
    ),
    _rule(FailureClass.CATALOGUE, r"access denied", r"authori[sz]ed to perform", r"\bunauthori[sz]ed\b"),
    _rule(FailureClass.COUPON, _GIFT),
    _rule(
        FailureClass.PAYMENT,
        r"payment", r"\bwallet\b", r"\bcards?\b", r"authori[sz]", r"\bbank\b", r"\bgateway\b", r"\bmandate\b",
        r"\bfunds\b", r"\bpaye[re]\b", r"\bpin\b", r"\bissuer\b", r"\bacquirer\b", r"\bprocessor\b", r"\btransaction\b",
        r"security violation",
    ),
    _rule(
        FailureClass.CATALOGUE,
        r"price", r"\bskus?\b", r"\bbundle", r"\bproducts?\b", r"shipping", r"deliver", r"\bmarket", r"address",
        r"\btax", r"customer email", r"currency", r"not found", r"must exist", r"invalid resource id",
        r"\bstock location", r"\binventory model", r"\bblank\b", r"\bline ?items?\b", r"\bitems?\b", r"forbidden",
    ),
)  # fmt: skip


_SHORT: dict[FailureClass, tuple[tuple[str, str], ...]] = {
    FailureClass.PAYMENT: (
        (LOST, "card lost or stolen"),
        (CONFIRM, "the customer must confirm the payment"),
        (CLOSED, "account closed"),
        (FRAUD, "declined as possible fraud"),
        (FUNDS, "insufficient funds"),
        (EXPIRED, "card expired"),
        (NUMBER, "card number not accepted"),
        (LIMIT, "card limit exceeded"),
        (SECURITY_CODE, "security code not accepted"),
        (FOR_GOOD, "payment declined for good"),
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


def in_short(cls: FailureClass, text: str) -> str:
    """`card declined`: a failure in a few words for a person; what is not known by heart is quoted from `text`."""
    lines = [_plain(line) for line in text.split("; ")]
    for pattern, words in _SHORT[cls]:
        if any(re.search(pattern, line, re.IGNORECASE) for line in lines):
            return words
    if cls in _SPEAKS_FOR_ITSELF:
        return _GENERAL[cls]
    return f"{_GENERAL[cls]} ({text if len(text) <= _QUOTED else text[: _QUOTED - 1] + '…'})"
