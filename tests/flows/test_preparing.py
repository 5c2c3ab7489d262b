"""What comes due soon is copied ahead: failures are known early, and at the due time a renewal costs two writes."""

from __future__ import annotations

import json

import pytest
import stored_runs
from card_charges import attach_card, charges
from merchant import Merchant
from preparations import HOUR, due_in, prepared, statuses, sweep_when_due, writes


async def test_what_comes_due_within_the_time_ahead_is_copied_and_not_charged(ahead: Merchant) -> None:
    soon, later = due_in(ahead, 20), due_in(ahead, 30)

    ended = await ahead.sweep()

    assert [copy["reference"][:10] for copy in ahead.copies()] == [soon["id"]]
    assert (ahead.placed(), statuses(ahead)) == ([], ["pending"])
    assert ended.name == "Completed"
    assert ended.message == "0 renewals; prepared ahead: 1 ready"
    assert ended.facts["outcomes"] == {}
    for each in (soon, later):
        assert ahead.subscription(each["id"])["metadata"]["perennial"].get("outcome") is None


async def test_nothing_is_prepared_as_long_as_the_policy_does_not_say_so(merchant: Merchant) -> None:
    due_in(merchant, 20)

    ended = await merchant.sweep()

    assert merchant.copies() == []
    assert ended.facts["ahead"] is None


async def test_a_prepared_renewal_costs_two_writes_when_it_is_due(ahead: Merchant) -> None:
    for _ in range(3):
        due_in(ahead, 20)
    await ahead.sweep()

    ended = await sweep_when_due(ahead)

    assert ended.outcomes == {"renewed": 3}
    assert len(set(ahead.placed())) == 3
    # One change of nothing shows that subscriptions can be written.
    assert writes(ahead) == {"PATCH /api/orders/{id}": 3, "PATCH /api/order_subscriptions/{id}": 3 + 1}


async def test_a_sweep_prepares_only_once_what_is_prepared(ahead: Merchant) -> None:
    await prepared(ahead)

    ended = await ahead.sweep()

    assert len(ahead.copies()) == 1
    assert ended.facts["ahead"] == {"ready": 1, "will_fail": 0, "not_known": 0}
    assert statuses(ahead) == ["pending"]


async def test_a_sweep_for_named_subscriptions_prepares_nothing(ahead: Merchant) -> None:
    due_in(ahead, 20)
    named = ahead.sandbox.create_subscription()

    await ahead.sweep(subscriptions=[named["id"]])

    assert [copy["reference"][:10] for copy in ahead.copies()] == [named["id"]]


async def test_a_sweep_that_the_brake_has_stopped_prepares_nothing(merchant: Merchant) -> None:
    await merchant.install(prepare_ahead="24h", first_wave=2)
    for _ in range(3):
        merchant.sandbox.create_subscription(failure="out_of_stock")
    due_in(merchant, 20)

    ended = await merchant.sweep()

    assert ended.facts["brake"] is not None
    assert ended.facts["ahead"] is None


async def test_many_failures_ahead_stop_no_sweep(merchant: Merchant) -> None:
    await merchant.install(prepare_ahead="24h", first_wave=1)
    for _ in range(3):
        due_in(merchant, 20, failure="out_of_stock")
    merchant.sandbox.create_subscription()

    ended = await merchant.sweep()

    assert (ended.name, ended.facts["brake"]) == ("Completed", None)
    assert ended.outcomes == {"renewed": 1}
    assert ended.facts["failures"] == {}
    assert ended.facts["ahead"]["will_fail"] == 3


# --- what is known ahead ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("failure", "cls", "why"),
    [
        ("out_of_stock", "stock", "out of stock"),
        ("invalid_coupon", "coupon", "coupon"),
        ("missing_address", "catalogue", "address"),
        ("sku_gone", "catalogue", "a product does not exist any more"),
    ],
)
async def test_a_copy_that_fails_ahead_is_reported_and_counts_as_no_attempt(
    ahead: Merchant, failure: str, cls: str, why: str
) -> None:
    made = due_in(ahead, 20, failure=failure)

    ended = await ahead.sweep()

    assert ended.message == "0 renewals; prepared ahead: 1 will fail"
    (row,) = await stored_runs.table(ended.flow_run_id, "prepared-renewals")
    assert why in row["why"]
    assert row["class"] == cls
    (event,) = await stored_runs.events(f"perennial.subscription.{made['id']}", 1, flow_run_id=ended.flow_run_id)
    assert event["event"] == "perennial.renewal.will_fail"
    assert "period" not in ahead.subscription(made["id"])["metadata"]["perennial"]


