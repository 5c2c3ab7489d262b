import pytest
from rules.making import at, copy, order, planned, subscription

from flows.rules.next_action import (
    Adopt,
    Create,
    Hold,
    HoldReason,
    Place,
    guard,
    next_act,
    references_to_look_up,
)
from flows.rules.renewal import SkipReason

NOW = at("2026-03-02T07:00")
REF = "SubAbcdefg@2026-03-01T06:00Z"


def renewal(**state):
    given = {"period": "2026-03-01T06:00Z", "attempt": 1, "copies": 1, "outcome": "retry_scheduled"}
    return planned(subscription(given | state), "2026-03-02T07:00")


def fresh():
    return planned(as_of="2026-03-02T07:00")


def test_all_recorded_copies_and_the_next_one_are_looked_up():
    assert references_to_look_up(fresh()) == [REF]
    assert references_to_look_up(renewal(copies=2)) == [REF, f"{REF}#2", f"{REF}#3"]


def test_nothing_found_means_create():
    assert next_act(fresh(), [], NOW) == Create(REF, 1, 1)


@pytest.mark.parametrize("status", ["pending", "in_progress", "completed", "failed", "aborted", "teleporting"])
def test_a_copy_that_is_not_recorded_is_adopted_whatever_its_status(status):
    found = copy(REF, status)
    assert next_act(fresh(), [found], NOW) == Adopt(found)


@pytest.mark.parametrize("status", ["pending", "in_progress", "teleporting"])
def test_a_copy_that_may_still_move_is_waited_for(status):
    found = copy(f"{REF}#2", status)
    assert next_act(renewal(), [copy(REF, "failed"), found], NOW) == Adopt(found)


def test_a_recorded_failure_with_an_order_is_placed_not_copied():
    failed = copy(REF, "failed", order("pending"))
    assert next_act(renewal(), [failed], NOW) == Place(failed, "TgtAbcdefg", 2)


def test_an_order_of_which_only_the_id_is_known_is_placed_too():
    failed = copy(REF, "failed", target_order_id="TgtAbcdefg")
    assert next_act(renewal(), [failed], NOW) == Place(failed, "TgtAbcdefg", 2)


def test_a_recorded_failure_without_an_order_is_copied_anew():
    assert next_act(renewal(), [copy(REF, "failed")], NOW) == Create(f"{REF}#2", 2, 2)


def test_an_order_that_the_customer_placed_meanwhile_is_taken_as_it_is():
    paid = copy(REF, "failed", order("placed"))
    assert next_act(renewal(), [paid], NOW) == Adopt(paid)


def test_a_completed_copy_with_an_unplaced_order_is_placed_once_it_was_judged():
    done = copy(REF, "completed", order("pending"))
    assert next_act(fresh(), [done], NOW) == Adopt(done)
    assert next_act(renewal(), [done], NOW) == Place(done, "TgtAbcdefg", 2)


@pytest.mark.parametrize("outcome", ["in_progress", "unconfirmed"])
def test_a_failure_that_nobody_has_judged_is_judged_first(outcome):
    failed = copy(REF, "failed", order("pending"))
    assert next_act(renewal(outcome=outcome), [failed], NOW) == Adopt(failed)


@pytest.mark.parametrize(
    "found",
    [
        [copy(REF, "completed"), copy(f"{REF}#2", "completed")],
        [copy(REF, "completed"), copy(REF, "pending", id="CpyOtherxx")],
        [copy(REF, "in_progress"), copy(f"{REF}#2", "teleporting")],
        [copy(REF, "failed", order("placed")), copy(f"{REF}#2", "in_progress")],
        [copy(REF, "failed", order("pending")), copy(f"{REF}#2", "failed", order("pending", id="TgtOtherxx"))],
    ],
)
def test_two_copies_that_may_become_orders_hold_everything(found):
    for sub in (fresh(), renewal(copies=2)):
        act = next_act(sub, found, NOW)
        assert isinstance(act, Hold)
        assert act.reason is HoldReason.DUPLICATE
        assert found[0].id in act.sentence
        assert found[1].id in act.sentence


