"""Rivals and copies that also charge for a source order, and the period to which a copy belongs."""

import pytest
from rules.making import POLICY, at, copy, order, planned, subscription, withdrawn

from blocks.policy import Policy
from flows.rules.copy_periods import period_of, period_of_order
from flows.rules.handover import Handling, Handover, HandoverRequest
from flows.rules.next_action import Conclude, Create, Place, is_of_period, next_action
from flows.rules.pausing import decide
from flows.rules.renewals_nearby import RenewalNearby, refuse_beside_a_renewal
from flows.rules.rivals import copy_besides, placed_without_copy, shared_source_order
from flows.rules.skips import SkipReason
from flows.rules.unrecorded import unrecorded_period

REF = "SubAbcdefg@2026-03-01T06:00Z"
NOW = at("2026-03-01T06:05")
SHARED = Policy(shared_source_orders=True)


def twin(state=None, **fields):
    """Another subscription of the same source order."""
    return subscription(state, id="SubOtherxx", **fields)


def tracked(period="2026-03-01T06:00Z", whose="SubAbcdefg", **more):
    """The metadata that Perennial writes when it creates a copy."""
    return {"metadata": {"perennial": {"subscription_id": whose, "period": period, **more}}}


# --- two adopted subscriptions of one source order --------------------------------------------------


@pytest.mark.parametrize(
    "other",
    [
        twin(),
        twin({"held": True}),
        twin({"policy": {"shared_source_orders": True}}),
        twin(metadata={"perennial": {"attempt": "many"}}),
        twin(next_run_at="2026-03-31T06:00:00Z"),
        twin(next_run_at="2026-02-01T06:00:00Z"),
        twin({"done_through": "2026-03-01T06:00Z"}, next_run_at="2026-04-01T06:00:00Z"),
        twin({"done_through": "2026-03-20T06:00Z"}, next_run_at=None),
        twin(frequency="yearly"),
    ],
    ids=[
        *("due", "held", "only the other policy allows it", "damaged", "due later in the period", "overdue"),
        *("renewed in the period", "renewed for the last time", "yearly"),
    ],
)
def test_two_adopted_subscriptions_of_one_source_order_wait_for_a_person(other):
    refusal = shared_source_order(planned(), [subscription(), other])

    assert refusal is not None
    reason, sentence = refusal
    assert reason is SkipReason.SHARED_SOURCE_ORDER
    assert reason.needs_person
    assert reason.ends_the_renewal, "an unplaced order could still be paid at the checkout"
    assert all(words in sentence for words in ("SubOtherxx", "SrcAbcdefg", "give it back", "shared_source_orders"))


@pytest.mark.parametrize(
    "other",
    [
        twin(metadata={}),
        twin(status="cancelled"),
        twin(status="draft"),
        twin(source_order_id="SrcOtherxx"),
        twin(next_run_at="2026-04-01T06:00:00Z"),
        twin(next_run_at=None),
        twin(expires_at="2026-03-01T06:00:00Z"),
        twin({"done_through": "2026-02-10T06:00Z"}, next_run_at="2027-02-10T06:00:00Z", frequency="yearly"),
    ],
    ids=[
        *("not adopted", "cancelled", "a draft", "of another order", "from the next period on", "never due"),
        *("expired", "yearly, and not this month"),
    ],
)
def test_a_subscription_that_does_not_renew_in_the_same_period_is_no_rival(other):
    assert shared_source_order(planned(), [subscription(), other]) is None


def test_subscriptions_of_one_source_order_are_renewed_if_shared_source_orders_is_on():
    assert shared_source_order(planned(policy=SHARED), [twin()]) is None
    assert shared_source_order(planned(subscription({"policy": {"shared_source_orders": True}})), [twin()]) is None
    apart = planned(subscription({"policy": {"shared_source_orders": False}}), policy=SHARED)
    assert shared_source_order(apart, [twin()]) is not None