async def test_what_failed_ahead_is_copied_again_when_it_is_due(ahead: Merchant) -> None:
    made = due_in(ahead, 20, failure="out_of_stock")
    await ahead.sweep()
    ahead.sandbox.set_failure(made["source_order_id"], None)

    ended = await sweep_when_due(ahead)

    assert ended.outcomes == {"renewed": 1}
    assert ahead.subscription(made["id"])["metadata"]["perennial"]["attempt"] == 1


async def test_what_fails_ahead_and_again_when_it_is_due_has_made_one_attempt(ahead: Merchant) -> None:
    made = due_in(ahead, 20, failure="out_of_stock")
    await ahead.sweep()

    ended = await sweep_when_due(ahead)

    assert ended.outcomes == {"retry_scheduled": 1}
    state = ahead.subscription(made["id"])["metadata"]["perennial"]
    assert (state["attempt"], state["failures"]) == (1, {"stock": 1})


async def test_what_failed_ahead_is_not_made_again_by_each_sweep_but_after_a_day(merchant: Merchant) -> None:
    await merchant.install(prepare_ahead="3d")
    due_in(merchant, 60, failure="out_of_stock", times=1)
    await merchant.sweep()

    again = await merchant.sweep()
    merchant.sandbox.advance(25 * HOUR)
    after_a_day = await merchant.sweep()

    assert again.facts["ahead"] == {"ready": 0, "will_fail": 1, "not_known": 0}
    assert after_a_day.facts["ahead"] == {"ready": 1, "will_fail": 0, "not_known": 0}
    assert [copy["status"] for copy in merchant.copies()] == ["failed", "completed"]


async def test_a_subscription_without_a_card_is_known_to_fail(ahead: Merchant) -> None:
    due_in(ahead, 20, wallet=False)

    ended = await ahead.sweep()

    (row,) = await stored_runs.table(ended.flow_run_id, "prepared-renewals")
    assert row["why"] == "nothing to pay with: neither the subscription nor its order has a payment source"


async def test_another_price_is_known_ahead_and_the_order_waits(ahead: Merchant) -> None:
    made = due_in(ahead, 20)
    ahead.sandbox.change_price(made["source_order_id"], total_cents=99_900)

    ended = await ahead.sweep()

    (row,) = await stored_runs.table(ended.flow_run_id, "prepared-renewals")
    assert "its order costs 999.00 EUR instead of" in row["why"].replace("\\", "")
    assert statuses(ahead) == ["pending"]


async def test_the_card_that_the_subscription_has_is_set_ahead(ahead: Merchant) -> None:
    made = due_in(ahead, 20)
    card = attach_card(ahead, made)
    ended = await ahead.sweep()
    assert ended.facts["ahead"]["ready"] == 1

    await sweep_when_due(ahead)

    assert charges(ahead) == [(card, 1)]
    assert writes(ahead)["PATCH /api/orders/{id}"] == 1


async def test_a_card_that_the_shop_refuses_is_known_ahead(ahead: Merchant) -> None:
    made = due_in(ahead, 20)
    attach_card(ahead, made)
    body = json.dumps({"errors": [{"title": "must exist", "detail": "must exist in the wallet", "code": "BLANK"}]})
    ahead.sandbox.fault(
        "status", method="PATCH", path="/api/orders/*", match="_customer_payment_source_id", status=422, body=body
    )

    ended = await ahead.sweep()

    assert ended.facts["ahead"]["will_fail"] == 1


async def test_two_adopted_subscriptions_of_one_source_order_are_reported_ahead_and_not_copied(ahead: Merchant) -> None:
    one = due_in(ahead, 20)
    due_in(ahead, 20, source_order_id=one["source_order_id"])

    ended = await ahead.sweep()

    assert ahead.copies() == []
    assert ended.facts["ahead"]["will_fail"] == 2
