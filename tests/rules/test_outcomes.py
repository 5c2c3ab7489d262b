import pytest
from rules.attempts import (
    DECLINE,
    DECLINED,
    LOST,
    NOW,
    REF,
    announced,
    begun,
    copy_failed,
    declined,
    place,
    refused_with,
    renewal,
)
from rules.making import POLICY, at, copy, legacy, order, planned, subscription

from blocks.commerce_layer.errors import (
    ErrorItem,
    NotConnected,
    Refused,
)
from blocks.policy import FailureClass, Policy
from flows.rules.findings import (
    CopyEnded,
    HeldBack,
    OrderAnswered,
    StillRunning,
)
from flows.rules.next_action import Conclude, Hold, HoldReason, next_action
from flows.rules.outcomes import result_of
from flows.rules.renewal import Skipped, SkipReason, plan
from flows.rules.state import Outcome

# --- renewed -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", ["placed", "approved"])
def test_an_answer_with_a_placed_order_is_a_renewal(status):
    result = result_of(renewal(), OrderAnswered(place(), order(status)), NOW, "run")
    assert result.outcome is Outcome.RENEWED
    assert not result.needs_person
    assert (result.state.outcome, result.state.attempt, result.state.flow_run_id) == ("renewed", 1, "run")
    assert (result.state.order_copy_id, result.state.target_order_id) == ("CpyAbcdefb", "TgtAbcdefg")
    assert (result.state.error, result.state.error_class, result.state.attempts) == (None, None, [])


def test_an_order_that_another_run_placed_without_a_record_is_reported_as_already_renewed():
    result = result_of(renewal(), CopyEnded(copy(REF, "completed", order())), NOW)
    assert result.outcome is Outcome.ALREADY_RENEWED
    assert result.sentence == "renewed by an earlier run as order #1001; next on Wed 1 Apr 06:00 UTC"
    assert (result.state.attempt, result.state.done_through) == (1, at("2026-03-01T06:00"))
    assert result.paid_by_customer is None


def test_an_order_placed_by_an_announced_attempt_is_reported_as_already_renewed():
    result = result_of(announced(), CopyEnded(copy(REF, "completed", order())), NOW)
    assert result.outcome is Outcome.ALREADY_RENEWED
    assert result.state.attempt == 2


@pytest.mark.parametrize("status", ["completed", "failed"])
def test_an_order_that_the_customer_placed_since_it_was_declined_is_a_renewal(status):
    work = begun(error_class="payment", error="was declined", payment_source_id="cardOldOld")
    result = result_of(work, CopyEnded(copy(REF, status, order())), NOW)
    assert result.outcome is Outcome.RENEWED
    assert (result.state.error_class, result.state.error, result.state.payment_source_id) == (None, None, None)
    assert "as order #1001, which was placed since the last attempt;" in result.sentence
    assert result.state.done_through == at("2026-03-01T06:00")


def test_a_copy_left_running_by_an_earlier_sweep_is_reported_as_renewed_now():
    work = renewal(outcome="in_progress", order_copy_id="CpyAbcdefb", attempt=1)
    result = result_of(work, CopyEnded(copy(REF, "completed", order())), NOW)
    assert result.outcome is Outcome.RENEWED
    assert result.state.attempt == 1


def test_a_refused_placement_of_an_order_that_is_placed_is_a_renewal():
    for error in (DECLINE, LOST, NotConnected("PATCH", "/x", "refused")):
        assert result_of(begun(), refused_with(error, order("placed"), 2), NOW).outcome is Outcome.RENEWED


def test_a_renewal_says_when_the_next_one_is():
    placed = OrderAnswered(place(), order())
    assert result_of(renewal(), placed, NOW).sentence == "renewed as order #1001; next on Wed 1 Apr 06:00 UTC"
    last = planned(subscription(expires_at="2026-04-01T06:00:00Z"))
    assert result_of(last, placed, NOW).sentence.endswith(
        "it was the last one before it expires on Wed 1 Apr 06:00 UTC"
    )


