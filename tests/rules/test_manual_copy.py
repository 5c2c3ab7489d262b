"""A manual copy: one order copy that a person asks for."""

from dataclasses import replace

import pytest
from rules.making import POLICY, copy, legacy, order, withdrawn

from blocks.commerce_layer.errors import ErrorItem, NotConnected, Refused, WriteFateUnknown
from blocks.commerce_layer.resources import Order, OrderCopy
from blocks.policy import FailureClass
from flows.rules.findings import (
    CopyEnded,
    HeldBack,
    NotCreated,
    NotPlaced,
    OrderAnswered,
    PlacementRefused,
    StillRunning,
)
from flows.rules.manual_copy import ManualCopy, ManualOutcome, ManualResult, ReferenceTaken, manual_result
from flows.rules.next_action import Conclude, Create, Hold, HoldReason, Place, Wait

REF = "goodwill-1"
WORK = ManualCopy("SrcAbcdefg", REF)
DECLINE = Refused(422, (ErrorItem(detail="was declined", pointer="/data/attributes/payment_source"),), "PATCH", "/x")
LOST = WriteFateUnknown("PATCH", "/api/orders/Tgt1", "timeout")


def made(number: int = 1, status: str = "completed", target: str | Order | None = "draft", **fields) -> OrderCopy:
    if isinstance(target, str):
        target = order(target, id=f"Tgt{number}")
    return copy(REF, status, target, id=f"Cpy{number}", created_at=f"2026-03-01T06:00:0{number}Z", **fields)


def result(finding, work: ManualCopy = WORK) -> ManualResult:
    return manual_result(work, finding, POLICY)


# --- what to do next -----------------------------------------------------------------------------------


def test_nothing_found_means_create():
    assert WORK.next_action([]) == Create(REF)


def test_the_order_of_the_earliest_copy_is_placed_once_that_copy_is_completed():
    assert WORK.next_action([made(1, "in_progress", None), made(2)]) == Wait(made(1, "in_progress", None))
    assert WORK.next_action([made(2), made(1)]) == Place(made(1), order("draft", id="Tgt1"), 1)


def test_a_run_with_place_switched_off_ends_with_an_unplaced_order():
    unplaced = replace(WORK, place=False)
    assert unplaced.next_action([made(1)]) == Conclude(made(1))
    assert unplaced.next_action([made(1, "in_progress", None)]) == Wait(made(1, "in_progress", None))


@pytest.mark.parametrize("status", ["placed", "approved"])
def test_a_placed_order_ends_a_run_even_with_place_switched_off(status):
    for work in (WORK, replace(WORK, place=False)):
        assert work.next_action([made(1), made(2, target=status)]) == Conclude(made(2, target=status))


@pytest.mark.parametrize("status", ["placing", "teleporting", "editing"])
def test_an_order_that_may_be_placed_soon_is_awaited_before_any_other_is_placed(status):
    moving = made(2, target=status)
    assert WORK.next_action([made(1), moving]) == Wait(moving)


def test_a_copy_that_version_0_1_has_created_places_its_order_itself():
    running = legacy(REF, "in_progress")
    assert WORK.next_action([made(3), running]) == Wait(running)


def test_two_placed_orders_of_a_reference_need_a_person():
    action = WORK.next_action([made(1, target="placed"), made(2, target="placed")])
    assert isinstance(action, Hold)
    assert action.reason is HoldReason.DUPLICATE


def test_a_failed_copy_ends_the_run_and_a_new_request_creates_another_one():
    failed = made(1, "failed", None)
    assert WORK.next_action([failed]) == Conclude(failed)
    assert replace(WORK, found=(failed,)).next_action([failed]) == Create(REF)
    again = made(2, "failed", None)
    assert replace(WORK, found=(failed,)).next_action([failed, again]) == Conclude(again)


def test_a_cancelled_order_is_final_whatever_other_copies_exist_and_however_often_a_person_asks():
    cancelled = made(1, target="cancelled")
    for work in (WORK, replace(WORK, found=(cancelled,))):
        assert work.next_action([cancelled]) == Conclude(cancelled)
        assert work.next_action([cancelled, made(2)]) == Conclude(cancelled)


def test_a_surplus_order_that_was_cancelled_does_not_matter():
    assert isinstance(WORK.next_action([made(1), made(2, target="cancelled")]), Place)
    assert isinstance(WORK.next_action([made(1), made(2, target=withdrawn(id="Tgt2"))]), Place)


def test_the_reference_of_a_renewal_is_refused_with_the_way_out():
    with pytest.raises(ReferenceTaken, match="run renew-subscriptions with that subscription"):
        ManualCopy("SrcAbcdefg", "SubAbcdefg@2026-03-01T06:00Z")


