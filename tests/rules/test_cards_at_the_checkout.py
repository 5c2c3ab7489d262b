"""An order that is paid, or confirmed, at the checkout: who placed it, and with which card."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from rules.cards_given import DECLINE, LIMITED, NEW, OLD, REF, USED_UP, WAITING, paid_by, with_card
from rules.making import at, copy, order, planned

from blocks.commerce_layer.resources import OrderSubscription
from blocks.policy import Policy
from flows.rules.cards import (
    is_confirmed,
    is_to_be_placed_now,
    paid_at_checkout,
)
from flows.rules.findings import CopyEnded, OrderAnswered, PlacementRefused
from flows.rules.next_action import Conclude, Hold, Place, next_action
from flows.rules.outcomes import result_of
from flows.rules.records import Record, record_of
from flows.rules.renewal import Renewal, plan
from flows.rules.results import RenewalResult
from flows.rules.state import RenewalState


@pytest.mark.parametrize(
    ("status", "payment", "expected"),
    [
        ("pending", "authorized", True),
        ("draft", "authorized", True),
        ("pending", "paid", True),
        ("pending", "unpaid", False),
        ("pending", "partially_authorized", False),
        ("placed", "authorized", False),
        ("placing", "authorized", False),
        ("cancelled", "authorized", False),
    ],
)
def test_a_confirmed_order_is_authorized_or_paid_and_not_placed(status, payment, expected):
    assert is_confirmed(order(status, payment_status=payment)) is expected


def test_a_confirmed_order_is_placed_despite_the_limit():
    confirmed = paid_by(NEW, payment_status="authorized")
    renewal = planned(with_card(OLD, {**USED_UP, "next_attempt_at": None}), "2026-03-19T06:00", LIMITED)

    action = next_action(renewal, [copy(REF, target=confirmed)], at("2026-03-19T06:00"))
    assert isinstance(action, Place)
    assert action.order is confirmed


def test_an_announced_attempt_on_a_confirmed_order_is_not_repeated_at_once():
    confirmed = paid_by(NEW, payment_status="authorized")
    renewal = planned(with_card(OLD, {**WAITING, "outcome": "placing", "next_attempt_at": None}), "2026-03-02")

    assert isinstance(next_action(renewal, [copy(REF, target=confirmed)], at("2026-03-02")), Conclude)


def test_a_confirmed_order_that_cannot_be_placed_waits_and_is_counted_like_any_other():
    confirmed = paid_by(NEW, payment_status="authorized")
    renewal = planned(with_card(OLD, {**USED_UP, "next_attempt_at": None}), "2026-03-19T06:00", LIMITED)
    attempt = Place(copy(REF, target=confirmed), confirmed, 6)
    state = result_of(renewal, PlacementRefused(attempt, DECLINE), at("2026-03-19T06:00")).state

    assert not is_to_be_placed_now(state, confirmed)
    assert is_to_be_placed_now(state, confirmed.model_copy(update={"id": "TgtAnother"}))
    again = planned(with_card(OLD, {**state.model_dump(mode="json"), "held": False}), "2026-03-19T07:00", LIMITED)
    assert isinstance(next_action(again, [copy(REF, target=confirmed)], at("2026-03-19T07:00")), Hold)


def paid_at_the_checkout(state: dict[str, Any], current: str | None, **fields: Any) -> bool:
    stored = RenewalState.model_validate(state)
    return paid_at_checkout(stored, current, copy(REF), paid_by(NEW, "placed", **fields))


@pytest.mark.parametrize("outcome", ["retry_scheduled", "needs_attention", "exhausted"])
def test_an_order_placed_after_a_recorded_failure_was_paid_at_the_checkout(outcome):
    assert paid_at_the_checkout({**WAITING, "outcome": outcome}, OLD)


def test_a_subscription_that_got_another_card_since_keeps_that_card():
    assert not paid_at_the_checkout(WAITING, "cardThird")


@pytest.mark.parametrize("outcome", ["placing", "unconfirmed"])
def test_after_an_unrecorded_attempt_the_mark_on_the_order_tells_who_placed_it(outcome):
    state = {**WAITING, "outcome": outcome}
    assert paid_at_the_checkout(state, OLD)
    assert not paid_at_the_checkout(state, OLD, metadata={"perennial": {"attempt": 1}})
    assert not paid_at_the_checkout(state, "cardThird")


def test_without_a_recorded_attempt_the_order_may_have_been_placed_by_us():
    assert not paid_at_the_checkout({}, OLD)
    assert not paid_at_the_checkout({**WAITING, "order_copy_id": "CpyAnother"}, OLD)
    assert not paid_at_the_checkout({**WAITING, "outcome": "in_progress"}, OLD)
    assert not paid_at_the_checkout({**WAITING, "outcome": "placing", "attempts": []}, OLD)


def renewed_at_the_checkout(current: str | None = OLD) -> RenewalResult:
    renewal = plan(with_card(current, WAITING), Policy(), at("2026-03-02"), paid=True)
    assert isinstance(renewal, Renewal)
    return result_of(renewal, CopyEnded(copy(REF, target=paid_by(NEW, "placed"))), at("2026-03-02"))


def recorded(result: RenewalResult, fresh: OrderSubscription) -> Record:
    record = record_of(result, fresh)
    assert record is not None
    return record


def test_the_card_of_the_checkout_is_recorded_with_the_renewal():
    result = renewed_at_the_checkout()
    assert result.paid_by_customer is not None
    followed = result.with_new_card(NEW)

    record = recorded(followed, with_card(OLD, WAITING))
    assert (record.payment_source_id, record.next_run_at) == (NEW, at("2026-04-01T06:00"))
    assert "paid with another card, which is charged from now on" in followed.sentence


def test_a_card_that_was_attached_while_the_renewal_was_recorded_is_kept():
    record = recorded(renewed_at_the_checkout().with_new_card(NEW), with_card("cardThird", WAITING))
    assert record.payment_source_id is None


def test_placing_a_confirmed_order_reveals_the_card_of_the_checkout():
    renewal = plan(with_card(OLD, WAITING), Policy(), at("2026-03-02"), paid=True)
    assert isinstance(renewal, Renewal)
    before = paid_by(NEW, payment_status="authorized")
    answered = OrderAnswered(Place(copy(REF, target=before), before, 2), paid_by(NEW, "placed"))
    assert result_of(renewal, answered, at("2026-03-02")).paid_by_customer is not None

    ours = OrderAnswered(Place(copy(REF, target=paid_by(OLD)), paid_by(OLD), 2), paid_by(OLD, "placed"))
    assert result_of(renewal, ours, at("2026-03-02") + timedelta(minutes=1)).paid_by_customer is None
