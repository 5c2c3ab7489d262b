"""
The English words that decide the class of a failure.

Codes are in `failure_codes`, other languages in `failure_languages`, the full table with its sources in
docs/failures.md: Commerce Layer "Handling errors" and the `errors_log` sample of "Order copies"; codes and
`meta.error` symbols from its official front ends; the wording of Stripe, Adyen, Braintree, Checkout.com,
PayPal, Axerve and GoCardless.
"""

import re
from dataclasses import dataclass

from blocks.policy import FailureClass
from flows.rules.failure_hard_words import (
    BLOCKED,
    CARD,
    CLOSED,
    CONFIRM,
    FOR_GOOD,
    FRAUD,
    KIND,
    LOST,
    MANDATE,
    NUMBER,
    PERSON,
    PRODUCT,
    TOKEN,
    any_of,
)


@dataclass(frozen=True, slots=True)
class Rule:
    """Lines for which `fits` is true belong to `cls`."""

    pattern: re.Pattern[str]
    cls: FailureClass
    permanent: bool = False
    general: bool = False
    """The rule names only the topic, so that any other reading is better."""

    def fits(self, line: str) -> bool:
        """Whether a line of what Commerce Layer said falls under this rule."""
        return self.pattern.search(plain(line)) is not None


READ = 2000
"""How many characters of a line are read: a gateway may answer with a whole page, but its first words matter."""


def plain(text: str) -> str:
    """Symbols as words, because gateways pass on both: `lost_card` becomes `lost card`."""
    return text[:READ].replace("_", " ").replace("\N{RIGHT SINGLE QUOTATION MARK}", "'")


def _rule(cls: FailureClass, *patterns: str, permanent: bool = False, general: bool = False) -> Rule:
    return Rule(re.compile(any_of(*patterns), re.IGNORECASE), cls, permanent, general)


_GIFT = r"(coupon|gift[ -]?card|promotion code|voucher)"

HARD_DECLINE = _rule(
    FailureClass.PAYMENT,
    LOST,
    FRAUD,
    CONFIRM,
    CLOSED,
    BLOCKED,
    NUMBER,
    MANDATE,
    TOKEN,
    PERSON,
    FOR_GOOD,
    r"\bnot (allowed|permitted) transaction\b",
    r"transaction not (allowed|permitted)(?! (to|on|at|by) (the )?(terminal|merchant|acq))",
    permanent=True,
)
"""Declines that the card networks forbid to retry, or that only the customer can resolve."""

FUNDS = any_of(
    r"(not enough|insufficient|not sufficient) (available )?(balance|funds|credit)",
    r"\bamount not available",
    r"\b(balance|funds|credit) (is |are )?(too low|insufficient|not (enough|sufficient|available))",
    r"\bnsf\b",
)
EXPIRED = rf"expired {KIND}card|{CARD}[^.;]{{0,30}}expired"
LIMIT = any_of(
    r"^(?!.*(rate|requests?|api|usage|quantity|order)[ -]limit).*(exceed\w{0,3}[^.;]{0,30}limit|limit exceeded)",
    r"exceeds? (the )?maximum",
    r"too (big|small|large|high) (an )?amount",
    r"amount (is )?too (big|small|large|high)",
    r"over \w+ limit",
    r"withdrawal[^.;]{0,20}exceeded",
)
SECURITY_CODE = r"\bcv[cvnd2]2?\b|security code|card verification"

