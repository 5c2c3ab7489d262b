"""Placements whose answers are lost: Perennial reads the order to see what happened, and charges no period twice."""

from __future__ import annotations

from typing import Any

import pytest
import stored_runs
from meanwhile import Meanwhile
from merchant import Merchant

from blocks.commerce_layer import client
from blocks.commerce_layer.clock import use_clock
from blocks.commerce_layer.transport import Timeouts

DAY = 86_400
PLACEMENTS = {"method": "PATCH", "path": "/api/orders/*", "match": "_place"}
PATCHES = "PATCH /api/orders/{id}"

LOST = [
    {"action": "status", "status": 503}, {"action": "reset"}, {"action": "close"}, {"action": "hang"},
    {"action": "truncate"}, {"action": "malformed"},
]  # fmt: skip


@pytest.fixture
def short_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    """The client gives up on a request without an answer after three seconds."""
    monkeypatch.setattr(client, "Timeouts", lambda: Timeouts(read=3.0))


def declines(merchant: Merchant) -> int:
    """Charges that were declined, as the sandbox recorded them."""
    return len(merchant.rows("SELECT * FROM resource_errors"))


def state_of(merchant: Merchant, made: dict[str, Any]) -> dict[str, Any]:
    state: dict[str, Any] = merchant.subscription(made["id"])["metadata"]["perennial"]
    return state


@pytest.mark.parametrize("fault", LOST, ids=lambda each: each["action"])
async def test_an_order_that_was_placed_without_an_answer_is_read_and_not_placed_again(
    merchant: Merchant, short_timeout: None, fault: dict[str, Any]
) -> None:
    made = merchant.sandbox.create_subscription()
    merchant.sandbox.fault(when="after", times=1, **fault, **PLACEMENTS)

    ended = await merchant.sweep()

    assert (ended.name, ended.outcomes) == ("Completed", {"renewed": 1})
    assert len(merchant.placed()) == 1
    assert declines(merchant) == 0
    assert merchant.requests(PATCHES) == 1
    assert state_of(merchant, made)["outcome"] == "renewed"


@pytest.mark.parametrize("fault", LOST[:4], ids=lambda each: each["action"])
async def test_a_placement_that_never_arrived_is_sent_again_for_the_same_order(
    merchant: Merchant, short_timeout: None, fault: dict[str, Any]
) -> None:
    merchant.sandbox.create_subscription()
    merchant.sandbox.fault(when="before", times=1, **fault, **PLACEMENTS)

    ended = await merchant.sweep()

    assert (ended.name, ended.outcomes) == ("Completed", {"renewed": 1})
    assert len(merchant.placed()) == len(merchant.copies()) == 1
    assert merchant.requests(PATCHES) == 2


@pytest.mark.parametrize("fault", LOST[:5], ids=lambda each: each["action"])
async def test_a_decline_whose_answer_is_lost_is_recorded_and_not_tried_again(
    merchant: Merchant, short_timeout: None, fault: dict[str, Any]
) -> None:
    made = merchant.sandbox.create_subscription(failure="declined", times=1)
    merchant.sandbox.fault(when="after", times=1, **fault, **PLACEMENTS)

    ended = await merchant.sweep()

    assert ended.outcomes == {"retry_scheduled": 1}
    assert ended.facts["failures"] == {"payment": 1}
    assert declines(merchant) == 1
    state = state_of(merchant, made)
    assert (state["attempt"], state["failures"], len(state["attempts"])) == (1, {"payment": 1}, 1)
    assert merchant.placed() == []
    merchant.sandbox.advance(2 * DAY)
    assert (await merchant.sweep()).outcomes == {"renewed": 1}
    assert len(merchant.placed()) == len(merchant.copies()) == 1


async def test_a_placement_that_arrives_two_minutes_late_changes_nothing(merchant: Merchant) -> None:
    merchant.sandbox.create_subscription()
    merchant.sandbox.fault("late", seconds=120, times=1, **PLACEMENTS)

    ended = await merchant.sweep()

    assert ended.outcomes == {"renewed": 1}
    (before,) = merchant.target_orders()
    merchant.sandbox.advance(180)
    (after,) = merchant.target_orders()
    assert after["updated_at"] > before["updated_at"], "it has arrived"
    assert {**after, "updated_at": None} == {**before, "updated_at": None}
    assert (await merchant.sweep()).outcomes == {}


