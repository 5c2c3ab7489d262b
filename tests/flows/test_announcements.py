"""Before a run places an order whose copy it did not create, it announces the attempt on the subscription."""

from __future__ import annotations

from typing import Any

import pytest
from meanwhile import Meanwhile, patch
from merchant import Merchant

from blocks.commerce_layer.clock import use_clock
from blocks.commerce_layer.rate_limit import RateLimits

DAY = 86_400
RECORDS = {"method": "PATCH", "path": "/api/order_subscriptions/*"}
ANNOUNCEMENT = '"outcome": ?"placing"'
OUTCOME = '"outcome": ?"(?!placing)'
PATCHES = "PATCH /api/order_subscriptions/{id}"
PLACEMENTS = "PATCH /api/orders/{id}"


def state_of(merchant: Merchant, made: dict[str, Any]) -> dict[str, Any]:
    state: dict[str, Any] = merchant.subscription(made["id"])["metadata"]["perennial"]
    return state


def declines(merchant: Merchant) -> int:
    """Charges that were declined, as the sandbox recorded them."""
    return len(merchant.rows("SELECT * FROM resource_errors"))


async def test_an_order_that_this_run_copied_is_placed_and_recorded_with_one_write_to_its_subscription(
    merchant: Merchant,
) -> None:
    merchant.sandbox.seed(3)

    assert (await merchant.sweep()).outcomes == {"renewed": 3}

    assert merchant.requests(PATCHES) == 4, "three records, and one empty PATCH that asks whether it may write"
    assert merchant.requests(PLACEMENTS) == 3


async def test_an_order_that_a_dead_sweep_left_is_announced_and_then_placed(merchant: Merchant) -> None:
    made = merchant.sandbox.create_subscription()
    await merchant.sweep_that_dies_before_placing()
    (left,) = merchant.target_orders()
    assert left["status"] == "pending"
    merchant.sandbox.reset_counters()

    ended = await merchant.sweep()

    assert ended.outcomes == {"renewed": 1}
    (order,) = merchant.target_orders()
    assert (order["id"], order["status"]) == (left["id"], "placed")
    assert merchant.requests(PATCHES) == 3
    assert merchant.requests("POST /api/order_copies") == 0
    state = state_of(merchant, made)
    assert (state["outcome"], state["attempt"], state["attempts"]) == ("renewed", 1, [])


async def test_the_announcement_names_the_attempt_and_the_run_before_the_order_is_placed(merchant: Merchant) -> None:
    made = merchant.sandbox.create_subscription()
    await merchant.sweep_that_dies_before_placing()
    merchant.sandbox.fault("status", status=503, match=OUTCOME, **RECORDS)

    ended = await merchant.sweep()  # its record does not arrive, so the state is still the announcement

    assert len(merchant.placed()) == 1
    state = state_of(merchant, made)
    assert (state["outcome"], state["attempt"], len(state["attempts"])) == ("placing", 1, 1)
    assert state["flow_run_id"] == str(ended.flow_run_id)
    merchant.sandbox.clear_faults()
    assert (await merchant.sweep()).outcomes == {"already_renewed": 1}
    assert len(merchant.placed()) == 1


async def test_an_order_whose_copy_request_got_no_answer_is_announced_as_if_another_run_had_copied_it(
    merchant: Merchant,
) -> None:
    merchant.sandbox.create_subscription()
    merchant.sandbox.fault("reset", when="after", method="POST", path="/api/order_copies", times=1)

    assert (await merchant.sweep()).outcomes == {"renewed": 1}

    assert merchant.requests(PATCHES) == 3


