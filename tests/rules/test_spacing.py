"""No two renewals of a subscription are closer than half an interval, however its date was moved."""

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rules.making import POLICY, at, copy, order, planned, subscription

from blocks.commerce_layer.resources import OrderSubscription
from blocks.policy import Policy
from flows.rules.findings import CopyEnded, OrderAnswered
from flows.rules.handover import Handover, HandoverRequest
from flows.rules.next_action import Place
from flows.rules.outcomes import result_of
from flows.rules.pausing import decide
from flows.rules.records import record_of, skip_record_of
from flows.rules.renewal import Renewal, Skipped, SkipReason, plan
from flows.rules.spacing import duration_in_words, interval_at
from flows.rules.state import RenewalState
from flows.rules.unrecorded import looked_back_to, unrecorded_period


def renewed(sub: OrderSubscription, as_of: str, placed_at: str | None = None) -> OrderSubscription:
    """The subscription after the renewal that is due at `as_of` was placed and recorded."""
    work = planned(sub, as_of)
    placed = order(id=f"Tgt{work.due:%m%d%H%M}", placed_at=f"{placed_at or as_of}:00Z")
    done = CopyEnded(copy(work.reference, "completed", placed))
    return recorded(sub, record_of(result_of(work, done, at(placed_at or as_of), "run"), sub))


def recorded(sub: OrderSubscription, record) -> OrderSubscription:
    assert record is not None
    moved = {"next_run_at": record.next_run_at} if record.next_run_at else {}
    return sub.model_copy(update={"metadata": dict(record.metadata), **moved})


def moved(sub: OrderSubscription, to: str) -> OrderSubscription:
    return sub.model_copy(update={"next_run_at": at(to)})


def skipped(sub: OrderSubscription, as_of: str, policy: Policy = POLICY) -> Skipped:
    answer = plan(sub, policy, at(as_of))
    assert isinstance(answer, Skipped), answer
    return answer


MOVED_ON_A_STALE_PAGE = moved(renewed(subscription(), "2026-03-01T06:05"), "2026-03-01T21:05")
"""The customer moved 1 March to the evening, on a page that they had opened just before its renewal."""


@pytest.mark.parametrize("catch_up", ["latest", "all", "skip"])
def test_a_date_moved_right_after_its_renewal_waits_for_a_person_and_names_both_renewals(catch_up):
    answer = skipped(MOVED_ON_A_STALE_PAGE, "2026-03-01T21:05", Policy(catch_up=catch_up))
    assert answer.reason is SkipReason.TOO_CLOSE
    assert answer.reason.needs_person
    assert answer.sentence == (
        "order Tgt03010600 of the period of Sun 1 Mar 06:00 UTC was placed on Sun 1 Mar 06:05 UTC, and the period of "
        "Sun 1 Mar 21:05 UTC would follow within half an interval (15 days 12 hours): release it to have it charged "
        "all the same, or move next_run_at"
    )


def held() -> OrderSubscription:
    answer = skipped(MOVED_ON_A_STALE_PAGE, "2026-03-01T21:05")
    return recorded(MOVED_ON_A_STALE_PAGE, skip_record_of(answer, MOVED_ON_A_STALE_PAGE))


def test_a_subscription_whose_date_is_too_close_is_held_and_reported_once():
    assert MOVED_ON_A_STALE_PAGE.next_run_at == held().next_run_at, "the date stays as the customer wrote it"
    again = skipped(held(), "2026-03-01T21:20")
    assert again.reason is SkipReason.HELD
    assert not again.reason.needs_person
    assert "Tgt03010600" in again.sentence
    assert skipped(held(), "2026-12-01").reason is SkipReason.HELD, "the hold does not end by itself"


def test_the_hold_of_a_date_that_is_too_close_records_both_renewals():
    state = RenewalState.read(held().metadata)
    assert (state.outcome, state.error_class) == ("needs_attention", "unknown")
    assert state.held_since == at("2026-03-01T21:05")
    assert (state.too_close_to, state.too_close_on) == ("Tgt03010600", at("2026-03-01T21:05"))


def test_the_hold_of_a_date_too_close_to_a_renewal_by_the_native_engine_records_that_renewal():
    native = {"last_run_at": "2026-03-01T06:00:10Z", "succeeded_on_last_run": True}
    february = {"last_period": "2026-02-01T06:00Z", "last_placed_at": "2026-02-01T06:05Z", "last_order_id": "TgtOld"}
    one = subscription(february, next_run_at="2026-03-05T06:00:00Z", **native)
    state = RenewalState.read(recorded(one, skip_record_of(skipped(one, "2026-03-05T06:05"), one)).metadata)
    assert (state.last_period, state.last_placed_at) == (one.last_run_at, one.last_run_at)
    assert (state.last_order_id, state.too_close_to) == (None, None)


