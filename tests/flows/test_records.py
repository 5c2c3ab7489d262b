"""Records of renewals on their subscriptions: when others write at the same time, and when a record does not arrive."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import datetime, timedelta
from typing import Any

import pytest
from meanwhile import Meanwhile, patch
from merchant import Merchant

from blocks.commerce_layer.clock import use_clock
from blocks.commerce_layer.rate_limit import RateLimits
from flows.renew_batch import renew_batch

DAY = 86_400


def in_days(merchant: Merchant, days: float) -> str:
    return (merchant.sandbox.clock() + timedelta(days=days)).isoformat()


def orders_are_placed(merchant: Merchant, count: int = 1) -> bool:
    return len(merchant.placed()) == count


async def test_what_staff_and_customers_write_while_records_wait_for_the_rate_limit_is_kept(
    merchant: Merchant,
) -> None:
    made = [merchant.sandbox.create_subscription()["id"] for _ in range(4)]
    await merchant.install(limits=RateLimits(writes_per_minute=5))
    touched: list[str] = []

    def charged_and_not_recorded() -> list[str]:
        charged = {reference.partition("@")[0] for reference in merchant.placed()}
        recorded = {each for each in made if merchant.subscription(each)["metadata"]["perennial"].get("outcome")}
        return sorted(charged - recorded - set(touched))

    def staff_write() -> None:
        for each in charged_and_not_recorded():
            metadata = {**merchant.subscription(each)["metadata"], "crm": {"note": "call them"}}
            patch(merchant, "order_subscriptions", each, metadata=metadata, next_run_at=in_days(merchant, 20))
            touched.append(each)
        merchant.sandbox.advance(11)  # a last look is valid for ten seconds

    with use_clock(Meanwhile(merchant, lambda: bool(charged_and_not_recorded()), staff_write, once=False)):
        ended = await merchant.sweep()

    assert ended.outcomes == {"renewed": 4}
    assert len(touched) >= 2
    for each in touched:
        row = merchant.subscription(each)
        assert row["metadata"]["crm"] == {"note": "call them"}
        assert row["metadata"]["perennial"]["outcome"] == "renewed"
        moved = datetime.fromisoformat(row["next_run_at"]) - merchant.sandbox.clock()
        assert timedelta(days=19) < moved < timedelta(days=21), "the customer's date was overwritten"


async def test_a_subscription_that_is_postponed_by_a_day_while_it_is_renewed_is_not_renewed_again(
    merchant: Merchant,
) -> None:
    made = merchant.sandbox.create_subscription()["id"]
    # Enough for the check whether it may write, the copy and the placement: the record has to wait.
    await merchant.install(limits=RateLimits(writes_per_minute=3))

    def postpone() -> None:
        patch(merchant, "order_subscriptions", made, next_run_at=in_days(merchant, 1))

    clock = Meanwhile(merchant, lambda: orders_are_placed(merchant), postpone)
    with use_clock(clock):
        await merchant.sweep()
    assert clock.has_acted
    await merchant.install()
    merchant.sandbox.advance(1.1 * DAY)
    again = await merchant.sweep()

    assert again.message.startswith("0 renewals")
    assert len(merchant.placed()) == 1
    merchant.sandbox.advance(31 * DAY)
    await merchant.sweep()
    assert len(merchant.placed()) == 2


async def test_a_date_that_is_moved_after_a_run_died_before_its_record_causes_no_second_renewal(
    merchant: Merchant,
) -> None:
    made = merchant.sandbox.create_subscription()["id"]
    merchant.sandbox.fault("status", method="PATCH", path="/api/order_subscriptions/*", status=503)
    await merchant.sweep()  # renewed, and not recorded: as if it had died
    merchant.sandbox.clear_faults()
    patch(merchant, "order_subscriptions", made, next_run_at=in_days(merchant, 1))
    merchant.sandbox.advance(1.1 * DAY)

    ended = await merchant.sweep()

    assert ended.outcomes == {"already_renewed": 1}
    assert len(merchant.placed()) == 1
    following = datetime.fromisoformat(merchant.subscription(made)["next_run_at"])
    assert following - merchant.sandbox.clock() > timedelta(days=20)


async def test_stale_metadata_that_another_client_writes_back_loses_no_period(merchant: Merchant) -> None:
    made = merchant.sandbox.create_subscription(failure="declined", times=1)["id"]
    await merchant.sweep()
    old = merchant.subscription(made)["metadata"]
    merchant.sandbox.advance(2 * DAY)
    assert (await merchant.sweep()).outcomes == {"renewed": 1}
    patch(merchant, "order_subscriptions", made, metadata=old)
    merchant.sandbox.advance(31 * DAY)

    for _ in range(3):
        await merchant.sweep()
        merchant.sandbox.advance(900)

    assert len(merchant.placed()) == 2
    assert merchant.subscription(made)["metadata"]["perennial"]["outcome"] == "renewed"


async def test_a_subscription_that_is_named_twice_is_renewed_once(merchant: Merchant) -> None:
    ids = merchant.sandbox.seed(30)["subscription_ids"]
    state: Any = await renew_batch(
        [*ids, *ids], merchant.sandbox.clock(), credentials=merchant.name, policy=merchant.name, return_state=True
    )

    assert state.name == "Completed"
    assert len(merchant.copies()) == 30


@pytest.mark.parametrize("status", [403, 422])
async def test_a_subscription_whose_cancellation_is_refused_is_held_for_a_person_and_not_charged_again(
    merchant: Merchant, status: int
) -> None:
    await merchant.install(payment_retries=["1d"], final_action="cancel")
    made = merchant.sandbox.create_subscription(failure="declined")["id"]
    await merchant.sweep()
    merchant.sandbox.advance(1.1 * DAY)
    merchant.sandbox.fault(
        "status", method="PATCH", path="/api/order_subscriptions/*", match="_cancel", status=status, body="json"
    )

    ended = await merchant.sweep()
    charged = len(merchant.rows("SELECT * FROM resource_errors"))
    again = await merchant.sweep()

    assert ended.name == "Failed"
    assert merchant.subscription(made)["status"] == "inactive"
    state = merchant.subscription(made)["metadata"]["perennial"]
    assert (state["held"], state["final_action"], state["outcome"]) == (True, "hold", "exhausted")
    assert again.message.startswith("0 renewals: 1 held for a person; 1 overdue, the oldest since ")
    assert len(merchant.rows("SELECT * FROM resource_errors")) == charged


async def test_a_record_whose_answer_is_lost_is_not_written_twice(merchant: Merchant) -> None:
    made = merchant.sandbox.create_subscription()["id"]
    merchant.sandbox.fault(
        "close", when="after", method="PATCH", path="/api/order_subscriptions/*", match="perennial", times=1
    )
    merchant.sandbox.reset_counters()

    assert (await merchant.sweep()).outcomes == {"renewed": 1}

    assert merchant.sandbox.counters()["requests"]["PATCH /api/order_subscriptions/{id}"] == 2, (
        "one asks whether it may write, the other is the record"
    )
    assert merchant.subscription(made)["metadata"]["perennial"]["outcome"] == "renewed"


@pytest.mark.parametrize("lost", [2, 3])
async def test_a_record_arrives_although_answers_are_lost_and_parts_of_it_are_refused(
    merchant: Merchant, lost: int
) -> None:
    made = merchant.sandbox.create_subscription()["id"]
    record = {"method": "PATCH", "path": "/api/order_subscriptions/*", "match": "renewed", "times": 1}
    for part in ("tags", "next_run_at"):
        refusal = {"errors": [{"title": "invalid", "detail": f"{part} is invalid", "code": "VALIDATION_ERROR"}]}
        merchant.sandbox.fault("status", status=422, body=json.dumps(refusal), **record)
    for _ in range(lost):
        merchant.sandbox.fault("reset", **record)

    ended = await merchant.sweep()

    assert ended.outcomes == {"renewed": 1}
    assert merchant.sandbox.faults() == []
    assert merchant.subscription(made)["metadata"]["perennial"]["outcome"] == "renewed"


_RETRIES = """
from flows.tasks.clean_up import clean_up_surplus_copies
from flows.tasks.create import create_order_copy
from flows.tasks.place import place_target_order
from flows.tasks.poll import poll_order_copy
from flows.tasks.record import record_outcome
from flows.tasks.reordering import record_manual_copy
story = (create_order_copy, poll_order_copy, place_target_order, record_outcome)
print([task.retries for task in (*story, record_manual_copy, clean_up_surplus_copies)])
"""


def test_tasks_that_write_have_no_retries_whatever_prefects_settings_say() -> None:
    environment = {**os.environ, "PREFECT_TASKS_DEFAULT_RETRIES": "3"}
    said = subprocess.run([sys.executable, "-c", _RETRIES], env=environment, capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "[0, 0, 0, 0, 0, 0]"
