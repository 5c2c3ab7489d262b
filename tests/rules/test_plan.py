from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rules.making import POLICY, at, planned, subscription

from blocks.policy import Policy
from flows.rules.renewal import Renewal, Skipped, SkipReason, plan
from flows.rules.skips import waits_for_payment
from flows.rules.state import RenewalState

NOW = at("2026-03-01T06:05")
SETTLED = {"period": "2026-02-01T06:00Z", "done_through": "2026-02-01T06:00Z", "outcome": "renewed"}


def skipped(sub, as_of=NOW, policy=POLICY) -> Skipped:
    answer = plan(sub, policy, as_of)
    assert isinstance(answer, Skipped), answer
    return answer


def test_a_due_subscription_is_planned_with_a_fresh_state():
    renewal = planned(subscription(SETTLED | {"attempt": 3, "copies": 2}))
    assert renewal.reference == "SubAbcdefg@2026-03-01T06:00Z"
    assert (renewal.state.period, renewal.state.attempt, renewal.state.copies) == (at("2026-03-01T06:00"), 0, 0)
    assert renewal.metadata["crm"] == {"id": 7}


@pytest.mark.parametrize(
    ("fields", "reason", "words"),
    [
        ({"metadata": {}}, SkipReason.NOT_ADOPTED, "metadata.perennial is missing"),
        ({"metadata": None}, SkipReason.NOT_ADOPTED, "metadata.perennial is missing"),
        ({"status": "active"}, SkipReason.SECOND_ENGINE, "own engine may renew it"),
        ({"status": "running"}, SkipReason.SECOND_ENGINE, "'running'"),
        ({"status": "pending"}, SkipReason.SECOND_ENGINE, "'pending'"),
        ({"status": "cancelled"}, SkipReason.CANCELLED, "cancelled"),
        ({"status": "draft"}, SkipReason.NOT_INACTIVE, "'draft'"),
        ({"status": "paused"}, SkipReason.NOT_INACTIVE, "'paused'"),
        ({"source_order_id": None}, SkipReason.NO_SOURCE_ORDER, "no source order"),
        ({"next_run_at": None}, SkipReason.NO_NEXT_RUN, "no next_run_at"),
        ({"next_run_at": "2026-03-01T06:06:00Z"}, SkipReason.NOT_DUE, "due on Sun 1 Mar 06:06 UTC"),
        ({"expires_at": "2026-03-01T06:00:00Z"}, SkipReason.EXPIRED, "it expired on Sun 1 Mar 06:00 UTC"),
        ({"frequency": "fortnightly"}, SkipReason.UNKNOWN_FREQUENCY, "'fortnightly'"),
    ],
)
def test_a_subscription_that_must_not_be_renewed_now_is_skipped_with_the_reason(fields, reason, words):
    answer = skipped(subscription(**fields))
    assert answer.reason is reason
    assert words in answer.sentence


@pytest.mark.parametrize(
    ("state", "reason", "words"),
    [
        ({"v": 9}, SkipReason.DAMAGED, "a newer Perennial wrote it (metadata.perennial.v = 9,"),
        ({"v": 1, "attempt": -1}, SkipReason.DAMAGED, "repair it: metadata.perennial.attempt = -1"),
        (
            {"held": True, "error": "lost", "error_class": "payment"},
            SkipReason.HELD,
            "person: card lost or stolen",
        ),
        ({"policy": {"catch_up": "skp"}}, SkipReason.BAD_POLICY, "catch_up = 'skp'"),
        ({"policy": {"colour": 1}}, SkipReason.BAD_POLICY, "colour is not a field"),
        (
            {"period": "2026-03-01T06:00Z", "next_attempt_at": "2026-03-02T06:00Z", "outcome": "retry_scheduled"},
            SkipReason.RETRY_NOT_DUE,
            "next attempt Mon 2 Mar 06:00 UTC",
        ),
        ({"done_through": "2026-03-01T06:00Z"}, SkipReason.NOTHING_PENDING, "settled"),
        ({"done_through": "2999-03-01T06:00Z"}, SkipReason.NOTHING_PENDING, "settled"),
        ({"period": "2026-03-02T06:00Z", "outcome": "in_progress"}, SkipReason.NOT_DUE, "due on Mon 2 Mar 06:00 UTC"),
    ],
)
def test_a_state_that_forbids_a_renewal_is_respected(state, reason, words):
    answer = skipped(subscription(state))
    assert answer.reason is reason
    assert words in answer.sentence