def test_a_renewal_of_another_subscription_in_the_period_blocks_even_if_that_one_is_cancelled_since():
    theirs = copy("SubOtherxx@2026-03-01T06:00Z", "completed", order())
    reason, sentence = copy_besides(planned(), [theirs]) or pytest.fail("it must wait")

    assert reason is SkipReason.SHARED_SOURCE_ORDER
    assert all(words in sentence for words in (theirs.id, "SubOtherxx", "#1001 is placed", "move next_run_at on"))
    assert copy_besides(planned(policy=SHARED), [theirs]) is None


# --- adoption refuses rivals ------------------------------------------------------------------------


def adopting(*others, one=None, policy=POLICY, requested=()):
    request = HandoverRequest(Handover.ADOPT, requested=frozenset({"SubAbcdefg", *requested}))
    one = one or subscription(metadata={}, next_run_at="2026-04-01T06:00:00Z")
    return decide(one, request, policy, NOW, [one, *others])


def test_a_second_subscription_of_a_source_order_is_not_adopted_beside_the_first():
    decision = adopting(twin())
    assert decision.handling is Handling.REFUSED
    assert "subscription SubOtherxx has the same source order SrcAbcdefg and is adopted as well" in decision.sentence
    assert "shared_source_orders" in decision.sentence
    assert adopting(twin(), policy=SHARED).handling is Handling.CHANGE


def test_two_subscriptions_of_one_source_order_are_both_refused_in_one_adoption():
    active = twin(status="active", metadata={})
    assert "was asked to be adopted as well" in adopting(active, requested=["SubOtherxx"]).sentence
    assert adopting(active, requested=["SubOtherxx"], policy=SHARED).handling is Handling.CHANGE


def test_two_adopted_subscriptions_of_one_source_order_are_refused_when_adopted_again():
    assert adopting(twin(), one=subscription()).handling is Handling.REFUSED
    both = {"policy": {"shared_source_orders": True}}
    assert adopting(twin(both), one=subscription(both)).handling is Handling.AS_REQUESTED


def test_a_subscription_with_an_active_rival_is_not_adopted():
    decision = adopting(twin(status="active", metadata={}))
    assert decision.handling is Handling.REFUSED
    assert "SubOtherxx of the same source order SrcAbcdefg is active" in decision.sentence
    assert "deactivate it first" in decision.sentence


def test_inactive_subscriptions_and_those_of_other_source_orders_do_not_block_an_adoption():
    at_rest = [twin(metadata={}), twin(source_order_id="SrcOtherxx"), twin(status="cancelled")]
    assert adopting(*at_rest).handling is Handling.CHANGE


# --- manual copies ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "target", [order(), order("pending"), order("placing"), None], ids=["placed", "unplaced", "placing", "copying"]
)
def test_a_manual_copy_in_the_period_makes_the_renewal_wait_for_a_person(target):
    made = copy("goodwill-17", "completed" if target else "in_progress", target)
    reason, sentence = copy_besides(planned(), [made]) or pytest.fail("it must wait")

    assert reason is SkipReason.MANUAL_COPY
    assert reason.needs_person
    assert reason.ends_the_renewal
    assert all(words in sentence for words in (made.id, "goodwill-17", "cancel its order", "besides_renewal"))
    assert target is None or f"#1001 is {target.raw_status}" in sentence


@pytest.mark.parametrize(
    "made",
    [
        copy("goodwill-17", "completed", order(), created_at="2026-03-01T05:59:00Z"),
        copy("goodwill-17", "failed"),
        copy("goodwill-17", "completed", order("cancelled")),
        copy("goodwill-17", "completed", order(), source_order_id="SrcOtherxx"),
        copy("goodwill-17", "completed", order(), metadata={"perennial": {"besides_renewal": True}}),
        copy(REF, "completed", order()),
        copy("SubAbcdefg@2026-02-01T06:00Z", "completed", order()),
    ],
    ids=[
        "before",
        "failed",
        "cancelled",
        "of another order",
        "with besides_renewal",
        "the renewal itself",
        "an older renewal",
    ],
)
def test_a_copy_that_is_no_second_charge_of_the_period_does_not_block(made):
    assert copy_besides(planned(), [made]) is None


def near(subscription_, copies=(), now="2026-03-10T12:00", time_zone="UTC"):
    refuse_beside_a_renewal([subscription_], copies, at(now), time_zone)


