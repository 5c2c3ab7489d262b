"""What a record contains if the subscription has changed since the renewal was planned."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest
from rules.making import at, copy, order, planned, subscription

from blocks.commerce_layer.errors import ErrorItem, NotConnected, Refused, WriteFateUnknown
from blocks.policy import Policy
from flows.rules.findings import CopyEnded, HeldBack, NotCreated, NotPlaced, OrderAnswered, PlacementRefused
from flows.rules.next_action import Hold, HoldReason, Place
from flows.rules.outcomes import result_of
from flows.rules.records import Record, another_placed_order, record_of, skip_record_of
from flows.rules.renewal import Renewal, Skipped, SkipReason, plan
from flows.rules.results import RenewalResult
from flows.rules.state import Outcome

DUE = "2026-03-01T06:00Z"
REF = f"SubAbcdefg@{DUE}"
NOW = at("2026-03-01T06:10")
UNPLACED = copy(REF, "completed", order("pending"))
DECLINE = Refused(422, (ErrorItem(detail="was declined", pointer="/data/attributes/payment_source"),), "PATCH", "/x")
BEGUN = {"period": DUE, "attempt": 1, "outcome": "retry_scheduled", "failures": {"payment": 1},
         "order_copy_id": UNPLACED.id, "flow_run_id": "first"}  # fmt: skip


def place(attempt: int = 1) -> Place:
    return Place(UNPLACED, order("pending"), attempt)


def renewed(placed_at: str = "2026-03-01T06:09:00Z", **fields: Any) -> RenewalResult:
    return result_of(planned(subscription(**fields)), OrderAnswered(place(), order(placed_at=placed_at)), NOW, "ours")


def second_attempt(**others: Any) -> Renewal:
    return planned(subscription({**BEGUN, **others}), "2026-03-02T07:00")


def failed_again(**others: Any) -> RenewalResult:
    refused = PlacementRefused(place(2), DECLINE, order("pending"))
    return result_of(second_attempt(**others), refused, at("2026-03-02T07:01"), "ours")


def written(record: Record | None) -> dict[str, Any]:
    assert record is not None
    state: dict[str, Any] = record.metadata["perennial"]
    return state


def moved_to(record: Record | None) -> datetime | None:
    assert record is not None
    return record.next_run_at


def test_a_result_is_written_as_it_is_if_the_subscription_has_not_changed():
    record = record_of(renewed(), subscription())
    assert written(record)["done_through"] == DUE
    assert moved_to(record) == at("2026-04-01T06:00")


def test_metadata_that_others_wrote_survive():
    fresh = subscription(metadata={"perennial": {"policy": {"stock_retries": []}}, "crm": {"id": 8}, "erp": 1})
    record = record_of(renewed(), fresh)
    assert record is not None
    assert (record.metadata["crm"], record.metadata["erp"]) == ({"id": 8}, 1)
    assert written(record)["policy"] == {"stock_retries": []}, "staff changed it while the renewal was under way"


def test_nothing_is_written_over_a_period_that_was_settled_meanwhile():
    settled = {"period": DUE, "done_through": DUE, "outcome": "renewed", "flow_run_id": "another"}
    assert record_of(renewed(), subscription(settled)) is None


def test_nothing_is_written_about_a_subscription_that_was_given_back_or_is_damaged():
    assert record_of(renewed(), subscription(metadata={"crm": 1})) is None
    assert record_of(renewed(), subscription({"attempt": -1})) is None


def test_a_run_that_sent_nothing_does_not_overwrite_the_record_of_another_run():
    another = {**BEGUN, "attempt": 2, "outcome": "exhausted", "held": True, "flow_run_id": "another"}
    not_sent = NotConnected("POST", "/api/order_copies", "refused")
    lost = WriteFateUnknown("POST", "/api/order_copies", "timeout", REF)
    for nothing in (NotCreated(not_sent), NotPlaced(place(2), not_sent), NotCreated(lost)):
        result = result_of(second_attempt(), nothing, NOW, "ours")
        assert record_of(result, subscription(another)) is None
        assert record_of(result, subscription(BEGUN)) is not None


def test_the_attempts_that_two_runs_counted_are_both_kept():
    another = {**BEGUN, "attempt": 3, "failures": {"payment": 1, "stock": 2}, "attempts": ["2026-03-02T06:59Z"],
               "held": True, "flow_run_id": "another"}  # fmt: skip
    state = written(record_of(failed_again(), subscription(another)))
    assert (state["attempt"], state["failures"]) == (3, {"payment": 2, "stock": 2})
    assert state["attempts"] == ["2026-03-02T06:59Z", "2026-03-02T07:01Z"]
    assert state["held"] is True


def test_a_date_moved_slightly_during_its_renewal_stands_for_the_renewed_period():
    record = record_of(renewed(), subscription(next_run_at="2026-03-02T06:00:00Z"))
    assert moved_to(record) == at("2026-04-02T06:00"), "it was moved for good"
    assert written(record)["done_through"] == "2026-03-02T06:00Z"


def test_a_date_moved_by_an_hour_during_its_renewal_is_settled_although_the_order_was_placed_before_it():
    record = record_of(renewed(), subscription(next_run_at="2026-03-01T07:00:00Z"))
    assert moved_to(record) == at("2026-04-01T06:00")
    assert written(record)["done_through"] == "2026-03-01T07:00Z"


def test_a_date_moved_far_during_its_renewal_is_the_next_date():
    record = record_of(renewed(), subscription(next_run_at="2026-03-25T06:00:00Z"))
    assert moved_to(record) is None, "the date stays as the customer set it"
    assert written(record)["done_through"] == DUE
    later = planned(subscription(written(record), next_run_at="2026-03-25T06:00:00Z"), "2026-03-25T06:05")
    assert later.due == at("2026-03-25T06:00")


def placed_on_1_march(happened: str) -> RenewalResult:
    """A run finds long afterwards that the order of 1 March was placed on that day."""
    done = CopyEnded(copy(REF, "completed", order(placed_at="2026-03-01T06:09:00Z")))
    return result_of(planned(), done, at(happened), "ours")


def test_a_date_that_was_moved_to_a_day_after_the_placement_is_not_settled_by_it():
    record = record_of(placed_on_1_march("2026-03-20T06:10"), subscription(next_run_at="2026-03-18T06:00:00Z"))
    assert moved_to(record) is None, "the date stays as the customer set it"
    assert written(record)["done_through"] == DUE


def test_a_date_moved_slightly_is_not_moved_on_to_a_date_that_is_due_already():
    record = record_of(placed_on_1_march("2026-04-02T06:10"), subscription(next_run_at="2026-03-02T06:00:00Z"))
    assert moved_to(record) is None
    assert written(record)["done_through"] == "2026-03-02T06:00Z"


def test_a_date_moved_back_during_its_renewal_is_the_one_that_is_settled():
    work = planned(subscription(BEGUN, next_run_at="2026-03-10T06:00:00Z"), "2026-03-10T06:05")
    result = result_of(work, OrderAnswered(place(2), order()), at("2026-03-10T06:06"), "ours")
    record = record_of(result, subscription(BEGUN, next_run_at="2026-03-05T06:00:00Z"))
    assert moved_to(record) == at("2026-04-05T06:00")
    assert written(record)["done_through"] == "2026-03-05T06:00Z"


def test_a_date_that_was_removed_during_its_renewal_is_set_again():
    assert moved_to(record_of(renewed(), subscription(next_run_at=None))) == at("2026-04-01T06:00")


def test_an_order_placed_long_ago_does_not_settle_the_date_that_is_due_now():
    # The record of 1 March was overwritten by an older one, after the date had moved on to 1 April.
    stale = {"period": DUE, "attempt": 1, "outcome": "in_progress"}
    work = planned(subscription(stale, next_run_at="2026-04-01T06:00:00Z"), "2026-04-01T06:05")
    assert work.due == at("2026-03-01T06:00")
    done = CopyEnded(copy(REF, "completed", order(placed_at="2026-03-01T06:09:00Z")))
    result = result_of(work, done, at("2026-04-01T06:06"))
    assert result.state.done_through == at("2026-03-01T06:00")
    following = plan(subscription(result.state, next_run_at="2026-04-01T06:00:00Z"), Policy(), at("2026-04-01T06:10"))
    assert not isinstance(following, Skipped)
    assert following.due == at("2026-04-01T06:00")


def test_a_cancellation_is_part_of_the_record_and_is_not_requested_twice():
    policy = Policy(payment_retries=[], final_action="cancel")
    result = result_of(planned(policy=policy), PlacementRefused(place(), DECLINE, order("pending")), NOW, "ours")
    record = record_of(result, subscription())
    assert record is not None
    assert record.cancel
    gone = record_of(result, subscription(status="cancelled"))
    assert gone is not None
    assert not gone.cancel


def late(**fields: Any) -> Skipped:
    policy = Policy(catch_up="skip", late_after="1d")
    skipped = plan(subscription(**fields), policy, at("2026-03-05"))
    assert isinstance(skipped, Skipped)
    assert skipped.settlement is not None
    return skipped


def test_a_skipped_period_is_recorded_unless_the_subscription_has_changed_meanwhile():
    record = skip_record_of(late(), subscription())
    assert moved_to(record) == at("2026-04-01T06:00")
    assert skip_record_of(late(), subscription(next_run_at="2026-03-20T06:00:00Z")) is None
    assert skip_record_of(late(), subscription({"done_through": DUE})) is None
    assert skip_record_of(late(), subscription({"held": True})) is None


def test_a_hold_that_staff_set_during_the_renewal_is_kept():
    held = subscription({"held": True})
    assert written(record_of(renewed(), held))["held"] is True
    by_another_run = {**BEGUN, "outcome": "exhausted", "held": True, "flow_run_id": "another"}
    assert written(record_of(renewed(), subscription(by_another_run)))["held"] is False, "its period is renewed now"


def too_close_record(theirs: dict[str, Any]) -> Record | None:
    """The record of a date that was moved to the evening of the renewed day."""
    done = {"period": DUE, "done_through": DUE, "last_period": DUE, "last_placed_at": DUE, "last_order_id": "TgtOld"}
    evening = {"next_run_at": "2026-03-01T21:00:00Z"}
    skipped = plan(subscription({**done, "erp": "planned"}, **evening), Policy(), at("2026-03-01T21:05"))
    assert isinstance(skipped, Skipped)
    assert skipped.reason is SkipReason.TOO_CLOSE
    return skip_record_of(skipped, subscription({**done, **theirs}, **evening))


def price_held() -> RenewalResult:
    hold = Hold(HoldReason.PRICE, "its order costs 12.00 EUR instead of 10.00 EUR", copy=UNPLACED)
    return result_of(planned(subscription({"erp": "planned"})), HeldBack(hold), NOW, "ours")


def test_a_hold_is_recorded_with_its_date_and_released_without_it():
    assert written(record_of(price_held(), subscription()))["held_since"] == "2026-03-01T06:10Z"
    by_staff = written(record_of(renewed(), subscription({"held": True})))
    assert (by_staff["held"], by_staff["held_since"]) == (True, "2026-03-01T06:10Z")
    released = {"held_since": "2026-02-01T06:00Z"}
    for result in (renewed(state=released), failed_again(**released)):
        assert written(record_of(result, subscription({**BEGUN, **released})))["held_since"] is None
    by_another_run = {**BEGUN, "held": True, "held_since": "2026-03-02T06:00Z", "flow_run_id": "another"}
    assert written(record_of(failed_again(), subscription(by_another_run)))["held_since"] == "2026-03-02T06:00Z"
    assert written(too_close_record({}))["held_since"] is not None


RECORDS: dict[str, Callable[[dict[str, Any]], Record | None]] = {
    "renewed": lambda theirs: record_of(renewed(state={"erp": "planned"}), subscription(theirs)),
    "failed": lambda theirs: record_of(failed_again(erp="planned"), subscription({**BEGUN, **theirs})),
    "failed beside another run": lambda theirs: record_of(
        failed_again(erp="planned"), subscription({**BEGUN, "flow_run_id": "another", **theirs})
    ),
    "nothing sent": lambda theirs: record_of(
        result_of(planned(), NotPlaced(place(), NotConnected("PATCH", "/x", "refused")), NOW), subscription(theirs)
    ),
    "held for its price": lambda theirs: record_of(price_held(), subscription(theirs)),
    "skipped": lambda theirs: skip_record_of(late(state={"erp": "planned"}), subscription(theirs)),
    "too close": too_close_record,
}


@pytest.mark.parametrize("kind", RECORDS)
def test_no_record_overwrites_what_others_wrote_into_the_state_meanwhile(kind):
    theirs = {"paused": True, "policy": {"stock_retries": []}, "erp": "theirs"}
    state = written(RECORDS[kind](theirs))
    assert {key: state[key] for key in theirs} == theirs
    without = written(RECORDS[kind]({}))
    assert (without["paused"], without["policy"], without.get("erp")) == (False, None, None), "removed meanwhile"


# --- announcements -------------------------------------------------------------------------------------


def announced(**changes: Any) -> dict[str, Any]:
    state = second_attempt().state.announcing(2, UNPLACED.id, "TgtAbcdefg", at("2026-03-02T07:00"), "ours")
    return {**state.model_dump(mode="json"), **changes}


def test_an_attempt_that_this_run_has_announced_counts_once():
    state = written(record_of(failed_again(), subscription(announced())))
    assert (state["outcome"], state["attempt"], state["failures"]) == ("retry_scheduled", 2, {"payment": 2})
    assert state["attempts"] == ["2026-03-02T07:01Z"]


def test_an_attempt_that_was_announced_and_could_not_be_made_is_taken_back():
    nothing = NotPlaced(place(2), NotConnected("PATCH", "/api/orders/TgtAbcdefg", "refused"))
    result = result_of(second_attempt(), nothing, at("2026-03-02T07:01"), "ours")
    state = written(record_of(result, subscription(announced())))
    assert (state["outcome"], state["attempt"], state["attempts"]) == ("retry_scheduled", 1, [])


def test_a_run_that_sent_nothing_keeps_the_announcement_of_another_run():
    nothing = NotPlaced(place(2), NotConnected("PATCH", "/api/orders/TgtAbcdefg", "refused"))
    result = result_of(second_attempt(), nothing, at("2026-03-02T07:01"), "ours")
    assert record_of(result, subscription(announced(flow_run_id="another"))) is None


def test_a_hold_that_staff_set_after_the_announcement_is_kept():
    assert written(record_of(failed_again(), subscription(announced(held=True))))["held"] is True
    placed = result_of(second_attempt(), OrderAnswered(place(2), order()), at("2026-03-02T07:01"), "ours")
    assert written(record_of(placed, subscription(announced(held=True))))["held"] is True


# --- two placed orders of one period --------------------------------------------------------------------

THEIRS = {"period": DUE, "done_through": DUE, "outcome": "renewed", "target_order_id": "TgtOtherxx", "flow_run_id": "x"}


def test_a_different_order_placed_by_another_run_for_the_same_period_is_a_double_charge():
    other = another_placed_order(renewed(), subscription(THEIRS))
    assert other == "TgtOtherxx"
    twice = renewed().placed_twice(other)
    assert twice.is_duplicate
    assert twice.needs_person
    assert twice.outcome is Outcome.NEEDS_ATTENTION
    assert twice.sentence == "two orders of one period are placed (TgtAbcdefg and TgtOtherxx): cancel one of them"


def test_the_same_order_another_period_or_an_unplaced_order_is_no_double_charge():
    for stored in (
        {**THEIRS, "target_order_id": "TgtAbcdefg"},
        {**THEIRS, "target_order_id": None},
        {**THEIRS, "period": "2026-02-01T06:00Z", "done_through": "2026-02-01T06:00Z"},
        {**THEIRS, "outcome": "retry_scheduled", "done_through": None},
        {**THEIRS, "attempt": -1},
        {},
    ):
        assert another_placed_order(renewed(), subscription(stored)) is None
    assert another_placed_order(renewed(), subscription(metadata={"crm": 1})) is None
    assert another_placed_order(failed_again(), subscription(THEIRS)) is None, "ours was not placed"