def test_releasing_a_date_that_is_too_close_charges_it():
    change = decide(held(), HandoverRequest(Handover.RELEASE), POLICY, at("2026-03-02")).change
    assert change is not None
    released = held().model_copy(update={"metadata": change.metadata})
    work = planned(released, "2026-03-02T08:00")
    assert work.reference == "SubAbcdefg@2026-03-01T21:05Z"
    after = renewed(released, "2026-03-02T08:00")
    assert after.next_run_at == at("2026-04-01T21:05"), "all later dates are moved, too"


def test_moving_a_date_that_is_too_close_ends_the_hold_without_a_charge():
    corrected = moved(held(), "2026-04-01T06:00")
    assert skipped(corrected, "2026-03-20").reason is SkipReason.NOT_DUE
    assert planned(corrected, "2026-04-01T06:05").reference == "SubAbcdefg@2026-04-01T06:00Z"


def test_a_new_date_that_is_also_too_close_is_held_again():
    again = moved(held(), "2026-03-05T06:00")
    answer = skipped(again, "2026-03-05T06:05")
    assert answer.reason is SkipReason.TOO_CLOSE
    assert "Tgt03010600" in answer.sentence
    assert "Thu 5 Mar" in answer.sentence


@pytest.mark.parametrize(
    "fields", [{"next_run_at": "2026-04-01T06:00:00Z"}, {"metadata": {"perennial": {"held": True}}}, {"metadata": {}}]
)
def test_no_hold_is_written_if_the_subscription_has_changed_meanwhile(fields):
    answer = skipped(MOVED_ON_A_STALE_PAGE, "2026-03-01T21:05")
    given_ = MOVED_ON_A_STALE_PAGE.model_dump() | fields
    assert skip_record_of(answer, OrderSubscription.model_validate(given_)) is None


def test_the_last_renewal_is_also_known_from_a_state_of_an_earlier_version():
    state = {"period": "2026-03-01T06:00Z", "done_through": "2026-03-01T06:00Z", "outcome": "renewed",
             "target_order_id": "TgtAbcdefg", "frequency": "monthly"}  # fmt: skip
    answer = skipped(subscription(state, next_run_at="2026-03-01T21:05:00Z"), "2026-03-01T21:05")
    assert answer.reason is SkipReason.TOO_CLOSE
    assert "TgtAbcdefg" in answer.sentence


def test_the_last_renewal_is_still_known_after_skipped_periods_and_another_adoption():
    late = Policy(catch_up="skip")
    one = renewed(subscription(), "2026-03-01T06:05")
    answer = skipped(one, "2026-04-05", late)
    one = recorded(one, skip_record_of(answer, one))
    assert RenewalState.read(one.metadata).last_order_id == "Tgt03010600"
    active = one.model_copy(update={"status": "active", "next_run_at": at("2026-05-01T06:00")})
    change = decide(active, HandoverRequest(Handover.ADOPT), POLICY, at("2026-04-05")).change
    assert change is not None
    assert change.metadata["perennial"]["last_order_id"] == "Tgt03010600"


def test_the_last_renewal_by_the_native_engine_counts_too():
    native = {
        "last_run_at": "2026-03-01T06:00:10Z",
        "succeeded_on_last_run": True,
        "next_run_at": "2026-03-05T06:00:00Z",
    }
    answer = skipped(subscription(**native), "2026-03-05T06:05")
    assert answer.reason is SkipReason.TOO_CLOSE
    assert answer.sentence.startswith("it was renewed by Commerce Layer's own engine on Sun 1 Mar 06:00 UTC, and")
    for nothing in ({"succeeded_on_last_run": False}, {"last_run_at": None}, {"last_run_at": "0001-01-01T00:00:00Z"}):
        assert planned(subscription(**native | nothing), "2026-03-05T06:05").due == at("2026-03-05T06:00")
    on_time = subscription(**native | {"next_run_at": "2026-04-01T06:00:00Z"})
    assert planned(on_time, "2026-04-01T06:05").due == at("2026-04-01T06:00")


# --- the record was lost ----------------------------------------------------------------------------


@pytest.mark.parametrize(("frequency", "days"), [("yearly", 40), ("yearly", 364), ("six-month", 90), ("monthly", 58)])
def test_a_charge_whose_record_was_lost_is_found_however_far_the_date_was_moved(frequency, days):
    first = subscription(frequency=frequency, starts_at="2026-03-01T06:00:00Z")
    unrecorded = copy(planned(first).reference, "completed", order(placed_at="2026-03-01T06:05:00Z"))
    later = first.model_copy(update={"next_run_at": at("2026-03-01T06:00") + timedelta(days=days)})
    work = plan(later, POLICY, later.next_run_at + timedelta(minutes=5))
    assert isinstance(work, Renewal)
    assert looked_back_to(work) <= unrecorded.created_at
    assert unrecorded_period(work, [unrecorded]) == at("2026-03-01T06:00")


