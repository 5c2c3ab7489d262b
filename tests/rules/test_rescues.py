"""Which failed native runs are repaired, when, and what is never done: a second charge, or a second copy."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rules.making import at, copy, order, planned, subscription

from blocks.commerce_layer.resources import Order, OrderCopy, OrderSubscription
from blocks.policy import FinalAction, Policy
from flows.rules.findings import CopyEnded, OrderAnswered
from flows.rules.next_action import Create, Place, next_action
from flows.rules.order_copies import CopiesOfPeriod
from flows.rules.price import Price
from flows.rules.renewal import Skipped, SkipReason
from flows.rules.rescue import Rescue, record_of_rescue, refusal_of_rescue, rescue_of, result_of_rescue
from flows.rules.rescue_plans import TO_CARRY_OUT, RescueHandling, RescueRow, planned_row
from flows.rules.rivals import placed_without_copy
from flows.rules.state import RESCUE_KEY, Outcome, RenewalState
from flows.rules.still_wanted import no_longer_wanted
from flows.rules.watch_orders import OpenWork, left_unplaced
from flows.rules.watching import WatchLimits, lost_metadata
from flows.rules.work import is_native, next_action_for

RAN = at("2026-03-01T06:00")
REFERENCE = "SubAbcdefg@2026-03-01T06:00Z"
SOON = RAN + timedelta(minutes=10)
DAY = timedelta(days=1)
POLICY = Policy()
DECLINED = {"status": ["cannot transition from pending to placed"], "payment_source": ["Your card was declined."]}
SOURCE = order("placed", id="SrcAbcdefg", total_amount_with_taxes_cents=1000, currency_code="EUR", skus_count=1)


def failed(**fields: Any) -> OrderSubscription:
    """A monthly subscription of Commerce Layer's own engine, whose run of 1 March at 06:00 UTC failed."""
    given_fields = {
        "status": "active",
        "last_run_at": RAN,
        "next_run_at": "2026-04-01T06:00:00Z",
        "succeeded_on_last_run": False,
        "metadata": {"crm": 7},
    }
    return subscription(**(given_fields | fields))


def pending(**fields: Any) -> Order:
    return order("pending", total_amount_with_taxes_cents=1000, currency_code="EUR", skus_count=1, **fields)


def run_copy(
    target: Order | None = None, log: dict[str, Any] | None = None, status: str = "failed", **fields: Any
) -> OrderCopy:
    """The copy that the failed run made; it has no reference."""
    given_fields = {
        "id": "NatAbcdefg",
        "reference_origin": None,
        "place_target_order": True,
        "order_subscription_id": "SubAbcdefg",
        "created_at": RAN,
        "failed_at": RAN + timedelta(seconds=5),
        "errors_log": log or DECLINED,
        "source_order": SOURCE,
    }
    made_copy = copy(REFERENCE, status, target, **(given_fields | fields))
    return made_copy.model_copy(update={"reference": None})


def plan(
    one: OrderSubscription, *copies: OrderCopy, now: datetime = RAN + DAY + DAY, policy: Policy = POLICY,
    release: bool = False,
) -> RescueRow:  # fmt: skip
    return planned_row(one, rescue_of(one, copies, policy, now), release=release, as_of=now)


def begun(one: OrderSubscription, *copies: OrderCopy, policy: Policy = POLICY) -> Rescue:
    work = rescue_of(one, copies, policy, RAN + DAY + DAY)
    assert isinstance(work, Rescue)
    return work


def test_the_failed_run_is_the_first_attempt_and_the_policy_says_when_the_second_follows():
    early = plan(failed(), run_copy(pending()), now=SOON)
    assert early.handling is RescueHandling.WAITS
    assert early.sentence == "card declined: next attempt Mon 2 Mar 06:01 UTC"
    due = plan(failed(), run_copy(pending()), now=RAN + DAY + timedelta(minutes=1))
    assert (due.handling, due.sentence) == (RescueHandling.CHARGE, "order #1001 (10.00 EUR): attempt 2")
    assert due.work is not None
    assert due.work.reference == REFERENCE


