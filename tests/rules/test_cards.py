"""Which card an order is paid with, what a new card changes, and which charges a limit counts."""

from __future__ import annotations

import pytest
from rules.cards_given import DECLINE, FIVE, LIMITED, NEW, OLD, PERIOD, REF, USED_UP, WAITING, card, paid_by, with_card
from rules.making import at, copy, order, planned

from blocks.commerce_layer.errors import ErrorItem, Refused
from blocks.policy import Policy
from flows.rules.cards import (
    another_card_of,
    card_in,
    card_to_set,
    charges_on,
    has_new_card,
    is_paid_with,
)
from flows.rules.findings import CopyEnded, HeldBack, PlacementRefused
from flows.rules.next_action import Hold, HoldReason, Place, next_action
from flows.rules.outcomes import result_of
from flows.rules.records import record_of
from flows.rules.renewal import Renewal, Skipped, plan
from flows.rules.results import RenewalResult
from flows.rules.state import RenewalState

# --- which card an order is paid with ----------------------------------------------------------


@pytest.mark.parametrize(
    ("details", "source", "expected"),
    [
        ({"payment_method_id": f"pm_{OLD}"}, "an id of its own", True),
        ({"payment_method_id": f"pm_{NEW}"}, f"src_{OLD}", False),
        (None, f"src_{OLD}", True),
        ({"type": "braintree_payment"}, f"src_{OLD}", True),
        (None, "another", False),
        (None, None, False),
        ("nonsense", None, False),
        ([], 7, False),
    ],
)
def test_the_token_or_else_the_payment_source_identifies_the_card_of_an_order(details, source, expected):
    its_order = order("pending", payment_source_details=details, payment_source_id=source)
    assert is_paid_with(its_order, card()) is expected


def test_only_two_different_tokens_show_that_an_order_is_paid_with_another_card():
    assert another_card_of(paid_by(NEW), card(OLD)) == f"pm_{NEW}"
    assert another_card_of(paid_by(OLD), card(OLD)) is None
    assert another_card_of(paid_by(NEW), card(OLD, payment_source_token=None)) is None
    assert another_card_of(paid_by(NEW), None) is None
    assert another_card_of(order("pending", payment_source_details={"payment_method_id": 7}), card(OLD)) is None


def test_two_missing_tokens_are_not_the_same_card():
    assert not is_paid_with(order("pending"), card(payment_source_token=None, payment_source_id=None))
    assert not is_paid_with(order("pending"), None)


@pytest.mark.parametrize(
    ("its_order", "expected"),
    [
        (paid_by(NEW), None),
        (paid_by(OLD), NEW),
        (order("pending"), NEW),
        (paid_by(OLD, total_amount_with_taxes_cents=0), None),
        (paid_by(OLD, payment_status="authorized"), None),
        (paid_by(OLD, payment_status="paid"), None),
    ],
)
def test_an_order_gets_the_subscriptions_card_unless_it_has_it_or_needs_none(its_order, expected):
    assert card_to_set(Policy(), with_card(NEW), its_order) == expected


def test_an_order_keeps_its_card_if_the_subscription_has_none_or_reuse_wallet_is_off():
    assert card_to_set(Policy(), with_card(None), paid_by(OLD)) is None
    assert card_to_set(Policy(reuse_wallet=False), with_card(NEW), paid_by(OLD)) is None


def test_the_card_of_an_order_is_found_in_the_wallet():
    assert card_in([card(OLD), card(NEW)], paid_by(NEW)) == NEW
    assert card_in([card(OLD)], paid_by(NEW)) is None


# --- a new card ends the wait for a retry ------------------------------------------------------