# --- paid late --------------------------------------------------------------------------------------

WEEKLY: dict[str, Any] = {"frequency": "weekly", "starts_at": "2026-03-01T06:00:00Z"}


def paid_late(placed_at: str, **state: Any) -> OrderSubscription:
    """A weekly subscription whose order of 1 March failed and was placed later."""
    begun = {"period": "2026-03-01T06:00Z", "attempt": 1, "failures": {"payment": 1}, "outcome": "retry_scheduled",
             "order_copy_id": "CpyAbcdefb", "target_order_id": "TgtAbcdefg", **state}  # fmt: skip
    return renewed(subscription(begun, **WEEKLY), placed_at)


def test_a_weekly_subscription_paid_late_is_not_charged_again_minutes_later():
    answer = skipped(paid_late("2026-03-08T05:45"), "2026-03-08T06:00")
    assert answer.reason is SkipReason.TOO_CLOSE
    assert "of the period of Sun 1 Mar 06:00 UTC was placed on Sun 8 Mar 05:45 UTC" in answer.sentence
    assert "the period of Sun 8 Mar 06:00 UTC would follow within half an interval (3 days 12 hours)" in answer.sentence


def test_a_weekly_subscription_paid_slightly_late_is_charged_on_its_next_date():
    assert planned(paid_late("2026-03-04T05:45"), "2026-03-08T06:00").due == at("2026-03-08T06:00")


@pytest.mark.parametrize("catch_up", ["latest", "all", "skip"])
def test_no_catch_up_charges_twice_within_minutes_after_a_period_was_paid_late(catch_up):
    answer = skipped(paid_late("2026-03-08T05:45"), "2026-03-08T06:00", Policy(catch_up=catch_up))
    assert answer.reason is SkipReason.TOO_CLOSE


EVERY = Policy(catch_up="all")


def test_with_catch_up_all_every_period_that_was_missed_in_an_outage_is_renewed_in_one_sweep():
    one = subscription(frequency="daily")
    for day in (2, 3, 4):
        work = planned(one, "2026-03-04T06:05", EVERY)
        assert work.due == at(f"2026-03-0{day}T06:00"), "catch_up_limit is 3"
        placed = CopyEnded(copy(work.reference, "completed", order(placed_at="2026-03-04T06:05:00Z")))
        one = recorded(one, record_of(result_of(work, placed, at("2026-03-04T06:05"), "run"), one))
    assert one.next_run_at == at("2026-03-05T06:00")


def test_with_catch_up_all_a_moved_date_is_not_a_missed_period():
    answer = skipped(moved(paid_late("2026-03-08T05:45"), "2026-03-08T20:00"), "2026-03-08T20:00", EVERY)
    assert answer.reason is SkipReason.TOO_CLOSE


def test_with_catch_up_all_a_period_that_was_missed_behind_one_that_was_paid_late_is_renewed():
    assert planned(paid_late("2026-03-20T06:00"), "2026-03-20T06:05", EVERY).due == at("2026-03-08T06:00")
    assert skipped(paid_late("2026-03-20T06:00"), "2026-03-20T06:05").reason is SkipReason.TOO_CLOSE


@pytest.mark.parametrize("catch_up", ["latest", "all"])
def test_after_an_outage_of_perennial_the_next_renewal_waits_half_an_interval_without_a_person(catch_up):
    policy = Policy(catch_up=catch_up)
    late = renewed(subscription(frequency="daily"), "2026-03-01T19:00")
    assert late.next_run_at == at("2026-03-02T06:00")
    answer = skipped(late, "2026-03-02T06:00", policy)
    assert answer.reason is SkipReason.TOO_SOON
    assert not answer.reason.needs_person
    assert answer.settlement is None
    assert answer.sentence == (
        "order Tgt03010600 of the period of Sun 1 Mar 06:00 UTC was placed late, on Sun 1 Mar 19:00 UTC: the period of "
        "Mon 2 Mar 06:00 UTC waits until half an interval is over, Mon 2 Mar 07:00 UTC"
    )
    assert planned(late, "2026-03-02T07:00", policy).due == at("2026-03-02T06:00")


def test_a_date_that_was_moved_closer_to_a_late_renewal_waits_for_a_person():
    late = renewed(subscription(frequency="daily"), "2026-03-01T19:00")
    answer = skipped(moved(late, "2026-03-01T23:00"), "2026-03-01T23:00")
    assert answer.reason is SkipReason.TOO_CLOSE