def test_a_hard_decline_waits_for_a_person_and_a_release_tries_it_once_more():
    hard = run_copy(pending(), {"payment_source": ["Your card was declined. Do not retry: lost or stolen card."]})
    assert plan(failed(), hard).handling is RescueHandling.NEEDS_PERSON
    assert plan(failed(), hard, release=True).handling is RescueHandling.CHARGE


@pytest.mark.parametrize(
    ("fields", "handling", "said"),
    [
        ({"status": "cancelled"}, RescueHandling.LEFT_ALONE, "cancelled"),
        ({"status": "inactive"}, RescueHandling.LEFT_ALONE, "inactive"),
        ({"metadata": {"perennial": {}}}, RescueHandling.LEFT_ALONE, "adopted"),
        ({"succeeded_on_last_run": True}, RescueHandling.LEFT_ALONE, "did not fail"),
        ({"succeeded_on_last_run": None}, RescueHandling.LEFT_ALONE, "did not fail"),
        ({"last_run_at": None}, RescueHandling.LEFT_ALONE, "did not fail"),
        ({"expires_at": RAN + DAY}, RescueHandling.LEFT_ALONE, "expired"),
        ({"status": "running"}, RescueHandling.WAITS, "at this moment"),
        ({"next_run_at": RAN + DAY + DAY + timedelta(minutes=9)}, RescueHandling.WAITS, "less than 10 minutes"),
        ({"status": "pending"}, RescueHandling.NEEDS_PERSON, "'pending'"),
        ({"status": "never seen before"}, RescueHandling.NEEDS_PERSON, "never seen before"),
        ({"source_order_id": None}, RescueHandling.NEEDS_PERSON, "no source order"),
        ({"metadata": {RESCUE_KEY: "x"}}, RescueHandling.NEEDS_PERSON, "metadata.perennial_rescue"),
    ],
)
def test_what_is_not_the_engine_s_failure_now_is_not_charged(
    fields: dict[str, Any], handling: RescueHandling, said: str
) -> None:
    row = plan(failed(**fields), run_copy(pending()))
    assert (row.handling, row.work) == (handling, None)
    assert said in row.sentence


def test_an_order_that_is_placed_or_cancelled_is_left_alone():
    placed = plan(failed(), run_copy(order("placed")))
    assert (placed.handling, placed.order_id) == (RescueHandling.LEFT_ALONE, "TgtAbcdefg")
    assert "charged already" in placed.sentence
    cancelled = plan(failed(), run_copy(order("cancelled")), release=True)
    assert (cancelled.handling, cancelled.work) == (RescueHandling.LEFT_ALONE, None)
    assert "not wanted" in cancelled.sentence


def test_a_run_whose_copy_is_not_found_or_that_places_no_orders_is_not_charged():
    assert plan(failed()).handling is RescueHandling.NEEDS_PERSON
    other = run_copy(pending(), order_subscription_id="OthAbcdefg")
    assert plan(failed(), other).handling is RescueHandling.NEEDS_PERSON
    before = run_copy(pending(), created_at=RAN - timedelta(hours=1))
    assert plan(failed(), before).handling is RescueHandling.NEEDS_PERSON
    unplaced = plan(failed(), run_copy(pending(), place_target_order=False))
    assert unplaced.handling is RescueHandling.LEFT_ALONE
    assert plan(failed(), run_copy(None, status="in_progress", failed_at=None)).handling is RescueHandling.WAITS


