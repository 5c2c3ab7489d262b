"""Amounts of money as people read them."""

_WITHOUT_CENTS = frozenset(
    {"BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG", "RWF", "UGX", "VND", "VUV", "XAF", "XOF", "XPF"}
)
_WITH_THOUSANDTHS = frozenset({"BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"})
"""ISO 4217: currencies whose smallest unit is not a hundredth. Commerce Layer's `..._cents` count smallest units."""


def amount_in_words(cents: int | None, currency: str | None) -> str:
    """`25.00 EUR`, `2500 JPY`; empty when the amount is not known."""
    if cents is None:
        return ""
    code = (currency or "").upper()
    digits = 0 if code in _WITHOUT_CENTS else 3 if code in _WITH_THOUSANDTHS else 2
    return f"{cents / 10**digits:.{digits}f} {code}".strip()
