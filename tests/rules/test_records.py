"""What is written about a verdict when the subscription is no longer as it was when the renewal was planned."""

from datetime import datetime
from typing import Any

from rules.making import at, copy, order, planned, subscription

from blocks.commerce_layer.errors import ErrorItem, Fenced, Refused
from blocks.policy_terms import PolicyTerms
from flows.rules.next_action import Create, Place
from flows.rules.outcomes import CopySettled, CreationRefused, Judgement, PlacementRefused, judge
from flows.rules.records import Record, record_of, skip_record_of
from flows.rules.renewal import Skipped, plan

DUE = "2026-03-01T06:00Z"
REF = f"SubAbcdefg@{DUE}"
NOW = at("2026-03-01T06:10")
DECLINED = copy(REF, "failed", order("pending"), errors_log={"payment_source": ["was declined"]})
BEGUN = {"period": DUE, "attempt": 1, "copies": 1, "outcome": "retry_scheduled", "failures": {"payment": 1},
         "flow_run_id": "first"}  # fmt: skip


def renewed(placed_at: str = "2026-03-01T06:09:00Z", **fields: Any) -> Judgement:
    done = copy(REF, "completed", order(placed_at=placed_at))
    return judge(planned(subscription(**fields)), Create(REF, 1, 1), CopySettled(done), NOW, "ours")


def failed_again() -> Judgement:
    work = planned(subscription(BEGUN), "2026-03-02T07:00")
    refused = Refused(
        422, (ErrorItem(detail="was declined", pointer="/data/attributes/payment_source"),), "PATCH", "/x"
    )
    act = Place(DECLINED, "TgtAbcdefg", 2)
    return judge(work, act, PlacementRefused(refused, order("pending")), at("2026-03-02T07:01"), "ours")


def written(record: Record | None) -> dict[str, Any]:
    assert record is not None
    state: dict[str, Any] = record.metadata["perennial"]
    return state


def moved_to(record: Record | None) -> datetime | None:
    assert record is not None
    return record.next_run_at


def test_what_nobody_has_touched_is_written_as_it_was_judged():
    record = record_of(renewed(), subscription())
    assert written(record)["done_through"] == DUE
    assert moved_to(record) == at("2026-04-01T06:00")


def test_what_others_wrote_into_the_metadata_survives():
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


def test_a_run_that_sent_nothing_leaves_alone_what_another_has_recorded():
    another = {**BEGUN, "attempt": 2, "outcome": "exhausted", "held": True, "flow_run_id": "another"}
    nothing = CreationRefused(Fenced("the lease is over"))
    verdict = judge(planned(subscription(BEGUN), "2026-03-02T07:00"), Create(REF, 1, 1), nothing, NOW, "ours")
    assert record_of(verdict, subscription(another)) is None
    assert record_of(verdict, subscription(BEGUN)) is not None


def test_what_two_runs_have_counted_stays_counted():
    another = {**BEGUN, "attempt": 3, "failures": {"payment": 1, "stock": 2}, "attempts": ["2026-03-02T06:59Z"],
               "held": True, "flow_run_id": "another"}  # fmt: skip
    state = written(record_of(failed_again(), subscription(another)))
    assert (state["attempt"], state["failures"]) == (3, {"payment": 2, "stock": 2})
    assert state["attempts"] == ["2026-03-02T06:59Z", "2026-03-02T07:01Z"]
    assert state["held"] is True


def test_a_date_that_was_moved_a_little_while_the_period_was_renewed_stands_for_that_period():
    record = record_of(renewed(), subscription(next_run_at="2026-03-02T06:00:00Z"))
    assert moved_to(record) == at("2026-04-01T06:00")
    assert written(record)["done_through"] == "2026-03-02T06:00Z"


def test_a_date_that_was_moved_far_while_the_period_was_renewed_is_the_next_one():
    record = record_of(renewed(), subscription(next_run_at="2026-03-25T06:00:00Z"))
    assert moved_to(record) is None, "it stays as the customer wishes"
    assert written(record)["done_through"] == DUE
    later = planned(subscription(written(record), next_run_at="2026-03-25T06:00:00Z"), "2026-03-25T06:05")
    assert later.due == at("2026-03-25T06:00")


def test_an_order_placed_long_ago_does_not_settle_the_date_that_is_due_now():
    # The record of 1 March was overwritten by an older one, after the date had moved on to 1 April.
    stale = {"period": DUE, "attempt": 1, "copies": 1, "outcome": "in_progress"}
    work = planned(subscription(stale, next_run_at="2026-04-01T06:00:00Z"), "2026-04-01T06:05")
    assert work.due == at("2026-03-01T06:00")
    done = CopySettled(copy(REF, "completed", order(placed_at="2026-03-01T06:09:00Z")), adopted=True)
    verdict = judge(work, Create(REF, 1, 1), done, at("2026-04-01T06:06"))
    assert verdict.state.done_through == at("2026-03-01T06:00")
    following = plan(
        subscription(verdict.state, next_run_at="2026-04-01T06:00:00Z"), PolicyTerms(), at("2026-04-01T06:10")
    )
    assert not isinstance(following, Skipped)
    assert following.due == at("2026-04-01T06:00")


def test_a_cancellation_is_part_of_the_record_and_not_asked_for_twice():
    terms = PolicyTerms(payment_retries=[], final_action="cancel")
    verdict = judge(planned(terms=terms), Create(REF, 1, 1), CopySettled(DECLINED), NOW, "ours")
    record = record_of(verdict, subscription())
    assert record is not None
    assert record.cancel
    gone = record_of(verdict, subscription(status="cancelled"))
    assert gone is not None
    assert not gone.cancel


def late(**fields: Any) -> Skipped:
    terms = PolicyTerms(catch_up="skip", late_after="1d")
    skipped = plan(subscription(**fields), terms, at("2026-03-05"))
    assert isinstance(skipped, Skipped)
    assert skipped.settlement is not None
    return skipped


def test_a_period_that_is_skipped_on_purpose_is_recorded_unless_somebody_has_moved_on():
    record = skip_record_of(late(), subscription())
    assert moved_to(record) == at("2026-04-01T06:00")
    assert skip_record_of(late(), subscription(next_run_at="2026-03-20T06:00:00Z")) is None
    assert skip_record_of(late(), subscription({"done_through": DUE})) is None
    assert skip_record_of(late(), subscription({"held": True})) is None


def test_a_hold_that_staff_set_while_the_period_was_renewed_stays():
    held = subscription({"held": True})
    assert written(record_of(renewed(), held))["held"] is True
    by_another_run = {**BEGUN, "outcome": "exhausted", "held": True, "flow_run_id": "another"}
    assert written(record_of(renewed(), subscription(by_another_run)))["held"] is False, "its period is renewed now"
