"""`perennial reconcile` as a person calls it: its table, its JSON, its file, its exit codes, and its errors."""

from __future__ import annotations

import asyncio
import csv
import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from meanwhile import patch
from merchant import Merchant
from sandbox_clock import SandboxClock

from blocks.commerce_layer.clock import use_clock
from blocks.sandbox.running import RunningSandbox
from flows.__main__ import main
from flows.cli.prefect_server import PrefectServer


@pytest.fixture(scope="module")
def shop(server: PrefectServer) -> Iterator[Merchant]:
    """A merchant with five subscriptions that a sweep has just renewed, one of them declined."""
    with RunningSandbox("--limits", "off", "--frozen") as sandbox:
        merchant = Merchant(sandbox)
        with use_clock(SandboxClock(sandbox)):
            asyncio.run(merchant.install())
            sandbox.seed(5, failures={"declined": 1})
            asyncio.run(merchant.sweep())
            yield merchant


@pytest.fixture
def given(shop: Merchant) -> list[str]:
    """The options of a call about the last two days."""
    today = shop.sandbox.clock().date()
    span = ["--from", str(today - timedelta(days=1)), "--to", str(today)]
    return ["reconcile", *span, "--credentials", shop.name, "--policy", shop.name]


def as_json(capsys: Any, *arguments: str) -> tuple[int, dict[str, Any]]:
    code = main([*arguments, "--json"])
    return code, json.loads(capsys.readouterr().out)


def test_what_a_sweep_has_renewed_matches_and_a_retry_that_waits_is_explained(shop: Merchant, given, capsys) -> None:
    code = main(given)

    said = capsys.readouterr()
    assert "5 periods, 4 renewed once, 1 explained, 0 unexplained" in said.out
    assert "not renewed" in said.out
    assert "next attempt" in said.out
    assert code == 0


def test_the_file_has_every_period_and_json_those_that_do_not_match(
    shop: Merchant, given, capsys, tmp_path: Path
) -> None:
    code, facts = as_json(capsys, *given, "--csv", str(tmp_path / "periods.csv"))

    with (tmp_path / "periods.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert sorted(row["match"] for row in rows) == ["not renewed", *["renewed once"] * 4]
    assert {row["order_ids"] for row in rows if row["order_ids"]} == {
        order["id"] for order in shop.target_orders() if order["status"] == "placed"
    }
    assert [row["match"] for row in facts["mismatches"]] == ["not renewed"]
    assert (code, facts["periods"], facts["unexplained"]) == (0, 5, 0)


def test_an_unexplained_period_ends_it_with_1(shop: Merchant, given, capsys) -> None:
    placed = next(order for order in shop.target_orders() if order["status"] == "placed")
    owner = placed["copy_reference"].partition("@")[0]
    before = shop.subscription(owner)["metadata"]
    price = {"perennial": {**before["perennial"], "price": {"cents": 1, "currency": "EUR"}}}
    patch(shop, "order_subscriptions", owner, metadata=price)

    code, facts = as_json(capsys, *given)

    patch(shop, "order_subscriptions", owner, metadata=before)
    assert (code, facts["counts"]["charged a different amount"]) == (1, 1)


@pytest.mark.parametrize(
    ("first", "last", "says"),
    [
        ("2026-03-02", "2026-02-01", "The span ends (2026-02-01) before it begins (2026-03-02)"),
        ("2026-03-01T06:00", "2026-03-01T06:00", "The span is empty"),
        ("2100-01-01", "2100-01-31", "Nothing was due yet"),
    ],
)
def test_a_span_without_periods_is_a_clear_error(shop: Merchant, first: str, last: str, says: str, capsys) -> None:
    blocks = ["--credentials", shop.name, "--policy", shop.name]

    assert main(["reconcile", "--from", first, "--to", last, *blocks]) == 2
    assert says in capsys.readouterr().err


def test_an_unknown_policy_is_a_clear_error_also_for_machines(shop: Merchant, given, capsys) -> None:
    code, facts = as_json(capsys, *given[:-1], "no-such-policy")

    assert code == facts["exit_code"] == 2
    assert "no-such-policy" in facts["error"]


def test_a_file_in_a_folder_that_does_not_exist_is_refused_before_anything_is_read(
    shop: Merchant, given, capsys
) -> None:
    shop.sandbox.reset_counters()

    assert main([*given, "--csv", "/no/such/folder/periods.csv"]) == 2

    assert "--csv /no/such/folder/periods.csv cannot be written" in capsys.readouterr().err
    assert shop.sandbox.counters()["requests"] == {}


def test_a_shop_that_cannot_be_read_is_a_clear_error(shop: Merchant, given, capsys) -> None:
    shop.sandbox.fault("status", method="GET", path="/api/*", status=503)

    code = main(given)

    shop.sandbox.clear_faults()
    assert code == 2
    assert "/api/order_copies" in capsys.readouterr().err
