"""The report's page: one file that loads nothing, in which no text from outside becomes markup."""

from __future__ import annotations

import re

from rules.past import MARCH, NOW, SHOP, past

from blocks.policy import Policy
from flows.cli.report_page import page_of
from flows.rules.renewal_reports import report_of


def test_no_text_from_outside_becomes_markup() -> None:
    odd = past(1, "2026-03-01T06:05", customer_email="<script>alert(1)</script>", currency="<em>")

    page = page_of(report_of([odd], {}, MARCH, Policy(), NOW), SHOP, Policy(), "<i>policy</i>")

    assert "&lt;script&gt;alert(1)" in page
    assert not re.search(r"<script|<em>|<i>policy", page)


def test_the_page_loads_nothing_and_has_its_own_colours_for_light_and_dark() -> None:
    renewals = [past(1, placed="2026-03-01T06:05"), past(2, "2026-03-01T06:05", placed="2026-03-02T06:05")]

    page = page_of(report_of(renewals, {}, MARCH, Policy(), NOW), SHOP, Policy(), "default")

    assert page.count("<svg") == 8, "renewals, money, classes and retries, each for a wide and a narrow page"
    assert re.findall(r"<script|<link|<img|@import|url\(|\bsrc=|xlink:href", page) == []
    assert set(re.findall(r"var\((--[a-z-]+)\)", page)) <= set(re.findall(r"(--[a-z-]+):", page))
    assert "prefers-color-scheme: dark" in page
