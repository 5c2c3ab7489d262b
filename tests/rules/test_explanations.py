import pytest
from hypothesis import given
from hypothesis import strategies as st
from rules.making import POLICY, at, copy, order, subscription

from blocks.policy import FailureClass, Policy
from flows.rules.explanations import Explanation, explain
from flows.rules.next_action import next_action
from flows.rules.renewal import plan

ROME = Policy(time_zone="Europe/Rome")
NOW = at("2026-03-01T06:05")


def explained(sub, policy=POLICY, as_of=NOW, action=None) -> Explanation:
    return explain(sub, policy, as_of, plan(sub, policy, as_of), action)


def warned(policy=POLICY, **fields) -> str:
    return "\n".join(explained(subscription(**fields), policy, NOW).warnings)


def dates(sub, as_of=NOW, policy=POLICY, count=3):
    return [
        f"{date:%Y-%m-%d %H:%M}"
        for date in explained(sub, policy, at(as_of) if isinstance(as_of, str) else as_of).next_dates[:count]
    ]


def test_a_due_subscription_is_explained_with_its_next_two_dozen_dates():
    explanation = explained(subscription())
    assert explanation.is_due
    assert explanation.sentence == (
        "due: the period of Sun 1 Mar 06:00 UTC 2026; the next sweep copies order SrcAbcdefg"
    )
    assert len(explanation.next_dates) == 24
    assert explanation.next_dates[:2] == (at("2026-03-01T06:00"), at("2026-04-01T06:00"))
    assert [moment.day for moment in explanation.attempts_left[FailureClass.PAYMENT]] == [1, 2, 5, 10, 15]


def test_a_postponed_date_comes_first_and_the_following_dates_count_from_it():
    sub = subscription({"done_through": "2026-02-01T06:00Z"}, next_run_at="2026-03-10T06:00:00Z")
    assert dates(sub) == ["2026-03-10 06:00", "2026-04-10 06:00", "2026-05-10 06:00"]


def test_dates_before_a_date_that_was_moved_far_ahead_are_left_out():
    sub = subscription({"done_through": "2026-02-01T06:00Z"}, next_run_at="2026-07-01T06:00:00Z")
    assert dates(sub, count=2) == ["2026-07-01 06:00", "2026-08-01 06:00"]


def test_a_settled_period_is_not_among_the_next_dates():
    sub = subscription({"done_through": "2026-03-01T06:00Z", "period": "2026-03-01T06:00Z", "outcome": "renewed"})
    assert dates(sub, count=1) == ["2026-04-01 06:00"]


@pytest.mark.parametrize(
    ("catch_up", "expected"),
    [
        ("latest", ["2026-03-01 06:00", "2026-04-01 06:00"]),
        ("all", ["2026-01-01 06:00", "2026-02-01 06:00"]),
        ("skip", ["2026-04-01 06:00", "2026-05-01 06:00"]),
    ],
)
def test_the_next_dates_begin_with_the_missed_periods_that_the_policy_catches_up(catch_up, expected):
    sub = subscription({"done_through": "2025-12-01T06:00Z"}, next_run_at="2026-01-01T06:00:00Z",
                       starts_at="2025-01-01T06:00:00Z")  # fmt: skip
    assert dates(sub, "2026-03-05T00:00", Policy(catch_up=catch_up), 2) == expected


def test_a_period_that_waits_for_its_retry_comes_first():
    state = {"period": "2026-03-01T06:00Z", "attempt": 1, "outcome": "retry_scheduled",
             "next_attempt_at": "2026-03-04T06:00Z"}  # fmt: skip
    explanation = explained(subscription(state))
    assert explanation.sentence == (
        "not due yet: next attempt Wed 4 Mar 06:00 UTC, which is attempt 2 of the period of Sun 1 Mar 06:00 UTC 2026"
    )
    assert explanation.next_dates[:2] == (at("2026-03-01T06:00"), at("2026-04-01T06:00"))