async def test_an_order_whose_placements_are_all_lost_is_unconfirmed_and_the_next_sweep_places_it(
    merchant: Merchant,
) -> None:
    made = merchant.sandbox.create_subscription()
    merchant.sandbox.fault("reset", when="before", **PLACEMENTS)

    first = await merchant.sweep()

    assert first.outcomes == {"unconfirmed": 1}
    (row,) = await stored_runs.table(first.flow_run_id)
    assert row["why"].endswith("was lost; the next sweep looks again before anything is sent")
    assert merchant.requests(PATCHES) == 3
    merchant.sandbox.clear_faults()
    assert (await merchant.sweep()).outcomes == {"renewed": 1}
    assert len(merchant.placed()) == len(merchant.copies()) == 1
    assert state_of(merchant, made)["outcome"] == "renewed"


async def test_an_order_that_cannot_be_read_after_a_lost_answer_is_not_placed_again_in_the_same_run(
    merchant: Merchant,
) -> None:
    made = merchant.sandbox.create_subscription(failure="declined")
    merchant.sandbox.fault("reset", when="after", times=1, **PLACEMENTS)
    merchant.sandbox.fault("status", method="GET", path="/api/orders/*", status=503)

    ended = await merchant.sweep()

    assert ended.outcomes == {"unconfirmed": 1}
    assert declines(merchant) == 1
    assert state_of(merchant, made)["attempt"] == 1


async def test_after_a_lost_answer_the_sweep_does_not_claim_that_nothing_was_charged(merchant: Merchant) -> None:
    made = merchant.sandbox.create_subscription()
    merchant.sandbox.fault("reset", when="before", times=1, **PLACEMENTS)

    def let_last_looks_fail() -> None:
        merchant.sandbox.advance(11)  # a last look is valid for ten seconds
        merchant.sandbox.fault("status", method="GET", path="/api/order_*", status=503)

    with use_clock(clock := Meanwhile(merchant, lambda: merchant.requests(PATCHES) > 0, let_last_looks_fail)):
        ended = await merchant.sweep()

    assert clock.has_acted
    assert ended.outcomes == {"unconfirmed": 1}
    (row,) = await stored_runs.table(ended.flow_run_id)
    assert "nothing was charged" not in row["why"]
    merchant.sandbox.clear_faults()
    assert (await merchant.sweep()).outcomes == {"renewed": 1}
    assert len(merchant.placed()) == 1
    assert state_of(merchant, made)["outcome"] == "renewed"


async def test_a_shop_that_answers_no_placement_stops_the_sweep_and_the_next_one_goes_on(merchant: Merchant) -> None:
    await merchant.install(first_wave=5, second_wave=5, max_unconfirmed=3)
    merchant.sandbox.seed(20)
    merchant.sandbox.fault("reset", when="before", **PLACEMENTS)

    first = await merchant.sweep()

    assert first.name == "Failed"
    assert first.outcomes == {"unconfirmed": 5}
    assert "answers in a row were lost: Commerce Layer is in trouble; 15 stay due" in first.message
    merchant.sandbox.clear_faults()
    assert (await merchant.sweep()).outcomes == {"renewed": 20}
    assert len(merchant.placed()) == len(set(merchant.placed())) == len(merchant.copies()) == 20


@pytest.mark.parametrize("when", ["before", "after"])
async def test_an_order_that_is_copied_by_hand_is_placed_once_although_the_answer_is_lost(
    merchant: Merchant, when: str
) -> None:
    made = merchant.sandbox.create_subscription(adopted=False)
    merchant.sandbox.fault("reset", when=when, times=1, **PLACEMENTS)

    ended = await merchant.reorder(made["source_order_id"], reference="goodwill-20")

    assert ended.name == "Completed"
    assert merchant.placed() == ["goodwill-20"]
