import pytest
from rules.making import POLICY, at, copy, legacy, order, planned, subscription, withdrawn

from blocks.commerce_layer.errors import (
    AuthenticationFailed,
    ErrorItem,
    InvalidToken,
    NotConnected,
    ReadFailed,
    Refused,
    WriteFateUnknown,
)
from blocks.policy import FailureClass, Policy
from flows.rules.findings import (
    CopyEnded,
    HeldBack,
    NotCreated,
    NotPlaced,
    OrderAnswered,
    PlacementRefused,
    StillRunning,
)
from flows.rules.next_action import Conclude, Hold, HoldReason, Place, next_action
from flows.rules.outcomes import result_of
from flows.rules.renewal import Skipped, SkipReason, plan
from flows.rules.state import Outcome

NOW = at("2026-03-01T06:10")
REF = "SubAbcdefg@2026-03-01T06:00Z"
DECLINED = {"payment_source": ["was declined"]}
DECLINE = Refused(422, (ErrorItem(detail="was declined", pointer="/data/attributes/payment_source"),), "PATCH", "/x")
LOST = WriteFateUnknown("PATCH", "/api/orders/TgtAbcdefg", "timeout")


def renewal(policy=POLICY, as_of="2026-03-01T06:05", **state):
    begun = {"period": "2026-03-01T06:00Z"} if state else {}
    return planned(subscription(begun | state), as_of, policy)


def begun(policy=POLICY, **state):
    recorded = {"attempt": 1, "outcome": "retry_scheduled", "order_copy_id": "CpyAbcdefb", "failures": {"payment": 1}}
    return renewal(policy, "2026-03-02T07:00", **recorded | {"target_order_id": "TgtAbcdefg"} | state)


def announced(**state):
    """As the sweep finds it that comes after a run which has announced its attempt and then died."""
    return begun(outcome="placing", attempt=2, attempts=["2026-03-02T06:59Z"], **state)


def place(attempt=1):
    return Place(copy(REF, "completed", order("pending")), order("pending"), attempt)


def refused_with(error, order=None, attempt=1):
    return PlacementRefused(place(attempt), error, order)


def declined(attempt=1):
    """The request to place the order was answered with a decline."""
    return refused_with(DECLINE, order("pending"), attempt)


def copy_failed(log, **fields):
    """A copy of ours failed before it had an order."""
    return CopyEnded(copy(REF, "failed", errors_log=log, **fields))


# --- renewed -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", ["placed", "approved"])
def test_an_order_that_was_answered_as_placed_is_a_renewal(status):
    result = result_of(renewal(), OrderAnswered(place(), order(status)), NOW, "run")
    assert result.outcome is Outcome.RENEWED
    assert not result.needs_person
    assert (result.state.outcome, result.state.attempt, result.state.flow_run_id) == ("renewed", 1, "run")
    assert (result.state.order_copy_id, result.state.target_order_id) == ("CpyAbcdefb", "TgtAbcdefg")
    assert (result.state.error, result.state.error_class, result.state.attempts) == (None, None, [])


def test_an_order_that_another_run_has_placed_and_not_recorded_is_renewed_already():
    result = result_of(renewal(), CopyEnded(copy(REF, "completed", order())), NOW)
    assert result.outcome is Outcome.ALREADY_RENEWED
    assert result.sentence == "renewed by an earlier run as order #1001; next on Wed 1 Apr 06:00 UTC"
    assert (result.state.attempt, result.state.done_through) == (1, at("2026-03-01T06:00"))


def test_an_order_that_an_announced_attempt_has_placed_is_renewed_already():
    result = result_of(announced(), CopyEnded(copy(REF, "completed", order())), NOW)
    assert result.outcome is Outcome.ALREADY_RENEWED
    assert result.state.attempt == 2


@pytest.mark.parametrize("status", ["completed", "failed"])
def test_an_order_that_the_customer_placed_since_it_was_declined_is_a_renewal(status):
    result = result_of(begun(), CopyEnded(copy(REF, status, order())), NOW)
    assert result.outcome is Outcome.RENEWED
    assert "which was placed since the last attempt" in result.sentence
    assert result.state.done_through == at("2026-03-01T06:00")


def test_a_copy_left_running_by_an_earlier_sweep_is_renewed_now_not_already():
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
    last = planned(subscription(expires_at="2026-03-15T00:00:00Z"))
    assert result_of(last, placed, NOW).sentence.endswith(
        "it was the last one before it expires on Sun 15 Mar 00:00 UTC"
    )


