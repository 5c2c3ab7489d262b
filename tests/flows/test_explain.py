"""`python -m flows explain`, asked about subscriptions of a sandbox."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from merchant import Merchant

from blocks.commerce_layer.changes import OrderCopyDraft
from blocks.commerce_layer.charging import create_order_copy
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


def test_the_last_renewal_is_explained_with_its_order_and_its_error(shop: Merchant, blocks, capsys) -> None:
    made = shop.sandbox.create_subscription(failure="declined")
    asyncio.run(shop.sweep())

    assert main(["explain", made["id"], *blocks]) == 0

    said = capsys.readouterr().out
    (row,) = shop.copies()
    assert "not due yet: next attempt" in said
    assert f"{row['id']}: completed" in said
    assert f"{row['target_order_id']}: #" in said
    assert "Your card was declined" in said
    assert "retry_scheduled" in said


def test_a_subscription_that_is_not_adopted_is_explained_as_not_renewed(shop: Merchant, blocks, capsys) -> None:
    made = shop.sandbox.create_subscription(status="active", adopted=False, next_run_at="2099-01-01T00:00:00Z")

    assert main(["explain", made["id"], *blocks]) == 0

    assert "not renewed: metadata.perennial is missing" in capsys.readouterr().out


def printed(capsys) -> str:
    """What was printed, with its lines joined: the terminal of a test is narrow."""
    return " ".join(capsys.readouterr().out.split())


def test_a_rival_is_named_as_the_reason_not_to_renew_as_in_a_sweep(shop: Merchant, blocks, capsys) -> None:
    made = shop.sandbox.create_subscription()
    rival = shop.sandbox.create_subscription(
        status="active", source_order_id=made["source_order_id"], next_run_at="2099-01-01T00:00:00Z", adopted=False
    )

    assert main(["explain", made["id"], *blocks]) == 0

    said = printed(capsys)
    assert "not renewed: the period of" in said
    assert f"subscription {rival['id']} of the same source order is active" in said
    assert "dates, once that is settled" in said


def test_a_copy_by_another_program_is_named_as_the_reason_not_to_renew(shop: Merchant, blocks, capsys) -> None:
    made = shop.sandbox.create_subscription()
    asyncio.run(_copied_by_crm(shop, made["source_order_id"]))

    assert main(["explain", made["id"], *blocks]) == 0

    assert "(crm) of the same source order was made inside this period" in printed(capsys)


async def _copied_by_crm(shop: Merchant, source_order_id: str) -> None:
    async with shop.dashboard() as dashboard:
        draft = OrderCopyDraft(source_order_id=source_order_id, reference="by-crm", reference_origin="crm")
        await create_order_copy(dashboard, draft)


def test_a_held_subscription_whose_order_was_paid_is_explained_as_due_to_be_recorded(
    shop: Merchant, blocks, capsys
) -> None:
    made = shop.sandbox.create_subscription(failure="hard_declined")
    asyncio.run(shop.sweep())
    assert main(["explain", made["id"], *blocks]) == 0
    assert "held for a person" in printed(capsys)
    (row,) = shop.copies()
    shop.sandbox.customer_pays(row["target_order_id"])

    assert main(["explain", made["id"], *blocks]) == 0

    said = printed(capsys)
    assert "is placed, and the next sweep records it as renewed" in said
    assert "held for a person" not in said


def test_a_card_at_its_networks_limit_is_explained_with_its_next_attempt(shop: Merchant, blocks, capsys) -> None:
    due = shop.sandbox.clock().replace(second=0, microsecond=0) - timedelta(hours=1)
    made = shop.sandbox.create_subscription(
        next_run_at=due.isoformat(),
        metadata={"perennial": {"v": 1, "attempts": [(due - timedelta(hours=n)).isoformat() for n in range(5)]}},
    )

    assert main(["explain", made["id"], *blocks]) == 0

    said = printed(capsys)
    assert "due, but it waits" in said
    assert "the card networks' limit on failed charges is reached; next attempt" in said
    assert shop.copies() == []


def test_a_date_alone_means_the_end_of_that_day_in_the_merchants_time_zone(shop: Merchant, blocks, capsys) -> None:
    made = shop.sandbox.create_subscription(next_run_at="2026-03-01T06:00:00Z", starts_at="2026-01-01T06:00:00Z")

    assert main(["explain", made["id"], "--on", "2026-03-01", *blocks]) == 0
    on_the_day = printed(capsys)
    assert main(["explain", made["id"], "--on", "2026-02-28", *blocks]) == 0
    on_the_day_before = printed(capsys)

    assert "as of Sun 1 Mar 23:59 UTC 2026" in on_the_day
    assert "due: the period of Sun 1 Mar 06:00 UTC 2026" in on_the_day
    assert "not due yet: due on Sun 1 Mar 06:00 UTC" in on_the_day_before


def test_a_subscription_is_explained_also_while_charging_is_stopped(shop: Merchant, blocks, capsys) -> None:
    made = shop.sandbox.create_subscription()
    assert main(["stop", "wrong prices"]) == 0
    try:
        assert main(["explain", made["id"], *blocks]) == 0
    finally:
        main(["go"])

    assert "due: the period of" in printed(capsys)


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
