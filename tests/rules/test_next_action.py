import pytest
from rules.making import at, copy, legacy, order, planned, subscription, withdrawn

from blocks.policy import Policy
from flows.rules.findings import CopyEnded
from flows.rules.next_action import (
    Conclude,
    Create,
    Hold,
    HoldReason,
    Place,
    Wait,
    is_of_period,
    next_action,
    references_to_look_up,
)
from flows.rules.outcomes import result_of

NOW = at("2026-03-02T07:00")
REF = "SubAbcdefg@2026-03-01T06:00Z"
FIRST, SECOND, THIRD = "CpyAbcdefb", "CpyAbcdefc", "CpyAbcdefd"
"""The ids of the copies that `copy` makes, one second after the other."""


def renewal(**state):
    given = {"period": "2026-03-01T06:00Z", "attempt": 1, "outcome": "retry_scheduled", "order_copy_id": FIRST}
    return planned(subscription(given | state), "2026-03-02T07:00")


def fresh():
    return planned(as_of="2026-03-02T07:00")


def second(status="completed", target="draft", **fields):
    """A copy under the same reference, made one second after the first one."""
    given = {"id": SECOND, "created_at": "2026-03-01T06:00:02Z"}
    return copy(REF, status, order(target, id="TgtSecondx") if target else None, **given | fields)


def third(status="completed", target="draft"):
    return second(status, target, id=THIRD, created_at="2026-03-01T06:00:03Z")


def held(action) -> Hold:
    assert isinstance(action, Hold), action
    return action


# --- which copies count ----------------------------------------------------------------------------


def test_a_period_has_one_reference_and_the_numbered_ones_of_version_0_1():
    assert references_to_look_up(fresh()) == [REF]
    assert references_to_look_up(renewal()) == [REF]
    assert references_to_look_up(renewal(copies=1)) == [REF, f"{REF}#2"]
    assert references_to_look_up(renewal(copies=2)) == [REF, f"{REF}#2", f"{REF}#3"]


def test_copies_of_a_period_are_found_by_their_references_with_and_without_a_number():
    assert is_of_period(fresh(), copy(REF))
    assert is_of_period(fresh(), copy(f"{REF}#2"))


@pytest.mark.parametrize(
    "foreign",
    [
        copy("SubAbcdefg@2026-02-01T06:00Z"),
        copy("SubOtherxx@2026-03-01T06:00Z"),
        copy(REF, reference_origin="erp"),
        copy("erp-7"),
        copy("SrcAbcdefg@6f9d2e7c-0a0b-4c7e-8d3f-5a1b2c3d4e5f"),
    ],
)
def test_copies_of_other_periods_and_systems_do_not_count(foreign):
    placed = foreign.model_copy(update={"target_order": order("placed")})
    assert next_action(fresh(), [foreign, placed], NOW) == Create(REF)


# --- create, wait, place ---------------------------------------------------------------------------


def test_nothing_found_means_create():
    assert next_action(fresh(), [], NOW) == Create(REF)


@pytest.mark.parametrize("status", ["pending", "in_progress", "teleporting"])
def test_a_copy_that_is_not_final_is_awaited(status):
    found = copy(REF, status)
    assert next_action(fresh(), [found], NOW) == Wait(found)
    assert next_action(fresh(), [found, second()], NOW) == Wait(found), "the later copy does not replace it"


def test_the_order_of_a_completed_copy_is_placed():
    found = copy(REF, "completed", order("draft"))
    assert next_action(fresh(), [found], NOW) == Place(found, order("draft"), 1)


@pytest.mark.parametrize("status", ["draft", "pending"])
def test_the_order_of_the_canonical_copy_is_placed_however_the_copies_are_listed(status):
    found = copy(REF, "completed", order(status))
    for listed in ([found, second()], [second(), found], [second("in_progress", None), found, third()]):
        assert next_action(fresh(), listed, NOW) == Place(found, order(status), 1)


def test_a_completed_copy_whose_order_is_not_shown_is_awaited():
    for found in (copy(REF, "completed"), copy(REF, "completed", target_order_id="TgtAbcdefg")):
        assert next_action(fresh(), [found], NOW) == Wait(found)


