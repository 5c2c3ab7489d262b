"""Which subscriptions may be adopted, released or given back. The rules decide it from the subscription alone."""

from __future__ import annotations

from datetime import timedelta

import pytest
from rules.making import POLICY, at, subscription

from blocks.commerce_layer.resources import OrderSubscription
from flows.rules.adoption import CLEAR_OF_RUNS
from flows.rules.handover import Change, Decision, Handling, Handover, HandoverRequest
from flows.rules.pausing import decide
from flows.rules.renewal import Renewal, Skipped, SkipReason, plan
from flows.rules.state import RenewalState

NOW = at("2026-03-01T05:00")
DUE = "2026-03-01T06:00:00.000Z"
ADOPT, RELEASE, GIVE_BACK = (HandoverRequest(Handover(each)) for each in ("adopt", "release", "give_back"))


def native(status: str = "active", **fields) -> OrderSubscription:
    return subscription(status=status, metadata={"crm": {"id": 7}}, **fields)


def decided(one: OrderSubscription, request: HandoverRequest = ADOPT, as_of=NOW) -> Decision:
    return decide(one, request, POLICY, as_of)


def after(one: OrderSubscription, change: Change) -> OrderSubscription:
    """The subscription once the change is carried out."""
    status = {"activate": "active", "deactivate": "inactive", None: one.status}[change.trigger]
    moved = {"next_run_at": change.next_run_at} if change.next_run_at else {}
    return one.model_copy(update={"status": type(one.status)(status), "metadata": change.metadata, **moved})


def test_an_active_subscription_is_deactivated_and_marked_in_one_change():
    decision = decided(native())

    assert decision.handling is Handling.CHANGE
    assert decision.change is not None
    assert decision.change.trigger == "deactivate"
    assert decision.change.next_run_at is None
    assert decision.change.metadata["crm"] == {"id": 7}
    assert "perennial" in decision.change.metadata


def test_an_adopted_subscription_keeps_its_due_date():
    one = native()
    adopted = after(one, decided(one).change)

    planned = plan(adopted, POLICY, at("2026-03-01T06:05"))

    assert isinstance(planned, Renewal)
    assert planned.due == at("2026-03-01T06:00")


def test_an_inactive_subscription_is_only_marked():
    decision = decided(native("inactive"))

    assert decision.change is not None
    assert decision.change.trigger is None


@pytest.mark.parametrize("status", ["draft", "pending", "cancelled", "hibernating"])
def test_a_subscription_of_any_other_status_is_not_adopted(status):
    decision = decided(native(status, raw_status=status))

    assert decision.handling is Handling.REFUSED
    assert status in decision.sentence


def test_a_native_renewal_that_is_running_is_not_interrupted():
    assert "running now" in decided(native("running")).sentence


@pytest.mark.parametrize(
    ("minutes_before", "handling"),
    [
        (11, Handling.CHANGE),
        (10, Handling.REFUSED),
        (1, Handling.REFUSED),
        (0, Handling.REFUSED),
        (-60, Handling.REFUSED),
    ],
)
def test_an_active_subscription_is_not_adopted_when_its_native_renewal_is_near_or_overdue(minutes_before, handling):
    as_of = at("2026-03-01T06:00") - timedelta(minutes=minutes_before)

    assert decided(native(), as_of=as_of).handling is handling
    assert timedelta(minutes=10) == CLEAR_OF_RUNS


@pytest.mark.parametrize(
    ("fields", "said"),
    [({"source_order_id": None}, "source order"), ({"next_run_at": None}, "next_run_at"), ({"frequency": "x"}, "x")],
)
def test_a_subscription_that_could_never_be_renewed_is_refused_with_the_reason(fields, said):
    decision = decided(native(**fields))

    assert decision.handling is Handling.REFUSED
    assert said in decision.sentence


def test_an_inactive_overdue_subscription_is_adopted_only_when_it_is_named():
    late = at("2026-03-05")
    all_of_them = HandoverRequest(Handover.ADOPT, named=False)

    assert decided(native("inactive"), all_of_them, late).handling is Handling.REFUSED
    named = decided(native("inactive"), ADOPT, late)
    assert named.handling is Handling.CHANGE
    assert "OVERDUE" in named.sentence


def test_adopting_twice_changes_nothing():
    once = after(native(), decided(native()).change)

    assert decided(once).handling is Handling.AS_REQUESTED


def test_an_open_period_is_reported_as_open_and_not_as_overdue():
    state = RenewalState(period=at("2026-03-01T06:00"), outcome="retry_scheduled", attempt=1, copies=1)

    sentence = decided(subscription(state), as_of=at("2026-03-02")).sentence

    assert sentence == "adopted already; its period of Sun 1 Mar 06:00 UTC 2026 is open: retry scheduled"


def test_a_subscription_that_is_adopted_again_keeps_its_own_policy():
    stored = {"policy": {"catch_up": "all"}, "attempt": 3, "instance": "staging"}
    decision = decided(subscription(stored, status="active"))

    assert decision.change is not None
    state = RenewalState.read(decision.change.metadata)
    assert state is not None
    assert (state.policy, state.attempt) == ({"catch_up": "all"}, 0)


@pytest.mark.parametrize("handover", Handover)
def test_a_subscription_that_version_0_1_adopted_elsewhere_can_be_handed_over_here(handover):
    one = subscription({"instance": "there", "held": True})

    assert decided(one, HandoverRequest(handover)).handling is not Handling.REFUSED


