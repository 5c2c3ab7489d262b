"""Copies whose run died before it recorded them, and whose subscription has another date since."""

import pytest
from rules.making import at, copy, legacy, order, planned, subscription, withdrawn

from flows.rules.unrecorded import looked_back_to, recorded_copy, stale_copies, unrecorded_period

OLD = "SubAbcdefg@2026-03-01T06:00Z"
WORK = planned(subscription(next_run_at="2026-03-02T06:00:00Z"), "2026-03-02T06:05")
"""It was due on 1 March. The customer moved it by a day."""


def settled(**state):
    """The period of 1 March is settled; the next is due."""
    stored = {"period": "2026-03-01T06:00Z", "done_through": "2026-03-01T06:00Z", **state}
    return planned(subscription(stored, next_run_at="2026-04-01T06:00:00Z"), "2026-04-01T06:05")


@pytest.mark.parametrize(
    "unrecorded",
    [
        copy(OLD, "completed", order()),
        copy(OLD, "failed", order("approved")),
        copy(OLD, "completed", order("placing")),
        copy(OLD, "completed", order("teleporting")),
        copy(f"{OLD}#2", "completed", order()),
        legacy(OLD, "in_progress"),
    ],
    ids=["placed", "approved", "being placed", "of unknown status", "of version 0.1", "will place its order itself"],
)
def test_a_charge_for_a_date_that_was_moved_since_is_found_and_settled_first(unrecorded):
    assert unrecorded_period(WORK, [unrecorded]) == at("2026-03-01T06:00")
    assert stale_copies(WORK, [unrecorded]) == []


def test_the_oldest_of_several_is_settled_first():
    older = copy("SubAbcdefg@2026-02-01T06:00Z", "completed", order())
    assert unrecorded_period(WORK, [copy(OLD, "completed", order()), older]) == at("2026-02-01T06:00")


@pytest.mark.parametrize(
    "unplaced",
    [
        copy(OLD, "completed", order("draft")),
        legacy(OLD, "failed", order("pending")),
        copy(OLD, "failed", order("draft")),
    ],
)
def test_an_unplaced_order_of_a_date_that_was_moved_is_withdrawn_and_settles_nothing(unplaced):
    assert unrecorded_period(WORK, [unplaced]) is None
    assert stale_copies(WORK, [unplaced]) == [unplaced]


@pytest.mark.parametrize(
    "passed_over",
    [
        copy(OLD, "failed"),
        copy(OLD, "in_progress"),
        copy(OLD, "completed", withdrawn()),
        copy(OLD, "completed", order("cancelled")),
        copy(OLD, "completed", order(), reference_origin="crm"),
        copy("SubOtherxx@2026-03-01T06:00Z", "completed", order()),
        copy("SubOtherxx@2026-03-01T06:00Z", "completed", order("draft")),
        copy(WORK.reference, "completed", order()),
        copy(WORK.reference, "completed", order("draft")),
    ],
)
def test_copies_that_charge_nothing_or_belong_elsewhere_or_to_this_period_are_ignored(passed_over):
    assert unrecorded_period(WORK, [passed_over]) is None
    assert stale_copies(WORK, [passed_over]) == []


def test_a_settled_period_is_not_settled_again():
    assert unrecorded_period(settled(), [copy(OLD, "completed", order())]) is None


def test_an_unplaced_order_of_a_period_that_has_passed_is_withdrawn():
    late = copy(OLD, "completed", order("draft"))
    assert stale_copies(settled(), [late]) == [late]


def test_the_order_of_a_later_period_is_kept_while_another_run_may_be_at_work_on_it():
    work = planned(subscription({}), "2026-03-01T06:05")
    later = copy("SubAbcdefg@2026-03-02T06:00Z", "completed", order("draft"))
    assert stale_copies(work, [later]) == [later], "the date was moved back"
    assert stale_copies(work, [copy(work.reference, "completed", order()), later]) == []


def test_the_look_goes_back_to_the_last_settled_period_and_leaves_out_its_copy():
    assert looked_back_to(settled()) == at("2026-03-01T06:00")
    assert recorded_copy(settled(order_copy_id="CpyAbcdefb")) == "CpyAbcdefb"
    assert recorded_copy(settled()) is None
    assert looked_back_to(WORK) == at("2025-12-30T06:00"), "a month, and 31 days more"


def test_the_copy_of_an_open_period_is_not_left_out():
    begun = {"period": "2026-03-01T06:00Z", "outcome": "retry_scheduled", "order_copy_id": "CpyAbcdefb"}
    assert recorded_copy(planned(subscription(begun))) is None
    assert recorded_copy(WORK) is None
