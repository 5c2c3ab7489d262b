"""Copies whose run died before it recorded them, and whose subscription was moved to another date since."""

from rules.making import at, copy, order, planned, subscription

from flows.rules.unrecorded import looked_back_to, recorded_reference, unrecorded_period

OLD = "SubAbcdefg@2026-03-01T06:00Z"
WORK = planned(subscription(next_run_at="2026-03-02T06:00:00Z"), "2026-03-02T06:05")


def test_the_copy_of_a_date_that_was_moved_is_found():
    assert unrecorded_period(WORK, [copy(OLD, "completed", order())]) == at("2026-03-01T06:00")
    assert unrecorded_period(WORK, [copy(OLD, "failed", order("pending"))]) == at("2026-03-01T06:00")
    assert unrecorded_period(WORK, [copy(OLD, "in_progress")]) == at("2026-03-01T06:00")


def test_what_came_to_nothing_or_is_settled_or_is_somebody_elses_is_passed_over():
    assert unrecorded_period(WORK, [copy(OLD, "failed")]) is None
    assert unrecorded_period(WORK, [copy(OLD, reference_origin="crm")]) is None
    assert unrecorded_period(WORK, [copy("SubOtherxx@2026-03-01T06:00Z")]) is None
    assert unrecorded_period(WORK, [copy(WORK.reference)]) is None
    settled = planned(
        subscription({"done_through": "2026-03-01T06:00Z"}, next_run_at="2026-04-01T06:00:00Z"), "2026-04-01T06:05"
    )
    assert unrecorded_period(settled, [copy(OLD, "completed", order())]) is None


def test_the_look_goes_back_to_the_last_settled_period_and_leaves_out_its_copy():
    settled = {"period": "2026-03-01T06:00Z", "done_through": "2026-03-01T06:00Z"}
    work = planned(subscription(settled, next_run_at="2026-04-01T06:00:00Z"), "2026-04-01T06:05")
    assert looked_back_to(work) == at("2026-03-01T06:00")
    assert recorded_reference(work) == OLD
    assert recorded_reference(WORK) is None
    assert looked_back_to(WORK) == at("2026-01-30T06:00")
