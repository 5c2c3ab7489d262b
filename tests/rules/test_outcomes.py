import pytest
from rules.making import TERMS, at, copy, order, planned, subscription

from blocks.commerce_layer.errors import (
    AuthenticationFailed,
    ErrorItem,
    Fenced,
    NotConnected,
    Refused,
    WriteFateUnknown,
)
from blocks.policy_terms import FailureClass, PolicyTerms
from flows.rules.next_action import Adopt, Create, Hold, HoldReason, Place
from flows.rules.outcomes import (
    CopySettled,
    CreationRefused,
    FateUnknown,
    NothingDone,
    OrderPlaced,
    Outcome,
    PlacementRefused,
    StillRunning,
    judge,
)
from flows.rules.renewal import Skipped, SkipReason, plan

NOW = at("2026-03-01T06:10")
REF = "SubAbcdefg@2026-03-01T06:00Z"
CREATE = Create(REF, 1, 1)
DECLINED = {"payment_source": ["was declined"]}
DECLINE = Refused(422, (ErrorItem(detail="was declined", pointer="/data/attributes/payment_source"),), "PATCH", "/x")


def renewal(terms=TERMS, as_of="2026-03-01T06:05", **state):
    begun = {"period": "2026-03-01T06:00Z"} if state else {}
    return planned(subscription(begun | state), as_of, terms)


def begun(terms=TERMS, **state):
    recorded = {"attempt": 1, "copies": 1, "outcome": "retry_scheduled", "order_copy_id": "CpyAbcdefb"}
    return renewal(terms, "2026-03-02T07:00", **recorded | {"target_order_id": "TgtAbcdefg"} | state)


def place(attempt=2):
    return Place(copy(REF, "failed", order("pending")), "TgtAbcdefg", attempt)


@pytest.mark.parametrize("status", ["placed", "approved"])
def test_a_placed_target_order_is_a_renewal(status):
    verdict = judge(renewal(), CREATE, CopySettled(copy(REF, "completed", order(status))), NOW, "run")
    assert verdict.outcome is Outcome.RENEWED
    assert not verdict.needs_person
    assert verdict.state.outcome == "renewed"
    assert (verdict.state.order_copy_id, verdict.state.target_order_id) == ("CpyAbcdefb", "TgtAbcdefg")
    assert (verdict.state.error, verdict.state.error_class, verdict.state.attempts) == (None, None, [])


def test_a_failed_copy_whose_order_the_customer_placed_is_a_renewal():
    verdict = judge(begun(), Adopt(copy(REF)), CopySettled(copy(REF, "failed", order()), adopted=True), NOW)
    assert verdict.outcome is Outcome.RENEWED
    assert verdict.state.done_through == at("2026-03-01T06:00")


def test_a_copy_left_running_by_an_earlier_sweep_is_renewed_now_not_already():
    work = renewal(outcome="in_progress", copies=1, attempt=1)
    verdict = judge(work, Adopt(copy(REF)), CopySettled(copy(REF, "completed", order()), adopted=True), NOW)
    assert verdict.outcome is Outcome.RENEWED
    assert verdict.state.attempt == 1


def test_a_completed_copy_whose_order_is_not_placed_is_not_renewed():
    verdict = judge(renewal(), CREATE, CopySettled(copy(REF, "completed", order("pending"))), NOW)
    assert verdict.outcome is Outcome.RETRY_SCHEDULED
    assert verdict.next_run_at is None
    assert verdict.state.done_through is None


def test_a_completed_copy_whose_order_is_not_found_is_not_believed():
    verdict = judge(renewal(), CREATE, CopySettled(copy(REF, "completed")), NOW)
    assert verdict.outcome is Outcome.UNCONFIRMED


@pytest.mark.parametrize("status", ["placing", "teleporting"])
def test_an_order_that_may_still_be_placed_keeps_us_waiting(status):
    for evidence in (CopySettled(copy(REF, "completed", order(status))), OrderPlaced(order(status))):
        verdict = judge(renewal(), CREATE, evidence, NOW)
        assert verdict.outcome is Outcome.IN_PROGRESS
        assert status in verdict.sentence


