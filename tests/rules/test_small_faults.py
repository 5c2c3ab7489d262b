"""Behaviour that mutation testing found untested."""

import pytest
from rules.making import at, copy, order, planned, subscription

from blocks.commerce_layer.errors import ErrorItem, Refused
from blocks.policy import Policy
from flows.rules.findings import HeldBack, OrderAnswered, PlacementRefused, StillRunning
from flows.rules.next_action import Hold, HoldReason, Place
from flows.rules.outcomes import result_of
from flows.rules.records import record_of, skip_record_of
from flows.rules.renewal import Skipped, plan
from flows.rules.state import Outcome

DUE = "2026-03-01T06:00Z"
UNPLACED = copy(f"SubAbcdefg@{DUE}", "completed", order("pending"))
BEGUN = {"period": DUE, "attempt": 1, "outcome": "retry_scheduled", "failures": {"payment": 1}, "flow_run_id": "first",
         "order_copy_id": UNPLACED.id}  # fmt: skip
DECLINE = Refused(422, (ErrorItem(detail="was declined", pointer="/data/attributes/payment_source"),), "PATCH", "/x")


def skipped_on_purpose() -> Skipped:
    policy = Policy(catch_up="skip", late_after="1h")
    skipped = plan(subscription(), policy, at("2026-03-01T09:00"))
    assert isinstance(skipped, Skipped)
    assert skipped.settlement is not None
    return skipped


def test_a_skip_is_not_written_over_a_state_that_is_damaged():
    skipped = skipped_on_purpose()
    assert skip_record_of(skipped, subscription()) is not None
    assert skip_record_of(skipped, subscription({"attempt": "many"})) is None


def test_a_skip_is_not_written_where_the_next_date_is_gone():
    assert skip_record_of(skipped_on_purpose(), subscription(next_run_at=None)) is None


def failed_again(**begun):
    renewal = planned(subscription(BEGUN | begun), "2026-03-02T07:00")
    refused = PlacementRefused(Place(UNPLACED, order("pending"), 2), DECLINE, order("pending"))
    return result_of(renewal, refused, at("2026-03-02T07:01"), "ours")


def test_of_the_copies_that_two_runs_counted_the_higher_number_is_kept():
    for ours, theirs in ((1, 4), (4, 1)):
        record = record_of(failed_again(copies=ours), subscription(BEGUN | {"copies": theirs, "flow_run_id": "other"}))
        assert record is not None
        assert record.metadata["perennial"]["copies"] == 4


def test_the_different_failures_of_two_runs_are_both_kept():
    theirs = {"failures": {"stock": 1}, "flow_run_id": "other"}
    record = record_of(failed_again(), subscription(BEGUN | theirs))
    assert record is not None
    assert record.metadata["perennial"]["failures"] == {"payment": 2, "stock": 1}


def held_back(reason, until=None):
    renewal = planned(subscription(BEGUN), "2026-03-02T07:00")
    return result_of(renewal, HeldBack(Hold(reason, "look at it", until)), at("2026-03-02T07:01"), "ours")


def test_a_renewal_that_a_limit_holds_back_says_so_and_continues_by_itself():
    result = held_back(HoldReason.ATTEMPT_LIMIT, at("2026-03-05T06:00"))
    assert result.what == "look at it"
    assert result.state.next_attempt_at == at("2026-03-05T06:00")
    assert not result.needs_person


@pytest.mark.parametrize(
    ("reason", "recorded"),
    [
        (HoldReason.DUPLICATE, Outcome.NEEDS_ATTENTION),
        (HoldReason.TARGET_CANCELLED, Outcome.NEEDS_ATTENTION),
        (HoldReason.COPY_MISSING, Outcome.RETRY_SCHEDULED),
    ],
)
def test_only_a_copy_that_is_missing_leaves_the_recorded_outcome_as_it_was(reason, recorded):
    result = held_back(reason)
    assert (result.outcome, result.state.outcome) == (Outcome.NEEDS_ATTENTION, recorded)
    assert result.state.held is (reason is not HoldReason.COPY_MISSING)


def exhausted(**policy):
    renewal = planned(subscription(BEGUN), "2026-03-02T07:00", Policy(payment_retries=["1d"], **policy))
    refused = PlacementRefused(Place(UNPLACED, order("pending"), 2), DECLINE, order("pending"))
    return result_of(renewal, refused, at("2026-03-02T07:01"), "ours")


@pytest.mark.parametrize(
    ("action", "then"),
    [("hold", "held for a person"), ("cancel", "the subscription is cancelled"), ("skip_period", "next on")],
)
def test_the_final_action_is_part_of_the_result_and_put_into_words(action, then):
    result = exhausted(final_action=action)
    assert (result.outcome, str(result.final_action)) == (Outcome.EXHAUSTED, action)
    assert result.then is not None
    assert result.then.startswith(then)
    assert result.needs_person is (action == "hold")


def moved_while(finding, next_run_at, sub, as_of):
    result = result_of(planned(sub, as_of), finding, at(as_of), "ours")
    record = record_of(result, sub.model_copy(update={"next_run_at": at(next_run_at)}))
    assert record is not None
    return record


def test_a_date_that_was_moved_while_an_attempt_failed_stays_and_the_failure_is_recorded():
    refused = PlacementRefused(Place(UNPLACED, order("pending"), 1), DECLINE, order("pending"))
    record = moved_while(refused, "2026-03-02T06:00", subscription(), "2026-03-01T06:05")
    assert record.next_run_at is None
    assert record.metadata["perennial"]["failures"] == {"payment": 1}


def test_a_period_that_was_renewed_while_its_date_was_moved_is_recorded_as_renewed():
    answered = OrderAnswered(Place(UNPLACED, order("pending"), 1), order(placed_at="2026-03-01T06:04:00Z"))
    record = moved_while(answered, "2026-03-02T06:00", subscription(), "2026-03-01T06:05")
    assert record.metadata["perennial"]["outcome"] == "renewed"


def test_the_sentence_on_a_copy_under_way_for_too_long_uses_the_merchants_time_zone():
    state = {
        "period": DUE,
        "outcome": "in_progress",
        "under_way_since": "2026-03-01T06:10Z",
        "order_copy_id": UNPLACED.id,
    }
    renewal = planned(subscription(state), "2026-03-03T06:00", Policy(time_zone="Europe/Rome"))
    running = copy(renewal.reference, "in_progress")
    result = result_of(renewal, StillRunning(running), at("2026-03-03T06:00"), "ours")
    assert result.outcome is Outcome.NEEDS_ATTENTION
    assert "since Sun 1 Mar 07:10" in result.sentence