def test_the_order_of_a_copy_is_recorded_if_the_copy_shows_it_or_its_id():
    shown, named = order("pending"), {"target_order_id": "TgtAbcdefg"}
    for found in (copy(REF, "failed", shown, target_order_id=None), copy(REF, "failed", None, **named)):
        assert result_of(renewal(), CopyEnded(found), NOW).state.target_order_id == "TgtAbcdefg"


def test_the_recorded_order_stays_if_its_copy_does_not_show_it_any_more():
    for recorded, known in (("CpyAbcdefb", "TgtAbcdefg"), ("CpyOtherxx", None)):
        result = result_of(begun(order_copy_id=recorded), CopyEnded(copy(REF, "failed")), NOW)
        assert (result.state.order_copy_id, result.state.target_order_id) == ("CpyAbcdefb", known)


def test_a_renewal_tells_dates_in_the_merchants_time_zone():
    placed, rome = OrderAnswered(place(), order()), Policy(time_zone="Europe/Rome")
    assert result_of(renewal(rome), placed, NOW).sentence.endswith("next on Wed 1 Apr 07:00 CEST")
    last = planned(subscription(expires_at="2026-03-15T00:00:00Z"), policy=rome)
    assert result_of(last, placed, NOW).sentence.endswith("expires on Sun 15 Mar 01:00 CET")


# --- under way ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", ["pending", "in_progress", "teleporting"])
def test_a_copy_that_is_not_final_is_in_progress(status):
    for finding in (StillRunning(copy(REF, status)), CopyEnded(copy(REF, status))):
        result = result_of(renewal(), finding, NOW)
        assert result.outcome is Outcome.IN_PROGRESS
        assert (result.state.outcome, result.state.attempt, result.next_run_at) == ("in_progress", 0, None)
        assert status in result.sentence
        assert result.sentence.endswith("the next sweep picks it up")


@pytest.mark.parametrize("status", ["placing", "teleporting", "editing"])
def test_an_order_that_may_still_be_placed_is_in_progress(status):
    moving = order(status)
    for finding in (
        StillRunning(copy(REF, "completed", moving)),
        CopyEnded(copy(REF, "completed", moving)),
        OrderAnswered(place(), moving),
        refused_with(DECLINE, moving),
        refused_with(LOST, moving),
    ):
        result = result_of(renewal(), finding, NOW)
        assert result.outcome is Outcome.IN_PROGRESS
        assert status in result.sentence
        assert (result.next_run_at, result.state.done_through) == (None, None)


def test_an_attempt_under_way_counts_once_when_it_turns_out_to_have_failed():
    under_way = result_of(renewal(), OrderAnswered(place(), order("placing")), NOW)
    assert (under_way.state.attempt, under_way.state.attempts) == (1, [NOW])
    sweep = planned(subscription(under_way.state), "2026-03-01T07:00")
    still = result_of(sweep, StillRunning(copy(REF, "completed", order("placing"))), at("2026-03-01T07:00"))
    assert still.outcome is Outcome.IN_PROGRESS

    following = planned(subscription(still.state), "2026-03-01T08:00")
    unplaced = copy(REF, "completed", order("pending"))
    assert next_action(following, [unplaced], at("2026-03-01T08:00")) == Conclude(unplaced)
    result = result_of(following, CopyEnded(unplaced), at("2026-03-01T08:00"))
    assert result.outcome is Outcome.RETRY_SCHEDULED
    assert (result.state.attempt, result.state.attempts) == (1, [NOW]), "it is a single attempt"
    assert result.state.next_attempt_at == at("2026-03-02T08:00")


def test_an_order_left_in_placing_by_an_earlier_sweep_is_reported_as_renewed_now():
    under_way = result_of(renewal(), OrderAnswered(place(), order("placing")), NOW)
    sweep = planned(subscription(under_way.state), "2026-03-01T07:00")
    result = result_of(sweep, CopyEnded(copy(REF, "completed", order())), at("2026-03-01T07:00"))
    assert result.outcome is Outcome.RENEWED
    assert result.state.attempt == 1


