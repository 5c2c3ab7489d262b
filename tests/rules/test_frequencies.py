"""Frequencies are read in any spelling, and exactly as they are written."""

import pytest
from croniter import croniter
from hypothesis import given
from hypothesis import strategies as st
from rules.making import at

from flows.rules.frequencies import Crontab, UnknownFrequency, frequency_of, same_frequency
from flows.rules.periods import Schedule

BOUNDS = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 6))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("monthly", "Monthly"),
        ("MONTHLY", " monthly "),
        ("two-month", "Two-Months"),
        ("two_month", "two-month"),
        ("0 6 * * MON", "0 6 * * mon"),
        ("0 6 * * MON", "0 6 * * 1"),
        ("0 6  1 * *", "0 6 1 * *"),
        ("0 6 * * 7", "0 6 * * 0"),
        ("0 6 1,15 * *", "0 6 15,1 * *"),
        ("fort  nightly", "fort nightly"),
        (None, None),
    ],
)
def test_another_spelling_is_the_same_frequency(one, other):
    assert same_frequency(one, other)
    assert same_frequency(other, one)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("monthly", "two-month"),
        ("daily", "0 6 * * *"),
        ("0 6 * * 1", "0 6 * * 2"),
        ("fortnightly", "monthly"),
        ("fortnightly", "quarterly"),
        (None, "monthly"),
    ],
)
def test_different_frequencies_are_not_the_same(one, other):
    assert not same_frequency(one, other)
    assert not same_frequency(other, one)


@pytest.mark.parametrize(
    ("crontab", "why"),
    [
        ("0 6 1 11-2/3 *", "'11-2/3' goes past the end and has a step"),
        ("0 6 1 NOV-FEB/3 *", "'nov-feb/3' goes past the end and has a step"),
        ("0 22-3/2 * * *", "'22-3/2' goes past the end and has a step"),
        ("0 6 28-3/2 * *", "'28-3/2' goes past the end and has a step"),
        ("0 6 * * 5-1/2", "'5-1/2' goes past the end and has a step"),
        ("0 6 * * 1,5-1/2", "'5-1/2' goes past the end and has a step"),
        ("0 6 5-5 * *", "'5-5' begins where it ends"),
        ("0 6 1 3-3/2 *", "'3-3/2' begins where it ends"),
        ("0 6 * * MON-MON", "'mon-mon' begins where it ends"),
        ("0 6 * * 7/2", "'7/2' counts on from the last day of the week"),
    ],
)
def test_a_crontab_that_the_library_would_misread_is_refused_with_the_reason(crontab, why):
    with pytest.raises(UnknownFrequency) as refused:
        frequency_of(crontab)
    assert why in str(refused.value)
    assert "one by one" in str(refused.value) or "write " in str(refused.value)


def test_a_range_that_wraps_without_a_step_is_read_as_it_is_written():
    winter = Schedule("0 6 1 NOV-FEB *", at("2026-01-01"))
    assert [date.month for date in winter.upcoming(at("2026-10-01"), 5)] == [11, 12, 1, 2, 11]


NUMBER = st.integers(0, 60)
STRETCH = st.one_of(NUMBER.map(str), st.tuples(NUMBER, NUMBER).map(lambda ends: f"{ends[0]}-{ends[1]}"), st.just("*"))
ITEM = st.one_of(STRETCH, st.tuples(STRETCH, st.integers(1, 9)).map(lambda parts: f"{parts[0]}/{parts[1]}"))


@given(place=st.integers(1, 4), field=st.lists(ITEM, min_size=1, max_size=3).map(",".join))
def test_every_accepted_crontab_is_read_as_an_independent_parser_reads_it(place, field):
    fields = ["0", "6", "1", "1", "*"]
    fields[place] = field
    try:
        frequency = frequency_of(" ".join(fields))
    except UnknownFrequency:
        return
    assert isinstance(frequency, Crontab)
    read = croniter.expand(frequency.expression)[0][place]
    low, high = BOUNDS[place]
    assert set(range(low, high + 1) if "*" in read else read) == numbers_in(field, low, high)


def numbers_in(field: str, low: int, high: int) -> set[int]:
    """The numbers of a crontab field, by a parser that is independent of the library."""
    top = 7 if high == 6 else high
    found: set[int] = set()
    for item in field.split(","):
        stretch, _, step = item.partition("/")
        first, _, last = stretch.partition("-")
        if stretch == "*":
            numbers = list(range(low, high + 1))
        elif last:
            numbers = list(range(int(first), int(last) + 1))
            if int(first) > int(last):
                numbers = [*range(int(first), high + 1), *range(low, int(last) + 1), *([7] if first == "7" else [])]
        else:
            numbers = list(range(int(first), high + 1)) if step else [int(first)]
        assert all(low <= number <= top for number in numbers)
        found |= {number % 7 if top == 7 else number for number in numbers[:: int(step or 1)]}
    return found


# --- dates backwards --------------------------------------------------------------------------------


@pytest.mark.parametrize("crontab", ["0 6 29 * *", "0 6 29 2 *", "0 6 28-29 2 *"])
def test_the_latest_date_may_be_a_leap_day(crontab):
    schedule = Schedule(crontab, at("2020-01-01"))
    assert schedule.latest_until(at("2028-03-10")) == at("2028-02-29T06:00")
    assert schedule.latest_until(at("2028-02-29T06:00")) == at("2028-02-29T06:00")


@given(month=st.integers(1, 12), year=st.integers(2023, 2032), days=st.sampled_from(["29", "30", "31", "1", "*/9"]))
def test_a_crontab_has_the_same_dates_backwards_as_forwards(month, year, days):
    schedule = Schedule(f"0 6 {days} * *", at("2020-01-01"))
    end = at(f"{year}-{month:02d}-15")
    *_, newest = schedule.between(end.replace(year=year - 1), end)
    assert schedule.latest_until(end) == newest
