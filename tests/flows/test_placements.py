"""Retries of failed placements: announced before they are sent, after a last look, and with the customer's new card."""

from __future__ import annotations

from typing import Any

import pytest
from meanwhile import Meanwhile, patch
from merchant import Merchant, cancel

from blocks.commerce_layer.clock import use_clock
from blocks.commerce_layer.rate_limit import RateLimits

DAY = 86_400


async def declined(merchant: Merchant, count: int = 1, **members: Any) -> list[dict[str, Any]]:
    """Subscriptions whose card was declined, and whose first retry is due now."""
    given = {"failure": "declined", **members}
    made = [merchant.sandbox.create_subscription(**given) for _ in range(count)]
    await merchant.sweep()
    merchant.sandbox.advance(2 * DAY)
    return made


def attempts_on_the_card(merchant: Merchant) -> int:
    """Charges that were declined, as the sandbox recorded them."""
    return len(merchant.rows("SELECT * FROM resource_errors"))


def placements(merchant: Merchant) -> int:
    """How many requests changed an order."""
    requests: dict[str, int] = merchant.sandbox.counters()["requests"]
    return sum(count for name, count in requests.items() if name.startswith("PATCH /api/orders"))


def fault_on_the_record(merchant: Merchant, **members: Any) -> None:
    """Let requests that write an outcome fail, and the announcement of an attempt get through."""
    merchant.sandbox.fault(
        "status", method="PATCH", path="/api/order_subscriptions/*", match='"outcome": ?"(?!placing)', **members
    )


@pytest.mark.parametrize("status", [503, 403])
async def test_an_attempt_that_cannot_be_recorded_is_not_repeated_by_every_sweep(
    merchant: Merchant, status: int
) -> None:
    (made,) = await declined(merchant)
    before = attempts_on_the_card(merchant)
    fault_on_the_record(merchant, status=status)

    for _ in range(6):
        await merchant.sweep()
        merchant.sandbox.advance(900)

    assert attempts_on_the_card(merchant) - before == 1
    merchant.sandbox.clear_faults()
    ended = await merchant.sweep()
    assert ended.outcomes == {"retry_scheduled": 1}
    state = merchant.subscription(made["id"])["metadata"]["perennial"]
    assert (state["attempt"], state["failures"], len(state["attempts"])) == (2, {"payment": 2}, 2)


async def test_an_attempt_that_cannot_be_announced_is_not_made(merchant: Merchant) -> None:
    (made,) = await declined(merchant)
    before = merchant.subscription(made["id"])["metadata"]
    merchant.sandbox.fault("status", method="PATCH", path="/api/order_subscriptions/*", match="perennial", status=403)
    merchant.sandbox.reset_counters()

    ended = await merchant.sweep()

    assert placements(merchant) == 0
    assert ended.outcomes == {"retry_scheduled": 1}
    assert merchant.subscription(made["id"])["metadata"] == before
    merchant.sandbox.clear_faults()
    merchant.sandbox.set_failure(made["source_order_id"], None)
    assert (await merchant.sweep()).outcomes == {"renewed": 1}


async def test_two_runs_make_one_attempt_although_the_first_could_not_record_it(merchant: Merchant) -> None:
    (made,) = await declined(merchant)
    before = attempts_on_the_card(merchant)
    fault_on_the_record(merchant, status=503)
    await merchant.sweep()  # the first run, whose record does not arrive
    merchant.sandbox.clear_faults()

    await merchant.sweep()

    assert attempts_on_the_card(merchant) - before == 1
    assert merchant.subscription(made["id"])["metadata"]["perennial"]["outcome"] == "retry_scheduled"