def test_an_open_period_that_is_not_due_yet_is_named():
    answer = skipped(subscription({"period": "2026-03-02T06:00Z", "outcome": "in_progress"}))
    assert (answer.reason, answer.due) == (SkipReason.NOT_DUE, at("2026-03-02T06:00"))


def test_dates_are_told_in_the_merchants_zone_and_with_the_year_if_it_is_another_one_there():
    tokyo = Policy(time_zone="Asia/Tokyo")
    following = skipped(subscription(next_run_at="2026-12-31T16:00:00Z"), at("2026-12-31T14:00"), tokyo)
    assert following.sentence == "due on Fri 1 Jan 01:00 JST 2027"
    same = skipped(subscription(next_run_at="2027-01-01T00:00:00Z"), at("2026-12-31T16:00"), tokyo)
    assert same.sentence == "due on Fri 1 Jan 09:00 JST"


def test_the_renewal_of_another_period_begins_with_a_fresh_state():
    march = planned(subscription({"period": "2026-03-01T06:00Z", "attempt": 2, "outcome": "in_progress"}))
    february = march.for_due(at("2026-02-01T06:00"))
    assert february.reference == "SubAbcdefg@2026-02-01T06:00Z"
    assert (february.state.period, february.state.attempt) == (at("2026-02-01T06:00"), 0)


def test_an_installation_name_written_by_version_0_1_is_ignored_and_kept():
    renewal = planned(subscription({"instance": "staging"}))
    settled = renewal.settlement(renewal.state, NOW).state
    assert settled.written_into(renewal.metadata)["perennial"]["instance"] == "staging"


def test_a_subscription_may_have_a_policy_of_its_own():
    renewal = planned(subscription({"policy": {"payment_retries": ["12h"], "final_action": "cancel"}}))
    assert renewal.policy.payment_retries == ["12h"]
    assert renewal.policy.final_action == "cancel"
    assert POLICY.payment_retries != ["12h"]


def test_a_retired_policy_field_does_not_stop_a_renewal():
    renewal = planned(subscription({"policy": {"tag_target_orders": True, "payment_retries": ["12h"]}}))
    assert renewal.policy.payment_retries == ["12h"]


def test_an_open_period_comes_before_later_ones():
    state = {"period": "2026-03-01T06:00Z", "outcome": "retry_scheduled", "attempt": 1, "copies": 1}
    renewal = planned(subscription(SETTLED | state), "2026-06-15")
    assert renewal.due == at("2026-03-01T06:00")
    assert (renewal.state.attempt, renewal.state.copies) == (1, 1)


@pytest.mark.parametrize(("catch_up", "due"), [("latest", "2026-06-01T06:00"), ("all", "2026-03-01T06:00")])
def test_after_downtime_the_policy_chooses_among_the_missed_periods(catch_up, due):
    renewal = planned(subscription(SETTLED), "2026-06-15", Policy(catch_up=catch_up, catch_up_limit=4))
    assert renewal.due == at(due)


@pytest.mark.parametrize(
    ("limit", "due"), [(1, "2026-06-01"), (2, "2026-05-01"), (3, "2026-04-01"), (24, "2026-03-01")]
)
def test_catching_up_with_all_goes_back_no_further_than_the_policy_says(limit, due):
    renewal = planned(subscription(SETTLED), "2026-06-15", Policy(catch_up="all", catch_up_limit=limit))
    assert renewal.due == at(f"{due}T06:00")
    assert bool(renewal.warnings) is (limit < 4)


def test_the_periods_that_the_limit_on_catching_up_leaves_out_are_named():
    renewal = planned(subscription(SETTLED), "2026-06-15", Policy(catch_up="all"))
    assert renewal.warnings == ("older periods are skipped on purpose (catch_up_limit is 3): 2026-03-01T06:00Z",)


def test_a_daily_subscription_that_is_120_days_late_is_renewed_for_three_days_only():
    policy, as_of = Policy(catch_up="all"), at("2026-07-01T06:05")
    one, renewed = subscription({}, frequency="daily", next_run_at="2026-03-03T06:00:00Z"), 0
    while isinstance(answer := plan(one, policy, as_of), Renewal):
        renewed += 1
        settled = answer.settlement(answer.state, as_of)
        moved = settled.next_run_at or one.next_run_at
        one = subscription(settled.state, frequency="daily", next_run_at=moved)
    assert renewed == 3
    assert answer.reason is SkipReason.NOT_DUE


