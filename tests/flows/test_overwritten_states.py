"""Other systems write back stale metadata: no card is tried more often, and no subscription drops out unnoticed."""

from __future__ import annotations

import pytest
import stored_runs
from card_charges import QUARTER, attach_card, charges
from meanwhile import patch
from merchant import Merchant

DAY = 25 * 3600
"""A day, and some time for the sweeps."""


def write_back(merchant: Merchant, subscription_id: str, **metadata: object) -> None:
    patch(merchant, "order_subscriptions", subscription_id, metadata=metadata)


def declines(merchant: Merchant) -> int:
    (order,) = merchant.target_orders()
    return int(order["errors_count"] or 0)


async def test_a_card_is_tried_no_more_often_than_the_policy_says_although_a_crm_resets_the_state_every_night(
    merchant: Merchant,
) -> None:
    await merchant.install(payment_retries=["1d", "3d"])
    made = merchant.sandbox.create_subscription(failure="declined")
    days = []
    for _ in range(14):
        ended = await merchant.sweep()
        days.append(declines(merchant))
        write_back(merchant, made["id"], perennial={"v": 1})
        merchant.sandbox.advance(DAY)

    assert days == [1, 2, 2, 2, *[3] * 10], "three attempts, as far apart as the policy says"
    assert ended.name == "Failed"
    (row,) = await stored_runs.table(ended.flow_run_id)
    assert row["why"].startswith("card declined; retries used up after 3 attempts (the shop tells of 3 failed attempts")
    assert "old metadata was written back" in row["why"]


async def test_a_state_that_is_set_back_to_one_of_the_same_period_causes_no_extra_attempts(merchant: Merchant) -> None:
    await merchant.install(payment_retries=["1d", "1d"])
    made = merchant.sandbox.create_subscription(failure="declined")
    await merchant.sweep()
    old = merchant.subscription(made["id"])["metadata"]
    for _ in range(6):
        merchant.sandbox.advance(DAY)
        await merchant.sweep()
        write_back(merchant, made["id"], **old)

    assert declines(merchant) == 3


async def test_a_subscription_whose_state_was_reset_waits_for_its_retry_and_is_then_renewed(merchant: Merchant) -> None:
    made = merchant.sandbox.create_subscription(failure="declined", times=1)
    await merchant.sweep()
    write_back(merchant, made["id"], perennial={})

    waiting = await merchant.sweep()
    assert waiting.outcomes == {"retry_scheduled": 1}
    own = merchant.subscription(made["id"])["metadata"]["perennial"]
    assert (own["attempt"], own["failures"]) == (1, {"payment": 1}), "the sweep has restored the state"

    merchant.sandbox.advance(DAY)
    assert (await merchant.sweep()).outcomes == {"renewed": 1}
    assert declines(merchant) == 1


@pytest.mark.parametrize("retries", [["1d", "3d"], []], ids=["waits", "retries used up"])
async def test_a_card_attached_after_the_last_decline_is_tried_although_the_state_was_reset(
    merchant: Merchant, retries: list[str]
) -> None:
    await merchant.install(payment_retries=retries)
    made = merchant.sandbox.create_subscription(failure="declined")
    await merchant.sweep()
    new = attach_card(merchant, made)
    write_back(merchant, made["id"], perennial={"v": 1})
    merchant.sandbox.advance(QUARTER)

    assert (await merchant.sweep()).outcomes == {"renewed": 1}
    assert charges(merchant) == [(made["customer_payment_source_id"], 0), (new, 1)]


async def test_a_new_card_is_tried_no_more_often_than_the_policy_says_although_the_state_is_reset_every_night(
    merchant: Merchant,
) -> None:
    await merchant.install(payment_retries=["1d", "3d"])
    made = merchant.sandbox.create_subscription(failure="declined")
    await merchant.sweep()
    new = attach_card(merchant, made)
    merchant.sandbox.set_card_failure(new, "declined")
    for _ in range(8):
        write_back(merchant, made["id"], perennial={"v": 1})
        merchant.sandbox.advance(DAY)
        await merchant.sweep()

    assert charges(merchant) == [(made["customer_payment_source_id"], 0), (new, 0), (new, 0)]