async def test_a_subscription_that_is_cancelled_while_its_retry_waits_for_the_rate_limit_is_not_charged(
    merchant: Merchant,
) -> None:
    made = await declined(merchant, count=6)
    for each in made:
        merchant.sandbox.set_failure(each["source_order_id"], None)
    await merchant.install(limits=RateLimits(writes_per_minute=9))
    placed = "SELECT * FROM orders WHERE status = 'placed' AND id IN (SELECT target_order_id FROM order_copies)"

    def cancel_all_that_are_not_charged() -> None:
        paid = {row["_source_order_id"] for row in merchant.rows(placed)}
        for each in made:
            if each["source_order_id"] not in paid:
                patch(merchant, "order_subscriptions", each["id"], _cancel=True)

    clock = Meanwhile(merchant, lambda: bool(merchant.rows(placed)), cancel_all_that_are_not_charged)
    with use_clock(clock):
        ended = await merchant.sweep()

    renewed = ended.outcomes.get("renewed", 0)
    assert len(merchant.rows(placed)) == renewed
    # A placement that was under way may still charge; one that waited longer reads its subscription again.
    assert renewed < 6
    assert ended.facts["skipped"].get("cancelled", 0) == 6 - renewed


async def test_an_announced_attempt_that_is_not_made_is_taken_back(merchant: Merchant) -> None:
    (made,) = await declined(merchant)
    await merchant.install(limits=RateLimits(writes_per_minute=1))
    announced = "SELECT * FROM order_subscriptions WHERE metadata LIKE '%\"placing\"%'"
    later = merchant.sandbox.clock().replace(year=2099).isoformat()

    def postpone() -> None:
        patch(merchant, "order_subscriptions", made["id"], next_run_at=later)

    before = merchant.subscription(made["id"])["metadata"]["perennial"]
    clock = Meanwhile(merchant, lambda: bool(merchant.rows(announced)), postpone)
    with use_clock(clock):
        await merchant.sweep()

    assert clock.has_acted
    state = merchant.subscription(made["id"])["metadata"]["perennial"]
    counted = ("attempt", "attempts", "failures", "outcome")
    assert {name: state[name] for name in counted} == {name: before[name] for name in counted}


async def test_a_retry_is_paid_with_the_customers_new_payment_source(merchant: Merchant) -> None:
    (made,) = await declined(merchant)
    new_card = merchant.sandbox.add_payment_source(made["customer_id"])
    link = {"customer_payment_source": {"data": {"type": "customer_payment_sources", "id": new_card}}}
    patch(merchant, "order_subscriptions", made["id"], relationships=link)

    ended = await merchant.sweep()

    assert ended.outcomes == {"renewed": 1}
    (copy,) = merchant.copies()
    (order,) = merchant.rows("SELECT * FROM orders WHERE id = ?", copy["target_order_id"])
    assert order["_customer_payment_source_id"] == new_card


async def test_a_hard_declined_renewal_resumes_when_the_customer_attaches_another_payment_source(
    merchant: Merchant,
) -> None:
    (made,) = await declined(merchant, failure="hard_declined")
    assert (await merchant.sweep()).message.startswith("0 renewals: 1 held for a person; 1 overdue")
    new_card = merchant.sandbox.add_payment_source(made["customer_id"])
    link = {"customer_payment_source": {"data": {"type": "customer_payment_sources", "id": new_card}}}
    patch(merchant, "order_subscriptions", made["id"], relationships=link)

    assert (await merchant.sweep()).outcomes == {"renewed": 1}


async def test_a_retry_with_the_same_payment_source_sends_no_request_to_set_it(merchant: Merchant) -> None:
    (made,) = await declined(merchant)
    merchant.sandbox.set_failure(made["source_order_id"], None)
    merchant.sandbox.reset_counters()

    assert (await merchant.sweep()).outcomes == {"renewed": 1}
    assert placements(merchant) == 1


async def test_a_cancelled_subscription_is_not_charged_by_a_retry(merchant: Merchant) -> None:
    (made,) = await declined(merchant)
    async with merchant.dashboard() as dashboard:
        await cancel(dashboard, made["id"])
    before = attempts_on_the_card(merchant)

    await merchant.sweep()

    assert attempts_on_the_card(merchant) == before