def test_a_run_without_an_order_is_copied_again_and_our_copy_is_found_again():
    out_of_stock = run_copy(None, {"line_items": ["is out of stock"]})
    row = plan(failed(), out_of_stock)
    assert row.handling is RescueHandling.COPY
    assert row.work is not None
    assert next_action_for(row.work, [], RAN + DAY + DAY) == Create(REFERENCE)
    ours = copy(REFERENCE, "completed", pending(id="OurAbcdefg"), created_at=RAN + DAY, source_order=SOURCE)
    again = plan(failed(), out_of_stock, ours)
    assert (again.handling, again.order_id) == (RescueHandling.CHARGE, "OurAbcdefg")
    assert again.work is not None
    assert not is_native(again.work, ours)


def test_a_recorded_copy_that_is_gone_holds_the_rescue_and_names_the_field_to_clear():
    work = begun(failed(), run_copy(None, {"line_items": ["is out of stock"]}))
    known = work.state.model_copy(update={"order_copy_id": "OurAbcdefg", "next_attempt_at": None})
    one = failed(metadata=known.written_into({}, RESCUE_KEY))
    row = plan(one, run_copy(None, {"line_items": ["is out of stock"]}))
    assert (row.handling, row.work) == (RescueHandling.NEEDS_PERSON, None)
    assert "until metadata.perennial_rescue.order_copy_id is set to null" in row.sentence


def test_two_placed_orders_of_one_run_are_a_duplicate():
    ours = copy(REFERENCE, "completed", order("placed", id="OurAbcdefg"), created_at=RAN + DAY)
    row = plan(failed(), run_copy(order("placed")), ours)
    assert (row.handling, row.is_duplicate) == (RescueHandling.NEEDS_PERSON, True)


def test_a_higher_price_than_the_source_order_s_is_held_and_the_accepted_one_is_charged():
    dearer = run_copy(pending().model_copy(update={"total_amount_with_taxes_cents": 1500}))
    row = plan(failed(), dearer)
    assert (row.handling, row.handling in TO_CARRY_OUT) == (RescueHandling.HOLD, True)
    work = begun(failed(), dearer)
    held = work.state.model_copy(update={"held": True, "price_to_accept": Price(cents=1500, currency="EUR", items=1)})
    stored = RenewalState.model_validate(held.model_dump(mode="json"))
    one = failed(metadata=stored.written_into({"crm": 7}, RESCUE_KEY))
    assert plan(one, dearer).handling is RescueHandling.NEEDS_PERSON
    assert plan(one, dearer, release=True).handling is RescueHandling.CHARGE


def test_a_card_that_the_customer_attached_since_the_failure_ends_the_wait():
    old = pending(payment_source_details={"payment_method_id": "pm_old"})
    card = {"id": "NewAbcdefg", "payment_source_token": "pm_new"}
    with_new = failed(customer_payment_source_id="NewAbcdefg", customer_payment_source=card)
    assert plan(with_new, run_copy(old), now=SOON).handling is RescueHandling.CHARGE
    same = {"id": "OldAbcdefg", "payment_source_token": "pm_old"}
    with_same = failed(customer_payment_source_id="OldAbcdefg", customer_payment_source=same)
    assert plan(with_same, run_copy(old), now=SOON).handling is RescueHandling.WAITS


def test_a_wait_that_ends_after_the_next_native_run_says_that_the_engine_comes_first():
    row = plan(failed(next_run_at=RAN + timedelta(hours=20)), run_copy(pending()), now=SOON)
    assert row.handling is RescueHandling.WAITS
    assert "Commerce Layer runs it before" in row.sentence


def test_an_attempt_that_was_begun_and_not_recorded_counts_as_failed():
    work = begun(failed(), run_copy(pending()))
    announced = work.state.announcing(2, "NatAbcdefg", "TgtAbcdefg", RAN + DAY, "run-1")
    one = failed(metadata=announced.written_into({"crm": 7}, RESCUE_KEY))
    row = plan(one, run_copy(pending()))
    assert row.handling is RescueHandling.RECORD
    assert row.work is not None
    result = result_of_rescue(row.work, CopyEnded(row.work.native), RAN + DAY + DAY, "run-2")
    assert (result.outcome, result.state.attempt) == (Outcome.RETRY_SCHEDULED, 2)


