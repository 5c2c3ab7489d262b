"""The last look before a customer is charged."""

import pytest
from rules.making import at, copy, order, planned, subscription, withdrawn

from blocks.policy import Policy
from flows.rules.renewal import SkipReason
from flows.rules.skips import Skipped
from flows.rules.state import RenewalState
from flows.rules.still_wanted import competes, no_longer_wanted, still_wanted

NOW = at("2026-03-02T07:00")
REF = "SubAbcdefg@2026-03-01T06:00Z"


def renewal(**state):
    return planned(subscription(state), as_of="2026-03-02T07:00")


def refused(sub=None, rivals=(), copies=(), *, work=None, announced=None) -> Skipped:
    answer = still_wanted(work or renewal(), sub, rivals, copies, NOW, announced=announced)
    assert answer is not None
    return answer


def test_a_subscription_that_has_not_changed_since_the_plan_is_renewed():
    rivals = [subscription(), subscription(id="SubOtherxx", metadata={})]
    ours = [
        copy(REF, "failed", created_at="2026-03-01T06:01:00Z"),
        copy("SrcAbcdefg@run", created_at="2026-03-01T05:00:00Z"),
    ]
    assert still_wanted(renewal(), subscription(), rivals, ours, NOW) is None


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
        ({"metadata": {}}, SkipReason.NOT_ADOPTED, "metadata.perennial was removed"),
        ({"metadata": {"perennial": {"held": True}}}, SkipReason.HELD, "held for a person"),
        (
            {"metadata": {"perennial": {"held": True, "outcome": "needs_attention"}}},
            SkipReason.CHANGED,
            "metadata.perennial",
        ),
        ({"metadata": {"perennial": {"policy": {"catch_up": "all"}}}}, SkipReason.CHANGED, "metadata.perennial"),
        ({"metadata": {"perennial": {"outcome": "placing", "attempt": 1}}}, SkipReason.CHANGED, "metadata.perennial"),
        (
            {"metadata": {"perennial": {"done_through": "2026-03-01T06:00Z"}}},
            SkipReason.NOTHING_PENDING,
            "settled this period",
        ),
    ],
)
def test_a_subscription_that_has_changed_since_the_plan_is_not_renewed(fields, reason, words):
    answer = refused(subscription(**fields))
    assert answer.reason is reason
    assert (f"({words});" if reason is SkipReason.CHANGED else words) in answer.sentence
    assert answer.due == at("2026-03-01T06:00")


def test_all_changes_since_the_plan_are_named():
    answer = refused(subscription(frequency="weekly", starts_at="2026-01-02T06:00:00Z"))
    assert answer.sentence == "changed a moment ago (frequency, starts_at); the next sweep decides anew"


def test_a_date_that_was_moved_to_this_very_moment_is_changed_and_not_postponed():
    assert refused(subscription(next_run_at=NOW.isoformat())).reason is SkipReason.CHANGED


def test_metadata_of_other_systems_may_change_at_any_time():
    assert still_wanted(renewal(), subscription(metadata={"perennial": {}, "crm": {"id": 8}}), [], [], NOW) is None


def test_a_deleted_subscription_is_not_renewed():
    answer = refused(None)
    assert (answer.subscription_id, answer.reason) == ("SubAbcdefg", SkipReason.GONE)


def test_a_period_that_another_run_has_settled_is_not_withdrawn():
    settled = subscription({"done_through": "2026-03-01T06:00Z"}, next_run_at="2026-04-01T06:00:00Z")
    assert not refused(settled).reason.leaves_it_open, "it is renewed"
    assert not refused(settled).reason.ends_the_renewal, "its order is placed"


@pytest.mark.parametrize(
    ("fields", "ends"),
    [
        ({"status": "cancelled"}, True),
        ({"status": "active"}, True),
        ({"next_run_at": "2026-04-01T06:00:00Z"}, True),
        ({"metadata": {"crm": 1}}, True),
        ({"expires_at": "2026-02-20T06:00:00Z"}, True),
        ({"metadata": {"perennial": {"held": True}}}, True),
        ({"frequency": "weekly"}, False),
        ({"metadata": {"perennial": {"held": True, "outcome": "needs_attention"}}}, False),
    ],
)
def test_an_order_is_withdrawn_if_the_renewal_is_over_and_kept_if_the_next_sweep_decides(fields, ends):
    assert refused(subscription(**fields)).reason.ends_the_renewal is ends