def test_the_same_copy_listed_twice_is_one_copy():
    found = copy(REF, "completed", order())
    assert next_act(fresh(), [found, found], NOW) == Adopt(found)


@pytest.mark.parametrize(
    "stranger",
    [
        copy("SubAbcdefg@2026-02-01T06:00Z"),
        copy("SubOtherxx@2026-03-01T06:00Z"),
        copy(REF, reference_origin="erp"),
        copy("erp-7"),
    ],
)
def test_copies_of_other_work_do_not_count(stranger):
    assert next_act(fresh(), [stranger], NOW) == Create(REF, 1, 1)


def test_a_recorded_copy_that_is_not_found_is_not_made_again():
    act = next_act(renewal(order_copy_id="CpyAbcdefb"), [], NOW)
    assert isinstance(act, Hold)
    assert act.reason is HoldReason.COPY_MISSING
    assert "CpyAbcdefb" in act.sentence
    act = next_act(renewal(copies=2), [copy(REF, "failed")], NOW)
    assert isinstance(act, Hold)
    assert act.reason is HoldReason.COPY_MISSING


def test_an_order_that_somebody_cancelled_is_not_made_again_without_a_person():
    cancelled = copy(REF, "failed", order("cancelled"))
    act = next_act(renewal(), [cancelled], NOW)
    assert isinstance(act, Hold)
    assert act.reason is HoldReason.TARGET_CANCELLED
    released = renewal(outcome="needs_attention", held=False)
    assert next_act(released, [cancelled], NOW) == Create(f"{REF}#2", 2, 2)


def test_the_card_networks_limit_holds_a_charge_until_it_is_allowed():
    charges = [f"2026-03-0{1 + k // 24}T{k % 24:02d}:00Z" for k in range(8, 31, 5)]
    act = next_act(renewal(attempts=charges), [copy(REF, "failed", order("pending"))], NOW)
    assert isinstance(act, Hold)
    assert act.reason is HoldReason.ATTEMPT_LIMIT
    assert act.until == at("2026-03-02T08:00")
    assert "next attempt Mon 2 Mar 08:00 UTC" in act.sentence
    assert isinstance(next_act(renewal(attempts=charges), [copy(REF, "failed")], at("2026-03-02T08:00")), Create)


def test_the_limit_does_not_keep_us_from_looking_at_what_exists():
    charges = ["2026-03-02T06:00Z"] * 20
    paid = copy(REF, "failed", order("placed"))
    assert next_act(renewal(attempts=charges), [paid], NOW) == Adopt(paid)


def test_a_subscription_that_is_as_planned_is_renewed():
    work = fresh()
    rivals = [subscription(), subscription(id="SubOtherxx")]
    ours = [
        copy(REF, "failed", created_at="2026-03-01T06:01:00Z"),
        copy("SrcAbcdefg@run", created_at="2026-03-01T07:00:00Z"),
    ]
    assert guard(work, subscription(), rivals, ours, NOW) is None


