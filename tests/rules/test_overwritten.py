"""Attempts that another system deleted from the state, or that no run recorded, are restored from the shop's data."""

from dataclasses import replace
from datetime import timedelta

import pytest
from rules.making import at, copy, order, planned, subscription, withdrawn

from blocks.commerce_layer.errors import ErrorItem, Refused
from blocks.commerce_layer.resource_errors import ResourceError
from blocks.policy import Policy
from flows.rules.cards import charges_on
from flows.rules.findings import CopyEnded, HeldBack, PlacementRefused
from flows.rules.next_action import Conclude, Create, Hold, HoldReason, Place, next_action
from flows.rules.outcomes import result_of
from flows.rules.overwritten import as_the_shop_tells, order_to_ask
from flows.rules.records import record_of
from flows.rules.renewal import Renewal
from flows.rules.state import Outcome

REF = "SubAbcdefg@2026-03-01T06:00Z"
POLICY = Policy(payment_retries=["1d", "3d"], stock_retries=["1d"])


def declined(*moments, message="Your card was declined", name="payment_source"):
    return [ResourceError(name=name, message=message, created_at=at(moment)) for moment in moments]


def renewal(errors_count=0, found=None, policy=POLICY, now="2026-03-10T06:05", **state) -> Renewal:
    unpaid = copy(REF, "completed", order("pending", errors_count=errors_count))
    sub = subscription(state, customer_payment_source_id="CpsAbcdefg")
    work = planned(sub, as_of=now, policy=policy)
    assert work.due == at("2026-03-01T06:00")
    return replace(work, found=(unpaid,) if found is None else tuple(found))


def told(work, errors=(), now="2026-03-10T06:05"):
    raised = as_the_shop_tells(work, errors, at(now))
    return raised, next_action(raised, raised.found, at(now))


# --- the order's errors -------------------------------------------------------------------------------


def test_the_errors_of_an_order_are_read_only_if_it_has_more_than_the_state():
    assert order_to_ask(renewal(2)) == "TgtAbcdefg"
    assert order_to_ask(renewal(2, period="2026-03-01T06:00Z", attempt=1)) == "TgtAbcdefg"
    assert order_to_ask(renewal(2, period="2026-03-01T06:00Z", attempt=2)) is None
    assert order_to_ask(renewal(0)) is None
    assert order_to_ask(renewal(found=[])) is None
    assert order_to_ask(renewal(found=[copy(REF, "completed", order(errors_count=2))])) is None


def test_an_unrecorded_attempt_is_counted_and_its_wait_is_kept():
    raised, action = told(renewal(1), declined("2026-03-10T06:00"))

    state = raised.state
    assert (state.attempt, state.failures, state.outcome) == (1, {"payment": 1}, Outcome.RETRY_SCHEDULED)
    assert state.attempts == [at("2026-03-10T06:00")], "card networks count it, too"
    assert isinstance(action, Hold)
    assert (action.reason, action.until) == (HoldReason.FAILED_BEFORE, at("2026-03-11T06:00"))
    assert "the shop tells of 1 failed attempt in this period, metadata.perennial of 0" in action.sentence

    result = result_of(raised, HeldBack(action), at("2026-03-10T06:05"))
    assert (result.outcome, result.needs_person, result.hold) == (Outcome.RETRY_SCHEDULED, False, action)
    assert result.sentence == f"card declined ({action.sentence}); next attempt Wed 11 Mar 06:00 UTC"
    record = record_of(result, subscription())
    own = record.metadata["perennial"]
    assert (own["attempt"], own["failures"], own["next_attempt_at"]) == (1, {"payment": 1}, "2026-03-11T06:00Z")


def test_the_next_attempt_after_an_unrecorded_one_is_told_in_the_merchants_time_zone():
    policy = Policy(payment_retries=["1d"], time_zone="Europe/Rome")
    raised, action = told(renewal(1, policy=policy), declined("2026-03-10T06:00"))
    result = result_of(raised, HeldBack(action), at("2026-03-10T06:05"))
    assert result.sentence.endswith("next attempt Wed 11 Mar 07:00 CET")