@pytest.mark.parametrize("status", ["pending", "in_progress", "teleporting"])
def test_a_copy_that_is_not_final_keeps_us_waiting(status):
    for evidence in (CopySettled(copy(REF, status)), StillRunning(copy(REF, status))):
        verdict = judge(renewal(), CREATE, evidence, NOW)
        assert verdict.outcome is Outcome.IN_PROGRESS
        assert (verdict.state.copies, verdict.state.attempt, verdict.next_run_at) == (1, 1, None)
        assert status in verdict.sentence
        assert verdict.sentence.endswith("the next sweep picks it up")


def test_an_aborted_copy_failed():
    verdict = judge(renewal(), CREATE, CopySettled(copy(REF, "aborted")), NOW)
    assert verdict.outcome is Outcome.RETRY_SCHEDULED
    assert verdict.state.error_class == "unknown"


def test_a_copy_is_one_attempt_however_often_it_is_looked_at():
    first = judge(renewal(), CREATE, StillRunning(copy(REF, "pending")), NOW)
    again = planned(subscription(first.state), "2026-03-01T07:00")
    failed = copy(REF, "failed", order("pending"), errors_log=DECLINED)
    second = judge(again, Adopt(failed), CopySettled(failed, adopted=True), at("2026-03-01T07:01"))
    assert (second.state.attempt, second.state.copies) == (1, 1)
    assert second.state.attempts == [at("2026-03-01T07:01")]


def test_a_decline_waits_for_the_delay_that_the_merchant_chose_and_then_ends():
    work, act, moment = renewal(), CREATE, NOW
    evidence = CopySettled(copy(REF, "failed", order("pending"), errors_log=DECLINED))
    waits = []
    while (verdict := judge(work, act, evidence, moment)).outcome is Outcome.RETRY_SCHEDULED:
        following = verdict.state.next_attempt_at
        waits.append((following - moment).days)
        moment = following
        work = planned(subscription(verdict.state), f"{moment:%Y-%m-%dT%H:%M}")
        act, evidence = place(verdict.state.attempt + 1), PlacementRefused(DECLINE, order("pending"))
    assert waits == [1, 3, 5, 5]
    assert verdict.outcome is Outcome.EXHAUSTED
    assert verdict.state.attempt == 5
    assert verdict.state.held
    assert verdict.needs_person
    assert verdict.next_run_at is None
    assert verdict.sentence == (
        "card declined; retries used up after 5 attempts; held for a person: release it to go on"
    )


def test_a_retry_prefers_the_merchants_time_of_day():
    terms = PolicyTerms(retry_at="08:00", time_zone="Europe/Rome")
    verdict = judge(renewal(terms), CREATE, CopySettled(copy(REF, "failed", errors_log=DECLINED)), NOW)
    assert verdict.state.next_attempt_at == at("2026-03-02T07:00")
    assert verdict.sentence.endswith("next attempt Mon 2 Mar 08:00 CET; 2 of 5")


def test_a_hard_decline_waits_for_a_person():
    log = {"payment_source": ["stolen_card"]}
    verdict = judge(renewal(), CREATE, CopySettled(copy(REF, "failed", order("pending"), errors_log=log)), NOW)
    assert verdict.outcome is Outcome.NEEDS_ATTENTION
    assert verdict.state.held
    assert verdict.needs_person
    assert (verdict.state.next_attempt_at, verdict.next_run_at, verdict.cancel) == (None, None, False)


def test_a_skipped_period_moves_on_to_the_next_date():
    terms = PolicyTerms(stock_retries=[], final_actions={"stock": "skip_period"})
    log = {"line_items": ["is out of stock"]}
    verdict = judge(renewal(terms), CREATE, CopySettled(copy(REF, "failed", errors_log=log)), NOW)
    assert verdict.outcome is Outcome.EXHAUSTED
    assert verdict.next_run_at == at("2026-04-01T06:00")
    assert verdict.state.done_through == at("2026-03-01T06:00")
    assert not verdict.needs_person
    assert not verdict.state.held


