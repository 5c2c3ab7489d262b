"""
The reason codes of card networks, banks and gateways; the field of a code decides which table it is from.

Sources, with the full table in docs/failures.md: ISO 8583 response codes as Visa and Mastercard use them and
Visa's list of those that may never be repeated; Mastercard's merchant advice codes; EPC173-14 (SEPA direct debit);
Nacha return codes (ACH); Bacs ARUDD, ADDACS and AUDDIS; Adyen refusal reasons; Braintree processor responses;
Checkout.com response codes.
"""

import re
from collections.abc import Iterable, Iterator

from blocks.policy import FailureClass
from flows.rules.failure_bodies import plain_key

Reading = tuple[FailureClass, bool]
"""A class, and whether the failure is permanent."""

_SOFT, _HARD = (FailureClass.PAYMENT, False), (FailureClass.PAYMENT, True)
_PASSING, _SETUP = (FailureClass.TRANSIENT, False), (FailureClass.CATALOGUE, False)


def _table(**codes: str) -> dict[str, Reading]:
    meanings = {"hard": _HARD, "soft": _SOFT, "passing": _PASSING, "setup": _SETUP}
    return {code: meanings[name] for name, listed in codes.items() for code in listed.split()}


NETWORK = _table(
    hard="04 07 12 14 15 1A 33 34 35 36 37 38 41 43 46 57 59 62 R0 R1 R3",
    soft="01 02 05 06 08 10 13 17 25 30 39 40 42 51 52 53 54 55 56 58 60 61 63 64 65 67 70 71 72 74 75 76 77 78 79 80 "
    "81 82 83 84 85 86 87 88 89 93 94 97 N0 N3 N4 N7 P5 P6 Q1 Z3",
    passing="19 21 22 28 68 90 91 92 95 96 98 99",
    setup="03",
)
ADVICE = _table(hard="01 03 21 41", soft="02 04 22 24 25 26 27 28 29 30 40 42 43")
"""Mastercard's merchant advice codes. 01: the card's data have changed, so the old ones fail; 41: a used card."""
SEPA = _table(
    hard="AC01 AC04 AC06 AC13 AG01 BE05 MD01 MD02 MD06 MD07 MS02 RC01 SL01 FOCR DNOR",
    soft="AM04 AM06 MS03",
    passing="TM01 ED05 TECH AM05",
    setup="AC03 AG02 BE01 BE04 CNOR DT01 FF01 FF05 RR01 RR02 RR03 RR04 ED01",
)
ACH = _table(
    hard="R02 R03 R04 R05 R07 R08 R10 R11 R12 R13 R14 R15 R16 R20 R23 R28 R29 R37 R38 R39 R51",
    soft="R01 R09 R24",
    passing="R06 R18 R19 R22 R25 R26 R27 R30 R31",
    setup="R17 R21",
)
ARUDD = _table(hard="1 2 3 4 5 6 7 A B", soft="0 8 9")
ADDACS = _table(hard="0 1 2 3 B C D", soft="E R")
AUDDIS = _table(hard="0 1 2 3 5 6 B C F G H K L N", setup="I M O P Q S T V Y Z")
ADYEN = _table(
    hard="5 8 11 14 20 22 23 25 26 31 38 42 46",
    soft="2 3 6 7 10 12 15 16 17 18 19 21 24 27 28 29 32 33 34 35 36 37 39 40 41 43 44 45",
    passing="4 9",
)
BRAINTREE = _table(hard="2005 2007 2009 2012 2013 2014 2015 2047 2053", soft="2000 2001 2002 2003 2004 2010 2046")
_BARE = frozenset({"04", "07", "41", "43", "46", "57", "R0", "R1", "R3"})
"""
Codes that are clear beside a word of payments, even in a field that is only called `code`.

12, 14 and 15 are not: they are also gRPC codes.
"""

