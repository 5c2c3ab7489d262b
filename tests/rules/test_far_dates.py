"""Extreme dates, such as those of the years 1 and 9999, affect only the subscription that has them."""

from datetime import datetime

import pytest
from rules.making import POLICY, at, copy, order, planned, subscription

from blocks.policy import Policy
from flows.rules.explanations import explain
from flows.rules.findings import CopyEnded
from flows.rules.handover import Handling, Handover, HandoverRequest
from flows.rules.outcomes import result_of
from flows.rules.pausing import decide
from flows.rules.records import record_of
from flows.rules.references import whole_minute
from flows.rules.renewal import Renewal, Skipped, SkipReason, plan
from flows.rules.still_wanted import still_wanted

NOW = at("2026-03-01T06:05")
NEVER = ["9999-12-31T23:59:59Z", "9999-12-31T23:59:59-05:00", "3000-01-01T00:00:00Z"]
LONG_AGO = ["0001-01-01T00:00:00Z", "0001-01-01T00:00:00+05:00", "1969-12-31T23:59:00Z"]
ZONES = ["UTC", "Asia/Tokyo", "America/New_York"]


def skipped(policy: Policy = POLICY, **fields) -> Skipped:
    answer = plan(subscription(**fields), policy, NOW)
    assert isinstance(answer, Skipped), answer
    return answer


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("never", NEVER)
def test_an_expiry_that_means_never_is_no_expiry(never, zone):
    renewal = plan(subscription(expires_at=never), Policy(time_zone=zone), NOW)
    assert isinstance(renewal, Renewal)
    assert renewal.expires_at is None
    assert still_wanted(renewal, subscription(expires_at=never), [], [], NOW) is None
    assert "last one" not in result_of(renewal, CopyEnded(copy(renewal.reference, target=order())), NOW).sentence


@pytest.mark.parametrize("long_ago", LONG_AGO)
def test_a_subscription_whose_expiry_is_long_ago_has_expired(long_ago):
    assert skipped(expires_at=long_ago).reason is SkipReason.EXPIRED


@pytest.mark.parametrize("never", NEVER)
def test_a_next_date_that_means_never_is_no_next_date(never):
    answer = skipped(next_run_at=never)
    assert answer.reason is SkipReason.NO_NEXT_RUN
    assert f"its next_run_at is {never[:10]}, which means never" in answer.sentence


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        *(({"next_run_at": date}, f"its next_run_at is {date[:10]}") for date in LONG_AGO),
        *(({"starts_at": date}, f"its starts_at is {date[:10]}") for date in [*LONG_AGO, *NEVER]),
    ],
)
def test_a_date_too_extreme_to_count_from_waits_for_a_person_and_is_named(fields, words):
    answer = skipped(**fields)
    assert answer.reason is SkipReason.BAD_DATE
    assert answer.reason.needs_person
    assert words in answer.sentence
    assert "correct it" in answer.sentence


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("field", ["starts_at", "next_run_at", "expires_at"])
@pytest.mark.parametrize("date", [*NEVER, *LONG_AGO])
def test_no_extreme_date_breaks_an_explanation_or_a_handover(date, field, zone):
    policy, one = Policy(time_zone=zone), subscription(**{field: date})
    explanation = explain(one, policy, NOW, plan(one, policy, NOW), None)
    assert explanation.sentence
    for named in (True, False):
        for handover in Handover:
            for status, metadata in (("active", {}), ("inactive", {}), ("inactive", {"perennial": {}})):
                given = one.model_copy(update={"status": status, "metadata": metadata})
                assert decide(given, HandoverRequest(handover, named), policy, NOW).sentence


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"next_run_at": "9999-12-31T23:59:59Z"}, "its next_run_at is 9999-12-31, which means never"),
        ({"next_run_at": "0001-01-01T00:00:00Z"}, "its next_run_at is 0001-01-01"),
        ({"starts_at": "0001-01-01T00:00:00Z"}, "its starts_at is 0001-01-01"),
    ],
)
def test_a_subscription_with_an_extreme_date_is_not_adopted_and_the_refusal_says_why(fields, words):
    native = subscription(metadata={}, **fields)
    decision = decide(native, HandoverRequest(Handover.ADOPT), POLICY, NOW)
    assert decision.handling is Handling.REFUSED
    assert words in decision.sentence
    ends_never = decide(subscription(metadata={}, expires_at=NEVER[0]), HandoverRequest(Handover.ADOPT), POLICY, NOW)
    assert ends_never.handling is Handling.CHANGE


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("date", [*NEVER, *LONG_AGO])
def test_a_charge_is_recorded_although_its_date_was_moved_to_an_extreme_one_meanwhile(date, zone):
    work = planned(policy=Policy(time_zone=zone))
    result = result_of(work, CopyEnded(copy(work.reference, target=order())), NOW, "run")
    record = record_of(result, subscription(next_run_at=date))
    assert record is not None
    assert record.next_run_at is None, "the date stays as the customer set it"
    assert record.metadata["perennial"]["done_through"] == "2026-03-01T06:00Z"
    assert still_wanted(work, subscription(next_run_at=date), [], [], NOW) is not None


def test_extreme_instants_can_be_cut_to_the_minute_in_every_zone():
    assert whole_minute(datetime.fromisoformat("9999-12-31T23:59:59-05:00")).year == 9999
    assert whole_minute(datetime.fromisoformat("0001-01-01T00:00:00+05:00")).year == 1
