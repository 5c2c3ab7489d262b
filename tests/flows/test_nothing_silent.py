"""Subscriptions that cannot be read, written or renewed: sweeps report them, and renew the others."""

from __future__ import annotations

from datetime import timedelta
from itertools import count
from typing import Any

import pytest
import stored_runs
from meanwhile import Meanwhile, patch
from merchant import Ended, Merchant

from blocks.commerce_layer.clock import use_clock

DAY = 86_400
RECORDS = {"method": "PATCH", "path": "/api/order_subscriptions/*"}


async def row_of(ended: Ended, subscription_id: str) -> dict[str, str]:
    (row,) = [row for row in await stored_runs.table(ended.flow_run_id) if row["renewal"].startswith(subscription_id)]
    return row


def hide(merchant: Merchant, made: dict[str, Any]) -> None:
    """Answer 500 to lists that ask for this subscription by its id or its source order."""
    match = f"_in.*({made['id']}|{made['source_order_id']})"
    merchant.sandbox.fault("status", status=500, method="GET", path="/api/order_subscriptions", match=match)


@pytest.mark.parametrize("status", [401, 403])
async def test_nothing_is_charged_if_no_subscription_can_be_written(merchant: Merchant, status: int) -> None:
    merchant.sandbox.seed(12)
    merchant.sandbox.fault("status", status=status, body="json", **RECORDS)

    ended = await merchant.sweep()

    assert ended.name == "Failed"
    assert "subscriptions cannot be written" in ended.message
    assert "nothing was charged: let the API client update order subscriptions; 12 stay due" in ended.message
    assert merchant.copies() == []
    merchant.sandbox.clear_faults()
    assert (await merchant.sweep()).outcomes == {"renewed": 12}


async def test_a_subscription_that_cannot_be_written_is_not_charged(merchant: Merchant) -> None:
    made = merchant.sandbox.create_subscription()["id"]
    merchant.sandbox.fault("status", status=422, body="json", **RECORDS)

    ended = await merchant.sweep()

    assert (ended.name, ended.outcomes, merchant.copies()) == ("Failed", {"skipped": 1}, [])
    assert "it cannot be written" in (await row_of(ended, made))["why"]


async def test_refused_records_fail_the_run_at_once_and_stop_the_sweep(merchant: Merchant) -> None:
    await merchant.install(first_wave=4, second_wave=4)
    merchant.sandbox.seed(12)
    merchant.sandbox.fault("status", status=403, body="json", match="perennial", **RECORDS)

    ended = await merchant.sweep()

    assert ended.name == "Failed"
    assert ended.outcomes == {"renewed": 4}
    assert ended.message.startswith("4 need a person, stopped: ")
    assert "records in a row were refused" in ended.message
    assert "NOT RECORDED" in (await stored_runs.table(ended.flow_run_id))[0]["why"]
    merchant.sandbox.clear_faults()
    assert (await merchant.sweep()).outcomes == {"already_renewed": 4, "renewed": 8}
    assert len(set(merchant.placed())) == len(merchant.placed()) == 12


async def test_a_subscription_that_cannot_be_read_does_not_stop_the_others_and_is_named_after_a_day(
    merchant: Merchant,
) -> None:
    seeded = [merchant.sandbox.create_subscription() for _ in range(9)]
    hide(merchant, seeded[4])

    ended = await merchant.sweep()

    assert ended.outcomes == {"renewed": 8, "skipped": 1}
    assert ended.name == "Completed"
    merchant.sandbox.advance(DAY)
    later = await merchant.sweep()
    assert (later.name, later.outcomes) == ("Failed", {"skipped": 1})
    assert "1 overdue, the oldest since " in later.message
    row = await row_of(later, seeded[4]["id"])
    assert row["why"].startswith("it cannot be read, and is due since")
    merchant.sandbox.clear_faults()
    assert (await merchant.sweep()).outcomes == {"renewed": 1}