def test_a_half_done_adoption_is_not_renewed_and_the_next_adoption_finishes_it():
    half = after(native(), decided(native()).change).model_copy(update={"status": native().status})

    skipped = plan(half, POLICY, at("2026-03-01T06:05"))
    assert isinstance(skipped, Skipped)
    assert skipped.reason is SkipReason.SECOND_ENGINE
    assert decided(half).change is not None
    assert decided(half).change.trigger == "deactivate"


def test_adopting_again_after_native_renewals_forgets_the_earlier_failed_period():
    state = RenewalState(
        period=at("2026-01-01T06:00"), outcome="retry_scheduled", attempt=2, copies=1,
        order_copy_id="CpyAbcdefg", attempts=[at("2026-02-20")], next_attempt_at=at("2026-01-05"),
    )  # fmt: skip
    one = subscription(state, status="active")
    adopted = after(one, decided(one).change)

    planned = plan(adopted, POLICY, at("2026-03-01T06:05"))

    assert isinstance(planned, Renewal)
    assert (planned.due, planned.state.attempt, planned.state.copies) == (at("2026-03-01T06:00"), 0, 0)
    assert planned.state.attempts == [at("2026-02-20")]  # the card networks still count it


def test_a_held_subscription_is_released_and_keeps_everything_else():
    state = RenewalState(period=at("2026-03-01T06:00"), held=True, copies=1, attempt=1, error="card lost")
    one = subscription(state)

    decision = decided(one, RELEASE)

    assert decision.change is not None
    assert "card lost" in decision.sentence
    after_it = RenewalState.read(decision.change.metadata)
    assert after_it == state.model_copy(update={"held": False})


@pytest.mark.parametrize(("one", "handling"), [(native(), Handling.REFUSED), (subscription(), Handling.AS_REQUESTED)])
def test_releasing_a_subscription_that_is_not_held_changes_nothing(one, handling):
    assert decided(one, RELEASE).handling is handling


def test_a_subscription_given_back_is_unmarked_and_activated_in_one_change():
    decision = decided(subscription(), GIVE_BACK)

    assert decision.change == Change({"crm": {"id": 7}}, "activate", tagged=False)


def test_a_subscription_that_is_due_or_being_renewed_is_not_given_back():
    due = decided(subscription(), GIVE_BACK, at("2026-03-01T06:00"))
    running = RenewalState(period=at("2026-03-01T06:00"), outcome="in_progress", copies=1)

    assert due.handling is Handling.REFUSED
    assert decided(subscription(running), GIVE_BACK, at("2026-03-02")).handling is Handling.REFUSED


@pytest.mark.parametrize(
    ("next_attempt", "handling"), [("2026-03-04", Handling.CHANGE), ("2026-03-02", Handling.REFUSED)]
)
def test_a_subscription_waiting_for_a_retry_is_given_back_unless_the_retry_is_due(next_attempt, handling):
    state = RenewalState(
        period=at("2026-03-01T06:00"), outcome="retry_scheduled", attempt=1, copies=1,
        next_attempt_at=at(next_attempt),
    )  # fmt: skip

    decision = decided(subscription(state), GIVE_BACK, at("2026-03-02T12:00"))

    assert decision.handling is handling


def test_a_held_subscription_is_given_back_with_its_next_future_date():
    state = RenewalState(period=at("2026-03-01T06:00"), outcome="exhausted", held=True)

    decision = decided(subscription(state), GIVE_BACK, at("2026-03-20"))

    assert decision.change is not None
    assert decision.change.next_run_at == at("2026-04-01T06:00")
    assert "Sun 1 Mar 06:00 UTC 2026 is given up" in decision.sentence


def test_giving_back_twice_changes_nothing():
    given = after(subscription(), decided(subscription(), GIVE_BACK).change)

    assert decided(given, GIVE_BACK).handling is Handling.AS_REQUESTED


@pytest.mark.parametrize("handover", Handover)
def test_a_damaged_state_is_left_for_a_person(handover):
    decision = decided(subscription({"v": "one"}), HandoverRequest(handover))

    assert decision.handling is Handling.REFUSED
    assert "metadata.perennial.v" in decision.sentence


def test_a_day_of_the_month_that_was_moved_before_the_adoption_is_kept():
    one = native(next_run_at="2026-03-20T06:00:00.000Z")  # starts_at is the first of the month
    adopted = after(one, decided(one).change)
    work = plan(adopted, POLICY, at("2026-03-20T06:05"))

    assert isinstance(work, Renewal)
    settled = work.settlement(work.state, at("2026-03-20T06:05"))
    assert settled.next_run_at == at("2026-04-20T06:00")
    assert settled.state.anchor == at("2026-03-20T06:00")


@pytest.mark.parametrize("hour", ["05", "06", "07"])
def test_a_date_that_the_native_engine_shifted_by_an_hour_returns_to_its_usual_time(hour):
    one = native(next_run_at=f"2026-03-01T{hour}:00:00.000Z")
    decision = decided(one, as_of=at("2026-02-20"))
    adopted = after(one, decision.change)
    work = plan(adopted, POLICY, at("2026-03-01T08:00"))

    assert isinstance(work, Renewal)
    settled = work.settlement(work.state, at("2026-03-01T08:00"))
    assert settled.next_run_at == at("2026-04-01T06:00")
    assert settled.state.anchor is None