# --- right before the charge ----------------------------------------------------------------------


def refused(
    fresh: OrderSubscription | None, *copies: OrderCopy, rivals: list[OrderSubscription] | None = None,
    announced: RenewalState | None = None,
) -> Skipped | None:  # fmt: skip
    work = begun(failed(), run_copy(pending()))
    return refusal_of_rescue(work, fresh, rivals or [], copies or (run_copy(pending()),), RAN + DAY + DAY, announced)


def test_what_changed_since_the_plan_stops_the_charge():
    assert refused(failed()) is None
    for fresh in (
        None,
        failed(status="cancelled"),
        failed(status="running"),
        failed(metadata={"perennial": {}}),
        failed(last_run_at=RAN + timedelta(hours=1)),
        failed(source_order_id="OthAbcdefg"),
        failed(succeeded_on_last_run=True),
        failed(metadata={RESCUE_KEY: {"period": "2026-03-01T06:00Z", "attempt": 3}}),
    ):
        assert refused(fresh) is not None
    ours = RenewalState.model_validate({"period": "2026-03-01T06:00Z", "attempt": 3})
    seen = failed(metadata=ours.written_into({}, RESCUE_KEY))
    known = RenewalState.read(seen.metadata, RESCUE_KEY)
    assert refused(seen, announced=known) is None


def test_another_copy_or_subscription_of_the_source_order_stops_the_charge():
    native = run_copy(pending())
    foreign = copy("x", "completed", order("placed"), reference_origin="crm", id="ForAbcdefg")
    manual = copy("goodwill", "completed", order("placed"), id="ManAbcdefg")
    for other, reason in ((foreign, SkipReason.FOREIGN_COPY), (manual, SkipReason.MANUAL_COPY)):
        found = refused(failed(), native, other)
        assert found is not None
        assert (found.reason, found.reason.needs_person) == (reason, True)
    rival = failed(id="RivAbcdefg")
    shared = refused(failed(), rivals=[failed(), rival])
    assert shared is not None
    assert shared.reason is SkipReason.SHARED_SOURCE_ORDER
    assert refused(failed(), rivals=[failed(), failed(id="RivAbcdefg", status="inactive")]) is None
    gone = refused(failed(), manual.model_copy(update={"target_order": None, "status": "failed"}))
    assert gone is not None


# --- the record -----------------------------------------------------------------------------------


def test_the_record_is_the_state_of_the_rescue_alone_and_means_no_adoption():
    work = begun(failed(), run_copy(pending()))
    result = result_of_rescue(work, OrderAnswered(Place(work.native, pending(), 2), order("placed")), SOON, "run-1")
    assert result.sentence == "renewed as order #1001; Commerce Layer renews it next on Wed 1 Apr 06:00 UTC"
    record = record_of_rescue(result, failed())
    assert record is not None
    assert (record.next_run_at, record.cancel, record.payment_source_id) == (None, False, None)
    assert set(record.metadata) == {"crm", RESCUE_KEY}
    assert RenewalState.read(record.metadata) is None
    again = plan(failed(metadata=dict(record.metadata)), run_copy(pending()))
    assert (again.handling, again.work) == (RescueHandling.LEFT_ALONE, None)
    later = RenewalState.model_validate({"period": "2026-04-01T06:00Z"}).written_into({}, RESCUE_KEY)
    for fresh in (failed(metadata={"perennial": {}}), failed(metadata=dict(record.metadata)), failed(metadata=later)):
        assert record_of_rescue(result, fresh) is None


def test_a_policy_that_cancels_holds_instead_because_the_engine_goes_on_with_the_subscription():
    policy = Policy(payment_retries=[], final_action=FinalAction.CANCEL)
    assert plan(failed(), run_copy(pending()), policy=policy).handling is RescueHandling.NEEDS_PERSON
    skipping = Policy(payment_retries=[], final_action=FinalAction.SKIP_PERIOD)
    assert plan(failed(), run_copy(pending()), policy=skipping).handling is RescueHandling.LEFT_ALONE