# The order matters: the first rule that fits a line wins.
RULES = (
    _rule(
        FailureClass.COUPON,
        r"^(coupon|gift card)[\w ]*:",
        rf"(expired|declined|invalid|used) {_GIFT}",
        rf"{_GIFT}[^.;]{{0,40}}(expired|declin|invalid|valid|used|insufficient|enough|stolen)",
    ),
    _rule(
        FailureClass.CATALOGUE,
        r"api[ -]?key",
        r"invalid (api |client )?credentials",
        r"invalid client",
        r"not accepted call",
        r"\b(access|api|oauth|bearer|refresh|auth) token",
        r"insufficient permissions?",
    ),
    HARD_DECLINE,
    _rule(
        FailureClass.PAYMENT,
        FUNDS,
        EXPIRED,
        LIMIT,
        SECURITY_CODE,
        r"temporar\w* (blocked|suspended|restricted|locked|frozen)",
        r"(blocked|suspended|restricted|locked|frozen) temporar",
        r"declin",
        r"do not hono",
        r"not approved",
        r"\b(bank|transaction|payment|transfer|debit)[^.;]{0,15}not authori[sz]ed",
        r"unauthori[sz]ed (bank )?(transfer|transaction|payment)",
        r"not authori[sz]ed (bank )?(transfer|transaction|payment)",
        r"authori[sz]ation (was |is )?(denied|refused|rejected)",
        r"call (the )?(credit )?card (company|issuer)",
        r"refer to (payer|card|drawer)",
        r"(abb?andoned|cancell?ed|aborted) by (the )?(buyer|customer|shopper|user)",
        r"operation not allowed",
        r"pin attempts",
        r"wrong (expiry|card) date|expired expiry|(expiry|expiration) (date|month|year)",
        r"already processed|duplicate",
        r"address verification",
        r"\bavs\b",
        r"incorrect (zip|pin|address)",
        r"zip code failed",
        r"\b(account|card)\b[^.;]{0,20}\b(locked|restricted|suspended|blocked|frozen)",
        r"refused by (the )?(issuer|bank|acquirer)",
        r"(payment|transaction|card) (was |has been |is )?refused",
        r"^(base|status): refused(?! without)",
    ),
    _rule(
        FailureClass.CATALOGUE,
        r"merchant (is )?(not (recogni[sz]ed|enabled|qualified|active|found)|unknown|configuration)",
        r"wrong merchant",
        r"\b(invalid|inactive|unknown) merchant",
        r"\bparameters?\b",
        r"(feature|service) (is )?disabled?\b",
        r"(wrong|invalid|unsupported) currency",
        r"invalid format",
        r"(blocked|closed) terminal",
        r"processing certificate",
    ),
    _rule(FailureClass.STOCK, r"out of stock", r"sold out", r"(not enough|insufficient) (stock|inventory|quantity)"),
    _rule(
        FailureClass.TRANSIENT,
        r"\btime[ds]?[ -]?out",
        r"(did|does) not (answer|respond)",
        r"\bno (answer|response|reply)\b",
        r"response[^.;]{0,20}too late",
        r"temporar",
        r"try again (later|in a)",
        rf"^(?!.*\b{PRODUCT}\b).*unavailable",
        r"\b(issuer|bank|service) (is )?not available",
        r"(could not|couldn't|cannot|can't) be reached",
        r"unreachable",
        r"connection \w+",
        r"\b(lost|dropped)\b[^.;]{0,30}connection",
        r"\b(rate|requests?|api)[ -]limit",
        r"too many requests",
        r"throttled",
        r"bad gateway",
        r"gateway (error|timeout|problem)",
        r"internal (server )?error",
        r"processing error",
        r"error occurred while processing",
        r"(system|network|acquirer|communication|service) (error|problem)",
        r"technical (error|problem|fault|failure)",
        r"(network|system) (is )?not available",
        r"communication with[^.;]{0,40}failed",
        r"\binterrupted\b",
        r"expired session|session (has )?expired",
        r"failed to verify",
        r"wrong transaction date",
        r"malfunction",
        r"inoperative",
        r"\blocked\b",
        r"\block timeout",
        r"deadlock",
        r"\bcircuit\b",
    ),
    _rule(
        FailureClass.STOCK,
        r"\bstock\b(?! location)",
        r"^(?!.*(amount|balance|price)).*less than or equal to",
        r"not enough",
    ),
    _rule(FailureClass.CATALOGUE, r"access denied", r"authori[sz]ed to perform", r"\bunauthori[sz]ed\b"),
    _rule(FailureClass.COUPON, _GIFT, general=True),
    _rule(
        FailureClass.PAYMENT,
        r"payment",
        r"\bwallet\b",
        r"\bcards?\b",
        r"authori[sz]",
        r"\bbank\b",
        r"\bgateway\b",
        r"\bmandate\b",
        r"\bfunds\b",
        r"\bpaye[re]\b",
        r"\bpin\b",
        r"\bissuer\b",
        r"\bacquirer\b",
        r"\bprocessor\b",
        r"\btransaction\b",
        r"security violation",
        r"\btoken\b",
        r"\bdebit\b",
        r"\biban\b",
        r"\bpaypal\b",
        r"\bcardholder(?! email)",
        r"\botp\b",
        r"login failed",
        general=True,
    ),
    _rule(
        FailureClass.CATALOGUE,
        r"price",
        r"\bskus?\b",
        r"\bbundle",
        r"\bproducts?\b",
        r"shipping",
        r"deliver",
        r"\bmarkets?\b",
        r"address",
        r"\btax",
        r"customer email",
        r"currency",
        r"not found",
        r"must exist",
        r"invalid resource id",
        r"\bstock location",
        r"\binventory model",
        r"\bblank\b",
        r"\bline ?items?\b",
        r"\bitems?\b",
        r"forbidden",
        general=True,
    ),
)