LATER = {"next_run_at": "2026-04-01T06:00:00Z"}
OPEN = {"period": "2026-03-01T06:00Z", "outcome": "retry_scheduled", "attempt": 1}


@pytest.mark.parametrize(
    ("one", "copies", "words"),
    [
        (subscription(), [], f"its renewal {REF} is due"),
        (subscription(next_run_at="2026-03-11T11:00:00Z"), [], "@2026-03-11T11:00Z is due"),
        (subscription(OPEN), [], f"its renewal {REF} is not settled yet"),
        (
            subscription(**LATER),
            [copy(REF, "completed", order(placed_at="2026-03-09T13:00:00Z"))],
            f"its renewal {REF} was placed as order 1001 just now",
        ),
        (
            subscription(**LATER),
            [copy("changed-by-erp", "completed", order("placing"), **tracked())],
            f"its renewal {REF} was placed",
        ),
    ],
    ids=["due", "due tomorrow", "waits for a retry", "renewed yesterday", "being renewed"],
)
def test_a_reorder_close_to_a_renewal_is_refused_and_the_error_names_the_renewal_and_the_way_out(one, copies, words):
    with pytest.raises(RenewalNearby, match="subscription SubAbcdefg renews this order") as refused:
        near(one, copies)
    assert words in str(refused.value)
    assert "Switch besides_renewal on if both are meant" in str(refused.value)


@pytest.mark.parametrize(
    ("one", "copies"),
    [
        (subscription(**LATER), []),
        (subscription(**LATER), [copy(REF, "completed", order(placed_at="2026-03-09T11:00:00Z"))]),
        (
            subscription(**LATER),
            [copy("SubOtherxx@2026-03-01T06:00Z", "completed", order(placed_at="2026-03-10T11:00Z"))],
        ),
        (subscription(**LATER), [copy("goodwill", "completed", order(placed_at="2026-03-10T11:00:00Z"))]),
        (subscription(metadata={}), []),
        (subscription(status="active"), []),
        (subscription(next_run_at=None), []),
        (subscription(next_run_at="9999-12-31T00:00:00Z"), []),
        (subscription(expires_at="2026-03-01T06:00:00Z"), []),
        (subscription(frequency="hourly", next_run_at="2026-03-10T12:16:00Z"), []),
    ],
    ids=[
        *(
            "in between",
            "renewed long ago",
            "of another subscription",
            "an earlier manual copy",
            "not adopted",
            "native",
            "never due",
        ),
        *("never", "expired", "hourly, in 16 minutes"),
    ],
)
def test_a_reorder_that_is_not_close_to_a_renewal_is_allowed(one, copies):
    near(one, copies)


def test_how_close_a_reorder_is_to_a_renewal_depends_on_the_calendar_of_the_policys_time_zone():
    # Due at 10:00 in Berlin: the next date is 23 hours later there. By the calendar in UTC it would be one hour later.
    one = subscription(frequency="0 9,10 * * *", next_run_at="2026-03-10T09:00:00Z", starts_at="2026-01-01T08:00:00Z")
    with pytest.raises(RenewalNearby):
        near(one, now="2026-03-10T04:00", time_zone="Europe/Berlin")
    near(one, now="2026-03-10T03:00", time_zone="Europe/Berlin")
    near(one, now="2026-03-10T04:00", time_zone="UTC")


# --- what another system has changed or deleted ------------------------------------------------------


def test_a_copy_whose_reference_was_changed_belongs_to_its_period_by_its_metadata():
    renamed = copy("ERP-4711", "completed", order("pending"), reference_origin="erp", **tracked())
    assert is_of_period(planned(), renamed)
    assert copy_besides(planned(), [renamed]) is None
    action = next_action(planned(), [renamed], NOW)
    assert isinstance(action, Place)
    assert action.copy.id == renamed.id
    assert isinstance(next_action(planned(), [copy("ERP-4711", "completed", order(), **tracked())], NOW), Conclude)


