"""Texts from customers, staff and gateways are shown as they are and do nothing, in terminals, pages, tables, logs."""

from __future__ import annotations

import asyncio
import csv
import json
import logging
import re
from pathlib import Path
from typing import Any

import pytest
import stored_runs
from merchant import Ended, Merchant

from blocks.commerce_layer.errors import ErrorItem, Refused
from flows.__main__ import main
from flows.cli.refusals import refuse
from flows.cli.up import _show_alarm

TERMINAL = "\x1b]0;owned\x07\x1b[2J\x1b[31m\x9b31m\r\n\u202eback\u200b"
MARKUP = "[bold]b[/bold][link=https://evil.example]l[/link][/]"
MARKDOWN = "[a](javascript:alert(1)) ![i](https://evil.example/i.png) https://evil.example | # h"
HTML = "<script>alert(1)</script><img src=x onerror=alert(1)>"
HOSTILE = f"{TERMINAL}{MARKUP}{HTML}{MARKDOWN}"
FORMULA = f'=HYPERLINK("https://evil.example")@x.example{TERMINAL}{MARKUP}{HTML}'


def assert_shown_on_one_line_each(text: str) -> None:
    """Nothing in the text moves the cursor, changes a colour, or reverses what follows."""
    assert [each for each in text if each != "\n" and not each.isprintable()] == []
    assert "\x1b" not in text


def assert_not_rendered(text: str) -> None:
    """Markdown pages show the text as it is: no link, no picture, no tag."""
    assert not re.search(r"(?<!\\)\]\(", text)
    assert "![i](" not in text
    assert "<script" not in text
    assert "<img" not in text
    assert "https://evil" not in text


def hostile_shop(shop: Merchant) -> list[dict[str, Any]]:
    """Subscriptions that fail in several ways, and whose names, addresses, references and errors are hostile."""
    made = [shop.sandbox.create_subscription(failure=kind) for kind in ("hard_declined", "sku_gone", "declined", None)]
    asyncio.run(shop.sweep_that_dies_before_placing())
    odd: dict[str, dict[str, Any]] = {}
    for each in made:
        odd[each["id"]] = {"customer_email": FORMULA, "number": HOSTILE, "reference_origin": HOSTILE}
    for order in shop.target_orders():
        odd[order["id"]] = {"customer_email": FORMULA, "number": HOSTILE, "reference_origin": HOSTILE}
    for copy in shop.copies():
        if copy["status"] == "failed":
            odd[copy["id"]] = {"errors_log": {"line_items": [HOSTILE], HOSTILE: [HOSTILE]}}
    shop.sandbox.fault("odd", changes=odd)
    said = {"title": HOSTILE, "detail": HOSTILE, "code": HOSTILE, "status": "422", "meta": {"error": HOSTILE}}
    shop.sandbox.fault(
        "status", method="PATCH", path="/api/orders/*", status=422, body=json.dumps({"errors": [said]}), times=2
    )
    return made


@pytest.fixture
def hostile(shop: Merchant, caplog) -> tuple[Merchant, Ended]:
    """The shop after a sweep."""
    caplog.set_level(logging.DEBUG)
    asyncio.run(shop.install(brake_share=1.0))
    hostile_shop(shop)
    return shop, asyncio.run(shop.sweep())


def test_a_hostile_shop_is_shown_as_it_is_by_every_command_and_page(hostile, capsys, caplog, tmp_path: Path) -> None:
    shop, swept = hostile
    watched = asyncio.run(shop.watch(held="0h"))
    blocks = ["--credentials", shop.name, "--policy", shop.name]
    span = ["--from", "2026-01-01", "--to", "2027-12-31", *blocks]
    page, failures, unmatched = (tmp_path / name for name in ("page.html", "failed.csv", "reconciled.csv"))

    capsys.readouterr()
    said = {}
    for command in (
        ["failed", *blocks], ["failed", "--csv", str(failures), *blocks],
        ["reconcile", *span, "--csv", str(unmatched)], ["reconcile", *span],
        ["report", *span, "-o", str(page)],
        ["incident", str(swept.flow_run_id), *blocks], ["watch", *blocks],
        ["explain", shop.rows("SELECT id FROM order_subscriptions")[0]["id"], *blocks],
    ):  # fmt: skip
        assert main(command) in {0, 1}, capsys.readouterr().err
        both = capsys.readouterr()
        said[command[0]] = said.get(command[0], "") + both.out + both.err
        assert_shown_on_one_line_each(said[command[0]])

    for command in ("failed", "incident"):
        assert MARKUP in said[command].replace("\n", ""), "shown as it is"
    assert_shown_on_one_line_each(swept.message + watched.message)
    for run in (swept, watched):
        for artifact in asyncio.run(stored_runs.artifacts(run.flow_run_id)).values():
            shown = f"{artifact.description}{artifact.data}"
            if artifact.type in {"table", "markdown"}:
                assert_not_rendered(shown)
    html = page.read_text()
    assert "<script>alert" not in html
    assert "<img" not in html
    assert "&lt;script&gt;" in html
    for file in (failures, unmatched):
        cells = [cell for row in csv.reader(file.open(newline="")) for cell in row]
        assert not [cell for cell in cells if cell.startswith(("=", "+", "@", "\t", "\r"))]
        assert_shown_on_one_line_each("".join(cells))
    assert "'=HYPERLINK" in failures.read_text()
    ours = [record for record in caplog.records if record.name.startswith(("prefect.flow", "prefect.task", "blocks"))]
    assert ours
    assert_shown_on_one_line_each("".join(record.getMessage() for record in ours))


def test_what_a_shop_says_when_it_refuses_cannot_reach_the_terminal(capsys) -> None:
    error = Refused(422, (ErrorItem(title=HOSTILE, detail=HOSTILE, code=HOSTILE),), "PATCH", "/api/orders/x")

    refuse(error)
    refuse(HOSTILE)
    _show_alarm({"text": HOSTILE})

    both = capsys.readouterr()
    assert_shown_on_one_line_each(str(error) + both.out + both.err)
    assert "\n" not in str(error)
    assert MARKUP in both.out.replace("\n", "")