async def test_an_order_of_a_held_subscription_that_cannot_be_read_does_not_stop_the_others(merchant: Merchant) -> None:
    held = merchant.sandbox.create_subscription(failure="hard_declined")["id"]
    paid = merchant.sandbox.create_subscription(failure="hard_declined")["id"]
    await merchant.sweep()
    (order_id,) = [each["id"] for each in merchant.target_orders() if each["copy_reference"].startswith(held)]
    (theirs,) = [each["id"] for each in merchant.target_orders() if each["copy_reference"].startswith(paid)]
    merchant.sandbox.customer_pays(theirs)
    for _ in range(8):
        merchant.sandbox.create_subscription()
    merchant.sandbox.fault("status", status=500, method="GET", path="/api/orders", match=order_id)

    ended = await merchant.sweep()

    assert ended.outcomes == {"renewed": 9, "skipped": 1}


async def test_a_skipped_period_whose_record_is_refused_fails_the_run_at_once(merchant: Merchant) -> None:
    await merchant.install(catch_up="skip", late_after="1d")
    long_ago = (merchant.sandbox.clock() - timedelta(days=3)).isoformat()
    late = merchant.sandbox.create_subscription(next_run_at=long_ago)["id"]
    merchant.sandbox.fault("status", status=403, body="json", **RECORDS)

    ended = await merchant.sweep()

    assert (ended.name, ended.outcomes, merchant.copies()) == ("Failed", {"skipped": 1}, [])
    assert "NOT RECORDED" in (await row_of(ended, late))["why"]


async def test_one_unreadable_subscription_does_not_hide_the_others_on_its_page_of_the_due_list(
    merchant: Merchant,
) -> None:
    seeded = [merchant.sandbox.create_subscription() for _ in range(6)]
    page = {"method": "GET", "path": "/api/order_subscriptions", "match": "frequency.*next_run_at_lteq"}
    merchant.sandbox.fault("status", status=500, **page)
    hide(merchant, seeded[2])

    ended = await merchant.sweep()

    assert ended.outcomes == {"renewed": 5, "skipped": 1}


async def test_a_subscription_that_another_system_changes_in_every_sweep_fails_the_run_after_a_day(
    merchant: Merchant,
) -> None:
    made = merchant.sandbox.create_subscription()["id"]
    states = ({"sync": number} for number in count())

    def synchronise() -> None:
        patch(merchant, "order_subscriptions", made, metadata={"perennial": next(states)})

    with use_clock(Meanwhile(merchant, lambda: True, synchronise, once=False)):
        first = await merchant.sweep()
        merchant.sandbox.advance(DAY)
        ended = await merchant.sweep()

    assert (first.name, first.outcomes, merchant.placed()) == ("Completed", {"skipped": 1}, [])
    assert (ended.name, ended.outcomes) == ("Failed", {"skipped": 1})
    assert "it is due since" in (await row_of(ended, made))["why"]
    assert (await merchant.sweep()).outcomes == {"renewed": 1}


async def test_a_creation_that_is_always_answered_500_fails_the_run_after_a_day(merchant: Merchant) -> None:
    made = merchant.sandbox.create_subscription()
    merchant.sandbox.fault("status", status=500, method="POST", path="/api/order_copies", match=made["source_order_id"])

    first = await merchant.sweep()
    assert (first.name, first.outcomes) == ("Completed", {"retry_scheduled": 1})
    merchant.sandbox.advance(DAY + 60)
    ended = await merchant.sweep()

    assert (ended.name, ended.outcomes) == ("Failed", {"needs_attention": 1})
    assert "and so it has gone since" in (await row_of(ended, made["id"]))["why"]
    merchant.sandbox.clear_faults()
    assert (await merchant.sweep()).outcomes == {"renewed": 1}
    assert "unsettled_since" not in str({k: v for k, v in state_of(merchant, made).items() if v})


def state_of(merchant: Merchant, made: dict[str, Any]) -> dict[str, Any]:
    return dict(merchant.subscription(made["id"])["metadata"]["perennial"])