def test_the_next_sweep_tries_a_new_card_without_waiting_for_the_retry_of_the_old_one():
    waits = plan(with_card(OLD, WAITING), Policy(), at("2026-03-02"))
    tried = plan(with_card(NEW, WAITING), Policy(), at("2026-03-02"))

    assert isinstance(waits, Skipped)
    assert isinstance(tried, Renewal)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, True),
        ({"error_class": "unknown"}, True),
        ({"error_class": "transient"}, True),
        ({"error_class": "stock"}, False),
        ({"error_class": "coupon"}, False),
        ({"outcome": "needs_attention", "held": True}, True),
        ({"outcome": "exhausted", "held": True}, True),
        ({"outcome": "exhausted", "held": True, "error_class": "unknown"}, True),
        ({"outcome": "exhausted", "held": True, "error_class": "transient"}, True),
        ({"outcome": "exhausted", "held": True, "error_class": "stock"}, False),
        ({"outcome": "needs_attention", "held": True, "error_class": "catalogue"}, False),  # its price
        ({"outcome": "needs_attention", "held": True, "error_class": "unknown"}, False),
        ({"outcome": "placing"}, False),
        ({"done_through": "2026-03-01T06:00Z"}, False),
        ({"payment_source_id": None}, True),
        ({"error_class": None, "attempt": 0}, True),
    ],
)
def test_a_new_card_matters_only_if_the_old_one_may_have_failed(changes, expected):
    state = RenewalState.model_validate(WAITING | changes)
    assert has_new_card(with_card(NEW), state) is expected
    assert not has_new_card(with_card(OLD), RenewalState.model_validate(WAITING | changes | {"payment_source_id": OLD}))
    assert not has_new_card(with_card(None), state)


def test_a_card_is_not_new_if_version_0_1_recorded_none():
    state = {key: value for key, value in WAITING.items() if key != "payment_source_id"}
    assert isinstance(plan(with_card(NEW, state), Policy(), at("2026-03-02")), Skipped)


# --- limits belong to a card -------------------------------------------------------------------


@pytest.mark.parametrize("noted", [{}, dict.fromkeys(FIVE, OLD)])
def test_the_five_charges_of_one_card_do_not_hold_back_another(noted):
    stored = with_card(NEW, {**USED_UP, "attempt_cards": noted})
    renewal = planned(stored, "2026-03-19T06:00", LIMITED)
    waiting = copy(REF, target=paid_by(OLD))

    assert isinstance(next_action(renewal, [waiting], at("2026-03-19T06:00")), Place)


@pytest.mark.parametrize("noted", [{}, dict.fromkeys(FIVE, OLD)])
def test_the_card_that_used_up_the_limit_waits_until_its_first_charge_is_a_month_old(noted):
    state = {**USED_UP, "attempt_cards": noted, "next_attempt_at": None}
    renewal = planned(with_card(OLD, state), "2026-03-19T06:00", LIMITED)
    hold = next_action(renewal, [copy(REF, target=paid_by(OLD))], at("2026-03-19T06:00"))

    assert isinstance(hold, Hold)
    assert (hold.reason, hold.until) == (HoldReason.ATTEMPT_LIMIT, at("2026-03-31T06:00"))


def test_a_card_that_is_attached_again_still_has_its_own_charges():
    cards = dict.fromkeys(FIVE, OLD)
    later = {**USED_UP, "attempts": [*FIVE, "2026-03-19T06:00Z"], "payment_source_id": NEW}
    state = RenewalState.model_validate({**later, "attempt_cards": {**cards, "2026-03-19T06:00Z": NEW}})

    assert len(charges_on(state, OLD, at("2026-03-20"))) == 5
    assert len(charges_on(state, NEW, at("2026-03-20"))) == 1
    assert len(charges_on(state, "cardThird", at("2026-03-20"))) == 0
    assert len(charges_on(state, None, at("2026-03-20"))) == 6, "without a card, the charges of all cards count"


def test_charges_that_name_no_card_count_for_every_card():
    state = RenewalState.model_validate({"attempts": FIVE})
    assert len(charges_on(state, OLD, at("2026-03-20"))) == len(charges_on(state, NEW, at("2026-03-20"))) == 5


@pytest.mark.parametrize("stored", [None, [], "nonsense", {"2026-03-01T06:00Z": 7}, {"no instant": OLD}])
def test_malformed_attempt_cards_do_not_damage_the_state(stored):
    state = RenewalState.read({"perennial": {"attempts": FIVE, "attempt_cards": stored}})
    assert state is not None
    assert state.damaged is None
    assert len(charges_on(state, NEW, at("2026-03-20"))) == 5


def declined(renewal: Renewal, charged: str | None, when: str) -> RenewalResult:
    """The result of an attempt in which this card was declined. The next run must read the same state."""
    attempt = Place(copy(REF, target=paid_by(OLD)), paid_by(OLD), renewal.state.attempt + 1, card=charged)
    result = result_of(renewal, PlacementRefused(attempt, DECLINE), at(when))
    stored = RenewalState.read(result.state.written_into({}))
    assert stored == RenewalState.model_validate(result.state.model_dump(mode="json"))
    return result