def test_only_the_attempts_that_are_left_are_shown():
    state = {"period": "2026-03-01T06:00Z", "attempt": 3, "outcome": "retry_scheduled",
             "next_attempt_at": "2026-03-10T06:00Z"}  # fmt: skip
    left = explained(subscription(state)).attempts_left
    assert left[FailureClass.PAYMENT] == (at("2026-03-10T06:00"), at("2026-03-15T06:00"))
    assert left[FailureClass.CATALOGUE] == (at("2026-03-10T06:00"),)


def test_the_attempts_that_are_left_respect_the_charges_already_made():
    charges = [f"2026-03-01T0{hour}:00Z" for hour in range(1, 5)]
    state = {"period": "2026-03-01T00:00Z", "attempt": 1, "outcome": "retry_scheduled", "attempts": charges}
    sub = subscription(state, next_run_at="2026-03-01T00:00:00Z")
    left = explained(sub).attempts_left[FailureClass.TRANSIENT]
    assert left == (NOW, at("2026-03-02T01:00"), at("2026-03-02T05:00"), at("2026-03-03T05:00"))


def test_the_explanation_says_until_when_a_card_at_its_limit_waits():
    charges = [f"2026-03-01T0{hour}:00Z" for hour in range(1, 6)]
    state = {
        "period": "2026-03-01T06:00Z",
        "attempt": 1,
        "outcome": "retry_scheduled",
        "attempts": charges,
    }
    sub = subscription(state)
    renewal = plan(sub, POLICY, NOW)
    action = next_action(renewal, [copy(renewal.reference, "completed", order("pending"))], NOW)
    explanation = explained(sub, action=action)
    assert not explanation.is_due
    assert explanation.sentence == (
        "due, but it waits: the period of Sun 1 Mar 06:00 UTC 2026, attempt 2; the card networks' limit on failed "
        "charges is reached; next attempt Mon 2 Mar 01:00 UTC"
    )
    assert explanation.attempts_left[FailureClass.PAYMENT][0] == at("2026-03-02T01:00")


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (("completed", order("pending")), ", attempt 2; the next sweep places its order TgtAbcdefg"),
        (("completed", order("placed")), "; its order 1001 is placed, and the next sweep records it as renewed"),
        (("in_progress", None), "; order copy CpyAbcdefb is in_progress, and the next sweep looks how it ended"),
        (("failed", None), ", attempt 2; the next sweep copies order SrcAbcdefg"),
    ],
)
def test_the_explanation_says_what_the_next_sweep_will_do(found, words):
    sub = subscription({"period": "2026-03-01T06:00Z", "attempt": 1, "outcome": "retry_scheduled",
                        "order_copy_id": "CpyAbcdefb"})  # fmt: skip
    renewal = plan(sub, POLICY, NOW)
    action = next_action(renewal, [copy(renewal.reference, *found)], NOW)
    assert explained(sub, action=action).sentence == f"due: the period of Sun 1 Mar 06:00 UTC 2026{words}"


def test_the_explanation_says_that_the_next_sweep_records_an_announced_attempt():
    sub = subscription({"period": "2026-03-01T06:00Z", "attempt": 1, "outcome": "placing"})
    renewal = plan(sub, POLICY, NOW)
    action = next_action(renewal, [copy(renewal.reference, "completed", order("pending"))], NOW)
    assert explained(sub, action=action).sentence == (
        "due: the period of Sun 1 Mar 06:00 UTC 2026; order copy CpyAbcdefb is completed, "
        "and the next sweep records that"
    )


def test_the_explanation_says_what_a_person_must_look_at_and_that_nothing_is_sent():
    sub = subscription({})
    renewal = plan(sub, POLICY, NOW)
    action = next_action(renewal, [copy(renewal.reference, "completed", order("cancelled"))], NOW)
    explanation = explained(sub, action=action)
    assert not explanation.is_due
    assert explanation.sentence.startswith(
        "due, but nothing is sent: the period of Sun 1 Mar 06:00 UTC 2026; order Tgt"
    )


def test_an_order_that_is_placed_needs_no_more_attempts():
    sub = subscription({"period": "2026-03-01T06:00Z", "attempt": 1, "outcome": "retry_scheduled",
                        "order_copy_id": "CpyAbcdefb"})  # fmt: skip
    renewal = plan(sub, POLICY, NOW)
    action = next_action(renewal, [copy(renewal.reference, "completed", order("placed"))], NOW)
    assert explained(sub, action=action).attempts_left == {}