@pytest.mark.parametrize("status", ["placing", "teleporting", "editing"])
def test_an_order_that_may_be_placed_soon_is_awaited_before_any_other_is_placed(status):
    moving = second("completed", status)
    for others in ([], [copy(REF, "completed", order("draft"))], [third()]):
        assert next_action(fresh(), [*others, moving], NOW) == Wait(moving)
        assert next_action(renewal(order_copy_id=SECOND), [*others, moving], NOW) == Wait(moving)


def test_a_failed_copy_whose_order_has_an_unknown_status_is_awaited():
    for failed in (copy(REF, "failed", order("teleporting")), legacy(REF, "failed", order("teleporting"))):
        assert next_action(renewal(), [failed], NOW) == Wait(failed)


def test_a_declined_order_is_placed_again_not_copied_again():
    declined = copy(REF, "completed", order("pending"))
    assert next_action(renewal(), [declined], NOW) == Place(declined, order("pending"), 2)


# --- copies that ended -----------------------------------------------------------------------------


@pytest.mark.parametrize("status", ["failed", "aborted"])
def test_a_copy_that_failed_is_recorded_and_then_another_one_is_created(status):
    for target in (None, order("draft")):
        failed = copy(REF, status, target)
        assert next_action(fresh(), [failed], NOW) == Conclude(failed)
        assert next_action(renewal(), [failed], NOW) == Create(REF)


@pytest.mark.parametrize("outcome", [None, "in_progress", "unconfirmed"])
def test_a_failure_that_is_not_recorded_yet_is_recorded_first(outcome):
    failed = copy(REF, "failed")
    assert next_action(renewal(outcome=outcome), [failed], NOW) == Conclude(failed)


def test_after_a_failed_copy_the_order_of_an_existing_later_copy_is_placed():
    failed = copy(REF, "failed")
    assert next_action(fresh(), [failed, second()], NOW) == Place(second(), order("draft", id="TgtSecondx"), 1)


def test_the_newest_of_several_failed_copies_is_recorded():
    found = [copy(REF, "failed"), second("failed", None)]
    assert next_action(renewal(), found, NOW) == Conclude(found[1])
    assert next_action(renewal(order_copy_id=SECOND), found, NOW) == Create(REF)


@pytest.mark.parametrize("status", ["placed", "approved"])
def test_a_placed_order_concludes_the_renewal_no_matter_who_placed_it(status):
    for how in ("completed", "failed", "in_progress"):
        placed = copy(REF, how, order(status))
        for work in (fresh(), renewal(), renewal(outcome="placing"), renewal(outcome="unconfirmed")):
            assert next_action(work, [placed], NOW) == Conclude(placed)


def test_a_placed_order_counts_although_an_earlier_copy_is_live():
    placed = second("completed", "placed")
    assert next_action(fresh(), [copy(REF, "completed", order("draft")), placed], NOW) == Conclude(placed)


# --- double charges --------------------------------------------------------------------------------


@pytest.mark.parametrize(("one", "other"), [("placed", "placed"), ("placed", "approved"), ("placing", "placed")])
def test_two_placed_orders_of_a_period_hold_the_renewal(one, other):
    found = [copy(REF, "completed", order(one)), second("completed", other), third()]
    for work in (fresh(), renewal(), renewal(outcome="placing")):
        hold = held(next_action(work, found, NOW))
        assert hold.reason is HoldReason.DUPLICATE
        assert hold.sentence == "2 orders of one period are placed (#1001, #1001): cancel all but one of them"


def test_two_copies_or_two_unplaced_orders_are_no_double_charge():
    found = [copy(REF, "completed", order("draft")), second()]
    assert isinstance(next_action(fresh(), found, NOW), Place)
    assert isinstance(next_action(fresh(), [copy(REF, "in_progress"), second("in_progress", None)], NOW), Wait)


def test_a_placed_order_and_one_that_was_cancelled_are_no_double_charge():
    placed = copy(REF, "completed", order("placed"))
    assert next_action(fresh(), [placed, second("completed", "cancelled")], NOW) == Conclude(placed)


def test_the_same_copy_listed_twice_is_one_copy():
    found = copy(REF, "completed", order())
    assert next_action(fresh(), [found, found], NOW) == Conclude(found)


# --- announced attempts ----------------------------------------------------------------------------