DUE = "2026-03-01T06:00Z"
NEWER = {"v": 9}
"""A state that this version cannot read."""


@pytest.mark.parametrize(
    ("sub", "reason"),
    [
        (None, SkipReason.GONE),
        (subscription(status="cancelled"), SkipReason.CANCELLED),
        (subscription({"paused": True}), SkipReason.PAUSED),
        (subscription({"done_through": DUE}), SkipReason.NOTHING_PENDING),
        (subscription({"done_through": "2026-04-01T06:00Z"}), SkipReason.NOTHING_PENDING),
        (subscription(NEWER, status="active"), SkipReason.SECOND_ENGINE),
        (subscription(metadata={}, status="active"), SkipReason.SECOND_ENGINE),
    ],
    ids=["deleted", "cancelled", "paused", "settled", "a later one settled", "not readable", "given back"],
)
def test_an_unplaced_order_is_withdrawn_no_matter_who_made_it_once_its_period_is_not_renewed(sub, reason):
    refusal = no_longer_wanted(sub, at("2026-03-01T06:00"))
    assert refusal is not None
    assert refusal[0] is reason


@pytest.mark.parametrize("state", [{}, {"done_through": "2026-02-01T06:00Z"}, {"held": True}, NEWER])
def test_an_unplaced_order_is_kept_while_its_period_may_be_renewed(state):
    assert no_longer_wanted(subscription(state), at("2026-03-01T06:00")) is None


# --- announced attempts ----------------------------------------------------------------------------


def announced_on(work) -> RenewalState:
    return work.state.announcing(1, "CpyAbcdefb", "TgtAbcdefg", NOW, "ours")


def test_the_announcement_of_this_run_is_no_change_whether_or_not_the_last_look_shows_it():
    work = renewal()
    announced = announced_on(work)
    for shown in (subscription(announced), subscription()):
        assert still_wanted(work, shown, [], [], NOW, announced=announced) is None


def test_the_announcement_of_another_run_is_a_change():
    work = renewal()
    theirs = subscription(announced_on(work).model_copy(update={"flow_run_id": "theirs"}))
    for announced in (None, announced_on(work)):
        assert refused(theirs, work=work, announced=announced).reason is SkipReason.CHANGED


def test_a_person_may_hold_a_renewal_after_it_was_announced():
    work = renewal()
    held = announced_on(work).model_copy(update={"held": True})
    assert refused(subscription(held), work=work, announced=announced_on(work)).reason is SkipReason.HELD
    held_before = subscription({"held": True})
    assert refused(held_before, work=work, announced=announced_on(work)).reason is SkipReason.HELD, (
        "the look shows the state before the announcement"
    )
    given_back = subscription(metadata={"crm": 1})
    assert refused(given_back, work=work, announced=announced_on(work)).reason is SkipReason.NOT_ADOPTED


# --- others who renew it ---------------------------------------------------------------------------


@pytest.mark.parametrize("status", ["active", "running", "pending"])
def test_a_native_subscription_of_the_same_source_order_blocks_the_renewal(status):
    answer = refused(subscription(), [subscription(id="SubNativex", status=status)])
    assert answer.reason is SkipReason.SECOND_ENGINE
    assert answer.reason.needs_person
    assert answer.reason.ends_the_renewal
    assert f"SubNativex of the same source order is {status}:" in answer.sentence


def test_another_adopted_subscription_of_the_same_source_order_blocks_the_renewal():
    answer = refused(subscription(), [subscription(id="SubOtherxx")])
    assert answer.reason is SkipReason.SHARED_SOURCE_ORDER
    assert "SubOtherxx" in answer.sentence


def test_a_manual_copy_inside_the_period_blocks_the_renewal():
    manual = copy(REF, "completed", order()).model_copy(update={"reference": "SrcAbcdefg@run"})
    assert refused(subscription(), copies=[manual]).reason is SkipReason.MANUAL_COPY


def test_inactive_subscriptions_and_those_of_other_source_orders_do_not_block():
    rivals = [
        subscription(id="SubAsleepx", metadata={}),
        subscription(id="SubElsewhx", status="active", source_order_id="SrcOtherxx"),
    ]
    assert still_wanted(renewal(), subscription(), rivals, [], NOW) is None