def test_a_retry_in_progress_says_which_attempt_comes_next():
    state = {"period": "2026-03-01T06:00Z", "attempt": 2, "copies": 1, "outcome": "retry_scheduled"}
    assert ", attempt 3;" in explained(subscription(state)).sentence


def test_the_explanation_of_a_held_subscription_names_the_period_that_waits():
    state = {"period": "2026-03-01T06:00Z", "attempt": 5, "outcome": "exhausted", "held": True}
    explanation = explained(subscription(state))
    assert explanation.waits_for_person
    assert explanation.sentence.startswith("not renewed: the period of Sun 1 Mar 06:00 UTC 2026 waits, held for a")
    assert explanation.next_dates[0] == at("2026-03-01T06:00")
    assert explanation.attempts_left[FailureClass.PAYMENT] == (NOW,)


def test_a_settled_period_is_not_due_and_the_next_one_is_named():
    explanation = explained(subscription({"done_through": "2026-03-01T06:00Z"}))
    assert explanation.sentence == (
        "not due: every period up to now is settled; the next is due on Wed 1 Apr 06:00 UTC 2026"
    )


def test_a_period_that_is_skipped_as_late_needs_no_person():
    sub = subscription({"done_through": "2026-02-01T06:00Z"})
    explanation = explained(sub, Policy(catch_up="skip"), at("2026-03-05T06:00"))
    assert not explanation.waits_for_person
    assert explanation.sentence == (
        "not renewed: the period of Sun 1 Mar 06:00 UTC is more than 1d late: skipped on purpose"
    )
    assert explanation.next_dates[0] == at("2026-04-01T06:00")


def test_a_cancelled_subscription_has_no_next_dates_and_no_attempts():
    explanation = explained(subscription(status="cancelled"))
    assert (explanation.next_dates, explanation.attempts_left) == ((), {})


def test_a_subscription_that_is_not_due_says_why():
    explanation = explained(subscription({"held": True}), POLICY, NOW)
    assert not explanation.is_due
    assert explanation.sentence.startswith("not renewed: held for a person")


def test_the_explanation_of_a_newer_state_asks_to_upgrade_and_not_to_remove_it():
    sentence = explained(subscription({"v": 2}), POLICY, NOW).sentence
    assert "a newer Perennial wrote it" in sentence
    assert sentence.endswith("upgrade this installation")
    assert "remove" not in sentence


def test_the_explanation_of_a_damaged_state_asks_to_repair_it_and_not_to_remove_it():
    sentence = explained(subscription({"attempt": "many"}), POLICY, NOW).sentence
    assert "repair it: metadata.perennial.attempt = 'many'" in sentence
    assert "remove" not in sentence


def test_dates_after_the_expiry_are_left_out():
    promised = explained(subscription(expires_at="2026-06-01T06:00:00Z")).next_dates
    assert promised == (at("2026-03-01T06:00"), at("2026-04-01T06:00"), at("2026-05-01T06:00"))


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"starts_at": "2026-01-30T06:00:00Z", "next_run_at": "2026-02-28T06:00:00Z"}, "it counts from day 30"),
        (
            {"frequency": "yearly", "starts_at": "2024-02-29T06:00:00Z", "next_run_at": "2026-02-28T06:00:00Z"},
            "next on 2027-02-28",
        ),
        (
            {"frequency": "six-month", "starts_at": "2025-08-31T06:00:00Z", "next_run_at": "2026-02-28T06:00:00Z"},
            "next on 2027-02-28",
        ),
        ({"frequency": "0 8 31 * *"}, "months without that day are skipped"),
        ({"frequency": "0 8 29 2 *"}, "months without that day are skipped"),
        ({"frequency": "0 8 15 * 1"}, "due on either, not only on both"),
        ({"frequency": "0 8 29-31 * *"}, "months without that day are skipped"),
        ({"frequency": "0 */5 * * *"}, "crontab hours */5: the steps start again every day"),
        ({"frequency": "0 8 */7 * *"}, "crontab days */7: the steps start again every month"),
        ({"frequency": "daily"}, "can outlast a period"),
        ({"next_run_at": "2025-12-01T06:00:00Z"}, "older periods are skipped on purpose"),
    ],
)
def test_a_surprising_calendar_has_a_warning(fields, words):
    assert words in warned(**fields)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"frequency": "0 6 1 * *"},
        {"starts_at": "2026-01-28T06:00:00Z"},
        {"frequency": "yearly", "starts_at": "2025-12-31T06:00:00Z"},
        {"frequency": "six-month", "starts_at": "2026-01-31T06:00:00Z"},
        {"frequency": "0 6 31 1,7 *"},
        {"frequency": "0 6 31 DEC *"},
        {"starts_at": "2026-01-31T06:00:00Z", "expires_at": "2026-03-20T06:00:00Z"},
    ],
)
def test_an_ordinary_calendar_has_no_warnings(fields):
    assert warned(**fields) == ""