# --- under way ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", ["pending", "in_progress", "teleporting"])
def test_a_copy_that_is_not_final_keeps_us_waiting(status):
    for finding in (StillRunning(copy(REF, status)), CopyEnded(copy(REF, status))):
        result = result_of(renewal(), finding, NOW)
        assert result.outcome is Outcome.IN_PROGRESS
        assert (result.state.outcome, result.state.attempt, result.next_run_at) == ("in_progress", 0, None)
        assert status in result.sentence
        assert result.sentence.endswith("the next sweep picks it up")


@pytest.mark.parametrize("status", ["placing", "teleporting", "editing"])
def test_an_order_that_may_still_be_placed_keeps_us_waiting(status):
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


def test_an_attempt_whose_end_is_not_known_is_not_repeated_when_it_turns_out_to_have_failed():
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
    assert (result.state.attempt, result.state.attempts) == (1, [NOW]), "it is one attempt"
    assert result.state.next_attempt_at == at("2026-03-02T08:00")


def test_an_order_that_was_left_in_placing_is_renewed_now_not_already():
    under_way = result_of(renewal(), OrderAnswered(place(), order("placing")), NOW)
    sweep = planned(subscription(under_way.state), "2026-03-01T07:00")
    result = result_of(sweep, CopyEnded(copy(REF, "completed", order())), at("2026-03-01T07:00"))
    assert result.outcome is Outcome.RENEWED
    assert result.state.attempt == 1


def test_an_order_that_the_customer_is_paying_is_no_attempt_of_ours():
    result = result_of(begun(), StillRunning(copy(REF, "completed", order("placing"))), NOW)
    assert result.outcome is Outcome.IN_PROGRESS
    assert (result.state.outcome, result.state.attempt, result.state.attempts) == ("in_progress", 1, [])


def test_a_completed_copy_whose_order_is_not_found_is_not_believed():
    for finding in (StillRunning(copy(REF, "completed")), CopyEnded(copy(REF, "completed"))):
        result = result_of(renewal(), finding, NOW)
        assert result.outcome is Outcome.UNCONFIRMED
        assert result.state.attempt == 0


def test_what_does_not_end_is_told_to_a_person_and_nothing_is_created_meanwhile():
    first = result_of(renewal(), StillRunning(copy(REF, "in_progress")), NOW)
    assert first.outcome is Outcome.IN_PROGRESS
    later = planned(subscription(first.state), "2026-03-02T06:11")
    result = result_of(later, StillRunning(copy(REF, "in_progress")), at("2026-03-02T06:11"))
    assert result.outcome is Outcome.NEEDS_ATTENTION
    assert result.needs_person
    assert "since Sun 1 Mar 06:10 UTC" in result.sentence
    assert not result.state.held
    following = planned(subscription(result.state), "2026-03-03T06:11")
    ended = result_of(following, CopyEnded(copy(REF, "completed", order())), at("2026-03-03T06:12"))
    assert ended.outcome is Outcome.RENEWED
    assert ended.state.under_way_since is None


# --- failed ------------------------------------------------------------------------------------------


def test_a_declined_order_is_one_failed_attempt():
    for finding in (declined(), OrderAnswered(place(), order("pending"))):
        result = result_of(renewal(), finding, NOW)
        assert result.outcome is Outcome.RETRY_SCHEDULED
        assert result.failure.cls is FailureClass.PAYMENT
        assert (result.state.attempt, result.state.failures) == (1, {"payment": 1})
        assert result.state.attempts == [NOW], "it counts for the card networks"
        assert (result.next_run_at, result.state.done_through) == (None, None)


def test_a_copy_that_failed_is_an_attempt_that_no_card_has_seen():
    for log in (DECLINED, {"line_items": ["is out of stock"]}, None):
        for target in (None, order("draft")):
            result = result_of(renewal(), CopyEnded(copy(REF, "failed", target, errors_log=log)), NOW)
            assert result.outcome is Outcome.RETRY_SCHEDULED
            assert (result.state.attempt, result.state.attempts) == (1, [])


def test_an_aborted_copy_failed():
    result = result_of(renewal(), CopyEnded(copy(REF, "aborted")), NOW)
    assert result.outcome is Outcome.RETRY_SCHEDULED
    assert result.state.error_class == "unknown"