@pytest.mark.parametrize("origin", ["erp", None])
def test_a_foreign_copy_inside_the_period_blocks_the_renewal(origin):
    made = {"created_at": "2026-03-01T06:00:30Z", "reference_origin": origin}
    for foreign in (copy(REF, "completed", order(), **made), copy(REF, "failed", order("pending"), **made)):
        answer = refused(subscription(), [], [foreign])
        assert answer.reason is SkipReason.FOREIGN_COPY
        assert answer.reason.ends_the_renewal
        assert f"order copy {foreign.id} ({origin or 'no origin'}) of the same source order" in answer.sentence


@pytest.mark.parametrize(
    "foreign",
    [
        copy(REF, "completed", order(), reference_origin="erp", created_at="2026-03-01T05:59:00Z"),
        copy(REF, "failed", reference_origin="erp", created_at="2026-03-01T07:00:00Z"),
        copy(REF, "completed", order("cancelled"), reference_origin="erp", created_at="2026-03-01T07:00:00Z"),
        copy(REF, reference_origin="erp", source_order_id="SrcOtherxx", created_at="2026-03-01T07:00:00Z"),
    ],
    ids=["before the period", "without an order", "its order cancelled", "of another source order"],
)
def test_a_foreign_copy_that_does_not_renew_this_period_does_not_block(foreign):
    assert still_wanted(renewal(), subscription(), [], [foreign], NOW) is None


def test_a_foreign_copy_of_unknown_age_blocks():
    answer = refused(subscription(), [], [copy(REF, reference_origin="erp", created_at=None)])
    assert answer.reason is SkipReason.FOREIGN_COPY


@pytest.mark.parametrize(
    "ours",
    [
        copy(REF, "completed", order()),
        copy(f"{REF}#3", "completed", order()),
        copy(REF, "completed", withdrawn()),
    ],
)
def test_our_own_copies_do_not_block_the_renewal(ours):
    assert still_wanted(renewal(), subscription(), [], [ours], NOW) is None


def test_a_reorder_is_no_copy_of_somebody_else():
    made = {"reference": "SrcAbcdefg@run", "created_at": "2026-03-01T07:00:00Z"}
    assert not competes(renewal(), copy(REF, "completed", order()).model_copy(update=made))
    assert competes(renewal(), copy("erp-7", "completed", order(), reference_origin="erp"))


def test_an_order_of_another_date_that_was_placed_meanwhile_is_recorded_first():
    work = planned(subscription(next_run_at="2026-03-01T21:00:00Z"), as_of="2026-03-02T07:00")
    moved = subscription(next_run_at="2026-03-01T21:00:00Z")
    placed = copy(REF, "completed", order(), created_at="2026-03-01T06:01:00Z")
    answer = refused(moved, copies=[placed], work=work)
    assert answer.reason is SkipReason.CHANGED
    assert "Sun 1 Mar 06:00 UTC was placed a moment ago" in answer.sentence
    assert not answer.reason.ends_the_renewal
    unplaced = copy(REF, "completed", order("draft"), created_at="2026-03-01T06:01:00Z")
    assert still_wanted(work, moved, [], [unplaced], NOW) is None
    own = copy(work.reference, "completed", order(), id="CpyAbcdefz")
    assert still_wanted(work, moved, [], [placed, own], NOW) is None, "its own charge is recorded in any case"


def test_dates_are_told_in_the_merchants_time_zone():
    rome = Policy(time_zone="Europe/Rome")
    work = planned(as_of="2026-03-02T07:00", policy=rome)
    ended = refused(subscription(expires_at=NOW.isoformat()), work=work)
    assert (ended.reason, ended.sentence) == (SkipReason.EXPIRED, "it expired on Mon 2 Mar 08:00 CET")
    postponed = refused(subscription(next_run_at="2026-03-02T08:00:00Z"), work=work)
    assert "postponed to Mon 2 Mar 09:00 CET" in postponed.sentence
    moved = subscription(next_run_at="2026-03-01T21:00:00Z")
    placed = copy(REF, "completed", order(), created_at="2026-03-01T06:01:00Z")
    unrecorded = refused(moved, copies=[placed], work=planned(moved, "2026-03-02T07:00", rome))
    assert "its order of Sun 1 Mar 07:00 CET was placed" in unrecorded.sentence


def test_a_late_run_does_not_renew_a_subscription_that_has_expired_by_now():
    ends = subscription(expires_at="2026-03-03T00:00:00Z")
    assert still_wanted(renewal(), ends, [], [], NOW) is None
    answer = still_wanted(renewal(), ends, [], [], NOW, now=at("2026-03-03T06:00"))
    assert answer is not None
    assert answer.reason is SkipReason.EXPIRED
