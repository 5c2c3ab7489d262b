# ruff: noqa: DTZ001 - hypothesis takes naive bounds, and naive instants are refused
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from rules.clocks import DAY, first_showing, months_from, transitions
from rules.making import at

from flows.rules.periods import Schedule, UnknownFrequency
from flows.rules.references import whole_minute

MONTHS = {"monthly": 1, "two-month": 2, "three-month": 3, "four-month": 4, "six-month": 6, "yearly": 12}
WORDS = ["hourly", "daily", "weekly", *MONTHS]
CRONTABS = ["0 6 * * *", "30 2 31 * *", "0 8 15 * 1", "59 23 29 2 *", "5 */7 * * *", "0 0 1 1,7 *", "15 1 * * SUN"]
# Without the copies of all zones below posix/ and right/, and without the zone of this machine.
ZONES = sorted(
    name for name in available_timezones() if not name.startswith(("posix/", "right/")) and name != "localtime"
)

anchors = st.datetimes(datetime(1972, 6, 1), datetime(2090, 1, 1)).map(lambda moment: moment.replace(tzinfo=UTC))
zones = st.sampled_from(ZONES)
frequencies = st.sampled_from(WORDS + CRONTABS)


@pytest.mark.parametrize("day", [28, 29, 30, 31])
@pytest.mark.parametrize(("frequency", "step"), MONTHS.items())
def test_the_anchor_day_is_never_lost_in_four_hundred_years(frequency, step, day):
    anchor = datetime(1999, 12, day, 6, 30, tzinfo=UTC)
    count = 400 * 12 // step
    dates = Schedule(frequency, anchor).upcoming(anchor - DAY, count)
    expected = [wall.replace(tzinfo=UTC) for wall in islice(months_from(anchor.replace(tzinfo=None), step), count)]
    assert dates == expected


def test_the_last_day_of_january_comes_back_after_february():
    dates = Schedule("monthly", at("2027-12-31T09:00")).upcoming(at("2028-01-01"), 4)
    assert [f"{date:%m-%d}" for date in dates] == ["01-31", "02-29", "03-31", "04-30"]


def test_a_leap_day_is_renewed_on_the_last_of_february_in_other_years():
    dates = Schedule("yearly", at("2024-02-29T09:00")).upcoming(at("2024-02-28"), 6)
    assert [f"{date:%Y-%m-%d}" for date in dates] == [
        "2024-02-29", "2025-02-28", "2026-02-28", "2027-02-28", "2028-02-29", "2029-02-28",
    ]  # fmt: skip


@given(anchors, st.sampled_from(list(MONTHS)), zones)
def test_months_agree_with_counting_on_a_calendar(anchor, frequency, zone_name):
    zone, anchor = ZoneInfo(zone_name), whole_minute(anchor)
    wall = anchor.astimezone(zone).replace(tzinfo=None, fold=0)
    walls = islice(months_from(wall, MONTHS[frequency]), 1, 40)
    expected = [whole_minute(first_showing(wall, zone)) for wall in walls]
    assert Schedule(frequency, anchor, zone_name).upcoming(max(anchor, expected[0] - DAY), 39) == expected


@given(anchors, st.sampled_from([("daily", 1), ("weekly", 7)]), zones)
def test_days_agree_with_an_independent_implementation(anchor, frequency, zone_name):
    (word, days), zone, anchor = frequency, ZoneInfo(zone_name), whole_minute(anchor)
    wall = anchor.astimezone(zone).replace(tzinfo=None, fold=0)
    expected = sorted({whole_minute(first_showing(wall + k * days * DAY, zone)) for k in range(1, 40)})
    expected = [date for date in expected if date > anchor]
    found = Schedule(word, anchor, zone_name).upcoming(anchor, len(expected))
    assert found == expected


def test_every_clock_change_of_every_zone_gives_one_renewal_a_day():
    checked = 0
    for name in ZONES:
        zone = ZoneInfo(name)
        for change in transitions(name, 2026) + transitions(name, 2011):
            before, after = ((change + step).astimezone(zone) for step in (-timedelta(seconds=1), timedelta(0)))
            middle = (
                min(before.replace(tzinfo=None), after.replace(tzinfo=None))
                + abs(after.utcoffset() - before.utcoffset()) / 2
            )
            checked += 1
            start = first_showing(middle - 3 * DAY, zone)
            dates = Schedule("daily", start, name).upcoming(start - DAY, 6)
            expected = sorted({first_showing(middle + k * DAY, zone) for k in range(-3, 4)})[:6]
            assert dates == [whole_minute(date) for date in expected], (name, change)
            assert all(timedelta(0) < later - earlier <= 3 * DAY for earlier, later in pairwise(dates))
    assert checked > 500


def test_a_time_that_the_spring_change_leaves_out_moves_forward_for_that_day():
    dates = Schedule("daily", at("2026-03-27T01:30"), "Europe/Rome").upcoming(at("2026-03-27T02:00"), 3)
    assert dates == [at("2026-03-28T01:30"), at("2026-03-29T01:30"), at("2026-03-30T00:30")]