_NETWORKS = (
    "network|issuer|bank|acquirer|host|processor|gateway|auth|authorization|authorisation|raw|card|visa|mastercard"
)
_OF_THE_NETWORK = re.compile(
    rf"^((?P<whose>{_NETWORKS})+(decline|response|result|refusal|return|reason|iso|action|failure)(code|raw)"
    r"|(decline|response|refusal|refusalreason|iso)code|(network|issuer)code|refusalreasonraw)$"
)
_OF_A_REASON = re.compile(
    r"^((error|reason|result|return|failure|action|gateway|iso|sepa|ach)?code|(failure)?reason|cause|error)$"
)
_PLAIN = frozenset({"code", "errorcode", "error"})
"""Keys whose code may be of anything, so that it counts only beside a word of payments."""
_PAYMENT_WORDS = re.compile(
    r"(?<!gift)(?<!gift )\bcard|\bpayments?\b|declin|refus|\bbank|issuer|acquirer|authori[sz]|transaction|direct debit|"
    r"\b(mandate|iban|sepa|ach|funds|payer|charge|fraud)\b|hono(u)?r|pick ?up",
    re.IGNORECASE,
)
_OF_ADVICE = re.compile(r"^((network|merchant|mastercard|mc|raw)*advice(code|raw)?|mac|maccode)$")
_BACS = re.compile(r"\b(ARUDD|ADDACS|AUDDIS)\b\W*(?:return\W+|reason\W+)?(?:code\W+)?([0-9A-Z])(?![\w])")
_OF_BANKS = r"(A[CG]\d\d|AM0[4-6]|BE0[145]|CNOR|DNOR|FOCR|MD0[1267]|MS0[23]|RC01|RR0[1-4]|SL01)"


def read_fields(
    fields: Iterable[tuple[str, str]], *, of_payments: bool = True, beside: Iterable[str] = ()
) -> Iterator[Reading]:
    """
    What the codes in the fields of an answer mean. Codes that are in no table mean nothing.

    Unless the answer is `of_payments`, a field that is only called `code` may hold any number; and so it may if neither
    another field nor what is said `beside` the fields has a word of payments.
    """
    fields = list(fields)
    said = " ; ".join([*beside, *(part for field in fields for part in field)]).replace("_", " ")
    by_a_payment_word = _PAYMENT_WORDS.search(said) is not None
    for key, value in fields:
        name, code = plain_key(key), _code_in(value)
        if not of_payments and _OF_A_REASON.match(name):
            continue
        if reading := _read_field(name, code, value, by_a_payment_word=by_a_payment_word):
            yield reading


def _read_field(name: str, code: str, value: str, *, by_a_payment_word: bool) -> Reading | None:
    bacs = _BACS.search(value.replace("_", " "))
    if bacs:
        return _read_bacs(bacs)
    network = _OF_THE_NETWORK.match(name)
    if network:
        return _read_network(name, code, named=network["whose"] is not None)
    if _OF_A_REASON.match(name):
        bare = _HARD if by_a_payment_word and code in _BARE and value.strip() == code else None
        return (_of_a_bank(code) if by_a_payment_word or name not in _PLAIN else None) or bare
    return _read_named(name, code, value)


def _read_named(name: str, code: str, value: str) -> Reading | None:
    if name == "processorresponsetype":
        return {"harddeclined": _HARD, "softdeclined": _SOFT}.get(plain_key(value))
    if name == "mac" and value.strip() != code:
        return None  # the address of a network card
    return ADVICE.get(code.zfill(2)) if _OF_ADVICE.match(name) else None


def _read_network(name: str, code: str, *, named: bool) -> Reading | None:
    if name == "refusalreasoncode":
        return ADYEN.get(code)
    if name.startswith("processor") and code in BRAINTREE:
        return BRAINTREE[code]
    if re.fullmatch(r"[23]0\d{3}", code):  # Checkout.com: 30xxx are hard, the others end in the network's own code
        return _HARD if code.startswith("3") or code == "20154" else NETWORK.get(code[3:], _SOFT)
    # Only if the network is named: a plain `responseCode` of 4 is the gateway's own code.
    padded = code.zfill(2) if named and code.isdigit() else code
    return NETWORK.get(padded) or _of_a_bank(code)


