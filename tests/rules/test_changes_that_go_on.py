"""A renewal that is left alone in every sweep because something changes: it needs a person after `stuck_after`."""

import pytest
from rules.making import at, planned, subscription

from flows.rules.changes_that_go_on import once_it_goes_on
from flows.rules.skips import Skipped, SkipReason
from flows.rules.summaries import RenewalLine

RETRY = {
    "period": "2026-03-01T06:00Z",
    "outcome": "retry_scheduled",
    "attempt": 1,
    "next_attempt_at": "2026-03-04T06:00Z",
}


def told(state, now, reason=SkipReason.CHANGED):
    renewal = planned(subscription(state), "2026-03-05T06:00")
    line = RenewalLine.of(Skipped(renewal.subscription_id, renewal.due, reason, "changed a moment ago"))
    return once_it_goes_on(line, renewal, at(now))


@pytest.mark.parametrize(
    ("state", "now", "is_red"),
    [
        (None, "2026-03-02T05:59", False),
        (None, "2026-03-02T06:00", True),
        (RETRY, "2026-03-05T05:59", False),
        (RETRY, "2026-03-05T06:00", True),
    ],
)
def test_what_changes_all_the_time_needs_a_person_a_day_after_it_could_be_renewed(state, now, is_red):
    line = told(state, now)
    assert line.needs_person is is_red
    assert ("it is due since" in line.sentence) is is_red


def test_other_reasons_to_leave_it_alone_are_told_as_they_are():
    assert not told(None, "2026-03-30T06:00", SkipReason.CHARGING_STOPPED).needs_person