@pytest.mark.parametrize("status", [503, 403])
async def test_a_declined_attempt_that_cannot_be_recorded_is_not_repeated_by_every_sweep(
    merchant: Merchant, status: int
) -> None:
    made = merchant.sandbox.create_subscription(failure="declined")
    merchant.sandbox.fault("status", status=status, match=OUTCOME, **RECORDS)

    for _ in range(6):
        await merchant.sweep()
        merchant.sandbox.advance(900)

    # The run that made the copy announces nothing. The others read from the order that it was tried.
    assert declines(merchant) == 1
    assert state_of(merchant, made).get("outcome") is None
    merchant.sandbox.clear_faults()
    assert (await merchant.sweep()).outcomes == {"retry_scheduled": 1}
    assert declines(merchant) == 1
    merchant.sandbox.set_failure(made["source_order_id"], None)
    merchant.sandbox.advance(2 * DAY)
    assert (await merchant.sweep()).outcomes == {"renewed": 1}
    assert len(merchant.copies()) == 1


@pytest.mark.parametrize("status", [503, 403])
async def test_a_subscription_that_cannot_be_written_is_charged_at_most_once(merchant: Merchant, status: int) -> None:
    merchant.sandbox.create_subscription(failure="declined")
    merchant.sandbox.fault("status", status=status, **RECORDS)

    for _ in range(4):
        await merchant.sweep()
        merchant.sandbox.advance(900)

    # A refused write shows before the charge that no record can be written; a 503 does not.
    assert declines(merchant) == (0 if status == 403 else 1)


async def test_an_announced_attempt_that_fails_counts_once(merchant: Merchant) -> None:
    made = merchant.sandbox.create_subscription(failure="declined")
    await merchant.sweep()
    merchant.sandbox.advance(2 * DAY)

    assert (await merchant.sweep()).outcomes == {"retry_scheduled": 1}

    state = state_of(merchant, made)
    assert (state["attempt"], state["failures"], len(state["attempts"])) == (2, {"payment": 2}, 2)
    assert declines(merchant) == 2


async def test_an_announced_attempt_counts_as_failed_if_its_run_dies_before_the_placement(merchant: Merchant) -> None:
    made = merchant.sandbox.create_subscription()
    await merchant.sweep_that_dies_before_placing()
    merchant.sandbox.fault("status", method="PATCH", path="/api/orders/*", status=503)
    merchant.sandbox.fault("status", status=503, match=OUTCOME, **RECORDS)
    await merchant.sweep()
    merchant.sandbox.clear_faults()
    merchant.sandbox.reset_counters()

    ended = await merchant.sweep()

    assert ended.outcomes == {"retry_scheduled": 1}
    assert merchant.requests(PLACEMENTS) == 0
    state = state_of(merchant, made)
    assert (state["attempt"], len(state["attempts"])) == (1, 1)
    merchant.sandbox.advance(2 * DAY)
    assert (await merchant.sweep()).outcomes == {"renewed": 1}
    assert len(merchant.copies()) == 1


async def test_an_announcement_whose_answer_is_lost_is_read_and_the_order_is_placed(merchant: Merchant) -> None:
    merchant.sandbox.create_subscription()
    await merchant.sweep_that_dies_before_placing()
    merchant.sandbox.fault("reset", when="after", match=ANNOUNCEMENT, times=1, **RECORDS)

    assert (await merchant.sweep()).outcomes == {"renewed": 1}
    assert len(merchant.placed()) == 1


@pytest.mark.parametrize(
    "fault",
    [
        {"action": "reset", "when": "before"},
        {"action": "status", "status": 403},
        {"action": "late", "seconds": 3600},
    ],
    ids=lambda each: each["action"],
)
async def test_an_attempt_whose_announcement_does_not_arrive_is_not_made(
    merchant: Merchant, fault: dict[str, Any]
) -> None:
    merchant.sandbox.create_subscription()
    await merchant.sweep_that_dies_before_placing()
    merchant.sandbox.fault(match=ANNOUNCEMENT, **fault, **RECORDS)
    merchant.sandbox.reset_counters()

    ended = await merchant.sweep()

    assert ended.outcomes == {"retry_scheduled": 1}
    assert merchant.requests(PLACEMENTS) == 0
    merchant.sandbox.clear_faults()
    assert (await merchant.sweep()).outcomes == {"renewed": 1}
    merchant.sandbox.advance(3700)  # the late announcement has arrived
    await merchant.sweep()
    assert len(merchant.copies()) == len(merchant.placed()) == 1


