"""What a renewal and a copy by hand have in common for the steps that create, poll and place."""

from rules.making import at, copy, order, planned, subscription

from blocks.policy import Policy
from flows.rules.manual_copy import ManualCopy
from flows.rules.next_action import Create, Place
from flows.rules.work import attempts_made, copy_options, next_action_for, references_of

NOW = at("2026-03-01T06:05")
BY_HAND = ManualCopy("SrcAbcdefg", "goodwill-1", options={"reuse_wallet": False})


def test_each_is_decided_by_its_own_rules():
    renewal = planned()
    assert next_action_for(renewal, [], NOW) == Create("SubAbcdefg@2026-03-01T06:00Z")
    assert next_action_for(BY_HAND, [], NOW) == Create("goodwill-1")
    for work in (renewal, BY_HAND):
        found = copy(work.reference, "completed", order("draft"))
        assert next_action_for(work, iter([found]), NOW) == Place(found, order("draft"), 1)


def test_each_is_found_by_its_references():
    assert references_of(planned()) == ["SubAbcdefg@2026-03-01T06:00Z"]
    assert references_of(BY_HAND) == ["goodwill-1"]


def test_the_policy_says_how_a_renewal_is_copied_and_a_person_how_a_copy_by_hand_is():
    policy = Policy(apply_promotions=True, ignore_invalid_coupon=True, reuse_wallet=False)
    assert copy_options(planned(policy=policy)) == {
        "apply_promotions": True,
        "ignore_invalid_coupon": True,
        "reuse_wallet": False,
    }
    assert copy_options(BY_HAND) == {"reuse_wallet": False}


def test_the_attempts_that_are_recorded_are_counted():
    tried = planned(subscription({"period": "2026-03-01T06:00Z", "attempt": 2, "outcome": "retry_scheduled"}))
    assert [attempts_made(work) for work in (planned(), tried, BY_HAND)] == [0, 2, 0]