@pytest.mark.parametrize("expression", ["0 6 1-31 * *", "0 6 25-31 * *", "0 6 * * *", "0 6 1-31 2 *"])
def test_days_up_to_the_end_of_the_month_have_no_warning_of_skipped_months(expression):
    assert "skipped" not in warned(frequency=expression)


def test_steps_in_a_list_of_hours_have_a_warning():
    assert "steps start again" in warned(frequency="0 */5,23 * * *")


def test_steps_that_divide_the_day_have_no_warning():
    assert "steps" not in warned(frequency="0 */6 * * *")


@pytest.mark.parametrize(
    "fields", [{"frequency": "daily", "starts_at": "2026-01-01T01:30:00Z"}, {"frequency": "30 2 * * *"}]
)
def test_a_local_time_that_the_spring_clock_change_skips_has_a_warning(fields):
    state = {"done_through": "2026-03-20T01:30Z"}
    sub = subscription(state, next_run_at="2026-03-21T01:30:00Z", **fields)
    warnings = explained(sub, ROME, at("2026-03-21T02:00")).warnings
    assert "on 2026-03-29 clocks leave out its usual time: due at 03:30 instead" in warnings


def test_a_local_time_that_the_autumn_clock_change_repeats_has_a_warning():
    sub = subscription(frequency="daily", starts_at="2026-09-01T00:30:00Z", next_run_at="2026-10-20T00:30:00Z")
    warnings = explained(sub, ROME, at("2026-10-20T01:00")).warnings
    assert "on 2026-10-25 clocks show 02:30 twice: due the first time" in warnings


def test_the_warnings_of_a_daily_subscription_reach_to_next_spring():
    sub = subscription(frequency="daily", starts_at="2025-05-01T00:30:00Z", next_run_at="2026-04-10T00:30:00Z")
    said = " ".join(explained(sub, ROME, at("2026-04-10T02:00")).warnings)
    assert "on 2026-10-25 clocks show 02:30 twice" in said
    assert "on 2027-03-28 clocks leave out its usual time: due at 03:30 instead" in said


def test_an_hourly_subscription_has_no_warning_of_clock_changes():
    sub = subscription(frequency="hourly", next_run_at="2026-10-24T20:00:00Z")
    assert not [text for text in explained(sub, ROME, at("2026-10-24T20:30")).warnings if "clocks" in text]


json_values = (
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.lists(st.text(max_size=3), max_size=2)
)


@given(
    state=st.dictionaries(st.sampled_from(["policy", "period", "held", "v", "done_through", "anchor"]), json_values),
    frequency=st.sampled_from(["monthly", "0 6 * * *", "fortnightly", "", "0 0 30 2 *"]),
    status=st.sampled_from(["inactive", "active", "cancelled", "teleporting"]),
    starts=st.sampled_from([None, "2026-01-31T06:00:00Z"]),
    due=st.sampled_from([None, "2026-03-01T06:00:00Z"]),
)
def test_any_subscription_is_explained_without_an_exception(state, frequency, status, starts, due):
    sub = subscription(state, frequency=frequency, status=status, starts_at=starts, next_run_at=due)
    explanation = explained(sub, POLICY, NOW)
    assert explanation.sentence
    assert list(explanation.next_dates) == sorted(set(explanation.next_dates))
