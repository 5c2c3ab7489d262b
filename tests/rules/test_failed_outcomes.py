"""What follows a failed attempt: a retry, a hold, a new copy, or another look in the next sweep."""

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
from rules.making import at, copy, legacy, order, planned, subscription, withdrawn

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
    NotCreated,
    NotPlaced,
    OrderAnswered,
)
from flows.rules.next_action import Hold, HoldReason, Place, next_action
from flows.rules.outcomes import result_of
from flows.rules.state import Outcome


def test_a_declined_order_is_one_failed_attempt():
    for finding in (declined(), OrderAnswered(place(), order("pending"))):
        result = result_of(renewal(), finding, NOW)
        assert result.outcome is Outcome.RETRY_SCHEDULED
        assert result.failure.cls is FailureClass.PAYMENT
        assert (result.state.attempt, result.state.failures) == (1, {"payment": 1})
        assert result.state.attempts == [NOW], "the card networks count it"
        assert (result.next_run_at, result.state.done_through) == (None, None)


def test_a_failed_copy_is_an_attempt_without_a_charge():
    for log in (DECLINED, {"line_items": ["is out of stock"]}, None):
        for target in (None, order("draft")):
            result = result_of(renewal(), CopyEnded(copy(REF, "failed", target, errors_log=log)), NOW)
            assert result.outcome is Outcome.RETRY_SCHEDULED
            assert (result.state.attempt, result.state.attempts) == (1, [])


def test_an_aborted_copy_counts_as_failed():
    result = result_of(renewal(), CopyEnded(copy(REF, "aborted")), NOW)
    assert result.outcome is Outcome.RETRY_SCHEDULED
    assert result.state.error_class == "unknown"


def test_a_failed_copy_whose_incomplete_order_we_cancelled_is_classified_by_its_own_error():
    log = {"line_items": ["is out of stock"]}
    result = result_of(renewal(), CopyEnded(copy(REF, "failed", withdrawn(), errors_log=log)), NOW)
    assert result.failure.cls is FailureClass.STOCK


def test_an_announced_attempt_whose_order_is_not_placed_has_failed_and_counts_once():
    result = result_of(announced(), CopyEnded(copy(REF, "completed", order("pending"))), at("2026-03-02T07:01"))
    assert result.outcome is Outcome.RETRY_SCHEDULED
    assert (result.state.attempt, result.state.failures) == (2, {"payment": 2})
    assert result.state.attempts == [at("2026-03-02T06:59")], "as it was announced"


def test_an_attempt_that_was_announced_for_another_copy_is_counted_separately():
    work = announced(order_copy_id="CpyOtherxx")
    result = result_of(work, copy_failed({"line_items": ["is out of stock"]}), NOW)
    assert result.state.attempt == 3


def test_a_copy_of_version_0_1_is_one_attempt_however_often_it_is_read():
    work = renewal(outcome="in_progress", copies=1, attempt=1, order_copy_id="CpyAbcdefb", as_of="2026-03-01T07:00")
    failed = legacy(REF, "failed", order("pending"), errors_log=DECLINED)
    result = result_of(work, CopyEnded(failed), at("2026-03-01T07:01"))
    assert (result.state.attempt, result.state.copies) == (1, 1)
    assert result.state.attempts == [at("2026-03-01T07:01")], "the copy placed its order itself"
    assert result_of(renewal(), CopyEnded(failed), NOW).state.attempt == 1
    another = renewal(outcome="in_progress", attempt=1, order_copy_id="CpyOtherxx")
    assert result_of(another, CopyEnded(failed), NOW).state.attempt == 2
    concluded = renewal(outcome="retry_scheduled", attempt=1, order_copy_id="CpyAbcdefb")
    assert result_of(concluded, CopyEnded(failed), NOW).state.attempt == 2


def test_declines_wait_as_the_policy_says_until_the_retries_are_used_up():
    work, finding, moment = renewal(), declined(), NOW
    waits = []
    while (result := result_of(work, finding, moment)).outcome is Outcome.RETRY_SCHEDULED:
        following = result.state.next_attempt_at
        waits.append((following - moment).days)
        moment = following
        work = planned(subscription(result.state), f"{moment:%Y-%m-%dT%H:%M}")
        finding = declined(result.state.attempt + 1)
    assert waits == [1, 3, 5, 5]
    assert (result.outcome, result.failure.cls) == (Outcome.EXHAUSTED, FailureClass.PAYMENT)
    assert (result.state.attempt, result.state.next_attempt_at) == (5, None)
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
        result = result_of(begun(next_attempt_at="2026-03-02T06:00Z"), finding, NOW)
        assert (result.outcome, result.failure.permanent) == (Outcome.NEEDS_ATTENTION, True)
        assert result.sentence.endswith("; not retried; held for a person: release it to go on")
        assert result.state.held
        assert result.needs_person
        assert (result.state.next_attempt_at, result.next_run_at, result.cancel) == (None, None, False)