def test_an_announced_attempt_without_a_record_counts_as_failed_and_is_not_repeated():
    found = copy(REF, "completed", order("pending"))
    for announced in (renewal(outcome="placing"), renewal(outcome="placing", order_copy_id=None)):
        assert next_action(announced, [found, second()], NOW) == Conclude(found)


def test_an_announced_attempt_that_may_still_succeed_is_awaited():
    found = copy(REF, "completed", order("placing"))
    assert next_action(renewal(outcome="placing"), [found], NOW) == Wait(found)


def test_an_attempt_that_was_announced_for_another_copy_says_nothing_about_this_one():
    gone = copy(REF, "completed", withdrawn())
    found = [gone, second()]
    assert next_action(renewal(outcome="placing"), found, NOW) == Place(found[1], order("draft", id="TgtSecondx"), 2)
    assert next_action(renewal(outcome="placing"), [gone], NOW) == Create(REF)


def test_after_an_announced_attempt_is_recorded_as_failed_the_same_order_is_placed_again():
    found = copy(REF, "completed", order("pending"))
    announced = renewal(outcome="placing")
    judged = result_of(announced, CopyEnded(found), NOW)
    moment = judged.state.next_attempt_at
    later = planned(subscription(judged.state), f"{moment:%Y-%m-%dT%H:%M}")
    assert next_action(later, [found], moment) == Place(found, order("pending"), 2)


# --- withdrawn and cancelled orders ----------------------------------------------------------------


def test_a_withdrawn_order_is_replaced_by_another_copy():
    gone = copy(REF, "completed", withdrawn())
    for work in (fresh(), renewal(), renewal(outcome="in_progress")):
        assert next_action(work, [gone], NOW) == Create(REF)
    assert next_action(fresh(), [gone, second()], NOW) == Place(second(), order("draft", id="TgtSecondx"), 1)


def test_a_withdrawn_order_does_not_hide_that_its_copy_failed():
    failed = copy(REF, "failed", withdrawn())
    assert next_action(fresh(), [failed], NOW) == Conclude(failed)
    assert next_action(renewal(), [failed], NOW) == Create(REF)


@pytest.mark.parametrize(
    "cancelled",
    [
        copy(REF, "completed", order("cancelled")),
        copy(REF, "completed", order("cancelled", placed_at="2026-03-01T06:00:09Z")),
        copy(REF, "completed", withdrawn(placed_at="2026-03-01T06:00:09Z")),
        legacy(REF, "failed", order("cancelled")),
    ],
    ids=["by the customer", "after it was placed", "while it was being placed", "of version 0.1"],
)
def test_an_order_cancelled_outside_perennial_is_not_replaced_without_a_person(cancelled):
    for work in (fresh(), renewal(), renewal(outcome="placing"), renewal(outcome="in_progress")):
        for later in ([], [second()], [second("failed", None)]):
            hold = held(next_action(work, [cancelled, *later], NOW))
            assert hold.reason is HoldReason.TARGET_CANCELLED
            assert "TgtAbcdefg" in hold.sentence
    for released in (renewal(outcome="needs_attention"), renewal(outcome="exhausted", order_copy_id=None)):
        assert next_action(released, [cancelled], NOW) == Create(REF)


def test_a_cancelled_order_older_than_the_recorded_copy_no_longer_counts():
    cancelled = copy(REF, "completed", order("cancelled"))
    later = renewal(order_copy_id=SECOND)
    assert isinstance(next_action(later, [cancelled, second()], NOW), Place)
    assert next_action(later, [cancelled, second("failed", None)], NOW) == Create(REF)
    assert isinstance(next_action(later, [cancelled, second("completed", "cancelled")], NOW), Hold)


def test_a_surplus_order_cancelled_by_hand_does_not_stop_the_renewal():
    found = copy(REF, "completed", order("draft"))
    assert isinstance(next_action(fresh(), [found, second("completed", "cancelled")], NOW), Place)


def test_cancelling_the_incomplete_order_of_a_failed_copy_does_not_stop_the_renewal():
    failed = copy(REF, "failed", order("cancelled"))
    assert next_action(fresh(), [failed], NOW) == Conclude(failed)
    assert next_action(renewal(), [failed], NOW) == Create(REF)


# --- copies that are missing -----------------------------------------------------------------------


