"""Every row of docs/failures.md is classified as the page says."""

import re
from pathlib import Path

import pytest
from rules.making import POLICY, copy

from flows.rules.failures import classify_copy

PAGE = Path(__file__).resolve().parents[2] / "docs" / "failures.md"
ROW = re.compile(r"^\| `(?P<text>.+)` \| (?P<cls>\w+) \| (?P<hard>hard|soft) \|$")
ATTRIBUTE = re.compile(r"([a-z]+(?:_[a-z]+)*): (.*)")
ATTRIBUTES = {
    "base", "coupon_code", "customer_payment_source", "gift_card_code", "gift_card_or_coupon_code", "line_items",
    "market", "payment_method", "payment_source", "quantity", "shipments", "shipping_address", "sku_code", "status",
}  # fmt: skip


def rows():
    for line in PAGE.read_text().splitlines():
        if line.startswith("| `"):
            row = ROW.match(line)
            assert row, f"not a row of the table: {line}"
            yield row["text"].replace(r"\|", "|"), row["cls"], row["hard"]


def reading(text, attribute="base"):
    named = ATTRIBUTE.fullmatch(text)
    if named and named[1] in ATTRIBUTES:
        attribute, text = named[1], named[2]
    failure = classify_copy(copy("SubAbcdefg@2026-03-01T06:00Z", "failed", errors_log={attribute: [text]}), POLICY)
    return str(failure.cls), "hard" if failure.permanent else "soft"


@pytest.mark.parametrize(("text", "cls", "hard"), list(rows()))
def test_a_text_is_classified_as_published(text, cls, hard):
    assert reading(text) == (cls, hard)


def test_the_page_lists_at_least_250_texts_and_none_twice():
    texts = [text for text, _, _ in rows()]
    assert len(texts) >= 250
    assert len(texts) == len(set(texts))
