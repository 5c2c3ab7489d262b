from datetime import time, timedelta
from zoneinfo import available_timezones

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from blocks.failure_patterns import Meaning
from blocks.policy import (
    RETIRED_FIELDS,
    SWEEP_FIELDS,
    FailureClass,
    FinalAction,
    Policy,
    PolicyOverrideInvalid,
    duration_of,
)


def test_the_default_policy_retries_payments_for_two_weeks():
    policy = Policy()
    assert policy.retry_delays(FailureClass.PAYMENT) == tuple(timedelta(days=days) for days in (1, 3, 5, 5))
    assert policy.retry_delays(FailureClass.COUPON) == ()
    assert policy.final_action_for(FailureClass.STOCK) is FinalAction.HOLD
    assert sum(policy.retry_delays(FailureClass.PAYMENT), timedelta()) == timedelta(weeks=2)


def test_every_failure_class_has_its_retries():
    policy = Policy()
    assert all(isinstance(policy.retry_delays(cls), tuple) for cls in FailureClass)


def test_renewals_are_prepared_ahead_only_if_the_policy_says_how_long():
    assert Policy().prepare_ahead_delay is None
    assert Policy(prepare_ahead=" 24h ").prepare_ahead_delay == timedelta(days=1)
    assert Policy(prepare_ahead="7d").prepare_ahead_delay == timedelta(days=7)


def test_every_field_is_described_in_sentences():
    for name, field in Policy.model_fields.items():
        assert field.description, name
        assert field.description.endswith("."), name


def test_options_that_would_cost_customers_are_not_offered():
    assert not {"skip_errors", "cancel_source_order", "place_target_order"} & set(Policy.model_fields)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"time_zone": "Rome"}, "'Rome' is not a time zone: use an IANA name"),
        ({"time_zone": ""}, "is not a time zone"),
        ({"time_zone": "../etc"}, "is not a time zone"),
        ({"catch_up": "some"}, "'latest', 'all' or 'skip'"),
        ({"late_after": "1y"}, "'1y' is not a duration: write a whole number and m, h, d or w"),
        ({"payment_retries": ["soon"]}, "'soon' is not a duration"),
        ({"payment_retries": ["1m"]}, "between 5m and 60d"),
        ({"stock_retries": ["61d"]}, "between 5m and 60d"),
        ({"prepare_ahead": "soon"}, "'soon' is not a duration"),
        ({"prepare_ahead": "59m"}, "between 1h and 7d, such as 24h; leave it empty for off"),
        ({"prepare_ahead": "8d"}, "between 1h and 7d"),
        ({"retry_at": "08:00+01:00"}, "write a local time such as 08:00"),
        ({"final_action": "refund"}, "'hold', 'skip_period' or 'cancel'"),
        ({"final_actions": {"weather": "hold"}}, "'payment', 'stock'"),
        ({"failure_patterns": {"(": "stock"}}, "'(' is not a regular expression"),
        ({"failure_patterns": {" ": "stock"}}, "an empty pattern matches every failure"),
        ({"failure_patterns": {"(?=x)": "stock"}}, "looking ahead or behind, references back"),
        ({"failure_patterns": {"(?=x)": "stock"}}, "failure_patterns.(?=x)"),
        ({"failure_patterns": {"((a{1000}){1000}){1000}": "stock"}}, "invalid repetition size"),
        ({"failure_patterns": {"\ud83d": "stock"}}, "holds half a character"),
        ({"failure_patterns": {"x": "weather"}}, "'payment', 'stock'"),
        ({"failure_patterns": {"x": "payment, harder"}}, "'payment, hard'"),
        ({"failure_patterns": {"x": 7}}, "failure_patterns.x"),
        ({"max_attempts_per_month": 21}, "less than or equal to 20"),
        ({"max_attempts_per_day": 11}, "less than or equal to 10"),
        ({"brake_share": 0}, "greater than 0"),
        ({"brake_share": 1.01}, "less than or equal to 1"),
        ({"first_wave": 0}, "greater than or equal to 1"),
        ({"second_wave": 9}, "second_wave is 9, smaller than first_wave (10)"),
        ({"settle_seconds": 90, "copy_deadline_seconds": 60}, "copy_deadline_seconds is 60, shorter than"),
        ({"max_attempts_per_month": 4, "max_attempts_per_day": 5}, "max_attempts_per_day is 5, more than"),
        ({"max_attempts_per_month": 4, "max_attempts_per_day": 4}, "payment_retries has 4 entries"),
        ({"retries": []}, "Extra inputs are not permitted"),
    ],
)
def test_a_policy_that_makes_no_sense_says_what_to_write(fields, words):
    with pytest.raises(ValidationError) as caught:
        Policy(**fields)
    assert words in str(caught.value)


def test_every_zone_of_the_database_is_accepted():
    for name in sorted(available_timezones())[::25]:
        assert Policy(time_zone=name).time_zone == name


