import pytest
from hypothesis import given
from hypothesis import strategies as st
from rules.making import TERMS, at, subscription

from blocks.policy_terms import FailureClass, PolicyTerms
from flows.rules.explanations import explain

ROME = PolicyTerms(time_zone="Europe/Rome")
NOW = at("2026-03-01T06:05")


def warned(terms=TERMS, **fields) -> str:
    return "\n".join(explain(subscription(**fields), terms, NOW).warnings)


def test_a_due_subscription_is_explained_with_its_next_two_dozen_dates():
    explanation = explain(subscription(), TERMS, NOW)
    assert explanation.is_due
    assert explanation.sentence == "due: the period of Sun 1 Mar 06:00 UTC 2026"
    assert len(explanation.next_dates) == 24
    assert explanation.next_dates[0] == at("2026-04-01T06:00")
    assert [moment.day for moment in explanation.retry_calendar[FailureClass.PAYMENT]] == [1, 2, 5, 10, 15]


def test_the_text_has_the_reason_the_warnings_the_dates_and_the_retries():
    text = explain(subscription(starts_at="2026-01-31T06:00:00Z"), ROME, NOW).text
    assert text.splitlines()[0] == "SubAbcdefg: due: the period of Sun 1 Mar 07:00 CET 2026"
    assert "  ! it counts from day 31" in text
    assert "    Tue 31 Mar 07:00 CEST 2026" in text
    assert "payment    Mon 2 Mar 07:05 CET 2026, then" in text
    assert "coupon     no retry, then hold" in text


def test_a_retry_in_progress_says_which_attempt_comes_next():
    state = {"period": "2026-03-01T06:00Z", "attempt": 2, "copies": 1, "outcome": "retry_scheduled"}
    assert explain(subscription(state), TERMS, NOW).sentence.endswith("attempt 3")


def test_a_subscription_that_is_not_due_says_why():
    explanation = explain(subscription({"held": True}), TERMS, NOW)
    assert not explanation.is_due
    assert explanation.sentence.startswith("not due: held for a person")


def test_a_state_of_a_newer_version_asks_for_an_upgrade_not_for_its_removal():
    sentence = explain(subscription({"v": 2}), TERMS, NOW).sentence
    assert "a newer Perennial wrote it" in sentence
    assert sentence.endswith("upgrade this installation")
    assert "remove" not in sentence


def test_a_damaged_state_is_never_to_be_removed():
    sentence = explain(subscription({"attempt": "many"}), TERMS, NOW).sentence
    assert "repair it: metadata.perennial.attempt = 'many'" in sentence
    assert "remove" not in sentence


def test_dates_after_the_end_are_not_promised():
    dates = explain(subscription(expires_at="2026-06-01T06:00:00Z"), TERMS, NOW).next_dates
    assert dates == (at("2026-04-01T06:00"), at("2026-05-01T06:00"))


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"starts_at": "2026-01-30T06:00:00Z"}, "it counts from day 30"),
        ({"frequency": "0 8 15 * 1"}, "due on either, not only on both"),
        ({"frequency": "0 8 29-31 * *"}, "months without that day are skipped"),
        ({"frequency": "0 */5 * * *"}, "crontab hours */5: the steps start again every day"),
        ({"frequency": "0 8 */7 * *"}, "crontab days */7: the steps start again every month"),
        ({"frequency": "daily"}, "can outlast a period"),
        ({"next_run_at": "2025-12-01T06:00:00Z"}, "older periods are skipped on purpose"),
    ],
)
def test_what_may_surprise_is_said(fields, words):
    assert words in warned(**fields)


@pytest.mark.parametrize("fields", [{}, {"frequency": "0 6 1 * *"}, {"starts_at": "2026-01-28T06:00:00Z"}])
def test_an_ordinary_calendar_has_no_warnings(fields):
    assert warned(**fields) == ""


def test_hours_that_divide_the_day_are_no_surprise():
    assert "steps" not in warned(frequency="0 */6 * * *")


@pytest.mark.parametrize(
    "fields", [{"frequency": "daily", "starts_at": "2026-01-01T01:30:00Z"}, {"frequency": "30 2 * * *"}]
)
def test_a_time_that_clocks_leave_out_is_announced(fields):
    state = {"done_through": "2026-03-20T01:30Z"}
    sub = subscription(state, next_run_at="2026-03-21T01:30:00Z", **fields)
    warnings = explain(sub, ROME, at("2026-03-21T02:00")).warnings
    assert "on 2026-03-29 clocks leave out its usual time: due at 03:30 instead" in warnings


def test_a_time_that_comes_twice_is_announced():
    sub = subscription(frequency="daily", starts_at="2026-09-01T00:30:00Z", next_run_at="2026-10-20T00:30:00Z")
    warnings = explain(sub, ROME, at("2026-10-20T01:00")).warnings
    assert "on 2026-10-25 clocks show 02:30 twice: due the first time" in warnings


def test_hourly_renewals_do_not_mind_the_clocks():
    sub = subscription(frequency="hourly", next_run_at="2026-10-24T20:00:00Z")
    assert not [text for text in explain(sub, ROME, at("2026-10-24T20:30")).warnings if "clocks" in text]


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
def test_whatever_a_shop_contains_is_explained_not_raised(state, frequency, status, starts, due):
    sub = subscription(state, frequency=frequency, status=status, starts_at=starts, next_run_at=due)
    explanation = explain(sub, TERMS, NOW)
    assert explanation.sentence
    assert explanation.text.startswith("SubAbcdefg: ")
