"""Amounts of money as people read them."""

_WITHOUT_CENTS = frozenset(
    {"BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG", "RWF", "UGX", "VND", "VUV", "XAF", "XOF", "XPF"}
)
_WITH_THOUSANDTHS = frozenset({"BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"})
"""ISO 4217: currencies whose smallest unit is not a hundredth. Commerce Layer's `..._cents` count smallest units."""


def money(cents: int | None, currency: str | None) -> str:
    """`1,225.00 EUR`, as a sentence says it; `an unknown amount` if it is not known."""
    if cents is None:
        return "an unknown amount"
    return f"{_number(cents, currency)} {currency or '(unknown currency)'}"


def amount_cell(cents: int | None, currency: str | None) -> str:
    """`1,225.00 EUR`, as the cell of a table; empty if it is not known."""
    if cents is None:
        return ""
    return f"{_number(cents, currency)} {(currency or '').upper()}".strip()


def plain_amount(cents: int | None, currency: str | None) -> str:
    """`1225.00`, as spreadsheets and programs read it; empty if it is not known."""
    return "" if cents is None else _number(cents, currency).replace(",", "")


def _number(cents: int, currency: str | None) -> str:
    code = (currency or "").upper()
    decimals = 0 if code in _WITHOUT_CENTS else 3 if code in _WITH_THOUSANDTHS else 2
    return f"{cents / 10**decimals:,.{decimals}f}"