@given(st.integers(1, 9999), st.sampled_from(["m", "h", "d", "w"]), st.sampled_from(["", " "]))
def test_durations_are_whole_numbers_of_a_unit(number, unit, blank):
    seconds = {"m": 60, "h": 3600, "d": 86_400, "w": 604_800}[unit]
    assert duration_of(f"{blank}{number}{blank}{unit}") == timedelta(seconds=number * seconds)


def test_a_policy_cannot_be_changed_in_place():
    with pytest.raises(ValidationError):
        Policy().first_wave = 3


@pytest.mark.parametrize(
    ("written", "cls", "permanent"),
    [
        ("stock", "stock", None),
        ("payment, hard", "payment", True),
        ("payment,hard", "payment", True),
        (" Payment  Hard ", "payment", True),
        ("unknown, soft", "unknown", False),
        (FailureClass.COUPON, "coupon", None),
    ],
)
def test_a_pattern_sets_a_class_and_may_say_hard_or_soft(written, cls, permanent):
    meaning = Policy(failure_patterns={"x": written}).failure_patterns["x"]
    assert (str(meaning.cls), meaning.permanent) == (cls, permanent)


def test_a_pattern_can_set_every_class_with_and_without_hard_or_soft():
    assert {str(meaning) for meaning in Meaning} == {
        f"{cls}{how}" for cls in FailureClass for how in ("", ", hard", ", soft")
    }


def test_patterns_stored_by_an_earlier_version_are_read_as_before():
    stored = Policy(failure_patterns={"x": "stock"}).model_dump(mode="json")
    assert stored["failure_patterns"] == {"x": "stock"}
    assert Policy.model_validate(stored).failure_patterns["x"].cls is FailureClass.STOCK


def test_a_retry_time_has_no_seconds():
    assert Policy(retry_at="08:00:59").retry_at == time(8)


@pytest.mark.parametrize("override", [None, {}])
def test_without_an_override_the_policy_stays(override):
    policy = Policy(catch_up="all")
    assert policy.overridden_by(override) is policy


def test_an_override_changes_what_it_names_and_nothing_else():
    policy = Policy(catch_up="all", retry_at="08:00", failure_patterns={"x": "stock"})
    own = policy.overridden_by({"payment_retries": ["12h"], "final_actions": {"payment": "cancel"}})
    assert own.payment_retries == ["12h"]
    assert own.final_action_for(FailureClass.PAYMENT) is FinalAction.CANCEL
    assert own.model_dump(exclude={"payment_retries", "final_actions"}) == policy.model_dump(
        exclude={"payment_retries", "final_actions"}
    )


@pytest.mark.parametrize("value", [True, False, None, "yes"])
def test_a_retired_field_is_ignored_whatever_its_value(value):
    policy = Policy(catch_up="all")
    assert policy.overridden_by({"tag_target_orders": value}) == policy
    own = policy.overridden_by({"tag_target_orders": value, "payment_retries": ["12h"]})
    assert own == Policy(catch_up="all", payment_retries=["12h"])
    with pytest.raises(PolicyOverrideInvalid, match="tag_orders is not a field"):
        policy.overridden_by({"tag_target_orders": value, "tag_orders": True})


def test_no_existing_field_is_listed_as_retired():
    assert not RETIRED_FIELDS & set(Policy.model_fields)


@pytest.mark.parametrize(
    ("policy", "words"),
    [
        ({"catch_up": "skp"}, "catch_up = 'skp'"),
        ({"payment_retrys": []}, "payment_retrys is not a field of a renewal policy"),
        ({"payment_retries": ["soon"]}, "payment_retries.0 = 'soon'"),
        ({"first_wave": 3}, "first_wave = 3 speaks of a whole sweep"),
        ({"max_attempts_per_month": 1, "max_attempts_per_day": 1}, "payment_retries has 4 entries"),
        ({"time_zone": None}, "time_zone = None"),
    ],
)
def test_a_bad_override_says_which_field_is_wrong(policy, words):
    with pytest.raises(PolicyOverrideInvalid) as caught:
        Policy().overridden_by(policy)
    assert words in str(caught.value)
    assert str(caught.value).startswith("metadata.perennial.policy: ")


@given(
    st.dictionaries(
        st.sampled_from(sorted(Policy.model_fields)) | st.text(),
        st.none()
        | st.integers()
        | st.floats()
        | st.text()
        | st.lists(st.text())
        | st.dictionaries(st.text(), st.text()),
        max_size=4,
    )
)
def test_any_override_is_either_a_policy_or_a_named_problem(policy):
    try:
        own = Policy().overridden_by(policy)
    except PolicyOverrideInvalid as error:
        own = None
        problems = error.problems
    assert own is not None or problems


def test_the_fields_of_a_sweep_exist():
    assert set(Policy.model_fields) >= SWEEP_FIELDS