@pytest.mark.parametrize("frequency", ["daily", "30 2 * * *"])
def test_a_skipped_time_is_also_found_right_after_the_clock_change(frequency):
    schedule = Schedule(frequency, at("2026-03-27T01:30"), "Europe/Rome")
    assert schedule.next_after(at("2026-03-29T01:10")) == at("2026-03-29T01:30")
    assert schedule.latest_until(at("2026-03-29T01:29")) == at("2026-03-28T01:30")


@pytest.mark.parametrize("frequency", ["daily", "30 2 * * *"])
def test_a_repeated_time_is_not_found_a_second_time(frequency):
    schedule = Schedule(frequency, at("2026-10-23T00:30"), "Europe/Rome")
    assert schedule.next_after(at("2026-10-25T01:10")) == at("2026-10-26T01:30")
    assert schedule.latest_until(at("2026-10-25T01:40")) == at("2026-10-25T00:30")


def test_a_time_that_the_autumn_change_repeats_means_the_first():
    dates = Schedule("daily", at("2026-10-23T00:30"), "Europe/Rome").upcoming(at("2026-10-24T00:00"), 3)
    assert dates == [at("2026-10-24T00:30"), at("2026-10-25T00:30"), at("2026-10-26T01:30")]


def test_the_day_that_samoa_left_out_is_not_renewed_twice():
    dates = Schedule("daily", at("2011-12-28T20:00"), "Pacific/Apia").upcoming(at("2011-12-28T20:00"), 3)
    assert dates == [at("2011-12-29T20:00"), at("2011-12-30T20:00"), at("2011-12-31T20:00")]


def test_hours_are_elapsed_hours_even_when_clocks_change():
    dates = Schedule("hourly", at("2026-10-25T00:00"), "Europe/Rome").upcoming(at("2026-10-24T23:59"), 4)
    assert dates == [at(f"2026-10-25T0{hour}:00") for hour in range(4)]


@given(anchors, frequencies, zones, st.integers(-400, 4000), st.integers(0, 86_399))
@example(at("2011-12-01T10:00"), "daily", "Pacific/Apia", 29, 0)
def test_the_dates_strictly_increase_and_looking_back_agrees_with_looking_forward(
    anchor, frequency, zone, days, seconds
):
    schedule = Schedule(frequency, anchor, zone)
    instant = anchor + days * DAY + timedelta(seconds=seconds)
    dates = schedule.upcoming(instant, 6)
    assert all(earlier < later for earlier, later in pairwise([instant, *dates]))
    assert dates[0] >= whole_minute(anchor)
    assert [schedule.latest_until(date) for date in dates] == dates
    assert [schedule.latest_until(later - timedelta(seconds=1)) for later in dates[1:]] == dates[:-1]
    latest = schedule.latest_until(instant)
    assert latest is None or (latest <= instant and schedule.next_after(latest) == dates[0])
    assert latest is not None or dates[0] == schedule.next_after(anchor - DAY)


@given(anchors, frequencies, zones, st.integers(0, 300))
def test_the_dates_between_two_instants_are_those_and_no_others(anchor, frequency, zone, days):
    schedule = Schedule(frequency, anchor, zone)
    after = anchor + days * DAY
    until = schedule.upcoming(after, 5)[-1]
    assert list(schedule.between(after, until)) == schedule.upcoming(after, 5)
    assert list(schedule.between(after, until - timedelta(seconds=1))) == schedule.upcoming(after, 4)
    assert list(schedule.between(until, after)) == []


@given(anchors, st.sampled_from(WORDS), st.sampled_from(ZONES), st.integers(1, 30))
def test_a_schedule_gives_the_same_dates_wherever_the_search_starts(anchor, frequency, zone, skip):
    schedule = Schedule(frequency, anchor, zone)
    dates = schedule.upcoming(anchor, skip + 3)
    assert schedule.upcoming(dates[skip - 1], 3) == dates[skip:]


def test_of_two_dates_that_are_equally_near_the_earlier_one_is_the_nearest():
    schedule = Schedule("daily", at("2026-03-01T06:00"))
    assert schedule.nearest(at("2026-03-05T18:00")) == at("2026-03-05T06:00")
    assert schedule.nearest(at("2026-03-05T18:01")) == at("2026-03-06T06:00")


def test_no_date_is_near_half_an_interval_before_the_first():
    schedule = Schedule("daily", at("2026-03-01T06:00"))
    assert schedule.nearest(at("2026-02-28T18:01")) == at("2026-03-01T06:00")
    assert schedule.nearest(at("2026-02-28T18:00")) is None


def test_a_crontab_uses_the_wall_clock_of_the_zone():
    dates = Schedule("30 2 * * *", at("2026-03-28T00:00"), "Europe/Rome").upcoming(at("2026-03-28T00:00"), 3)
    assert dates == [at("2026-03-28T01:30"), at("2026-03-29T01:30"), at("2026-03-30T00:30")]