def test_the_next_attempt_is_made_once_the_wait_after_an_unrecorded_attempt_is_over():
    _, action = told(renewal(1), declined("2026-03-09T06:00"))
    assert isinstance(action, Place)
    assert action.attempt == 2


def test_after_two_failures_the_wait_is_the_second_of_the_policy_whatever_the_state_says():
    errors = declined("2026-03-08T06:00", "2026-03-09T06:00")
    for state in ({}, {"period": "2026-03-01T06:00Z", "attempt": 1, "failures": {"payment": 1}}):
        raised, action = told(renewal(2, **state), errors)
        assert isinstance(action, Hold)
        assert action.until == at("2026-03-12T06:00")
        recorded = state.get("attempt", 0)
        assert f"tells of 2 failed attempts in this period, metadata.perennial of {recorded}:" in action.sentence
        assert (raised.state.attempt, raised.state.failures) == (2, {"payment": 2})


def test_used_up_retries_do_not_start_again():
    raised, action = told(renewal(3), declined("2026-03-01T06:01", "2026-03-02T06:01", "2026-03-05T06:01"))

    assert isinstance(action, Hold)
    assert (action.reason, action.until) == (HoldReason.FAILED_BEFORE, None)
    result = result_of(raised, HeldBack(action), at("2026-03-10T06:05"))
    assert (result.outcome, result.needs_person, result.state.held) == (Outcome.EXHAUSTED, True, True)
    assert not result.was_attempted, "this run sent nothing"
    assert result.state.error_class == "payment", "the customer may still pay at the checkout"
    assert result.state.payment_source_id == "CpsAbcdefg", "the same card is not a new one"
    assert result.sentence.startswith("card declined; retries used up after 3 attempts (the shop tells of 3 failed")
    assert result.sentence.endswith("old metadata was written back); held for a person: release it to go on")


@pytest.mark.parametrize("action", ["cancel", "skip_period"])
def test_the_final_action_follows_although_no_run_recorded_the_attempts(action):
    policy = Policy(payment_retries=[], final_action=action)
    raised, held = told(renewal(1, policy=policy), declined("2026-03-01T06:01"))
    result = result_of(raised, HeldBack(held), at("2026-03-10T06:05"))
    assert (result.outcome, result.final_action, result.needs_person) == (Outcome.EXHAUSTED, action, False)
    assert (result.cancel, result.is_settled) == (action == "cancel", action == "skip_period")
    assert result.state.held == (action == "cancel")


def test_a_hard_decline_is_held_although_its_hold_was_overwritten():
    raised, action = told(renewal(1), declined("2026-03-05T06:00", message="The card was reported stolen"))
    assert isinstance(action, Hold)
    result = result_of(raised, HeldBack(action), at("2026-03-10T06:05"))
    assert (result.outcome, result.needs_person, result.state.held) == (Outcome.NEEDS_ATTENTION, True, True)
    assert result.hold == action
    assert "not retried; held for a person" in result.sentence


def test_errors_of_one_moment_are_one_attempt():
    lines = [
        ResourceError(name="line_items", message=f"SKU {sku} is out of stock", created_at=at("2026-03-10T05:00"))
        for sku in (1, 2, 3)
    ]
    raised, _ = told(renewal(3), lines)
    assert (raised.state.attempt, raised.state.failures, raised.state.attempts) == (1, {"stock": 1}, [])

    known = renewal(3, period="2026-03-01T06:00Z", attempt=1, failures={"stock": 1})
    assert told(known, lines)[0] is known


def test_a_recorded_charge_is_not_counted_twice_for_the_card_networks():
    state = {"attempts": ["2026-03-08T06:00:02Z"]}
    raised, _ = told(renewal(2, **state), declined("2026-03-08T06:00", "2026-03-09T06:00"))
    assert raised.state.attempts == [at("2026-03-08T06:00") + timedelta(seconds=2), at("2026-03-09T06:00")]


