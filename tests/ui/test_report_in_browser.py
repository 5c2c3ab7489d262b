"""The report's page in a browser: light and dark, on a desk and on a phone."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from rules.past import MARCH, NOW, SHOP, past
from ui.browser import CHROMIUM, Browser, open_browser

from blocks.policy import Policy
from flows.cli.report_page import page_of
from flows.rules.renewal_reports import report_of

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here: apt-get install chromium to look at it")

PICTURES = os.environ.get("PERENNIAL_PICTURES")
"""Folder in which to save pictures of the page; without it, none are saved."""


def page() -> str:
    renewals = [past(number, placed=f"2026-03-{number:02}T06:05") for number in range(1, 29)]
    renewals += [
        past(number, "2026-03-01T06:05", placed=f"2026-03-{number - 28:02}T07:05", currency="USD")
        for number in (30, 40)
    ]
    long = f"{'a-very-long-name' * 4}@example.com"
    renewals += [past(number, "2026-03-03T06:05", customer_email=long) for number in (50, 51)]
    return page_of(report_of(renewals, {}, MARCH, Policy(), NOW), SHOP, Policy(), "default")


async def test_the_page_fits_a_phone_and_follows_the_colours_of_its_reader(tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    file.write_text(page(), encoding="utf-8")
    backgrounds = set()
    async with open_browser() as browser:
        for width in (1280, 390):
            for colours in ("light", "dark"):
                await browser.become(width=width, colours=colours)
                text = await browser.open(file.as_uri(), "Renewals, 1 March to 31 March 2026", "do not say")
                assert text.count("Renewals by day") == 1
                assert await browser.value_of("document.documentElement.scrollWidth") == width, "nothing is cut off"
                assert await _charts_seen(browser) == 5, "each is drawn twice, and one of them is shown"
                backgrounds.add(await browser.value_of("getComputedStyle(document.body).backgroundColor"))
                if PICTURES:
                    await browser.picture(Path(PICTURES) / f"report-{width}-{colours}.png")
        assert await browser.value_of("performance.getEntriesByType('resource').length") == 0, "it loads nothing"
    assert len(backgrounds) == 2


async def _charts_seen(browser: Browser) -> int:
    return int(await browser.value_of("[...document.querySelectorAll('svg')].filter(each => each.clientWidth).length"))