def test_a_subscription_is_cancelled_only_when_the_merchant_said_so():
    terms = PolicyTerms(payment_retries=[], final_action="cancel")
    verdict = judge(renewal(terms), CREATE, CopySettled(copy(REF, "failed", errors_log=DECLINED)), NOW)
    assert verdict.outcome is Outcome.EXHAUSTED
    assert verdict.cancel
    assert not verdict.needs_person
    assert verdict.state.held, "whoever revives it does not have it charged again at once"
    assert verdict.state.final_action == "cancel"


def test_a_cancelled_order_is_not_bought_again():
    verdict = judge(begun(), place(), OrderPlaced(order("cancelled")), NOW)
    assert verdict.outcome is Outcome.NEEDS_ATTENTION
    verdict = judge(begun(), place(), PlacementRefused(DECLINE, order("cancelled")), NOW)
    assert verdict.outcome is Outcome.NEEDS_ATTENTION
    verdict = judge(renewal(), CREATE, CopySettled(copy(REF, "failed", order("cancelled"), errors_log=DECLINED)), NOW)
    assert verdict.outcome is Outcome.NEEDS_ATTENTION


def test_a_refused_placement_of_an_order_that_is_placed_is_a_renewal():
    verdict = judge(begun(), place(), PlacementRefused(DECLINE, order("placed")), NOW)
    assert verdict.outcome is Outcome.RENEWED


@pytest.mark.parametrize("found", [None, order("pending")])
def test_a_placement_whose_answer_was_lost_is_unconfirmed_and_counted(found):
    lost = WriteFateUnknown("PATCH", "/api/orders/TgtAbcdefg", "timeout")
    verdict = judge(begun(), place(), PlacementRefused(lost, found), NOW)
    assert verdict.outcome is Outcome.UNCONFIRMED
    assert verdict.state.attempt == 2
    assert "TgtAbcdefg" in verdict.sentence


def test_a_creation_whose_answer_was_lost_is_unconfirmed_and_not_counted():
    lost = WriteFateUnknown("POST", "/api/order_copies", "timeout", REF)
    for evidence in (FateUnknown(REF), CreationRefused(lost)):
        verdict = judge(renewal(), CREATE, evidence, NOW)
        assert verdict.outcome is Outcome.UNCONFIRMED
        assert (verdict.state.copies, verdict.state.attempt) == (0, 0)
        assert REF in verdict.sentence
        assert not verdict.needs_person


def test_a_refused_creation_is_an_attempt_that_left_no_copy():
    refused = Refused(422, (ErrorItem(detail="market is disabled"),), "POST", "/api/order_copies")
    verdict = judge(renewal(), CREATE, CreationRefused(refused), NOW)
    assert verdict.outcome is Outcome.RETRY_SCHEDULED
    assert (verdict.state.copies, verdict.state.attempt) == (0, 1)
    assert verdict.failure.cls is FailureClass.CATALOGUE
    assert verdict.state.attempts == [], "no card was charged"


@pytest.mark.parametrize("error", [NotConnected("POST", "/x", "refused"), Fenced("lease too old")])
def test_what_was_never_sent_uses_up_nothing(error):
    for work, act, evidence in (
        (renewal(), CREATE, CreationRefused(error)),
        (begun(), place(), PlacementRefused(error)),
    ):
        verdict = judge(work, act, evidence, NOW)
        assert verdict.outcome is Outcome.RETRY_SCHEDULED
        assert not verdict.needs_person
        before, after = work.state, verdict.state
        assert (after.attempt, after.copies, after.outcome) == (before.attempt, before.copies, before.outcome)
        assert after.attempts == before.attempts
        assert verdict.next_run_at is None


def test_a_shop_that_refuses_our_credentials_holds_no_subscription():
    verdict = judge(renewal(), CREATE, CreationRefused(AuthenticationFailed("check client_id", 401)), NOW)
    assert verdict.outcome is Outcome.NEEDS_ATTENTION
    assert verdict.needs_person
    assert not verdict.state.held
    assert verdict.state.attempt == 0