def _of_a_bank(code: str) -> Reading | None:
    return SEPA.get(code) or (ACH.get(code) if re.fullmatch(r"R\d\d", code) else None)


def _read_bacs(found: re.Match[str]) -> Reading | None:
    return {"ARUDD": ARUDD, "ADDACS": ADDACS, "AUDDIS": AUDDIS}[found[1]].get(found[2])


def _code_in(value: str) -> str:
    """`51` in `51 : Insufficient funds`: the code at the start of a value, else the whole value."""
    found = re.match(r"\s*([A-Za-z]{0,4}\d{1,5}[A-Z]?|[A-Z]{4})(?=\s*(?:$|[:;,.)-]|\s))", value)
    return found[1] if found else value.strip()


_NUMBER = r"(?P<code>0[47]|4[136]|57|R[013])"
_BEFORE = (
    r"(?:(?:^|[:;,.(\[-])\s*"
    r"|\b(?:error|reason|bank|iso|result|return|failure|declined?|refused|failed|with|card|gateway) )"
)
_WORDS = re.compile(
    rf"{_BEFORE}code(?: is| was)?\W{{0,3}}{_NUMBER}\b(?![:.]\d)"
    rf"|(?:^|(?<!\bno)[\s(\[,;])(?:rc|response)[\s:=]{{1,3}}(?P<short>\d\d|R[013])(?=\s*(?:$|[)\]:;,.-]))"
    r"|\b(?:response|decline|network|issuer|refusal|iso)(?: response| decline| refusal)? code(?: is| was)?\W{0,3}"
    r"(?P<named>[0-9R][0-9A]|R0|R1|R3)\b"
    r"|(?:declin|refus)\w{0,5}\W{0,2}[(:\[]\s*(?:code\W{0,2})?"
    r"(?P<beside>0[47]|1[245]|4[136]|57|R[013])(?=\s*($|[)\]:.-]))",
    re.IGNORECASE,
)
_ADVICE_WORDS = re.compile(
    r"(?:\bmac|\badvice code)(?: is| was)?\W{0,3}(?P<code>\d\d)\b(?!:\d)"
    r"|(?:^|[\s(\[,;])advice[\s:=]{1,3}(?P<short>\d\d)(?=\s*(?:$|[)\]:;,.-]))",
    re.IGNORECASE,
)
_BANK_WORDS = re.compile(
    rf"(?:^|[(\[])\s*(?P<first>{_OF_BANKS}|R\d\d)(?=\s*($|[)\]:.,-]|\s[-:]))"
    rf"|\b(?:[Cc]ode|[Rr]eason|[Rr]eturn|[Rr]eturned|ACH|NACHA|SEPA|SDD)\W{{1,3}}(?:code\W{{1,2}})?(?P<named>{_OF_BANKS}|R\d\d)\b"
)


def read_codes_in_prose(phrase: str) -> Iterator[Reading]:
    """The meanings of codes in a sentence, where they are clearly codes."""
    text = phrase.replace("_", " ")
    for found in _WORDS.finditer(text):
        if found["code"] or found["beside"] or (found["short"] or "").upper() in _BARE:
            yield _HARD
        elif found["short"]:
            if NETWORK.get(found["short"]) == _SOFT:  # the others, such as `rc=12`, may mean anything
                yield _SOFT
        elif reading := NETWORK.get(found["named"].upper()):
            yield reading
    for found in _ADVICE_WORDS.finditer(text):
        if reading := ADVICE.get(found["code"] or found["short"]):
            yield reading
    for found in _BANK_WORDS.finditer(text):
        code = found["first"] or found["named"]
        if reading := SEPA.get(code) or ACH.get(code):
            yield reading
    for found in _BACS.finditer(text):
        if reading := _read_bacs(found):
            yield reading