def test_a_failed_copy_whose_incomplete_order_we_cancelled_is_judged_by_what_the_copy_said():
    log = {"line_items": ["is out of stock"]}
    result = result_of(renewal(), CopyEnded(copy(REF, "failed", withdrawn(), errors_log=log)), NOW)
    assert result.failure.cls is FailureClass.STOCK


def test_an_announced_attempt_whose_order_is_not_placed_has_failed_and_counts_once():
    result = result_of(announced(), CopyEnded(copy(REF, "completed", order("pending"))), at("2026-03-02T07:01"))
    assert result.outcome is Outcome.RETRY_SCHEDULED
    assert (result.state.attempt, result.state.failures) == (2, {"payment": 2})
    assert result.state.attempts == [at("2026-03-02T06:59")], "as it was announced"


def test_an_attempt_that_was_announced_for_another_copy_is_not_taken_for_this_one():
    work = announced(order_copy_id="CpyOtherxx")
    result = result_of(work, copy_failed({"line_items": ["is out of stock"]}), NOW)
    assert result.state.attempt == 3


def test_a_copy_of_version_0_1_is_one_attempt_however_often_it_is_looked_at():
    work = renewal(outcome="in_progress", copies=1, attempt=1, order_copy_id="CpyAbcdefb", as_of="2026-03-01T07:00")
    failed = legacy(REF, "failed", order("pending"), errors_log=DECLINED)
    result = result_of(work, CopyEnded(failed), at("2026-03-01T07:01"))
    assert (result.state.attempt, result.state.copies) == (1, 1)
    assert result.state.attempts == [at("2026-03-01T07:01")], "it placed its order itself"
    assert result_of(renewal(), CopyEnded(failed), NOW).state.attempt == 1


def test_a_decline_waits_for_the_delay_that_the_merchant_chose_and_then_ends():
    work, finding, moment = renewal(), declined(), NOW
    waits = []
    while (result := result_of(work, finding, moment)).outcome is Outcome.RETRY_SCHEDULED:
        following = result.state.next_attempt_at
        waits.append((following - moment).days)
        moment = following
        work = planned(subscription(result.state), f"{moment:%Y-%m-%dT%H:%M}")
        finding = declined(result.state.attempt + 1)
    assert waits == [1, 3, 5, 5]
    assert result.outcome is Outcome.EXHAUSTED
    assert result.state.attempt == 5
    assert result.state.held
    assert result.needs_person
    assert result.next_run_at is None
    assert result.sentence == (
        "card declined; retries used up after 5 attempts; held for a person: release it to go on"
    )


def test_a_retry_prefers_the_merchants_time_of_day():
    policy = Policy(retry_at="08:00", time_zone="Europe/Rome")
    result = result_of(renewal(policy), declined(), NOW)
    assert result.state.next_attempt_at == at("2026-03-02T07:00")
    assert result.sentence.endswith("next attempt Mon 2 Mar 08:00 CET; 2 of 5")


def test_a_hard_decline_waits_for_a_person():
    stolen = Refused(422, (ErrorItem(detail="stolen_card", pointer="/data/attributes/payment_source"),), "PATCH", "/x")
    for finding in (refused_with(stolen, order("pending")), copy_failed({"payment_source": ["stolen_card"]})):
        result = result_of(renewal(), finding, NOW)
        assert result.outcome is Outcome.NEEDS_ATTENTION
        assert result.state.held
        assert result.needs_person
        assert (result.state.next_attempt_at, result.next_run_at, result.cancel) == (None, None, False)


def test_a_skipped_period_moves_on_to_the_next_date():
    policy = Policy(stock_retries=[], final_actions={"stock": "skip_period"})
    result = result_of(renewal(policy), copy_failed({"line_items": ["is out of stock"]}), NOW)
    assert result.outcome is Outcome.EXHAUSTED
    assert result.next_run_at == at("2026-04-01T06:00")
    assert result.state.done_through == at("2026-03-01T06:00")
    assert not result.needs_person
    assert not result.state.held


def test_a_subscription_is_cancelled_only_when_the_merchant_said_so():
    policy = Policy(payment_retries=[], final_action="cancel")
    result = result_of(renewal(policy), declined(), NOW)
    assert result.outcome is Outcome.EXHAUSTED
    assert result.cancel
    assert not result.needs_person
    assert result.state.held, "whoever revives it does not have it charged again at once"
    assert result.state.final_action == "cancel"


