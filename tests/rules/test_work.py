"""What renewals and manual copies have in common for the steps that create, poll and place."""

from rules.making import at, copy, order, planned, subscription

from blocks.policy import Policy
from flows.rules.manual_copy import ManualCopy
from flows.rules.next_action import Create, Place
from flows.rules.work import attempts_made, copy_options, next_action_for, references_of

NOW = at("2026-03-01T06:05")
MANUAL_COPY = ManualCopy("SrcAbcdefg", "goodwill-1", options={"reuse_wallet": False})


def test_renewals_and_manual_copies_are_decided_by_their_own_rules():
    renewal = planned()
    assert next_action_for(renewal, [], NOW) == Create("SubAbcdefg@2026-03-01T06:00Z")
    assert next_action_for(MANUAL_COPY, [], NOW) == Create("goodwill-1")
    for work in (renewal, MANUAL_COPY):
        found = copy(work.reference, "completed", order("draft"))
        assert next_action_for(work, iter([found]), NOW) == Place(found, order("draft"), 1)


def test_renewals_and_manual_copies_are_found_by_their_references():
    assert references_of(planned()) == ["SubAbcdefg@2026-03-01T06:00Z"]
    assert references_of(MANUAL_COPY) == ["goodwill-1"]


def test_the_policy_sets_the_copy_options_of_a_renewal_and_the_person_those_of_a_manual_copy():
    policy = Policy(apply_promotions=True, ignore_invalid_coupon=True, reuse_wallet=False)
    assert copy_options(planned(policy=policy)) == {
        "apply_promotions": True,
        "ignore_invalid_coupon": True,
        "reuse_wallet": False,
    }
    assert copy_options(MANUAL_COPY) == {"reuse_wallet": False}


def test_the_attempts_that_are_recorded_are_counted():
    tried = planned(subscription({"period": "2026-03-01T06:00Z", "attempt": 2, "outcome": "retry_scheduled"}))
    assert [attempts_made(work) for work in (planned(), tried, MANUAL_COPY)] == [0, 2, 0]