def test_a_recorded_copy_that_is_missing_is_neither_made_again_nor_replaced():
    for found in ([], [second()], [second("failed", None)]):
        hold = held(next_action(renewal(), found, NOW))
        assert hold.reason is HoldReason.COPY_MISSING
        assert FIRST in hold.sentence
    assert next_action(renewal(order_copy_id=None), [], NOW) == Create(REF), "a person may clear order_copy_id"


def test_a_placed_order_is_recorded_although_another_copy_is_missing():
    placed = second("completed", "placed")
    assert next_action(renewal(), [placed], NOW) == Conclude(placed)


# --- the card networks' limit ----------------------------------------------------------------------

CHARGES = [f"2026-03-0{1 + k // 24}T{k % 24:02d}:00Z" for k in range(8, 31, 5)]


def test_the_card_networks_limit_holds_a_charge_until_it_is_allowed():
    found = copy(REF, "completed", order("pending"))
    hold = held(next_action(renewal(attempts=CHARGES), [found], NOW))
    assert hold.reason is HoldReason.ATTEMPT_LIMIT
    assert hold.until == at("2026-03-02T08:00")
    assert "next attempt Mon 2 Mar 08:00 UTC" in hold.sentence
    assert isinstance(next_action(renewal(attempts=CHARGES), [found], at("2026-03-02T08:00")), Place)


def test_the_end_of_the_card_networks_limit_is_told_in_the_merchants_time_zone():
    sub = subscription({"attempts": CHARGES})
    hold = held(next_action(planned(sub, "2026-03-02T07:00", Policy(time_zone="Europe/Rome")), [], NOW))
    assert hold.sentence.endswith("next attempt Mon 2 Mar 09:00 CET")


def test_no_copy_is_created_while_its_order_could_not_be_placed():
    failed = copy(REF, "failed")
    assert held(next_action(renewal(attempts=CHARGES), [failed], NOW)).reason is HoldReason.ATTEMPT_LIMIT
    assert next_action(renewal(attempts=CHARGES), [failed], at("2026-03-02T08:00")) == Create(REF)


def test_the_limit_does_not_block_copies_that_are_placed_or_running():
    work = renewal(attempts=["2026-03-02T06:00Z"] * 20)
    paid = copy(REF, "completed", order("placed"))
    assert next_action(work, [paid], NOW) == Conclude(paid)
    running = copy(REF, "in_progress")
    assert next_action(work, [running], NOW) == Wait(running)


# --- copies of version 0.1, which place their orders themselves ------------------------------------


@pytest.mark.parametrize("status", ["pending", "in_progress", "teleporting"])
def test_a_copy_that_will_place_its_order_itself_is_awaited_before_any_other_order_is_placed(status):
    places_itself = legacy(f"{REF}#2", status)
    for others in ([], [copy(REF, "completed", order("draft"))], [copy(f"{REF}#3", "completed", order("draft"))]):
        assert next_action(fresh(), [*others, places_itself], NOW) == Wait(places_itself)


@pytest.mark.parametrize("status", ["failed", "completed"])
def test_an_order_that_its_copy_could_not_place_is_recorded_as_failed_once_and_then_placed(status):
    unplaced = legacy(REF, status, order("pending"))
    for work in (fresh(), renewal(outcome="in_progress"), renewal(outcome="unconfirmed")):
        assert next_action(work, [unplaced], NOW) == Conclude(unplaced)
    assert next_action(renewal(), [unplaced], NOW) == Place(unplaced, order("pending"), 2)


def test_copies_numbered_by_version_0_1_belong_to_the_same_period():
    first, numbered = legacy(REF, "failed"), legacy(f"{REF}#2", "failed", order("pending"))
    work = renewal(copies=2, order_copy_id=numbered.id)
    assert next_action(work, [first, numbered], NOW) == Place(numbered, order("pending"), 2)
    assert next_action(work, [first, legacy(f"{REF}#2", "failed")], NOW) == Create(REF), (
        "the reference of a new copy has no number"
    )
    placed = legacy(f"{REF}#2", "completed", order())
    assert next_action(work, [first, placed], NOW) == Conclude(placed)


def test_two_orders_placed_by_version_0_1_are_a_double_charge_too():
    found = [legacy(REF, "completed", order()), legacy(f"{REF}#2", "completed", order(id="TgtOtherxx"))]
    assert held(next_action(fresh(), found, NOW)).reason is HoldReason.DUPLICATE
