"""What the watch reports in cases that the sandbox cannot produce."""

from datetime import timedelta

import pytest
from rules.making import POLICY, at, copy, order, subscription

from flows.rules.dashboard_links import Dashboard
from flows.rules.stop_switch import CHARGING_IS_ON, StopSwitch
from flows.rules.watch_orders import OpenWork, charged_twice, left_unplaced
from flows.rules.watch_reports import WatchReport
from flows.rules.watching import (
    Alarm,
    WatchFinding,
    WatchLimits,
    charging_stopped,
    finding_about,
    lost_metadata,
    was_adopted,
)

NOW = at("2026-03-02T06:00")
LIMITS = WatchLimits()
DONE = {"done_through": "2026-02-01T06:00Z", "period": "2026-02-01T06:00Z", "outcome": "renewed"}
BEFORE = "SubAbcdefg@2026-02-01T06:00Z"


def alarm(one, as_of=NOW):
    found = finding_about(one, POLICY, as_of, LIMITS)
    return found.alarm if found else None


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, Alarm.OVERDUE),
        ({"next_run_at": "2026-03-02T01:00:00Z"}, None),
        ({"next_run_at": "2026-04-01T06:00:00Z"}, None),
        ({"next_run_at": None}, Alarm.NO_DATE),
        ({"status": "paused"}, Alarm.NOT_INACTIVE),
        ({"status": None}, Alarm.NOT_INACTIVE),
        ({"status": "pending"}, Alarm.NOT_INACTIVE),
        ({"status": "cancelled"}, None),
        ({"source_order_id": None}, Alarm.CANNOT_BE_RENEWED),
        ({"expires_at": "2026-02-20T06:00:00Z"}, None),
        ({"metadata": {"perennial": 7}}, Alarm.DAMAGED),
        ({"metadata": {"perennial": None}}, Alarm.DAMAGED),
        ({"metadata": {}}, None),
    ],
)
def test_each_reason_why_a_subscription_is_not_renewed_has_its_own_alarm(fields, expected):
    assert alarm(subscription(DONE, **fields)) == expected


def test_a_period_that_followed_the_last_order_too_soon_is_overdue_six_hours_after_its_wait():
    late = {**DONE, "last_period": DONE["period"], "last_placed_at": "2026-02-16T04:00:00Z", "last_order_id": "before"}
    one, waited_until = subscription(late), at("2026-03-02T04:00")  # half of February later
    assert alarm(one, waited_until - timedelta(minutes=1)) is None
    assert alarm(one, waited_until + timedelta(hours=6) - timedelta(seconds=1)) is None
    assert alarm(one, waited_until + timedelta(hours=6)) == Alarm.OVERDUE


def test_a_due_subscription_is_overdue_after_six_hours():
    one = subscription(DONE)
    due = at("2026-03-01T06:00")
    assert alarm(one, due + timedelta(hours=6) - timedelta(seconds=1)) is None
    assert alarm(one, due + timedelta(hours=6)) is Alarm.OVERDUE


def test_metadata_are_lost_if_we_made_copies_and_the_native_engine_has_not_run_since():
    gone = subscription(metadata={"crm": 7})
    assert was_adopted(gone, NOW)
    ours = [copy(BEFORE, created_at=at("2026-02-01T06:00"))]
    assert lost_metadata(gone, ours, NOW, LIMITS)
    assert lost_metadata(gone, [], NOW, LIMITS) is None
    assert lost_metadata(gone, [copy("OtherAbcde@2026-02-01T06:00Z")], NOW, LIMITS) is None
    given_back = subscription(metadata={"crm": 7}, last_run_at=at("2026-02-15T06:00"))
    assert lost_metadata(given_back, ours, NOW, LIMITS) is None
    assert not was_adopted(subscription(metadata={"perennial": None}), NOW), "null is deliberate"


