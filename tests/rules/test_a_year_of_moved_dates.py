"""A year in which people move dates at every point: no two charges are too close, and no subscription is forgotten."""

from collections import Counter
from datetime import timedelta
from random import Random

import pytest
from rules.dates_moved import SHORTEST, Year
from rules.making import at

from blocks.policy import Policy
from flows.rules.renewal import Renewal, SkipReason, plan

END = at("2027-03-01")
WAITS = {SkipReason.NOT_DUE, SkipReason.RETRY_NOT_DUE, SkipReason.TOO_SOON, SkipReason.NOTHING_PENDING}
FOR_A_PERSON = {SkipReason.HELD, SkipReason.TOO_CLOSE}


@pytest.mark.parametrize("frequency", SHORTEST)
def test_no_two_charges_are_closer_than_half_an_interval_and_no_subscription_is_forgotten(frequency):
    seen: Counter[str] = Counter()
    for seed in range(6):
        year = Year(Random(f"{frequency} {seed}"), frequency, Policy(catch_up="latest"))
        try:
            year.run(END)
            assert year.pairs_too_close() == []
            assert_it_is_not_forgotten(year)
        except AssertionError as error:
            error.add_note(f"in the year of seed {seed}, at {year.now}, {year.sub.next_run_at}, {year.sub.metadata}")
            raise
        seen += year.seen
    moments = {f"moved {when}" for when in ("before", "while", "after", "instead of the record")}
    assert moments <= set(seen) or frequency == "yearly", (
        seen
    )  # a yearly subscription has too few renewals for all of them


def assert_it_is_not_forgotten(year: Year) -> None:
    """Either the subscription has a date that will come, or it waits for a person who was told."""
    answer = plan(year.sub, year.policy, year.now)
    if isinstance(answer, Renewal):
        return
    assert answer.reason in WAITS | FOR_A_PERSON, answer
    if answer.reason is SkipReason.NOT_DUE:
        assert year.sub.next_run_at - year.now < timedelta(days=500)
    if answer.reason in FOR_A_PERSON:
        assert year.told


def test_the_random_years_contain_dates_that_are_too_close():
    seen: Counter[str] = Counter()
    for seed in range(6):
        year = Year(Random(seed), "monthly", Policy())
        year.run(END)
        seen += year.seen
    assert seen["skipped: too_close"] > 0
    assert seen["held: too close"] > 0
    assert seen["an unrecorded charge is found"] > 0