def test_the_periods_that_catching_up_leaves_out_are_named():
    warnings = planned(subscription(SETTLED), "2026-06-15").warnings
    named = "2026-03-01T06:00Z, 2026-04-01T06:00Z, 2026-05-01T06:00Z"
    assert warnings == (f"older periods are skipped on purpose (catch_up is latest): {named}",)
    assert planned(subscription(SETTLED)).warnings == ()
    assert planned(subscription(frequency="hourly"), "2026-06-15").warnings[0].endswith("2026-03-01T10:00Z and more")


def test_catching_up_with_all_continues_with_the_oldest_unsettled_period():
    policy = Policy(catch_up="all", catch_up_limit=4)
    state = {"period": "2026-03-01T06:00Z", "done_through": "2026-03-01T06:00Z", "outcome": "renewed"}
    assert planned(subscription(state), "2026-06-15", policy).due == at("2026-04-01T06:00")


def test_a_late_period_is_skipped_and_settled_when_the_policy_says_so():
    answer = skipped(subscription(SETTLED), at("2026-06-15"), Policy(catch_up="skip"))
    assert (answer.reason, answer.due) == (SkipReason.LATE, at("2026-06-01T06:00"))
    assert answer.settlement is not None
    state = answer.settlement.state
    assert (state.outcome, state.period, state.done_through) == ("skipped", answer.due, answer.due)
    assert answer.settlement.next_run_at == at("2026-07-01T06:00")


def test_a_period_that_is_slightly_late_is_renewed_although_older_ones_are_skipped():
    renewal = planned(subscription(SETTLED), "2026-06-02T05:00", Policy(catch_up="skip"))
    assert renewal.due == at("2026-06-01T06:00")


def test_a_date_moved_by_the_customer_replaces_the_original_period():
    moved = subscription(SETTLED, next_run_at="2026-03-10T08:00:00Z")
    assert skipped(moved, at("2026-03-05")).reason is SkipReason.NOT_DUE
    for catch_up in ("latest", "all", "skip"):
        renewal = planned(moved, "2026-03-10T08:01", Policy(catch_up=catch_up))
        assert renewal.due == at("2026-03-10T08:00"), "1 March was postponed, not missed"


def test_an_open_period_that_the_customer_postponed_waits():
    state = {"period": "2026-03-01T06:00Z", "outcome": "retry_scheduled", "attempt": 1, "copies": 1}
    postponed = subscription(state, next_run_at="2026-03-20T06:00:00Z")
    assert skipped(postponed, at("2026-03-05")).reason is SkipReason.NOT_DUE
    assert planned(postponed, "2026-03-20T06:00").due == at("2026-03-01T06:00")


def test_an_open_period_that_is_placed_on_the_date_to_which_it_was_postponed_is_settled_with_that_date():
    state = {"period": "2026-03-01T06:00Z", "outcome": "retry_scheduled", "attempt": 1}
    postponed = planned(subscription(state, next_run_at="2026-03-20T06:00:00Z"), "2026-03-20T06:00")
    settled = postponed.settlement(postponed.state, at("2026-03-20T06:00"))
    assert settled.state.done_through == at("2026-03-20T06:00")
    assert settled.next_run_at == at("2026-04-20T06:00")


@pytest.mark.parametrize("catch_up", ["latest", "all", "skip"])
def test_an_expired_subscription_is_never_renewed_whatever_was_due_before(catch_up):
    sub = subscription(SETTLED, expires_at="2026-04-15T00:00:00Z")
    assert skipped(sub, at("2026-06-15"), Policy(catch_up=catch_up)).reason is SkipReason.EXPIRED
    assert skipped(sub, at("2026-04-15"), Policy(catch_up=catch_up)).reason is SkipReason.EXPIRED
    assert planned(sub, "2026-04-14T23:59").due == at("2026-04-01T06:00")


def test_no_retry_is_made_after_the_expiry():
    state = {"period": "2026-03-01T06:00Z", "outcome": "retry_scheduled", "attempt": 1}
    ended = subscription(SETTLED | state, expires_at="2026-03-02T00:00:00Z")
    assert skipped(ended, at("2026-03-02T06:00")).reason is SkipReason.EXPIRED