def test_the_midnight_of_the_day_that_samoa_left_out_is_the_next_midnight():
    schedule = Schedule("0 0 * * *", at("2011-12-28T10:00"), "Pacific/Apia")
    after_the_gap = at("2011-12-30T10:00")  # the 31st, 00:00
    assert schedule.upcoming(at("2011-12-29T10:00"), 2) == [after_the_gap, after_the_gap + DAY]
    assert schedule.latest_until(after_the_gap) == after_the_gap
    assert schedule.latest_until(after_the_gap - timedelta(seconds=1)) == at("2011-12-29T10:00")


def test_a_crontab_with_days_and_weekdays_means_either():
    dates = Schedule("0 8 15 * 1", at("2026-01-01")).upcoming(at("2026-01-01"), 4)
    assert [f"{date:%a %d}" for date in dates] == ["Mon 05", "Mon 12", "Thu 15", "Mon 19"]


def test_a_crontab_gives_no_date_before_the_subscription_starts():
    schedule = Schedule("0 8 1 * *", at("2026-03-15"))
    assert schedule.next_after(at("2020-01-01")) == at("2026-04-01T08:00")
    assert schedule.latest_until(at("2026-03-31")) is None


def test_a_crontab_gives_the_start_of_the_subscription_if_that_is_one_of_its_dates():
    schedule = Schedule("0 8 1 * *", at("2026-04-01T08:00"))
    assert schedule.next_after(at("2020-01-01")) == at("2026-04-01T08:00")
    assert schedule.upcoming(at("2020-01-01"), 2) == [at("2026-04-01T08:00"), at("2026-05-01T08:00")]


@given(st.datetimes(datetime(2000, 1, 1), datetime(2060, 1, 1)), zones, st.integers(0, 23), st.integers(0, 59))
def test_a_daily_crontab_agrees_with_an_independent_implementation(start, zone_name, hour, minute):
    zone = ZoneInfo(zone_name)
    start = start.replace(tzinfo=UTC)
    day = start.astimezone(zone).replace(tzinfo=None, hour=hour, minute=minute, second=0, microsecond=0, fold=0)
    expected = sorted({whole_minute(first_showing(day + k * DAY, zone)) for k in range(-2, 12)})
    expected = [date for date in expected if date > start and date >= whole_minute(start)][:8]
    assume(len(expected) == 8)
    assert Schedule(f"{minute} {hour} * * *", start, zone_name).upcoming(start, 8) == expected


def test_dates_far_from_the_anchor_are_found_as_quickly_as_near_ones():
    near, far = at("2026-03-02"), at("2426-03-02")

    def cost(instant: datetime) -> float:
        schedules = [Schedule(word, at("2026-01-31T06:00"), "Europe/Rome") for word in WORDS]
        begun = time.process_time()
        for schedule in schedules:
            for _ in range(30):
                schedule.next_after(instant)
                schedule.latest_until(instant)
        return time.process_time() - begun

    assert min(cost(far) for _ in range(3)) < 10 * min(cost(near) for _ in range(3)) + 0.01


@pytest.mark.parametrize("frequency", ["two-months", "TWO-MONTH", " two_months ", "two-month"])
def test_plurals_and_spellings_of_the_dashboard_are_tolerated(frequency):
    assert Schedule(frequency, at("2026-01-31")).next_after(at("2026-01-31")) == at("2026-03-31")


@pytest.mark.parametrize(
    ("frequency", "why"),
    [
        ("", "not a word"),
        ("fortnightly", "not a word"),
        ("months", "not a word"),
        ("dailys", "not a word"),
        ("@daily", "not a word"),
        ("0 6 1 *", "has 5 fields, this one has 4"),
        ("0 0 6 1 * *", "has 5 fields, this one has 6"),
        ("* * * * *", "more than once an hour"),
        ("*/15 6 * * *", "more than once an hour"),
        ("0,30 6 * * *", "more than once an hour"),
        ("61 6 * * *", "not a valid crontab"),
        ("0 25 * * *", "not a valid crontab"),
        ("R 6 * * *", "more than once an hour"),
        ("0 R * * *", "not a valid crontab"),
        ("0 H * * *", "not a valid crontab"),
        ("0 6 L * *", "not a valid crontab"),
        ("0 6 30 2 *", "such a date never comes"),
    ],
)
def test_an_unknown_frequency_says_why_and_what_to_write(frequency, why):
    with pytest.raises(UnknownFrequency) as caught:
        Schedule(frequency, at("2026-01-01"))
    assert repr(frequency) in str(caught.value)
    assert why in str(caught.value)
    assert "Use hourly, daily" in str(caught.value)


@given(st.text(max_size=20) | st.from_regex(r"[0-9*,/\-A-Z ]{5,20}", fullmatch=True))
def test_any_text_is_a_frequency_or_is_refused_in_words(text):
    # Any other exception fails the test.
    with suppress(UnknownFrequency):
        assert Schedule(text, at("2026-01-01")).next_after(at("2026-01-01")) > at("2026-01-01")


def test_a_naive_anchor_is_refused():
    with pytest.raises(ValueError, match="has no time zone"):
        Schedule("daily", datetime(2026, 1, 1))