def test_the_final_action_skip_period_moves_on_to_the_next_date():
    policy = Policy(stock_retries=[], final_actions={"stock": "skip_period"})
    result = result_of(renewal(policy), copy_failed({"line_items": ["is out of stock"]}), NOW)
    assert (result.outcome, result.failure.cls) == (Outcome.EXHAUSTED, FailureClass.STOCK)
    assert result.sentence.endswith("after 1 attempt; this period is skipped; next on Wed 1 Apr 06:00 UTC")
    assert result.next_run_at == at("2026-04-01T06:00")
    assert result.state.done_through == at("2026-03-01T06:00")
    assert not result.needs_person
    assert not result.state.held


def test_a_subscription_is_cancelled_only_if_the_policy_says_so():
    policy = Policy(payment_retries=[], final_action="cancel")
    result = result_of(renewal(policy), declined(), NOW)
    assert result.outcome is Outcome.EXHAUSTED
    assert result.cancel
    assert not result.needs_person
    assert result.state.held, "a person who activates it again does not cause a charge at once"
    assert result.state.final_action == "cancel"


def test_a_cancelled_order_is_not_copied_again():
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
    assert result.sentence == (
        "the answer to placing order TgtAbcdefg was lost; the next sweep looks again before anything is sent"
    )
    assert (result.failure.cls, result.needs_person) == (FailureClass.TRANSIENT, False)


def test_placements_with_lost_answers_stop_at_the_card_networks_limit():
    work, moment, found = renewal(), NOW, copy(REF, "completed", order("pending"))
    for attempt in range(1, 6):
        assert next_action(work, [found], moment) == Place(found, order("pending"), attempt)
        result = result_of(work, refused_with(LOST, order("pending"), attempt), moment)
        moment = at(f"2026-03-01T07:0{attempt}")
        work = planned(subscription(result.state), f"{moment:%Y-%m-%dT%H:%M}")
    action = next_action(work, [found], moment)
    assert isinstance(action, Hold)
    assert (action.reason, action.until) == (HoldReason.ATTEMPT_LIMIT, at("2026-03-02T06:10"))


def test_a_creation_whose_answer_was_lost_uses_up_no_attempt():
    lost = WriteFateUnknown("POST", "/api/order_copies", "timeout", REF)
    result = result_of(begun(), NotCreated(lost), NOW)
    assert result.outcome is Outcome.RETRY_SCHEDULED
    assert (result.state.attempt, result.state.attempts, result.state.failures) == (1, [], {"payment": 1})
    assert REF in result.sentence
    assert not result.needs_person
    assert result.failure.attempted is False


def test_a_refused_creation_is_an_attempt_that_left_no_copy():
    refused = Refused(422, (ErrorItem(detail="market is disabled"),), "POST", "/api/order_copies")
    result = result_of(renewal(), NotCreated(refused), NOW)
    assert result.outcome is Outcome.RETRY_SCHEDULED
    assert (result.state.order_copy_id, result.state.attempt) == (None, 1)
    assert result.failure.cls is FailureClass.CATALOGUE
    assert result.state.attempts == [], "no card was charged"
    peculiar = Refused(422, (ErrorItem(detail="something else"),), "POST", "/api/order_copies")
    unknown = result_of(renewal(), NotCreated(peculiar), NOW)
    assert (unknown.failure.cls, unknown.state.attempts) == (FailureClass.UNKNOWN, [])


NOT_SENT = [NotConnected("POST", "/x", "refused"), ReadFailed("/api/order_copies", "timeout", 4)]


@pytest.mark.parametrize("error", NOT_SENT)
def test_a_request_that_was_never_sent_uses_up_no_attempt(error):
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
        assert result.sentence == f"nothing was charged ({result.failure.text}); the next sweep tries again"


def test_a_placement_that_was_not_sent_is_reported_with_its_reason():
    result = result_of(begun(), NotPlaced(place(2), DECLINE), NOW)
    assert (result.failure.cls, result.failure.attempted) == (FailureClass.PAYMENT, False)
    assert "was declined" in result.sentence


def test_a_copy_that_was_found_is_remembered_although_its_placement_could_not_be_sent():
    result = result_of(renewal(), NotPlaced(place(), NOT_SENT[0]), NOW)
    assert (result.state.order_copy_id, result.state.target_order_id) == ("CpyAbcdefb", "TgtAbcdefg")
    assert result.state.outcome is None


@pytest.mark.parametrize("error", [AuthenticationFailed("check client_id", 401), InvalidToken(401, (), "POST", "/x")])
def test_refused_credentials_need_a_person_but_hold_no_subscription(error):
    for finding in (NotCreated(error), refused_with(error), NotPlaced(place(), error)):
        result = result_of(renewal(), finding, NOW)
        assert result.outcome is Outcome.NEEDS_ATTENTION
        assert result.needs_person
        assert not result.state.held
        assert result.state.attempt == 0
        assert result.sentence == f"nothing was charged, the shop refuses us: {result.failure.text}"