def test_a_cancelled_order_is_not_bought_again():
    cancelled = order("cancelled")
    for finding in (
        OrderAnswered(place(2), cancelled),
        refused_with(DECLINE, cancelled, 2),
        CopyEnded(copy(REF, "completed", cancelled)),
        CopyEnded(legacy(REF, "failed", cancelled, errors_log=DECLINED)),
    ):
        assert result_of(begun(), finding, NOW).outcome is Outcome.NEEDS_ATTENTION


# --- answers that were lost, and requests that were not sent ------------------------------------------


@pytest.mark.parametrize("found", [None, order("pending")])
def test_a_placement_whose_answer_was_lost_is_unconfirmed_and_counted(found):
    result = result_of(begun(), refused_with(LOST, found, 2), NOW)
    assert result.outcome is Outcome.UNCONFIRMED
    assert result.state.attempt == 2
    assert result.state.attempts == [NOW], "it may have reached the card"
    assert result.state.failures == {"payment": 1}, "and may not have failed"
    assert "TgtAbcdefg" in result.sentence
    assert not result.needs_person


def test_placements_whose_answers_are_lost_again_and_again_end_at_the_card_networks_limit():
    work, moment, found = renewal(), NOW, copy(REF, "completed", order("pending"))
    for attempt in range(1, 6):
        assert next_action(work, [found], moment) == Place(found, order("pending"), attempt)
        result = result_of(work, refused_with(LOST, order("pending"), attempt), moment)
        moment = at(f"2026-03-01T07:0{attempt}")
        work = planned(subscription(result.state), f"{moment:%Y-%m-%dT%H:%M}")
    action = next_action(work, [found], moment)
    assert isinstance(action, Hold)
    assert (action.reason, action.until) == (HoldReason.ATTEMPT_LIMIT, at("2026-03-02T06:10"))


def test_a_creation_whose_answers_were_lost_charged_nobody_and_uses_up_nothing():
    lost = WriteFateUnknown("POST", "/api/order_copies", "timeout", REF)
    result = result_of(begun(), NotCreated(lost), NOW)
    assert result.outcome is Outcome.RETRY_SCHEDULED
    assert (result.state.attempt, result.state.attempts, result.state.failures) == (1, [], {"payment": 1})
    assert REF in result.sentence
    assert not result.needs_person
    assert not result.was_attempted


def test_a_refused_creation_is_an_attempt_that_left_no_copy():
    refused = Refused(422, (ErrorItem(detail="market is disabled"),), "POST", "/api/order_copies")
    result = result_of(renewal(), NotCreated(refused), NOW)
    assert result.outcome is Outcome.RETRY_SCHEDULED
    assert (result.state.order_copy_id, result.state.attempt) == (None, 1)
    assert result.failure.cls is FailureClass.CATALOGUE
    assert result.state.attempts == [], "no card was charged"


NOT_SENT = [NotConnected("POST", "/x", "refused"), ReadFailed("/api/order_copies", "timeout", 4)]


@pytest.mark.parametrize("error", NOT_SENT)
def test_what_was_never_sent_uses_up_nothing(error):
    for work, finding in (
        (renewal(), NotCreated(error)),
        (begun(), NotCreated(error)),
        (begun(), refused_with(error, None, 2)),
        (begun(), refused_with(error, order("pending"), 2)),
        (begun(), NotPlaced(place(2), error)),
        (begun(), NotPlaced(place(2), DECLINE)),
    ):
        result = result_of(work, finding, NOW)
        assert result.outcome is Outcome.RETRY_SCHEDULED
        assert not result.needs_person
        assert not result.was_attempted
        before, after = work.state, result.state
        assert (after.attempt, after.failures, after.outcome) == (before.attempt, before.failures, before.outcome)
        assert after.attempts == before.attempts
        assert result.next_run_at is None
        assert result.sentence.startswith("nothing was charged")


def test_what_was_found_before_nothing_could_be_sent_is_remembered():
    result = result_of(renewal(), NotPlaced(place(), NOT_SENT[0]), NOW)
    assert (result.state.order_copy_id, result.state.target_order_id) == ("CpyAbcdefb", "TgtAbcdefg")
    assert result.state.outcome is None


@pytest.mark.parametrize("error", [AuthenticationFailed("check client_id", 401), InvalidToken(401, (), "POST", "/x")])
def test_a_shop_that_refuses_our_credentials_holds_no_subscription(error):
    for finding in (NotCreated(error), refused_with(error), NotPlaced(place(), error)):
        result = result_of(renewal(), finding, NOW)
        assert result.outcome is Outcome.NEEDS_ATTENTION
        assert result.needs_person
        assert not result.state.held
        assert result.state.attempt == 0