@pytest.mark.parametrize(
    ("fields", "reason", "words"),
    [
        ({"status": "cancelled"}, SkipReason.CANCELLED, "cancelled"),
        ({"status": "active"}, SkipReason.SECOND_ENGINE, "'active'"),
        ({"status": "teleporting"}, SkipReason.NOT_INACTIVE, "'teleporting'"),
        ({"next_run_at": "2026-04-01T06:00:00Z"}, SkipReason.NOT_DUE, "postponed to Wed 1 Apr 06:00 UTC"),
        ({"next_run_at": "2026-02-20T06:00:00Z"}, SkipReason.CHANGED, "next_run_at"),
        ({"next_run_at": None}, SkipReason.CHANGED, "next_run_at"),
        ({"expires_at": "2026-02-20T06:00:00Z"}, SkipReason.EXPIRED, "expired"),
        ({"source_order_id": "SrcOtherxx"}, SkipReason.CHANGED, "source order"),
        ({"source_order_id": None}, SkipReason.CHANGED, "source order"),
        ({"frequency": "weekly"}, SkipReason.CHANGED, "frequency"),
        ({"starts_at": "2026-01-02T06:00:00Z"}, SkipReason.CHANGED, "starts_at"),
        ({"metadata": {}}, SkipReason.CHANGED, "metadata.perennial"),
        ({"metadata": {"perennial": {"held": True}}}, SkipReason.CHANGED, "metadata.perennial"),
        ({"metadata": {"perennial": {"instance": "other"}}}, SkipReason.CHANGED, "metadata.perennial"),
        ({"metadata": {"perennial": {"done_through": "2026-03-01T06:00Z"}}}, SkipReason.CHANGED, "metadata.perennial"),
    ],
)
def test_what_was_changed_a_second_ago_is_left_alone(fields, reason, words):
    answer = guard(fresh(), subscription(**fields), [], [], NOW)
    assert answer is not None
    assert answer.reason is reason
    assert words in answer.sentence
    assert answer.due == at("2026-03-01T06:00")


def test_somebody_elses_metadata_may_change_at_any_time():
    assert guard(fresh(), subscription(metadata={"perennial": {}, "crm": {"id": 8}}), [], [], NOW) is None


def test_a_subscription_that_was_deleted_is_left_alone():
    answer = guard(fresh(), None, [], [], NOW)
    assert answer is not None
    assert answer.reason is SkipReason.GONE


@pytest.mark.parametrize("status", ["active", "running", "pending"])
def test_a_native_subscription_of_the_same_source_order_blocks_the_renewal(status):
    answer = guard(fresh(), subscription(), [subscription(id="SubNativex", status=status)], [], NOW)
    assert answer is not None
    assert answer.reason is SkipReason.SECOND_ENGINE
    assert answer.reason.needs_person
    assert "SubNativex" in answer.sentence


def test_rivals_of_other_source_orders_or_at_rest_do_not_block():
    rivals = [
        subscription(id="SubAsleepx"),
        subscription(id="SubElsewhx", status="active", source_order_id="SrcOtherxx"),
    ]
    assert guard(fresh(), subscription(), rivals, [], NOW) is None


@pytest.mark.parametrize("origin", ["erp", None])
def test_a_foreign_copy_inside_the_period_blocks_the_renewal(origin):
    made = {"created_at": "2026-03-01T06:00:30Z", "reference_origin": origin}
    for foreign in (copy(REF, "completed", order(), **made), copy(REF, "failed", order("pending"), **made)):
        answer = guard(fresh(), subscription(), [], [foreign], NOW)
        assert answer is not None
        assert answer.reason is SkipReason.FOREIGN_COPY
        assert foreign.id in answer.sentence


def test_a_foreign_copy_before_the_period_or_without_an_order_does_not_block():
    before = copy(REF, "completed", order(), reference_origin="erp", created_at="2026-03-01T05:59:00Z")
    barren = copy(REF, "failed", reference_origin="erp", created_at="2026-03-01T07:00:00Z")
    other = copy(REF, reference_origin="erp", source_order_id="SrcOtherxx", created_at="2026-03-01T07:00:00Z")
    assert guard(fresh(), subscription(), [], [before, barren, other], NOW) is None


def test_a_foreign_copy_of_unknown_age_blocks():
    answer = guard(fresh(), subscription(), [], [copy(REF, reference_origin="erp", created_at=None)], NOW)
    assert answer is not None
    assert answer.reason is SkipReason.FOREIGN_COPY


def test_a_copy_of_ours_beyond_what_the_state_knows_blocks():
    answer = guard(fresh(), subscription(), [], [copy(f"{REF}#3", "completed")], NOW)
    assert answer is not None
    assert answer.reason is SkipReason.FOREIGN_COPY
