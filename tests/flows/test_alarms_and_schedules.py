"""How long no sweep may start before an alarm fires, by the schedules of the sweep."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from prefect.client.schemas.objects import DeploymentSchedule
from prefect.client.schemas.schedules import CronSchedule, IntervalSchedule, RRuleSchedule

from flows.cli.alarms import longest_interval

MONDAY = datetime(2026, 6, 1, 0, 1, tzinfo=UTC)

WEEK = [MONDAY + timedelta(hours=hours) for hours in range(0, 7 * 24, 13)]
"""Moments of a week: on each day, at other hours than the day before."""


def cron(text: str, *, active: bool = True) -> DeploymentSchedule:
    return DeploymentSchedule(schedule=CronSchedule(cron=text, timezone="UTC"), active=active)


def hours(number: float) -> timedelta:
    return timedelta(hours=number)


@pytest.mark.parametrize(
    ("schedules", "longest"),
    [
        ([cron("*/15 * * * *")], hours(0.25)),
        ([cron("*/15 8-18 * * *")], hours(13.25)),
        ([cron("0 * * * 1-5")], hours(49)),
        ([cron("*/5 9-17 * * 1-5")], hours(63) + timedelta(minutes=5)),
        ([cron("0 6 * * *")], hours(24)),
        ([cron("0 6 * * 3")], hours(7 * 24)),
        ([cron("0 6 1 * *")], hours(31 * 24)),
        ([cron("*/15 8-18 * * *"), cron("0 22 * * *")], hours(10)),
        ([cron("*/15 8-18 * * *"), cron("0 22 * * *", active=False)], hours(13.25)),
        ([cron("*/15 8-18 * * 1-5"), cron("0 12 * * 6")], hours(44)),
        ([DeploymentSchedule(schedule=IntervalSchedule(interval=hours(3)))], hours(3)),
        ([cron("0 6 * * *", active=False)], None),
        ([], None),
    ],
    ids=lambda each: (
        ", ".join(str(one.schedule.model_dump().get("cron")) for one in each) if isinstance(each, list) else str(each)
    ),
)
async def test_the_longest_interval_of_schedules_is_the_same_at_every_hour_of_the_week(
    schedules: list[DeploymentSchedule], longest: timedelta | None
) -> None:
    found = {await longest_interval(schedules, since) for since in WEEK}

    assert found == {longest}


async def test_a_schedule_that_ends_does_not_hide_the_intervals_of_the_others() -> None:
    three = RRuleSchedule(rrule="DTSTART:20260601T000000\nFREQ=HOURLY;COUNT=3", timezone="UTC")

    assert await longest_interval([cron("*/15 8-18 * * *"), DeploymentSchedule(schedule=three)], MONDAY) == hours(13.25)


async def test_a_schedule_with_dates_every_second_is_looked_at_as_far_as_it_is_known() -> None:
    assert await longest_interval([cron("* * * * * *"), cron("0 6 * * *")], MONDAY) == timedelta(seconds=1)
