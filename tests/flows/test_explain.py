"""`python -m flows explain`, asked about real subscriptions of a sandbox."""

from __future__ import annotations

import asyncio

import pytest
from merchant import Merchant

from flows.__main__ import main


@pytest.fixture
def blocks(shop: Merchant) -> list[str]:
    return ["--credentials", shop.name, "--policy", shop.name]


def test_a_due_subscription_is_explained_with_its_dates_and_retries(shop: Merchant, blocks, capsys) -> None:
    made = shop.sandbox.create_subscription(next_run_at="2026-01-31T06:00:00Z", starts_at="2025-12-31T06:00:00Z")

    assert main(["explain", made["id"], "--on", "2026-01-31T07:00", *blocks]) == 0

    said = capsys.readouterr().out
    assert "due: the period of Sat 31 Jan 06:00 UTC 2026" in said
    assert "next 24 dates" in said
    assert "Sat 28 Feb 2026 06:00" in said
    assert "01 Feb 07:00, 04 Feb 07:00, 09 Feb 07:00, 14 Feb 07:00; then hold" in said
    assert "in months without that day it is due on the last day" in " ".join(said.split())


def test_the_last_renewal_is_told_with_its_order_and_its_error(shop: Merchant, blocks, capsys) -> None:
    made = shop.sandbox.create_subscription(failure="declined")
    asyncio.run(shop.sweep())

    assert main(["explain", made["id"], *blocks]) == 0

    said = capsys.readouterr().out
    (row,) = shop.copies()
    assert "not due: next attempt" in said
    assert f"{row['id']}  failed" in said
    assert f"{row['target_order_id']}  #" in said
    assert "Your card was declined" in said
    assert "retry_scheduled" in said


def test_a_subscription_that_is_not_ours_is_said_to_be_so(shop: Merchant, blocks, capsys) -> None:
    made = shop.sandbox.create_subscription(status="active", adopted=False, next_run_at="2099-01-01T00:00:00Z")

    assert main(["explain", made["id"], *blocks]) == 0

    assert "not due: metadata.perennial is missing" in capsys.readouterr().out


def test_an_id_that_does_not_exist_is_a_clear_error(shop: Merchant, blocks, capsys) -> None:
    assert main(["explain", "NoSuchOne0", *blocks]) == 2

    said = capsys.readouterr().err
    assert "no subscription 'NoSuchOne0' in organization perennial-sandbox (test mode)" in said


def test_a_block_that_does_not_exist_is_a_clear_error(shop: Merchant, capsys) -> None:
    assert main(["explain", "NoSuchOne0", "--credentials", "no-such-block"]) == 2

    assert "no-such-block" in capsys.readouterr().err


def test_a_shop_that_cannot_be_reached_is_a_clear_error(shop: Merchant, blocks, capsys) -> None:
    shop.sandbox.fault("status", status=503)

    assert main(["explain", "NoSuchOne0", *blocks]) == 2

    assert "/" in capsys.readouterr().err