def test_the_review_of_a_sweep_keeps_the_unplaced_order_of_a_rescue_until_the_engine_runs_again():
    assert no_longer_wanted(failed(), RAN) is None
    assert no_longer_wanted(failed(last_run_at=RAN + DAY), RAN) is not None
    assert no_longer_wanted(failed(status="cancelled"), RAN) is not None


def test_what_a_rescue_made_is_not_mistaken_for_a_renewal_later():
    marked = {"perennial": {"subscription_id": "SubAbcdefg", "period": "2026-02-01T06:00Z", "rescue": True}}
    assert placed_without_copy(planned(), [order("placed", metadata=marked, created_at=RAN)]) is None
    unmarked = {"perennial": {**marked["perennial"], "rescue": False}}
    assert placed_without_copy(planned(), [order("placed", metadata=unmarked, created_at=RAN)]) is not None

    paused = failed(status="inactive", next_run_at=RAN + DAY)
    ours = copy(REFERENCE, "completed", order("placed"), metadata=marked)
    later = RAN + timedelta(days=9)
    assert lost_metadata(paused, [ours], later, WatchLimits()) is None
    unmarked_copy = ours.model_copy(update={"metadata": unmarked})
    assert lost_metadata(paused.model_copy(update={"last_run_at": None}), [unmarked_copy], later, WatchLimits())


def test_the_watch_does_not_call_the_order_of_a_waiting_rescue_forgotten():
    ours = copy(REFERENCE, "completed", pending())
    waiting = RenewalState.model_validate({"period": "2026-03-01T06:00Z", "order_copy_id": ours.id})
    one = failed(metadata=waiting.written_into({}, RESCUE_KEY))
    work = OpenWork.of(one, POLICY, SOON)
    assert work is not None
    assert left_unplaced(ours, {one.id: work}) is None
    assert OpenWork.of(failed(), POLICY, SOON) is None
    assert left_unplaced(ours, {}) is not None


ORDERS = st.sampled_from(["none", "draft", "pending", "placing", "placed", "approved", "cancelled", "editing", "odd"])
STATUSES = st.sampled_from(["failed", "aborted", "completed", "pending", "in_progress"])


def made(name: str, kind: str) -> Order | None:
    return None if kind == "none" else order(kind, id=name, total_amount_with_taxes_cents=1000, currency_code="EUR")


@given(
    native=st.tuples(STATUSES, ORDERS), ours=st.lists(st.tuples(STATUSES, ORDERS), max_size=3),
    minutes=st.integers(0, 60 * 24 * 29), release=st.booleans(),
)  # fmt: skip
def test_whatever_copies_there_are_nothing_is_charged_twice_and_no_copy_is_made_beside_an_order(
    native: tuple[str, str],
    ours: list[tuple[str, str]],
    minutes: int,
    release: bool,  # noqa: FBT001 - drawn by the property
) -> None:
    now = SOON + timedelta(minutes=minutes)
    copies = [run_copy(made("NatOrderId", native[1]), status=native[0])]
    for number, (status, kind) in enumerate(ours):
        fields = {"id": f"OurAbcdef{number}", "created_at": RAN + timedelta(minutes=number + 1)}
        copies.append(copy(REFERENCE, status, made(f"OurOrder{number}", kind), source_order=SOURCE, **fields))
    row = plan(failed(), *copies, now=now, release=release)
    if row.work is None:
        return
    action = next_action(row.work, row.work.found, now)
    all_of_it = CopiesOfPeriod.of(row.work.found)
    assert not all_of_it.placed
    if isinstance(action, Create):
        assert not all_of_it.live
    if isinstance(action, Place):
        assert action.copy == all_of_it.canonical
        assert action.order.status in {"draft", "pending"}
