"""What the values of the Prefect variable `perennial_charging` mean."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from flows.rules.stop_switch import CHARGING_IS_ON, read_switch, stopped

WRITTEN = datetime(2026, 3, 1, 6, tzinfo=UTC)


@pytest.mark.parametrize("value", ["go", " GO ", {"charging": "go"}])
def test_go_lets_customers_be_charged(value: Any) -> None:
    assert read_switch(value, WRITTEN) == CHARGING_IS_ON


def test_a_stop_typed_in_the_ui_counts_from_when_it_was_written() -> None:
    assert read_switch("stop: wrong prices", WRITTEN).sentence == (
        "charging is stopped since 2026-03-01 06:00 UTC: wrong prices"
    )


def test_a_stop_without_a_reason_says_so() -> None:
    assert read_switch("Stop", WRITTEN).sentence.endswith(": no reason was given")


@pytest.mark.parametrize("value", ["", "off", "gogo", True, False, None, 0, [], ["go"], {}, {"charging": 1}, "go on"])
def test_a_value_that_is_not_understood_counts_as_stop_and_says_so(value: Any) -> None:
    switch = read_switch(value, WRITTEN)

    assert switch.is_stopped
    assert not switch.is_understood
    assert "perennial_charging" in switch.sentence
    assert "counts as stop" in switch.sentence


def test_a_long_value_is_quoted_in_part() -> None:
    assert len(read_switch("x" * 4000, WRITTEN).sentence) < 300


def test_the_switch_reads_what_the_stop_command_writes() -> None:
    switch = read_switch(stopped("wrong prices", WRITTEN, CHARGING_IS_ON), WRITTEN + timedelta(hours=3))

    assert (switch.reason, switch.since) == ("wrong prices", WRITTEN)


def test_a_second_stop_keeps_the_time_of_the_first() -> None:
    first = read_switch("stop: wrong prices", WRITTEN)

    switch = read_switch(stopped("wrong taxes, too", WRITTEN + timedelta(days=1), first))

    assert (switch.reason, switch.since) == ("wrong taxes, too", WRITTEN)


@pytest.mark.parametrize("since", ["yesterday", None, 7])
def test_a_date_that_is_not_understood_is_replaced_by_when_it_was_written(since: Any) -> None:
    assert read_switch({"charging": "stop", "since": since}, WRITTEN).since == WRITTEN