def test_seconds_of_a_due_date_do_not_make_another_period():
    sub = subscription(SETTLED, starts_at="2026-01-01T06:00:30.250Z", next_run_at="2026-03-01T06:00:30.250Z")
    assert planned(sub).due == at("2026-03-01T06:00")
    done = subscription({"done_through": "2026-03-01T06:00Z"}, next_run_at="2026-03-01T06:00:30.250Z")
    assert skipped(done).reason is SkipReason.NOTHING_PENDING


def test_without_a_start_the_first_date_seen_is_remembered_as_the_anchor():
    sub = subscription(starts_at=None, next_run_at="2026-01-31T06:00:00Z")
    first = planned(sub, "2026-01-31T07:00").settlement(RenewalState(), at("2026-01-31T07:00"))
    assert first.state.anchor == at("2026-01-31T06:00")
    assert first.next_run_at == at("2026-02-28T06:00")
    second = subscription(first.state, starts_at=None, next_run_at="2026-02-28T06:00:00Z")
    renewal = planned(second, "2026-02-28T06:00")
    assert renewal.settlement(renewal.state, at("2026-02-28T06:01")).next_run_at == at("2026-03-31T06:00")


@given(
    frequency=st.sampled_from(["hourly", "daily", "weekly", "monthly", "yearly", "0 6 * * 1", "0 6 31 * *"]),
    catch_up=st.sampled_from(["latest", "all", "skip"]),
    hours=st.integers(0, 3000),
    later=st.integers(0, 3000),
    zone=st.sampled_from(["UTC", "Europe/Rome", "America/New_York"]),
)
def test_periods_are_settled_once_each_in_order_and_none_is_left_behind(frequency, catch_up, hours, later, zone):
    """Walk from downtime to the present: each period is renewed at most once, and at the end nothing is pending."""
    policy = Policy(catch_up=catch_up, time_zone=zone, catch_up_limit=24)
    fields: dict[str, Any] = {"frequency": frequency, "next_run_at": "2026-03-01T06:00:00Z"}
    sub, as_of = subscription({}, **fields), at("2026-03-01T06:00") + timedelta(hours=hours)
    renewed: list[datetime] = []
    for _ in range(40):
        answer = plan(sub, policy, as_of)
        if isinstance(answer, Skipped) and answer.settlement is None:
            assert answer.reason in {SkipReason.NOT_DUE, SkipReason.NOTHING_PENDING}
            as_of += timedelta(hours=later)
            continue
        through = RenewalState.read(sub.metadata).done_through
        if isinstance(answer, Renewal):
            assert answer.due <= as_of
            assert through is None or answer.due > through
            renewed.append(answer.due)
            if catch_up == "all" and through is not None:
                missed = list(answer.schedule.between(through, as_of))
                assert answer.due == missed[-24:][0], "only periods beyond the limit are left out"
        settled = answer.settlement if isinstance(answer, Skipped) else answer.settlement(answer.state, as_of)
        assert settled.state.done_through >= (through or settled.state.done_through)
        assert settled.next_run_at is None or settled.next_run_at > as_of
        assert catch_up == "all" or settled.next_run_at is not None
        if settled.next_run_at is not None:
            fields["next_run_at"] = settled.next_run_at.isoformat()
        sub = subscription(settled.state, **fields)
    assert renewed == sorted(set(renewed))


@pytest.mark.parametrize(
    ("state", "goes_on"),
    [
        ({"outcome": "exhausted", "error_class": "payment"}, True),
        ({"outcome": "exhausted", "error_class": "stock"}, True),
        ({"outcome": "needs_attention", "error_class": "payment"}, True),
        ({"outcome": "needs_attention", "error_class": "unknown"}, False),  # two copies of one period, for example
        ({"outcome": "renewed", "done_through": "2026-03-01T06:00Z"}, False),  # paused by staff
        ({"outcome": "exhausted", "target_order_id": None}, False),
    ],
)
def test_a_held_subscription_continues_when_its_customer_has_paid_the_open_order(state, goes_on):
    held = {"held": True, "period": "2026-03-01T06:00Z", "copies": 1, "target_order_id": "TgtAbcdefg"} | state
    one = subscription(held)

    assert isinstance(plan(one, POLICY, at("2026-03-20"), paid=False), Skipped)
    answer = plan(one, POLICY, at("2026-03-20"), paid=True)

    assert isinstance(answer, Renewal) is goes_on
    if isinstance(answer, Renewal):
        assert (answer.due, answer.state.held) == (at("2026-03-01T06:00"), False)