def test_an_order_that_the_customer_is_paying_is_no_attempt_of_ours():
    waited = begun(next_attempt_at="2026-03-02T06:00Z")
    result = result_of(waited, StillRunning(copy(REF, "completed", order("placing"))), NOW)
    assert (result.outcome, result.state.next_attempt_at) == (Outcome.IN_PROGRESS, None)
    assert (result.state.outcome, result.state.attempt, result.state.attempts) == ("in_progress", 1, [])


@pytest.mark.parametrize(
    ("work", "running", "recorded"),
    [
        (announced(), copy(REF, "in_progress"), "placing"),
        (announced(order_copy_id="CpyOtherxx"), copy(REF, "in_progress"), "in_progress"),
        (renewal(outcome="in_progress", order_copy_id="CpyAbcdefb"), legacy(REF, "in_progress"), "in_progress"),
    ],
    ids=["announced", "announced for another copy", "of version 0.1"],
)
def test_a_running_copy_is_recorded_as_placing_only_if_an_attempt_was_announced_for_it(work, running, recorded):
    assert result_of(work, StillRunning(running), NOW).state.outcome == recorded


def test_a_completed_copy_whose_order_is_not_found_is_unconfirmed():
    for finding in (StillRunning(copy(REF, "completed")), CopyEnded(copy(REF, "completed"))):
        result = result_of(renewal(), finding, NOW)
        assert result.outcome is Outcome.UNCONFIRMED
        assert result.state.attempt == 0


def test_a_copy_that_does_not_end_within_a_day_needs_a_person_but_sets_no_hold():
    first = result_of(renewal(), StillRunning(copy(REF, "in_progress")), NOW)
    assert first.outcome is Outcome.IN_PROGRESS
    later = planned(subscription(first.state), "2026-03-02T06:10")
    result = result_of(later, StillRunning(copy(REF, "in_progress")), at("2026-03-02T06:10"))
    assert result.outcome is Outcome.NEEDS_ATTENTION
    assert result.needs_person
    assert result.sentence.endswith("since Sun 1 Mar 06:10 UTC: look at it; nothing is created until it ends")
    assert not result.state.held
    following = planned(subscription(result.state), "2026-03-03T06:11")
    ended = result_of(following, CopyEnded(copy(REF, "completed", order())), at("2026-03-03T06:12"))
    assert ended.outcome is Outcome.RENEWED
    assert ended.state.under_way_since is None


# --- holds ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reason", [HoldReason.DUPLICATE, HoldReason.TARGET_CANCELLED])
def test_a_hold_for_a_person_is_recorded(reason):
    waited = {"next_attempt_at": "2026-03-02T06:00Z"}
    result = result_of(begun(**waited), HeldBack(Hold(reason, "look at it")), NOW)
    assert (result.outcome, result.sentence) == (Outcome.NEEDS_ATTENTION, "look at it")
    assert (result.state.held, result.state.next_attempt_at) == (True, None)
    assert result.state.error == "look at it"
    assert result.is_duplicate == (reason is HoldReason.DUPLICATE)


def test_a_hold_for_the_card_networks_ends_by_itself():
    hold = Hold(HoldReason.ATTEMPT_LIMIT, "limit reached", at("2026-03-09"))
    result = result_of(begun(), HeldBack(hold), NOW)
    assert result.outcome is Outcome.RETRY_SCHEDULED
    assert (result.state.next_attempt_at, result.hold) == (at("2026-03-09"), hold)
    assert (result.state.attempt, result.state.held) == (1, False)


def test_a_missing_copy_needs_a_person_but_sets_no_hold():
    result = result_of(begun(), HeldBack(Hold(HoldReason.COPY_MISSING, "not found")), NOW)
    assert result.outcome is Outcome.NEEDS_ATTENTION
    assert result.needs_person
    assert not result.state.held
    assert result.state.outcome == "retry_scheduled", "the outcome of the last attempt still decides what comes next"


# --- retries and sentences -----------------------------------------------------------------------------