@pytest.mark.parametrize("reason", [HoldReason.DUPLICATE, HoldReason.TARGET_CANCELLED])
def test_a_hold_for_a_person_is_recorded(reason):
    hold = Hold(reason, "look at it")
    verdict = judge(begun(), hold, NothingDone(hold), NOW)
    assert verdict.outcome is Outcome.NEEDS_ATTENTION
    assert verdict.state.held
    assert verdict.state.error == "look at it"
    assert verdict.is_duplicate == (reason is HoldReason.DUPLICATE)


def test_a_hold_for_the_card_networks_goes_on_by_itself():
    hold = Hold(HoldReason.ATTEMPT_LIMIT, "limit reached", at("2026-03-09"))
    verdict = judge(begun(), hold, NothingDone(hold), NOW)
    assert verdict.outcome is Outcome.RETRY_SCHEDULED
    assert verdict.state.next_attempt_at == at("2026-03-09")
    assert (verdict.state.attempt, verdict.state.held) == (1, False)


def test_a_copy_that_is_missing_needs_a_person_and_goes_on_by_itself_when_it_is_found():
    hold = Hold(HoldReason.COPY_MISSING, "not found")
    verdict = judge(begun(), hold, NothingDone(hold), NOW)
    assert verdict.outcome is Outcome.NEEDS_ATTENTION
    assert verdict.needs_person
    assert not verdict.state.held
    assert verdict.state.outcome == "retry_scheduled", "what happened last decides what comes next"


def test_each_class_of_failure_has_retries_of_its_own():
    work, act, moment = renewal(), CREATE, NOW
    timeout = Refused(422, (ErrorItem(detail="gateway timeout"),), "PATCH", "/x")
    evidence = CopySettled(copy(REF, "failed", order("pending"), errors_log={"base": ["gateway timeout"]}))
    for _ in range(4):
        verdict = judge(work, act, evidence, moment)
        moment = verdict.state.next_attempt_at
        work = planned(subscription(verdict.state), f"{moment:%Y-%m-%dT%H:%M}")
        act, evidence = place(verdict.state.attempt + 1), PlacementRefused(timeout, order("pending"))
    first_decline = judge(work, act, PlacementRefused(DECLINE, order("pending")), moment)
    assert first_decline.state.failures == {"transient": 4, "payment": 1}
    assert first_decline.outcome is Outcome.RETRY_SCHEDULED
    assert first_decline.sentence.endswith("2 of 5")


def test_what_does_not_end_is_told_to_a_person_and_nothing_is_created_meanwhile():
    first = judge(renewal(), CREATE, StillRunning(copy(REF, "in_progress")), NOW)
    assert first.outcome is Outcome.IN_PROGRESS
    later = planned(subscription(first.state), "2026-03-02T06:11")
    verdict = judge(later, Adopt(copy(REF)), StillRunning(copy(REF, "in_progress")), at("2026-03-02T06:11"))
    assert verdict.outcome is Outcome.NEEDS_ATTENTION
    assert verdict.needs_person
    assert "since Sun 1 Mar 06:10 UTC" in verdict.sentence
    assert not verdict.state.held
    following = planned(subscription(verdict.state), "2026-03-03T06:11")
    ended = judge(following, Adopt(copy(REF)), CopySettled(copy(REF, "completed", order())), at("2026-03-03T06:12"))
    assert ended.outcome is Outcome.RENEWED
    assert ended.state.under_way_since is None


def test_a_cancellation_that_the_shop_refuses_is_held_for_a_person_and_says_so():
    terms = PolicyTerms(payment_retries=[], final_action="cancel")
    verdict = judge(renewal(terms), CREATE, CopySettled(copy(REF, "failed", errors_log=DECLINED)), NOW)
    refused = verdict.not_cancelled("422 Unprocessable")
    assert not refused.cancel
    assert refused.needs_person
    assert refused.state.final_action == "hold"
    assert refused.sentence == (
        "card declined; retries used up after 1 attempt; "
        "it could not be cancelled (422 Unprocessable): held for a person"
    )