def test_a_recorded_frequency_that_is_not_known_any_more_does_not_change_the_interval():
    state = {"period": "2026-03-01T06:00Z", "done_through": "2026-03-01T06:00Z", "frequency": "fortnightly",
             "last_period": "2026-03-01T06:00Z", "last_placed_at": "2026-03-01T06:05Z"}  # fmt: skip
    one = subscription(state, next_run_at="2026-03-16T06:00:00Z")
    assert "(15 days 12 hours)" in skipped(one, "2026-03-16T06:05").sentence
    assert planned(moved(one, "2026-03-16T19:00"), "2026-03-16T19:00").due == at("2026-03-16T19:00")


# --- what is not too close --------------------------------------------------------------------------


def test_dates_named_by_a_crontab_are_renewed_however_close_they_are():
    one = subscription(frequency="0 6 1,3 * *")
    one = renewed(one, "2026-03-01T06:05")
    assert planned(one, "2026-03-03T06:05").due == at("2026-03-03T06:00")
    one = renewed(one, "2026-03-03T06:05")
    assert planned(one, "2026-04-01T06:05").due == at("2026-04-01T06:00")
    assert skipped(moved(one, "2026-03-10T06:00"), "2026-03-10T06:05").reason is SkipReason.TOO_CLOSE


def test_a_moved_date_does_not_change_the_later_dates_of_a_crontab():
    one = renewed(subscription(frequency="0 6 1 * *", next_run_at="2026-03-20T06:00:00Z"), "2026-03-20T06:05")
    assert one.next_run_at == at("2026-05-01T06:00"), "20 March stood for 1 April"
    one = renewed(subscription(frequency="0 6 1 * *", next_run_at="2026-03-10T06:00:00Z"), "2026-03-10T06:05")
    assert one.next_run_at == at("2026-04-01T06:00")


def test_a_subscription_with_a_changed_frequency_is_charged_on_its_next_date():
    weekly = renewed(subscription(**WEEKLY), "2026-03-01T06:05").model_copy(update={"frequency": "monthly"})
    assert planned(weekly, "2026-03-08T06:05").due == at("2026-03-08T06:00")
    monthly = renewed(subscription(), "2026-03-01T06:05").model_copy(update={"frequency": "weekly"})
    assert planned(moved(monthly, "2026-03-08T06:00"), "2026-03-08T06:05").due == at("2026-03-08T06:00")


def test_a_period_is_not_too_close_to_its_own_order():
    work = planned(subscription({"last_period": "2026-03-01T06:00Z", "last_placed_at": "2026-03-01T06:05Z"}))
    assert work.due == at("2026-03-01T06:00"), "the state was reset; the copy is found by its reference"


@given(
    frequency=st.sampled_from(
        ["hourly", "daily", "weekly", "monthly", "two-month", "yearly", "0 6 * * 1", "0 6 1 * *"]
    ),
    day=st.integers(0, 800),
    zone=st.sampled_from(["UTC", "Europe/Rome", "America/New_York"]),
)
def test_no_renewal_on_time_is_ever_too_close(frequency, day, zone):
    policy = Policy(time_zone=zone)
    start = at("2026-01-31T06:00") + timedelta(days=day)
    one = subscription(frequency=frequency, starts_at=start.isoformat(), next_run_at=start.isoformat())
    for _ in range(6):
        as_of = one.next_run_at + timedelta(minutes=20)
        work = plan(one, policy, as_of)
        assert isinstance(work, Renewal), work
        placed = OrderAnswered(Place(copy(work.reference), order("draft"), 1), order(placed_at=as_of.isoformat()))
        one = recorded(one, record_of(result_of(work, placed, as_of, "run"), one))


@pytest.mark.parametrize(
    ("frequency", "period", "days"),
    [
        ("monthly", "2026-01-31T06:00", 28),
        ("monthly", "2026-03-01T06:00", 31),
        ("weekly", "2026-03-03T06:00", 7),
        ("0 6 1,3 * *", "2026-03-01T06:00", 2),
        ("0 6 1,3 * *", "2026-03-03T06:00", 29),
        ("0 6 1 * *", "2026-03-31T06:00", 30),
    ],
)
def test_an_interval_lasts_until_the_date_after_the_one_that_was_renewed(frequency, period, days):
    assert interval_at(frequency, at(period), "UTC") == timedelta(days=days)


def test_an_interval_is_counted_on_the_wall_clock_of_the_merchants_time_zone():
    for frequency in ("monthly", "0 7 15 * *"):
        across_the_change = interval_at(frequency, at("2026-03-15T06:00"), "Europe/Rome")
        assert across_the_change == timedelta(days=31) - timedelta(hours=1)


@pytest.mark.parametrize(
    ("minutes", "words"),
    [(0, "less than a minute"), (1, "1 minute"), (90, "1 hour 30 minutes"), (5040, "3 days 12 hours"), (1441, "1 day")],
)
def test_a_duration_is_written_in_words(minutes, words):
    assert duration_in_words(timedelta(minutes=minutes)) == words
