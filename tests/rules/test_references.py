# ruff: noqa: DTZ001 - hypothesis takes naive bounds, and naive instants are refused
from datetime import UTC, datetime, timedelta, timezone
from string import ascii_letters

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.rules.references import manual_reference, numbered_reference, parse_reference, reference_of, whole_minute

ids = st.text(ascii_letters, min_size=10, max_size=10)
instants = st.datetimes(
    datetime(1, 1, 2),
    datetime(9999, 12, 30),
    timezones=st.just(UTC) | st.just(timezone(timedelta(hours=5, minutes=45))),
)


def test_a_reference_names_the_subscription_and_the_period():
    due = datetime(2026, 3, 1, 6, tzinfo=UTC)
    assert reference_of("SubAbcdefg", due) == "SubAbcdefg@2026-03-01T06:00Z"


@given(ids, instants)
def test_a_reference_can_be_parsed_into_its_parts(subscription_id, due):
    assert parse_reference(reference_of(subscription_id, due)) == (subscription_id, whole_minute(due))


@given(ids, instants, st.integers(2, 999_999))
def test_a_number_added_by_version_0_1_is_read_and_ignored(subscription_id, due, number):
    numbered = numbered_reference(subscription_id, due, number)
    assert numbered == f"{reference_of(subscription_id, due)}#{number}"
    assert parse_reference(numbered) == (subscription_id, whole_minute(due))


@given(ids, instants, instants)
def test_two_periods_never_share_a_reference(subscription_id, one, other):
    same = whole_minute(one) == whole_minute(other)
    assert same == (reference_of(subscription_id, one) == reference_of(subscription_id, other))


@given(st.text() | st.from_regex(r"[A-Za-z]{1,4}@\d{4}-\d{2}-\d{2}T\d{2}:\d{2}Z(#\d{1,7})?", fullmatch=True))
def test_any_text_is_either_a_reference_or_none(text):
    reference = parse_reference(text)
    assert reference is None or reference_of(*reference) == text.partition("#")[0]


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "SubAbcdefg",
        "SubAbcdefg@2026-03-01T06:00Z#1",
        "SubAbcdefg@2026-03-01T06:00Z#0",
        "SubAbcdefg@2026-03-01T06:00Z#02",
        "SubAbcdefg@2026-03-01T06:00Z#1000000",
        "SubAbcdefg@2026-03-01T06:00Z#",
        "SubAbcdefg@2026-02-30T06:00Z",
        "SubAbcdefg@2026-03-01T06:00:00Z",
        "SubAbcdefg@2026-03-01T06:00Z\n",
        "@2026-03-01T06:00Z",
        manual_reference("SrcAbcdefg", "6f9d2e7c-0a0b-4c7e-8d3f-5a1b2c3d4e5f"),
    ],
)
def test_other_texts_are_not_mistaken_for_the_reference_of_a_renewal(text):
    assert parse_reference(text) is None


def test_a_naive_due_instant_is_refused_with_the_way_out():
    with pytest.raises(ValueError, match="has no time zone: pass an aware datetime"):
        reference_of("SubAbcdefg", datetime(2026, 3, 1))


@pytest.mark.parametrize("subscription_id", ["", "a@b", "a#2", "a b"])
def test_an_id_that_would_make_a_reference_ambiguous_is_refused(subscription_id):
    with pytest.raises(ValueError, match="cannot be part of a reference"):
        reference_of(subscription_id, datetime(2026, 3, 1, tzinfo=UTC))
