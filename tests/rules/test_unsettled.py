"""An unsettled renewal records since when, and needs a person after the policy's `stuck_after`."""

from datetime import timedelta

import pytest
from rules.making import at, copy, order, planned, subscription

from blocks.commerce_layer.errors import (
    AuthenticationFailed,
    ErrorItem,
    NotFound,
    ReadFailed,
    Refused,
    Unauthorized,
    WriteFateUnknown,
)
from blocks.policy import Policy
from flows.rules.findings import CopyEnded, NotCreated, OrderAnswered, PlacementRefused, StillRunning
from flows.rules.next_action import Place
from flows.rules.outcomes import result_of
from flows.rules.skips import Skipped, SkipReason
from flows.rules.state import Outcome
from flows.rules.unrecorded_results import unrecorded_line, unrecorded_skip_line
from flows.rules.waves import Brake

REF = "SubAbcdefg@2026-03-01T06:00Z"
NOW = at("2026-03-01T06:10")
LOST = WriteFateUnknown("PATCH", "/api/orders/TgtAbcdefg", "timeout")
ATTEMPT = Place(copy(REF, "completed", order("pending")), order("pending"), 1)
ORDERLESS = copy(REF, "completed", None, target_order_id="TgtAbcdefg")
UNSETTLED = {
    "a creation that is always answered 500": NotCreated(WriteFateUnknown("POST", "/api/order_copies", "500")),
    "a read that fails": NotCreated(ReadFailed("/api/order_copies", "500")),
    "a completed copy without an order": CopyEnded(ORDERLESS),
    "a lost answer": PlacementRefused(ATTEMPT, LOST),
}


def again(finding, state, at_=NOW):
    return result_of(planned(subscription(state)), finding, at_)


@pytest.mark.parametrize("finding", UNSETTLED.values(), ids=UNSETTLED)
def test_an_unsettled_renewal_needs_a_person_after_a_day(finding):
    first = again(finding, None)
    assert not first.needs_person
    assert first.state.unsettled_since == NOW
    later = again(finding, first.state, NOW + timedelta(hours=23))
    assert not later.needs_person
    assert later.state.unsettled_since == NOW
    stuck = again(finding, later.state, NOW + timedelta(hours=24))
    assert (stuck.outcome, stuck.needs_person) == (Outcome.NEEDS_ATTENTION, True)
    assert "since Sun 1 Mar 06:10 UTC: look at it" in stuck.sentence
    assert stuck.state.outcome == later.state.outcome, "telling a person does not change the next step"
    assert not stuck.state.held


def test_since_when_a_renewal_is_unsettled_is_told_in_the_merchants_time_zone():
    since = {"period": "2026-03-01T06:00Z", "unsettled_since": "2026-03-01T06:10Z"}
    work = planned(subscription(since), policy=Policy(time_zone="Europe/Rome"))
    for finding in (UNSETTLED["a lost answer"], StillRunning(copy(REF, "in_progress"))):
        assert "since Sun 1 Mar 07:10 CET: look at it" in result_of(work, finding, NOW + timedelta(days=1)).sentence


def test_a_renewed_period_is_no_longer_unsettled():
    before = again(UNSETTLED["a lost answer"], None)
    assert again(OrderAnswered(ATTEMPT, order()), before.state).state.unsettled_since is None


def test_alternating_between_under_way_and_unconfirmed_does_not_restart_the_wait():
    lost = again(CopyEnded(ORDERLESS), None)
    copying = again(StillRunning(copy(REF, "in_progress")), lost.state, NOW + timedelta(hours=12))
    assert copying.state.under_way_since == NOW
    assert again(CopyEnded(ORDERLESS), copying.state, NOW + timedelta(hours=25)).needs_person


def refusal(status):
    return Refused(status, (ErrorItem(code="FORBIDDEN"),), "PATCH", "/api/order_subscriptions/SubAbcdefg")


@pytest.mark.parametrize(
    "error",
    [
        refusal(403),
        refusal(422),
        Unauthorized(401, (), "PATCH", "/api/order_subscriptions/SubAbcdefg"),
        NotFound(404, (), "PATCH", "/api/order_subscriptions/SubAbcdefg"),
        AuthenticationFailed("no"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_record_that_is_refused_needs_a_person_at_once(error):
    line = unrecorded_line(again(OrderAnswered(ATTEMPT, order()), None), error, NOW)
    assert line.needs_person
    assert line.outcome is Outcome.RENEWED
    assert "NOT RECORDED" in line.sentence
    assert str(error) in line.sentence


def test_a_record_that_is_lost_needs_a_person_after_a_day():
    result = again(CopyEnded(copy(REF, "completed", order(placed_at=NOW))), None)
    assert not unrecorded_line(result, LOST, NOW + timedelta(hours=23)).needs_person
    late = unrecorded_line(result, LOST, NOW + timedelta(hours=24))
    assert late.needs_person
    assert late.sentence.endswith("since Sun 1 Mar 06:10 UTC: look at it")


def test_refused_records_in_a_row_pull_the_brake():
    brake = Brake(Policy(max_unconfirmed=3))
    for refused in ("no", "no", None, "no", "no"):
        brake.note_record(refused)
        assert brake.pulled is None
    brake.note_record("may not be written")
    assert brake.pulled is not None
    assert "3 records in a row were refused" in brake.pulled.sentence


def test_renewals_that_stay_unsettled_do_not_stop_a_sweep_that_renews_others():
    known, fresh = Brake(Policy(max_unconfirmed=3)), Brake(Policy(max_unconfirmed=3))
    hopeless = [again(UNSETTLED["a lost answer"], {"period": "2026-03-01T06:00Z", "unsettled_since": NOW.isoformat()})]
    known.note(again(OrderAnswered(ATTEMPT, order()), None))
    for result in hopeless * 10:
        known.note(result)
        fresh.note(result)
    assert known.pulled is None
    assert fresh.pulled is not None, "if nothing is renewed, the shop may be the cause"


def test_a_period_whose_skipping_is_refused_needs_a_person_at_once_and_a_lost_record_does_not():
    late = Skipped("SubAbcdefg", at("2026-03-01T06:00"), SkipReason.LATE, "it is too late: skipped on purpose")
    refused = unrecorded_skip_line(late, refusal(403))
    assert refused.needs_person
    assert "NOT RECORDED" in refused.sentence
    assert "let the API client update order subscriptions" in refused.sentence
    lost = unrecorded_skip_line(late, LOST)
    assert not lost.needs_person
    assert lost.open_since == late.due, "it counts as overdue"
