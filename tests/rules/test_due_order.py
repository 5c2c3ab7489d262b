from datetime import timedelta
from random import Random

from rules.making import POLICY, at, subscription

from flows.rules.due_order import DueEntry, in_order
from flows.rules.renewal import plan

NOW = at("2026-03-05T06:05")
DAY = timedelta(days=1)
TRIED = {"period": "2026-03-05T06:00Z", "attempt": 1}


def entry(name, state=None, *, due="2026-03-05T06:00", touched="2026-01-01T00:00"):
    one = subscription(state, id=name, next_run_at=at(due), updated_at=at(touched), starts_at=at(due))
    return DueEntry.of(one, plan(one, POLICY, NOW))


def names(entries, seed=1):
    return [each.subscription_id for each in in_order(entries, NOW, DAY, Random(seed).shuffle)]


def test_retries_come_after_first_attempts_and_the_least_recent_retry_comes_first():
    tried_now = entry("TriedNowxx", TRIED, touched="2026-03-05T05:50")
    tried_before = entry("TriedBefor", TRIED, touched="2026-03-04T05:50")
    assert names([tried_now, tried_before, entry("Freshxxxxx")]) == ["Freshxxxxx", "TriedBefor", "TriedNowxx"]


def test_an_unsettled_renewal_counts_as_a_retry_although_no_attempt_was_made():
    unsettled = entry("Unsettledx", {"period": "2026-03-05T06:00Z", "unsettled_since": "2026-03-05T06:00Z"})
    assert names([unsettled, entry("Freshxxxxx")]) == ["Freshxxxxx", "Unsettledx"]


def test_a_late_first_attempt_does_not_come_before_a_punctual_one():
    late = entry("Latexxxxxx", due="2026-03-01T06:00")
    assert names([late, entry("Freshxxxxx"), entry("TriedNowxx", TRIED)]) == ["Freshxxxxx", "Latexxxxxx", "TriedNowxx"]


def test_each_run_shuffles_entries_of_equal_rank():
    entries = [entry(f"Fresh{number:05}") for number in range(30)]
    assert names(entries, 1) != names(entries, 2)
    assert sorted(names(entries, 1)) == sorted(names(entries, 2))
