"""Pausing and resuming, decided from the subscription alone."""

from __future__ import annotations

import pytest
from rules.making import POLICY, at, subscription
from rules.test_adoption import after

from blocks.commerce_layer.resources import OrderSubscription
from blocks.policy import FailureClass, FinalAction, Policy
from flows.rules.handover import Decision, Handling, Handover, HandoverRequest
from flows.rules.pausing import decide
from flows.rules.renewal import Renewal, Skipped, SkipReason, plan
from flows.rules.state import RenewalState

NOW = at("2026-03-10T12:00")


def decided(one: OrderSubscription, handover: Handover, as_of=NOW) -> Decision:
    return decide(one, HandoverRequest(handover), POLICY, as_of)


def changed(one: OrderSubscription, handover: Handover, as_of=NOW) -> OrderSubscription:
    decision = decided(one, handover, as_of)
    assert decision.change is not None, decision.sentence
    return after(one, decision.change)


def test_a_paused_subscription_is_not_renewed_and_says_how_to_resume_it():
    planned = plan(changed(subscription(), Handover.PAUSE), POLICY, NOW)

    assert isinstance(planned, Skipped)
    assert planned.reason is SkipReason.PAUSED
    assert "perennial resume" in planned.sentence
    assert planned.reason.ends_the_renewal
    assert not planned.reason.needs_person


def test_a_storefront_can_pause_a_subscription_through_its_metadata():
    planned = plan(subscription({"paused": True}), POLICY, NOW)
    assert isinstance(planned, Skipped)
    assert planned.reason is SkipReason.PAUSED


def test_periods_that_came_due_during_the_pause_are_not_made_up():
    resumed = changed(changed(subscription(), Handover.PAUSE), Handover.RESUME)

    assert resumed.next_run_at == at("2026-04-01T06:00")
    for day in ("2026-03-10T12:05", "2026-03-31T00:00"):
        assert isinstance(plan(resumed, POLICY, at(day)), Skipped)
    planned = plan(resumed, Policy(catch_up="all"), at("2026-04-01T06:05"))
    assert isinstance(planned, Renewal)
    assert planned.due == at("2026-04-01T06:00")


def test_resuming_a_subscription_gives_up_its_open_period():
    state = {"period": "2026-03-01T06:00Z", "outcome": "exhausted", "attempt": 5, "held": True, "order_copy_id": "c"}
    resumed = changed(changed(subscription(state), Handover.PAUSE), Handover.RESUME)

    stored = RenewalState.read(resumed.metadata)
    assert stored is not None
    assert (stored.held, stored.attempt, stored.order_copy_id) == (False, 5, "c")
    assert not stored.is_unsettled
    planned = plan(resumed, POLICY, at("2026-04-01T06:05"))
    assert isinstance(planned, Renewal)
    assert (planned.due, planned.state.attempt) == (at("2026-04-01T06:00"), 0)


def test_a_pause_that_ends_before_the_next_date_changes_no_date():
    one = subscription(next_run_at="2026-04-01T06:00:00.000Z")
    resumed = changed(changed(one, Handover.PAUSE), Handover.RESUME)
    assert resumed.next_run_at == one.next_run_at
    assert isinstance(plan(resumed, POLICY, at("2026-04-01T06:05")), Renewal)


@pytest.mark.parametrize(
    ("one", "handover", "words"),
    [
        (subscription(metadata={}), Handover.PAUSE, "not adopted"),
        (subscription(status="active"), Handover.PAUSE, "its status is active"),
        (subscription({"attempt": -1}), Handover.RESUME, "metadata.perennial.attempt"),
        (subscription({"paused": True}, frequency="sometimes"), Handover.RESUME, "'sometimes'"),
        (subscription({"paused": True}), Handover.GIVE_BACK, "resume it first"),
    ],
)
def test_a_subscription_that_cannot_be_paused_or_resumed_is_refused_with_the_reason(one, handover, words):
    decision = decided(one, handover)
    assert decision.handling is Handling.REFUSED
    assert words in decision.sentence


@pytest.mark.parametrize(("handover", "paused"), [(Handover.PAUSE, True), (Handover.RESUME, False)])
def test_pausing_or_resuming_twice_changes_nothing(handover, paused):
    assert decided(subscription({"paused": paused}), handover).handling is Handling.AS_REQUESTED


@pytest.mark.parametrize("cls", [each for each in FailureClass if each is not FailureClass.PAYMENT])
def test_a_subscription_is_never_cancelled_for_a_failure_that_is_not_the_customers(cls):
    policy = Policy(final_action="cancel")
    assert policy.final_action_for(FailureClass.PAYMENT) is FinalAction.CANCEL
    assert policy.final_action_for(cls) is FinalAction.HOLD
    with pytest.raises(ValueError, match=f"final_actions.{cls} is cancel"):
        Policy(final_actions={cls: "cancel"})