def test_a_renamed_copy_of_a_date_that_was_moved_is_settled_first():
    renamed = copy("ERP-4711", "completed", order(), reference_origin=None, **tracked("2026-02-20T06:00Z"))
    assert unrecorded_period(planned(), [renamed]) == at("2026-02-20T06:00")


def test_a_reference_made_by_perennial_outweighs_the_metadata():
    assert period_of(copy(REF, **tracked("2026-02-01T06:00Z"))) == ("SubAbcdefg", at("2026-03-01T06:00"))


@pytest.mark.parametrize(
    "ours", [None, "text", [], {}, {"subscription_id": "SubAbcdefg"}, {"subscription_id": 7, "period": "soon"}]
)
def test_malformed_metadata_do_not_make_a_copy_a_renewal(ours):
    assert period_of(copy("ERP-4711", metadata={"perennial": ours})) is None
    assert isinstance(next_action(planned(), [copy("ERP-4711", metadata={"perennial": ours})], NOW), Create)


@pytest.mark.parametrize("status", ["placed", "approved", "placing", "editing", "teleporting"])
def test_a_placed_order_without_its_copy_waits_for_a_person(status):
    reason, sentence = placed_without_copy(planned(), [order(status, reference=REF)]) or pytest.fail("it must wait")
    assert reason is SkipReason.PLACED_WITHOUT_COPY
    assert reason.needs_person
    assert not reason.ends_the_renewal
    assert all(words in sentence for words in (f"#1001 of this period is {status}", "move next_run_at on", "cancel it"))


def test_orders_that_charge_nothing_for_this_period_do_not_block():
    orders = [
        order("pending", reference=REF),
        order("cancelled", reference=REF),
        order(reference="another"),
        order(reference="SubOtherxx@2026-03-01T06:00Z"),
        order(reference="ERP-4711", **tracked(whose="SubOtherxx")),
        withdrawn(),
    ]
    assert placed_without_copy(planned(), orders) is None


@pytest.mark.parametrize(
    "found",
    [
        order(reference="SubAbcdefg@2026-02-20T06:00Z"),
        order(reference="ERP-4711", **tracked("2026-02-20T06:00Z")),
        order("placing", reference=None, created_at="2026-02-20T06:00:05Z", **tracked("2026-02-20T06:00Z")),
    ],
    ids=["by its reference", "by its metadata", "being placed"],
)
def test_a_placed_order_of_another_unsettled_period_without_its_copy_waits_for_a_person(found):
    reason, sentence = placed_without_copy(planned(), [found]) or pytest.fail("it must wait")
    assert reason is SkipReason.PLACED_WITHOUT_COPY
    assert "#1001 of the period of Fri 20 Feb 06:00 UTC is" in sentence
    assert "cancel it to go on; or set metadata.perennial.done_through to 2026-02-20T06:00Z" in sentence
    before = planned(subscription({"done_through": "2026-02-19T06:00Z"}))
    assert placed_without_copy(before, [found]) is not None
    settled = planned(subscription({"done_through": "2026-02-20T06:00Z"}))
    assert placed_without_copy(settled, [found]) is None


def test_the_reference_of_the_period_counts_whatever_the_metadata_of_the_order_say():
    renewal = planned(subscription({"done_through": "2026-02-01T06:00Z"}))
    assert placed_without_copy(renewal, [order(reference=REF, **tracked("2026-02-01T06:00Z"))]) is not None


def test_an_order_from_before_the_look_back_does_not_block_a_subscription_without_a_settled_period():
    old, made_in = "2025-11-01T06:00Z", "2025-11-01T06:00:05Z"
    assert placed_without_copy(planned(), [order(created_at=made_in, **tracked(old))]) is None
    assert placed_without_copy(planned(), [order(created_at="2026-02-01T06:00:05Z", **tracked(old))]) is not None


def test_an_order_whose_reference_was_changed_belongs_to_its_period_by_its_metadata():
    assert period_of_order(order(reference=REF)) == ("SubAbcdefg", at("2026-03-01T06:00"))
    assert period_of_order(order(reference="ERP-4711", **tracked())) == ("SubAbcdefg", at("2026-03-01T06:00"))
    assert period_of_order(order(reference="ERP-4711", metadata={"perennial": "text"})) is None