@pytest.mark.parametrize(
    ("moved_to", "following"),
    [
        ("2026-02-28T06:00", "2026-03-28T06:00"),  # brought forward by a day
        ("2026-03-01T05:00", "2026-04-01T06:00"),  # by an hour, as by an engine that ignores summer time
        ("2026-03-01T07:00", "2026-04-01T06:00"),
        ("2026-03-01T08:00", "2026-04-01T06:00"),
        ("2026-03-01T08:01", "2026-04-01T08:01"),  # by more than any clock change
        ("2026-03-16T06:00", "2026-04-16T06:00"),  # postponed by less than half a month
        ("2026-03-31T06:00", "2026-04-30T06:00"),  # nearly skipped
        ("2026-02-17T06:00", "2026-03-17T06:00"),  # an extra box before the next one
    ],
)
def test_a_date_moved_by_more_than_two_hours_moves_the_following_dates(moved_to, following):
    one = subscription(SETTLED, next_run_at=f"{moved_to}:00Z")
    work = planned(one, moved_to)

    settled = work.settlement(work.state, at(moved_to))

    assert work.due == at(moved_to)
    assert settled.next_run_at == at(following)
    then = subscription(settled.state, next_run_at=settled.next_run_at)
    assert planned(then, following).due == at(following)


@given(st.integers(1, 400 * 24 * 60), st.sampled_from(["daily", "weekly", "monthly", "two-month", "yearly"]))
def test_no_two_renewals_are_closer_than_half_an_interval_wherever_a_customer_moves_a_date(minutes, frequency):
    moved_to = at("2026-01-01T06:00") + timedelta(minutes=minutes)
    one = subscription({}, frequency=frequency, next_run_at=moved_to)
    work = planned(one, moved_to.strftime("%Y-%m-%dT%H:%M"))

    following = work.settlement(work.state, moved_to).next_run_at

    assert following is not None
    shortest = {"daily": 1, "weekly": 7, "monthly": 28, "two-month": 59, "yearly": 365}[frequency]
    assert following - moved_to >= timedelta(days=shortest) / 2


def test_a_changed_frequency_counts_from_the_date_that_comes_next():
    state = {"period": "2026-02-01T06:00Z", "done_through": "2026-02-01T06:00Z", "frequency": "monthly"}
    renewal = planned(subscription(state, frequency="yearly", starts_at="2025-08-01T06:00:00Z"))
    settled, following = renewal.settlement(renewal.state, at("2026-03-01T06:10"))
    assert following == at("2027-03-01T06:00"), "a yearly charge pays for a year"
    assert (settled.frequency, settled.anchor) == ("yearly", at("2026-03-01T06:00"))

    later = planned(
        subscription(settled, frequency="yearly", starts_at="2025-08-01T06:00:00Z", next_run_at="2027-03-01T06:00:00Z"),
        "2027-03-01T06:05",
    )
    assert later.settlement(later.state, at("2027-03-01T06:10")).next_run_at == at("2028-03-01T06:00")


@pytest.mark.parametrize("state", [{"outcome": "in_progress"}, {"next_attempt_at": None}, {"target_order_id": None}])
def test_without_a_failure_a_wait_and_an_order_no_subscription_waits_for_a_payment(state):
    waiting = {"period": "2026-03-01T06:00Z", "outcome": "retry_scheduled", "target_order_id": "TgtAbcdefg",
               "next_attempt_at": "2026-03-08T06:00Z"}  # fmt: skip
    assert waits_for_payment(RenewalState.model_validate(waiting))
    assert not waits_for_payment(RenewalState.model_validate(waiting | state))


def test_a_subscription_waiting_for_a_retry_continues_at_once_when_its_order_is_paid():
    waiting = {"period": "2026-03-01T06:00Z", "attempt": 1, "copies": 1, "outcome": "retry_scheduled",
               "target_order_id": "TgtAbcdefg", "next_attempt_at": "2026-03-08T06:00Z"}  # fmt: skip
    paid = plan(subscription(waiting), POLICY, at("2026-03-02T06:00"), paid=True)
    assert isinstance(paid, Renewal)
    unpaid = plan(subscription(waiting), POLICY, at("2026-03-02T06:00"))
    assert isinstance(unpaid, Skipped)
    assert unpaid.reason is SkipReason.RETRY_NOT_DUE