def test_a_charge_is_recorded_with_its_card():
    result = declined(planned(with_card(OLD)), NEW, "2026-03-01T06:05")

    assert result.state.attempt_cards == {"2026-03-01T06:05Z": NEW}
    assert result.state.payment_source_id == NEW


def test_charges_of_an_earlier_version_stay_with_their_card_when_another_card_fails():
    result = declined(planned(with_card(NEW, USED_UP), "2026-03-19T06:00", LIMITED), NEW, "2026-03-19T06:00")

    assert set(result.state.attempt_cards.values()) == {OLD, NEW}
    assert len(charges_on(result.state, NEW, at("2026-03-20"))) == 1
    assert len(charges_on(result.state, OLD, at("2026-03-20"))) == 5


def test_the_wait_after_the_decline_of_a_new_card_depends_only_on_its_own_charges():
    lenient = Policy(**{**LIMITED.model_dump(), "payment_retries": ["1d", "1d", "1d", "1d"]})
    stored = {**USED_UP, "failures": {"payment": 2}, "attempt_cards": dict.fromkeys(FIVE, OLD)}
    result = declined(planned(with_card(NEW, stored), "2026-03-19T06:00", lenient), NEW, "2026-03-19T06:00")

    assert result.state.next_attempt_at == at("2026-03-20T06:00")


def test_an_announced_attempt_of_a_dead_run_counts_for_the_announced_card():
    state = RenewalState.model_validate(PERIOD).announcing(
        1, "CpyAbcdefb", "TgtAbcdefg", at("2026-03-01T06:05"), "run", OLD
    )
    renewal = planned(with_card(NEW, state.model_dump(mode="json")))
    result = result_of(renewal, CopyEnded(copy(REF, target=paid_by(OLD))), at("2026-03-01T07:00"))

    assert result.state.payment_source_id == OLD, "so that the next sweep tries the new card"
    assert result.state.attempt_cards == {"2026-03-01T06:05Z": OLD}


def test_an_announcement_that_is_taken_back_leaves_no_charge():
    before = RenewalState.model_validate(WAITING)
    announced = before.announcing(2, "CpyAbcdefb", "TgtAbcdefg", at("2026-03-02"), "run", NEW)
    assert announced.attempt_cards == {"2026-03-01T06:00Z": OLD, "2026-03-02T00:00Z": NEW}

    assert announced.without_announcement(before) == before


def test_an_attempt_whose_card_could_not_be_set_on_the_order_is_no_charge():
    renewal = planned(with_card(NEW, WAITING), "2026-03-02")
    attempt = Place(copy(REF, target=paid_by(OLD)), paid_by(OLD), 2, card=NEW)
    refused = Refused(422, (ErrorItem(detail="customer_payment_source - must exist"),), "PATCH", "/x")
    result = result_of(renewal, PlacementRefused(attempt, refused, is_sent=False), at("2026-03-02"))

    assert (result.state.attempt, len(result.state.attempts)) == (2, 1)
    assert result.state.payment_source_id == NEW


def test_a_card_that_waits_for_its_own_limit_is_not_treated_as_new():
    renewal = planned(with_card(NEW, WAITING), "2026-03-02")
    hold = Hold(HoldReason.ATTEMPT_LIMIT, "limit", at("2026-03-25"))
    result = result_of(renewal, HeldBack(hold), at("2026-03-02"))

    stored = with_card(NEW, result.state.model_dump(mode="json"))
    assert isinstance(plan(stored, Policy(), at("2026-03-03")), Skipped)


def test_the_charges_that_two_runs_recorded_for_two_cards_are_both_kept():
    theirs = {**WAITING, "flow_run_id": "theirs", "attempt_cards": {"2026-03-01T06:00Z": OLD}}
    result = declined(planned(with_card(NEW)), NEW, "2026-03-01T06:05")
    record = record_of(result, with_card(NEW, theirs))

    assert record is not None
    assert record.metadata["perennial"]["attempt_cards"] == {"2026-03-01T06:00Z": OLD, "2026-03-01T06:05Z": NEW}