def test_two_placed_orders_are_an_alarm_and_a_placed_one_with_a_cancelled_one_is_not():
    first = copy(BEFORE, target=order(id="TgtFirstxx"))
    second = copy(BEFORE, target=order(id="TgtSecondx", number="1002"), id="CpySecondx")
    (found,) = charged_twice([first, second])
    assert (found.alarm, found.subscription_id) == (Alarm.CHARGED_TWICE, "SubAbcdefg")
    withdrawn = copy(BEFORE, target=order("cancelled", id="TgtSecondx"), id="CpySecondx")
    assert list(charged_twice([first, withdrawn])) == []


def test_an_unplaced_order_is_an_alarm_unless_its_subscription_records_its_copy():
    unplaced = copy(BEFORE, target=order("pending"))
    assert left_unplaced(unplaced, {})
    assert left_unplaced(unplaced, {"SubAbcdefg": OpenWork("CpyAnother", None)})
    assert left_unplaced(unplaced, {"SubAbcdefg": OpenWork(unplaced.id, None)}) is None
    assert left_unplaced(copy(BEFORE, target=order()), {}) is None


def test_an_unplaced_order_of_a_due_renewal_is_no_alarm_of_its_own():
    waiting = copy("SubAbcdefg@2026-03-01T06:00Z", target=order("pending"))

    def told(fields, as_of=NOW):
        return left_unplaced(waiting, {"SubAbcdefg": OpenWork.of(subscription(**fields), POLICY, as_of)})

    assert told({"state": DONE}) is None, "a stop or a dead scheduler records nothing"
    assert told({"state": {**DONE, "done_through": "2026-03-01T06:00Z"}})
    assert told({"state": {**DONE, "paused": True}})
    assert told({"state": DONE, "next_run_at": "2026-03-10T06:00:00Z"}), "it was postponed"
    assert told({"state": DONE}, NOW + timedelta(days=31)), "a later period is due"


def test_the_report_has_the_worst_first_and_escapes_what_others_wrote():
    found = WatchFinding(Alarm.HELD, "SubAbcdefg", "<script>[x](http://evil)", NOW, "a@b.c")
    report = WatchReport(NOW, Dashboard("acme", "test"), 3, [found])
    assert report.sentence == "1 needs a person: 1 held; 3 subscriptions looked at"
    (row,) = report.table_rows
    assert row["what"] == r"&lt;script&gt;\[x\](http\://evil)"
    assert report.facts["found"][0]["sentence"] == "<script>[x](http://evil)"
    many = WatchReport(NOW, Dashboard("acme", "test"), 300, [found] * 300)
    assert len(many.table_rows) == 201
    assert many.table_rows[-1]["what"] == "and 100 more, none worse than these"
    ordered = sorted([found, WatchFinding(Alarm.OVERDUE, "SubAbcdefg", "", NOW)], key=lambda each: each.rank)
    assert [each.alarm for each in ordered] == [Alarm.OVERDUE, Alarm.HELD]


@pytest.mark.parametrize(
    ("switch", "found"),
    [
        (CHARGING_IS_ON, False),
        (StopSwitch(is_stopped=True, reason="wrong prices", since=NOW - timedelta(hours=5)), False),
        (StopSwitch(is_stopped=True, reason="wrong prices", since=NOW - timedelta(hours=7)), True),
        (StopSwitch(is_stopped=True), True),
    ],
)
def test_charging_that_stays_stopped_is_an_alarm_with_the_way_out(switch, found):
    told = charging_stopped(switch, NOW, WatchLimits())
    assert (told is not None) is found
    if told is not None:
        assert "perennial go" in told.sentence


def test_a_paused_subscription_is_no_alarm_however_old_its_date():
    for state in (
        DONE,
        {"period": "2026-02-01T06:00Z", "outcome": "retry_scheduled", "next_attempt_at": "2026-02-02T06:00Z"},
    ):
        assert alarm(subscription({**state, "paused": True}, next_run_at="2026-01-01T06:00:00Z")) is None