def test_a_renewal_says_when_the_next_one_is():
    placed = CopySettled(copy(REF, "completed", order()))
    assert judge(renewal(), CREATE, placed, NOW).sentence == "renewed as order #1001; next on Wed 1 Apr 06:00 UTC"
    last = planned(subscription(expires_at="2026-03-15T00:00:00Z"))
    assert judge(last, CREATE, placed, NOW).sentence.endswith(
        "it was the last one before it expires on Sun 15 Mar 00:00 UTC"
    )


def test_a_long_complaint_is_recorded_shortened_and_reported_whole():
    log = {"base": ["x" * 2000]}
    verdict = judge(renewal(), CREATE, CopySettled(copy(REF, "failed", errors_log=log)), NOW)
    assert len(verdict.state.error) == 500
    assert len(verdict.failure.text) > 2000
    assert len(verdict.sentence) < 300


def test_the_date_a_customer_moved_a_failing_period_to_is_not_one_more_period():
    state = {"period": "2026-03-01T06:00Z", "attempt": 1, "copies": 1, "outcome": "retry_scheduled"}
    work = planned(subscription(state, next_run_at="2026-03-10T06:00:00Z"), "2026-03-10T06:05")
    verdict = judge(work, place(), OrderPlaced(order()), at("2026-03-10T06:06"))
    assert verdict.state.done_through == at("2026-03-10T06:00")
    assert verdict.next_run_at == at("2026-04-01T06:00")


def test_a_success_after_the_next_period_began_leaves_that_one_due():
    verdict = judge(begun(), place(), OrderPlaced(order()), at("2026-04-02T06:06"))
    assert verdict.outcome is Outcome.RENEWED
    assert verdict.next_run_at is None
    following = planned(subscription(verdict.state), "2026-04-02T06:10")
    assert following.due == at("2026-04-01T06:00")


def test_every_failure_class_has_words_of_its_own():
    sentences = set()
    for cls in FailureClass:
        terms = PolicyTerms(failure_patterns={"peculiar": cls}, **{f"{cls}_retries": ["1d"]})
        verdict = judge(
            renewal(terms), CREATE, CopySettled(copy(REF, "failed", errors_log={"base": ["peculiar"]})), NOW
        )
        assert verdict.state.error_class == cls
        assert verdict.outcome is Outcome.RETRY_SCHEDULED
        sentences.add(verdict.sentence)
    assert len(sentences) == len(FailureClass)


def test_waits_count_from_the_failure_not_from_the_date_a_late_run_works_up_to():
    failed = copy(REF, "failed", order("pending"), errors_log=DECLINED, failed_at="2026-03-09T12:00:00Z")
    verdict = judge(renewal(), CREATE, CopySettled(failed), NOW)
    assert verdict.state.attempts == [at("2026-03-09T12:00")]
    assert verdict.state.next_attempt_at == at("2026-03-10T12:00")
    late_run = plan(subscription(verdict.state), TERMS, at("2026-03-08"))
    assert isinstance(late_run, Skipped)
    assert late_run.reason is SkipReason.RETRY_NOT_DUE


def test_the_next_date_lies_in_the_future_of_the_order_not_of_a_late_run():
    placed = order("placed", placed_at="2026-04-09T12:00:00Z")
    verdict = judge(begun(), place(), OrderPlaced(placed), at("2026-03-02T07:00"))
    assert verdict.next_run_at is None, "1 April is due already"


def test_an_old_copy_is_judged_in_the_present():
    failed = copy(REF, "failed", order("pending"), errors_log=DECLINED, failed_at="2026-03-01T06:01:00Z")
    verdict = judge(renewal(), Adopt(failed), CopySettled(failed, adopted=True), NOW)
    assert verdict.state.next_attempt_at == at("2026-03-02T06:10")