def test_the_reference_of_another_orders_copy_is_refused():
    with pytest.raises(ReferenceTaken, match="belongs to order copy Cpy1 of order SrcOtherxx"):
        WORK.refuse_if_taken([made(1, source_order_id="SrcOtherxx")])
    WORK.refuse_if_taken([made(1), made(2, source_order_id=None)])


# --- the result ----------------------------------------------------------------------------------------

ATTEMPT = Place(made(1), order("draft", id="Tgt1"), 1)


def test_a_placed_order_completes_the_request():
    for finding in (
        OrderAnswered(ATTEMPT, order("placed", id="Tgt1")),
        CopyEnded(made(1, target="placed")),
        PlacementRefused(ATTEMPT, LOST, order("placed", id="Tgt1")),
    ):
        ended = result(finding)
        assert (ended.outcome, ended.order_copy_id, ended.target_order_id) == (ManualOutcome.COMPLETED, "Cpy1", "Tgt1")
        assert ended.sentence == "order #1001 was copied and placed"
        assert ended.failure is None


def test_an_order_left_unplaced_as_asked_completes_the_request():
    ended = result(CopyEnded(made(1)), replace(WORK, place=False))
    assert (ended.outcome, ended.order_number) == (ManualOutcome.COMPLETED, "1001")
    assert ended.sentence == "order #1001 was copied and left unplaced, as asked"


def test_a_declined_order_says_how_to_go_on():
    for finding in (
        PlacementRefused(ATTEMPT, DECLINE, order("pending", id="Tgt1")),
        PlacementRefused(ATTEMPT, DECLINE),
    ):
        ended = result(finding)
        assert ended.outcome is ManualOutcome.FAILED
        assert ended.failure is not None
        assert ended.failure.cls is FailureClass.PAYMENT
        assert ended.sentence.startswith("order #1001 was copied but could not be placed: card declined. Repair it")


def test_the_sentence_on_a_cancelled_order_does_not_ask_to_repair_it():
    ended = result(CopyEnded(made(1, target="cancelled")))
    assert ended.outcome is ManualOutcome.FAILED
    assert "Repair" not in ended.sentence


def test_a_copy_that_failed_says_why():
    ended = result(CopyEnded(made(1, "failed", None, errors_log={"line_items": ["is out of stock"]})))
    assert (ended.outcome, ended.sentence) == (ManualOutcome.FAILED, "order copy Cpy1 is failed: out of stock")


def test_the_sentence_on_a_copy_under_way_asks_to_run_again_with_the_same_reference():
    for finding in (
        StillRunning(made(1, "in_progress", None)),
        OrderAnswered(ATTEMPT, order("placing", id="Tgt1")),
        CopyEnded(made(1, target="teleporting")),
    ):
        ended = result(finding)
        assert ended.outcome is ManualOutcome.IN_PROGRESS
        assert f"run this again with reference {REF}" in ended.sentence


def test_a_lost_answer_is_unconfirmed_unless_the_order_is_placed():
    for found in (None, order("draft", id="Tgt1")):
        ended = result(PlacementRefused(ATTEMPT, LOST, found))
        assert ended.outcome is ManualOutcome.UNCONFIRMED
        assert "nothing is charged twice" in ended.sentence


def test_the_sentence_says_what_was_not_created_or_not_placed():
    refused = Refused(422, (ErrorItem(detail="market is disabled"),), "POST", "/api/order_copies")
    not_created = result(NotCreated(refused))
    assert (not_created.outcome, not_created.order_copy_id) == (ManualOutcome.FAILED, None)
    assert "no order copy was created: POST /api/order_copies was answered 422" in not_created.sentence
    not_placed = result(NotPlaced(ATTEMPT, NotConnected("PATCH", "/api/orders/Tgt1", "refused")))
    assert (not_placed.outcome, not_placed.order_copy_id) == (ManualOutcome.FAILED, "Cpy1")
    assert "was copied but not placed" in not_placed.sentence


def test_a_hold_needs_a_person():
    held = result(HeldBack(Hold(HoldReason.DUPLICATE, "2 orders are placed")))
    assert (held.outcome, held.sentence) == (ManualOutcome.FAILED, "2 orders are placed")


def test_a_result_is_plain_data_for_a_table():
    told = result(OrderAnswered(ATTEMPT, order("placed", id="Tgt1"))).as_dict()
    assert told["reference"] == REF
    assert (told["source order"], told["target order"], told["order number"]) == ("SrcAbcdefg", "Tgt1", "1001")
    assert all(value is None or isinstance(value, str) for value in told.values())