async def test_a_state_that_was_not_overwritten_costs_no_extra_requests(merchant: Merchant) -> None:
    merchant.sandbox.create_subscription(failure="declined")
    await merchant.sweep()
    merchant.sandbox.advance(DAY)
    merchant.sandbox.reset_counters()

    await merchant.sweep()

    assert declines(merchant) == 2
    assert merchant.requests("GET /api/orders") == 3, (
        "to see whether it was paid at the checkout, and which orders turned out unpaid"
    )


@pytest.mark.parametrize("written", ["active since March", None, 7])
async def test_a_state_that_is_not_an_object_fails_the_sweep_and_is_reported(
    merchant: Merchant, written: object
) -> None:
    made = merchant.sandbox.create_subscription()
    write_back(merchant, made["id"], perennial=written)

    ended = await merchant.sweep()

    assert ended.name == "Failed"
    assert ended.facts["skipped"] == {"damaged": 1}
    (row,) = await stored_runs.table(ended.flow_run_id)
    assert f"metadata.perennial = {written!r}: it must be an object" in row["why"]
    assert merchant.copies() == []


async def test_a_subscription_whose_empty_objects_php_turned_into_lists_is_renewed_as_before(
    merchant: Merchant,
) -> None:
    first, second = merchant.sandbox.create_subscription(), merchant.sandbox.create_subscription()
    write_back(merchant, first["id"], perennial=[])
    write_back(merchant, second["id"], perennial={"v": 1, "failures": [], "policy": []})

    assert (await merchant.sweep()).outcomes == {"renewed": 2}


async def test_an_adopted_subscription_whose_state_was_removed_is_reported_by_its_tag(merchant: Merchant) -> None:
    made = merchant.sandbox.create_subscription(adopted=False)
    paused = merchant.sandbox.create_subscription(adopted=False)
    await merchant.hand_over(made["id"])
    write_back(merchant, made["id"], crm=7)

    ended = await merchant.sweep()

    assert ended.name == "Failed"
    assert ended.facts["skipped"] == {"state_lost": 1}
    (row,) = await stored_runs.table(ended.flow_run_id)
    assert row["renewal"] == made["id"] != paused["id"]
    assert "it carries the tag 'perennial', but metadata.perennial is missing" in row["why"]

    assert (await merchant.hand_over(made["id"])).message == "1 adopted"
    assert (await merchant.sweep()).outcomes == {"renewed": 1}


async def test_a_subscription_that_is_given_back_loses_the_tag(merchant: Merchant) -> None:
    made = merchant.sandbox.create_subscription(adopted=False, next_run_at="2099-01-01T00:00:00Z")
    await merchant.hand_over(made["id"])
    assert len(merchant.rows("SELECT * FROM taggings WHERE resource_id = ?", made["id"])) == 1

    assert (await merchant.hand_over(made["id"], handover="give_back")).name == "Completed"
    assert merchant.rows("SELECT * FROM taggings WHERE resource_id = ?", made["id"]) == []


async def test_a_subscription_that_was_adopted_before_tags_existed_gets_the_tag_with_its_record(
    merchant: Merchant,
) -> None:
    old = merchant.sandbox.create_subscription()
    new = merchant.sandbox.create_subscription(adopted=False, next_run_at="2099-01-01T00:00:00Z")
    await merchant.hand_over(new["id"])  # makes the tag
    merchant.sandbox.reset_counters()

    assert (await merchant.sweep()).outcomes == {"renewed": 1}

    assert len(merchant.rows("SELECT * FROM taggings WHERE resource_id = ?", old["id"])) == 1
    assert merchant.requests("PATCH /api/order_subscriptions/{id}") == 2, (
        "one asks whether it may write, the other is the record"
    )


async def test_an_adoption_that_may_not_write_tags_says_what_goes_unnoticed(merchant: Merchant) -> None:
    made = merchant.sandbox.create_subscription(adopted=False)
    merchant.sandbox.fault("status", method="POST", path="/api/tags", status=403)

    ended = await merchant.hand_over(made["id"])

    assert ended.message.startswith("1 adopted, without the tag 'perennial', so that a lost state goes unnoticed")
    assert (await merchant.sweep()).outcomes == {"renewed": 1}