async def test_subscriptions_that_no_due_list_shows_are_reported_and_fail_the_run(merchant: Merchant) -> None:
    far = (merchant.sandbox.clock() + timedelta(days=20)).isoformat()
    pending = merchant.sandbox.create_subscription(status="pending", next_run_at=far)["id"]
    draft = merchant.sandbox.create_subscription(status="draft", next_run_at=far)["id"]
    merchant.sandbox.create_subscription(next_run_at=far)
    merchant.sandbox.create_subscription(status="active", adopted=False, next_run_at=far)
    merchant.sandbox.create_subscription(adopted=False)
    overwritten = merchant.sandbox.create_subscription(frequency="weekly")["id"]
    assert "1 renewed" in (await merchant.sweep()).message
    patch(merchant, "order_subscriptions", overwritten, metadata={"crm": 7})
    merchant.sandbox.advance(8 * DAY)

    ended = await merchant.sweep()

    assert ended.name == "Failed"
    rows = {row["renewal"]: row["why"] for row in await stored_runs.table(ended.flow_run_id)}
    assert set(rows) == {pending, draft, overwritten}
    assert "'pending'" in rows[pending]
    assert "'draft'" in rows[draft]
    assert "metadata.perennial is gone" in rows[overwritten]


async def test_subscriptions_that_fail_every_time_do_not_keep_later_ones_from_being_renewed(merchant: Merchant) -> None:
    await merchant.install(first_wave=3, second_wave=3)
    failing = [merchant.sandbox.create_subscription() for _ in range(5)]
    match = "|".join(each["source_order_id"] for each in failing)
    merchant.sandbox.fault("status", status=500, method="POST", path="/api/order_copies", match=match)
    await merchant.sweep()
    merchant.sandbox.advance(900)
    await merchant.sweep()
    merchant.sandbox.advance(900)
    for _ in range(12):
        merchant.sandbox.create_subscription()

    ended = await merchant.sweep()

    assert ended.outcomes["renewed"] == 12
    assert "Stopped" not in ended.message


async def test_each_sweep_says_how_many_subscriptions_are_overdue_for_whatever_reason(merchant: Merchant) -> None:
    merchant.sandbox.create_subscription(failure="hard_declined")
    merchant.sandbox.create_subscription(failure="declined")
    assert "overdue" not in (await merchant.sweep()).message
    merchant.sandbox.advance(DAY + 120)

    ended = await merchant.sweep()

    assert "; 2 overdue, the oldest since 20" in ended.message
    assert ended.facts["overdue"] == 2


async def test_the_table_names_customer_order_and_amount_and_links_to_the_dashboard(merchant: Merchant) -> None:
    made = merchant.sandbox.create_subscription(failure="declined")
    done = merchant.sandbox.create_subscription()

    ended = await merchant.sweep()

    orders = {order["copy_reference"][:10]: order for order in merchant.target_orders()}
    for each in (made, done):
        row, order = await row_of(ended, each["id"]), orders[each["id"]]
        assert row["customer"] == merchant.subscription(each["id"])["customer_email"]
        assert row["order"] == f"#{order['number']}"
        assert row["amount"] == f"{order['total_amount_with_taxes_cents'] / 100:.2f} {order['currency_code']}"
        assert row["in Commerce Layer"] == (
            f"https://dashboard.commercelayer.io/test/{merchant.sandbox.organization}/apps/orders/list/{order['id']}"
        )


@pytest.mark.parametrize(
    ("path", "match", "what"),
    [
        ("/api/orders", "payment_status_in", "payments of earlier renewals"),
        ("/api/order_copies", "target_order_status_in", "recent order copies"),
        ("/api/order_subscriptions", "metadata_jcont", "adopted subscriptions that no due list shows"),
    ],
)
async def test_a_check_of_the_shop_that_is_refused_needs_a_person_and_the_renewals_go_on(
    merchant: Merchant, path: str, match: str, what: str
) -> None:
    merchant.sandbox.create_subscription()
    merchant.sandbox.fault("status", status=403, body="json", method="GET", path=path, match=match)

    ended = await merchant.sweep()

    assert ended.outcomes == {"renewed": 1}
    assert ended.name == "Failed"
    assert ended.message.startswith(f"{what} cannot be checked (")
    assert "let the API client read" in ended.message


async def test_a_check_of_the_shop_that_fails_for_a_moment_is_left_to_the_next_sweep(merchant: Merchant) -> None:
    merchant.sandbox.create_subscription()
    merchant.sandbox.fault("status", status=503, method="GET", path="/api/orders", match="payment_status_in")

    ended = await merchant.sweep()

    assert (ended.name, ended.outcomes) == ("Completed", {"renewed": 1})
    assert ended.facts["unchecked"] is None