def test_an_error_without_a_date_or_text_is_tolerated():
    errors = [ResourceError(), ResourceError(created_at=at("2026-03-10T06:00"))]
    raised, action = told(renewal(2), errors)
    assert (raised.state.attempt, raised.state.failures) == (1, {"unknown": 1})
    assert isinstance(action, Hold)


# --- the card of the errors -----------------------------------------------------------------------------

THREE = ("2026-03-01T06:01", "2026-03-02T06:01", "2026-03-10T06:00")
OLD, NEW = "cardOldOld", "cardNewNew"


def with_cards(on_the_order: str | None, current: str | None, errors_count=3, policy=POLICY, **state) -> Renewal:
    """A renewal whose order shows one card, of a subscription that has another one now."""
    details = None if on_the_order is None else {"payment_method_id": f"pm_{on_the_order}"}
    unpaid = order("pending", errors_count=errors_count, payment_source_details=details)
    wallet = {"id": current, "payment_source_token": f"pm_{current}"} if current else None
    sub = subscription(state, customer_payment_source_id=current, customer_payment_source=wallet)
    return replace(planned(sub, as_of="2026-03-10T06:05", policy=policy), found=(copy(REF, "completed", unpaid),))


@pytest.mark.parametrize("moments", [THREE[-1:], THREE], ids=["waits", "retries used up"])
@pytest.mark.parametrize("text", ["Your card was declined", "an error occurred"], ids=["declined", "unreadable"])
def test_a_card_attached_after_the_last_decline_is_tried_although_the_state_was_reset(moments, text):
    errors = declined(*moments, message=text, name="payment_source")
    raised, action = told(with_cards(OLD, NEW), errors)
    assert isinstance(action, Place)
    assert action.attempt == len(moments) + 1, "the attempts still count for the period"
    assert raised.state.payment_source_id != NEW


def test_a_card_attached_after_a_hard_decline_is_tried_although_the_state_was_reset():
    _, action = told(with_cards(OLD, NEW), declined(THREE[0], message="The card was reported stolen"))
    assert isinstance(action, Place)


def test_a_new_card_does_not_inherit_the_limit_of_the_card_that_the_order_shows():
    policy = Policy(max_attempts_per_month=5)
    moments = [f"2026-03-0{day}T06:01" for day in (1, 2, 3, 4, 5)]
    raised, action = told(with_cards(OLD, NEW, errors_count=5, policy=policy), declined(*moments))
    assert isinstance(action, Place)
    assert len(raised.state.attempts) == 5
    assert charges_on(raised.state, NEW, at("2026-03-10T06:05")) == []


def test_after_the_new_card_was_declined_too_its_own_wait_is_kept():
    raised, _ = told(with_cards(OLD, NEW), declined(THREE[0]))
    attempt = Place(raised.found[0], raised.found[0].target_order, 2, card=NEW)
    refused = Refused(422, (ErrorItem(detail="was declined", pointer="/data/attributes/payment_source"),), "PATCH", "/")
    state = result_of(raised, PlacementRefused(attempt, refused), at("2026-03-10T06:05")).state
    assert (state.attempt, state.failures, state.payment_source_id) == (2, {"payment": 2}, NEW)
    assert state.next_attempt_at == at("2026-03-13T06:05")

    _, action = told(with_cards(NEW, NEW), declined(THREE[0], "2026-03-10T06:05"))  # the state was reset again
    assert isinstance(action, Hold)
    assert action.until == at("2026-03-13T06:05")


def test_a_card_that_an_older_state_names_keeps_its_charges():
    state = {"period": "2026-03-01T06:00Z", "attempt": 1, "failures": {"payment": 1}, "payment_source_id": OLD,
             "attempts": ["2026-03-01T06:01Z"], "outcome": "retry_scheduled"}  # fmt: skip
    raised, action = told(with_cards(OLD, NEW, **state), declined(*THREE))
    assert isinstance(action, Place)
    assert raised.state.payment_source_id == OLD
    assert len(charges_on(raised.state, OLD, at("2026-03-10T06:05"))) == 3
    assert charges_on(raised.state, NEW, at("2026-03-10T06:05")) == []