async def test_what_staff_write_before_the_announcement_is_kept(merchant: Merchant) -> None:
    made = merchant.sandbox.create_subscription()
    await merchant.sweep_that_dies_before_placing()

    def staff_write() -> None:
        metadata = merchant.subscription(made["id"])["metadata"]
        patch(merchant, "order_subscriptions", made["id"], metadata={**metadata, "crm": {"note": "call them"}})

    # The sweep reads copies by reference after it has planned the renewal.
    merchant.sandbox.reset_counters()
    clock = Meanwhile(merchant, lambda: merchant.requests("GET /api/order_copies") > 0, staff_write)
    with use_clock(clock):
        ended = await merchant.sweep()

    assert clock.has_acted
    assert ended.outcomes == {"renewed": 1}
    metadata = merchant.subscription(made["id"])["metadata"]
    assert metadata["crm"] == {"note": "call them"}
    assert metadata["perennial"]["outcome"] == "renewed"


@pytest.mark.parametrize("own_policy", [None, {"payment_retries": ["2d"]}], ids=["paused", "paused and changed"])
async def test_a_pause_between_announcement_and_placement_takes_the_attempt_back(
    merchant: Merchant, own_policy: dict[str, Any] | None
) -> None:
    made = merchant.sandbox.create_subscription()
    await merchant.sweep_that_dies_before_placing()
    await merchant.install(limits=RateLimits(writes_per_minute=1))

    def hold(*, held: bool) -> None:
        metadata = merchant.subscription(made["id"])["metadata"]
        own = {**metadata["perennial"], "held": held, "policy": own_policy}
        patch(merchant, "order_subscriptions", made["id"], metadata={**metadata, "perennial": own})

    clock = Meanwhile(merchant, lambda: state_of(merchant, made).get("outcome") == "placing", lambda: hold(held=True))
    with use_clock(clock):
        ended = await merchant.sweep()

    assert clock.has_acted
    assert ended.outcomes == {"skipped": 1}
    assert merchant.placed() == []
    state = state_of(merchant, made)
    assert (state["outcome"], state["attempt"], state["attempts"]) == (None, 0, [])
    assert (state["held"], state["policy"]) == (True, own_policy)
    await merchant.install()
    hold(held=False)
    assert (await merchant.sweep()).outcomes == {"renewed": 1}
    assert len(merchant.placed()) == 1


async def test_what_a_storefront_writes_while_an_announcement_is_taken_back_is_kept(merchant: Merchant) -> None:
    made = merchant.sandbox.create_subscription()
    await merchant.sweep_that_dies_before_placing()
    await merchant.install(limits=RateLimits(writes_per_minute=1))
    done = []

    def act() -> None:
        metadata = merchant.subscription(made["id"])["metadata"]
        if not done and metadata["perennial"].get("outcome") == "placing":
            done.append("held")
            metadata["perennial"]["held"] = True
            patch(merchant, "order_subscriptions", made["id"], metadata=metadata)
            merchant.sandbox.fault("throttle", **RECORDS, times=1)  # the write that takes the announcement back
        elif done == ["held"] and not merchant.sandbox.faults():
            done.append("basket")
            patch(merchant, "order_subscriptions", made["id"], metadata={**metadata, "basket": "a new one"})

    with use_clock(Meanwhile(merchant, lambda: True, act, once=False)):
        await merchant.sweep()

    assert done == ["held", "basket"]
    metadata = merchant.subscription(made["id"])["metadata"]
    assert (metadata["perennial"]["outcome"], metadata["perennial"]["attempt"]) == (None, 0)
    assert metadata["basket"] == "a new one"