def test_each_class_of_failure_has_retries_of_its_own():
    work, moment = renewal(), NOW
    timeout = Refused(422, (ErrorItem(detail="gateway timeout"),), "PATCH", "/x")
    for attempt in range(1, 5):
        result = result_of(work, refused_with(timeout, order("pending"), attempt), moment)
        moment = result.state.next_attempt_at
        work = planned(subscription(result.state), f"{moment:%Y-%m-%dT%H:%M}")
    first_decline = result_of(work, declined(5), moment)
    assert first_decline.state.failures == {"transient": 4, "payment": 1}
    assert first_decline.outcome is Outcome.RETRY_SCHEDULED
    assert first_decline.sentence.endswith("2 of 5")


def test_a_subscription_that_the_shop_refuses_to_cancel_is_held_for_a_person():
    policy = Policy(payment_retries=[], final_action="cancel")
    refused = result_of(renewal(policy), declined(), NOW).not_cancelled("422 Unprocessable")
    assert not refused.cancel
    assert refused.needs_person
    assert refused.state.final_action == "hold"
    assert refused.sentence == (
        "card declined; retries used up after 1 attempt; "
        "it could not be cancelled (422 Unprocessable): held for a person"
    )


def test_a_long_error_is_cut_in_the_record_and_reported_in_full():
    result = result_of(renewal(), copy_failed({"base": ["x" * 2000]}), NOW)
    assert len(result.state.error) == 500
    assert len(result.failure.text) > 2000
    assert len(result.sentence) < 300


def test_every_failure_class_has_words_of_its_own():
    sentences = set()
    for cls in FailureClass:
        policy = Policy(failure_patterns={"peculiar": cls}, **{f"{cls}_retries": ["1d"]})
        result = result_of(renewal(policy), copy_failed({"base": ["peculiar"]}), NOW)
        assert result.state.error_class == cls
        assert result.outcome is Outcome.RETRY_SCHEDULED
        sentences.add(result.sentence)
    assert len(sentences) == len(FailureClass)


# --- dates ---------------------------------------------------------------------------------------------


def test_the_new_date_of_a_failing_period_is_not_another_period():
    state = {"period": "2026-03-01T06:00Z", "attempt": 1, "outcome": "retry_scheduled", "order_copy_id": "CpyAbcdefb"}
    work = planned(subscription(state, next_run_at="2026-03-10T06:00:00Z"), "2026-03-10T06:05")
    result = result_of(work, OrderAnswered(place(2), order()), at("2026-03-10T06:06"))
    assert result.state.done_through == at("2026-03-10T06:00")
    assert result.next_run_at == at("2026-04-10T06:00")


def test_a_late_success_leaves_the_next_period_due_and_waiting_for_a_person():
    result = result_of(begun(), OrderAnswered(place(2), order()), at("2026-04-02T06:06"))
    assert result.outcome is Outcome.RENEWED
    assert result.next_run_at is None
    assert result.sentence.endswith("; the next period is due already")
    following = plan(subscription(result.state), POLICY, at("2026-04-02T06:10"))
    assert isinstance(following, Skipped)
    assert (following.reason, following.due) == (SkipReason.TOO_CLOSE, at("2026-04-01T06:00"))


def test_waits_count_from_the_failure_and_not_from_the_instant_of_a_late_run():
    failed = legacy(REF, "failed", order("pending"), errors_log=DECLINED, failed_at="2026-03-09T12:00:00Z")
    result = result_of(renewal(), CopyEnded(failed), NOW)
    assert result.state.attempts == [at("2026-03-09T12:00")]
    assert result.state.next_attempt_at == at("2026-03-10T12:00")
    late_run = plan(subscription(result.state), POLICY, at("2026-03-08"))
    assert isinstance(late_run, Skipped)
    assert late_run.reason is SkipReason.RETRY_NOT_DUE


def test_the_next_date_must_follow_the_placement_and_not_only_the_instant_of_a_late_run():
    placed = order("placed", placed_at="2026-04-09T12:00:00Z")
    result = result_of(begun(), OrderAnswered(place(2), placed), at("2026-03-02T07:00"))
    assert result.next_run_at is None, "1 April is due already"


def test_the_retry_after_an_old_failed_copy_counts_from_now():
    result = result_of(renewal(), copy_failed(DECLINED, failed_at="2026-03-01T06:01:00Z"), NOW)
    assert result.state.next_attempt_at == at("2026-03-02T06:10")