@pytest.mark.parametrize(
    ("on_the_order", "current", "policy"),
    [
        (NEW, NEW, POLICY),
        (None, NEW, POLICY),
        (OLD, None, POLICY),
        (OLD, NEW, Policy(payment_retries=["1d", "3d"], reuse_wallet=False)),
    ],
    ids=["its own", "not shown", "no card", "reuse_wallet is off"],
)
def test_a_period_waits_unless_its_order_is_known_to_show_a_card_that_is_charged_no_more(on_the_order, current, policy):
    for moments in (THREE[-1:], THREE):
        _, action = told(with_cards(on_the_order, current, policy=policy), declined(*moments))
        assert isinstance(action, Hold)


def test_a_new_card_does_not_end_the_wait_for_a_failure_that_no_card_changes():
    errors = declined(THREE[-1], message="SKU is out of stock", name="line_items")
    _, action = told(with_cards(OLD, NEW), errors)
    assert isinstance(action, Hold)


def test_charges_of_an_order_that_does_not_show_its_card_count_for_every_card():
    raised, _ = told(with_cards(None, NEW), declined(*THREE))
    assert raised.state.attempt_cards == {}


# --- copies that failed -------------------------------------------------------------------------------


def failed(number: int, day: int):
    log = {"line_items": ["SKU is out of stock"]}
    moment = f"2026-03-{day:02d}T06:01:00Z"
    return copy(f"{REF}#{number}", "failed", errors_log=log, created_at=moment, failed_at=moment)


def test_the_newest_failed_copy_is_added_to_the_count_of_those_before_it():
    raised, action = told(renewal(found=[failed(2, 1), failed(3, 9)]), now="2026-03-09T07:00")
    assert isinstance(action, Conclude)
    result = result_of(raised, CopyEnded(action.copy), at("2026-03-09T07:00"))
    assert (result.state.attempt, result.state.failures) == (2, {"stock": 2})
    assert result.outcome is Outcome.EXHAUSTED


def test_a_single_failed_copy_is_recorded_as_usual():
    work = renewal(found=[failed(2, 9)])
    raised, action = told(work, now="2026-03-09T07:00")
    assert raised is work
    assert isinstance(action, Conclude)


def test_a_new_copy_is_created_after_the_wait_although_the_record_of_the_failure_was_overwritten():
    raised, action = told(renewal(found=[failed(2, 8)]))
    assert isinstance(action, Create)
    assert (raised.state.attempt, raised.state.order_copy_id) == (1, failed(2, 8).id)


def test_failed_copies_count_together_with_the_errors_of_the_order_that_followed():
    found = [
        failed(2, 1),
        copy(f"{REF}#3", "completed", order("pending", errors_count=1), created_at="2026-03-02T07:00Z"),
    ]
    raised, action = told(renewal(found=found), declined("2026-03-10T06:00"))
    assert (raised.state.attempt, raised.state.failures) == (2, {"stock": 1, "payment": 1})
    assert isinstance(action, Hold)


@pytest.mark.parametrize(
    "found",
    [
        [copy(REF, "completed", order("cancelled")), failed(2, 1), failed(3, 2)],
        [copy(REF, "completed", order()), failed(2, 1)],
        [],
    ],
    ids=["refused", "placed", "nothing"],
)
def test_the_state_is_not_changed_where_other_rules_decide(found):
    work = renewal(found=found)
    assert told(work)[0] is work


def test_a_new_copy_after_a_failed_and_a_withdrawn_one_keeps_the_count():
    found = [failed(2, 1), copy(f"{REF}#3", "completed", withdrawn(), created_at="2026-03-02T07:00Z")]
    raised, action = told(renewal(found=found))
    assert isinstance(action, Create)
    assert (raised.state.attempt, raised.state.order_copy_id) == (1, None)