# --- holds ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reason", [HoldReason.DUPLICATE, HoldReason.TARGET_CANCELLED])
def test_a_hold_for_a_person_is_recorded(reason):
    result = result_of(begun(), HeldBack(Hold(reason, "look at it")), NOW)
    assert result.outcome is Outcome.NEEDS_ATTENTION
    assert result.state.held
    assert result.state.error == "look at it"
    assert result.is_duplicate == (reason is HoldReason.DUPLICATE)


def test_a_hold_for_the_card_networks_goes_on_by_itself():
    hold = Hold(HoldReason.ATTEMPT_LIMIT, "limit reached", at("2026-03-09"))
    result = result_of(begun(), HeldBack(hold), NOW)
    assert result.outcome is Outcome.RETRY_SCHEDULED
    assert result.state.next_attempt_at == at("2026-03-09")
    assert (result.state.attempt, result.state.held) == (1, False)


def test_a_copy_that_is_missing_needs_a_person_and_goes_on_by_itself_when_it_is_found():
    result = result_of(begun(), HeldBack(Hold(HoldReason.COPY_MISSING, "not found")), NOW)
    assert result.outcome is Outcome.NEEDS_ATTENTION
    assert result.needs_person
    assert not result.state.held
    assert result.state.outcome == "retry_scheduled", "what happened last decides what comes next"


# --- how it is retried and told ------------------------------------------------------------------------


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


def test_a_cancellation_that_the_shop_refuses_is_held_for_a_person_and_says_so():
    policy = Policy(payment_retries=[], final_action="cancel")
    refused = result_of(renewal(policy), declined(), NOW).not_cancelled("422 Unprocessable")
    assert not refused.cancel
    assert refused.needs_person
    assert refused.state.final_action == "hold"
    assert refused.sentence == (
        "card declined; retries used up after 1 attempt; "
        "it could not be cancelled (422 Unprocessable): held for a person"
    )


def test_a_long_complaint_is_recorded_shortened_and_reported_whole():
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


def test_the_date_a_customer_moved_a_failing_period_to_is_not_one_more_period():
    state = {"period": "2026-03-01T06:00Z", "attempt": 1, "outcome": "retry_scheduled", "order_copy_id": "CpyAbcdefb"}
    work = planned(subscription(state, next_run_at="2026-03-10T06:00:00Z"), "2026-03-10T06:05")
    result = result_of(work, OrderAnswered(place(2), order()), at("2026-03-10T06:06"))
    assert result.state.done_through == at("2026-03-10T06:00")
    assert result.next_run_at == at("2026-04-10T06:00")


def test_a_success_after_the_next_period_began_leaves_that_one_due_and_waiting_for_a_person():
    result = result_of(begun(), OrderAnswered(place(2), order()), at("2026-04-02T06:06"))
    assert result.outcome is Outcome.RENEWED
    assert result.next_run_at is None
    following = plan(subscription(result.state), POLICY, at("2026-04-02T06:10"))
    assert isinstance(following, Skipped)
    assert (following.reason, following.due) == (SkipReason.TOO_CLOSE, at("2026-04-01T06:00"))


def test_waits_count_from_the_failure_not_from_the_date_a_late_run_works_up_to():
    failed = legacy(REF, "failed", order("pending"), errors_log=DECLINED, failed_at="2026-03-09T12:00:00Z")
    result = result_of(renewal(), CopyEnded(failed), NOW)
    assert result.state.attempts == [at("2026-03-09T12:00")]
    assert result.state.next_attempt_at == at("2026-03-10T12:00")
    late_run = plan(subscription(result.state), POLICY, at("2026-03-08"))
    assert isinstance(late_run, Skipped)
    assert late_run.reason is SkipReason.RETRY_NOT_DUE


def test_the_next_date_lies_in_the_future_of_the_order_not_of_a_late_run():
    placed = order("placed", placed_at="2026-04-09T12:00:00Z")
    result = result_of(begun(), OrderAnswered(place(2), placed), at("2026-03-02T07:00"))
    assert result.next_run_at is None, "1 April is due already"


def test_an_old_copy_is_judged_in_the_present():
    result = result_of(renewal(), copy_failed(DECLINED, failed_at="2026-03-01T06:01:00Z"), NOW)
    assert result.state.next_attempt_at == at("2026-03-02T06:10")
