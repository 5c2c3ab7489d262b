"""Which order copies are made ahead, what they tell, and whether they are used when they are due."""

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rules.making import POLICY, at, copy, order, subscription

from blocks.commerce_layer.errors import NotConnected, error_for_answer
from blocks.commerce_layer.resources import OrderCopy
from flows.rules.findings import CopyEnded, HeldBack, NotCreated, StillRunning
from flows.rules.next_action import Conclude, Create, Hold, HoldReason, Place, next_action
from flows.rules.overwritten import as_the_shop_tells
from flows.rules.prepared_copies import SOON, has_failed_ahead, is_prepared, may_have_been_tried
from flows.rules.preparing import (
    PreparedAhead,
    known_ahead,
    no_longer_prepared_for,
    of_another_source,
    out_of_date,
    preparation_of,
    to_prepare,
    without_failed_copies,
)
from flows.rules.renewal import Renewal, Skipped, SkipReason, plan
from flows.rules.watch_orders import OpenWork, left_unplaced

DUE = at("2026-03-01T06:00")
REF = "SubAbcdefg@2026-03-01T06:00Z"
PREPARED_AT = "2026-02-28T10:00:00Z"
YESTERDAY = at("2026-02-28T10:00")
BEFORE = "2026-02-20T06:00:00Z"


def prepared(status: str = "completed", target: Any = "pending", **fields: Any) -> OrderCopy:
    """A copy made the day before, of a source order that has not changed since."""
    if target == "pending":
        target = order("pending", updated_at=PREPARED_AT, payment_source_id="Pay1", total_amount_with_taxes_cents=1000,
                       currency_code="EUR", errors_count=0)  # fmt: skip
    source = order(id="SrcAbcdefg", updated_at=BEFORE, total_amount_with_taxes_cents=1000, currency_code="EUR")
    given = {"created_at": PREPARED_AT, "source_order": source}
    return copy(REF, status, target, **given | fields)


def one(**fields: Any) -> Any:
    return subscription(**{"updated_at": BEFORE, **fields})


def renewal(*found: OrderCopy, **fields: Any) -> Renewal:
    planned = plan(one(**fields), POLICY, DUE)
    assert isinstance(planned, Renewal)
    return without_failed_copies(planned, found, at("2026-01-01"))


def test_what_is_prepared_is_what_a_sweep_at_its_date_renews():
    found = to_prepare(one(), POLICY, YESTERDAY)

    assert found == plan(one(), POLICY, DUE)


@given(hours=st.integers(0, 24 * 40), frequency=st.sampled_from(["hourly", "daily", "weekly", "monthly", "yearly"]))
def test_only_a_period_in_the_future_is_prepared_and_it_is_the_one_at_the_date(hours: int, frequency: str):
    now = DUE - timedelta(hours=20) + timedelta(hours=hours)
    found = to_prepare(one(frequency=frequency), POLICY, now)

    if isinstance(found, Renewal):
        assert found.due == DUE > now + SOON
        assert found.state.attempt == 0
    else:
        assert found is None


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"status": "cancelled"}, SkipReason.CANCELLED),
        ({"state": {"paused": True}}, SkipReason.PAUSED),
        ({"state": {"held": True}}, SkipReason.HELD),
        ({"expires_at": "2026-03-01T06:00:00Z"}, SkipReason.EXPIRED),
        ({"metadata": {}}, SkipReason.NOT_ADOPTED),
        ({"frequency": "sometimes"}, SkipReason.UNKNOWN_FREQUENCY),
    ],
)
def test_what_its_sweep_would_leave_alone_is_not_prepared(fields: dict[str, Any], reason: SkipReason):
    found = to_prepare(one(**fields), POLICY, YESTERDAY)

    assert isinstance(found, Skipped)
    assert found.reason is reason


@pytest.mark.parametrize(
    "state",
    [
        {"period": "2026-03-01T06:00Z", "outcome": "retry_scheduled", "attempt": 1},
        {"period": "2026-02-01T06:00Z", "outcome": "retry_scheduled", "attempt": 1},
    ],
)
def test_a_period_that_was_begun_is_not_prepared(state: dict[str, Any]):
    assert to_prepare(one(state=state), POLICY, YESTERDAY) is None


def test_a_copy_that_the_first_look_would_not_find_is_not_made():
    settled = {"done_through": "2026-02-28T12:00Z", "period": "2026-02-28T12:00Z", "outcome": "renewed"}
    daily = one(frequency="daily", state=settled, starts_at="2026-01-01T06:00:00Z")

    assert to_prepare(daily, POLICY, at("2026-02-28T11:00")) is None


def test_a_copy_of_a_sweep_that_runs_five_minutes_early_is_not_a_prepared_one():
    assert is_prepared(prepared(), DUE)
    assert not is_prepared(prepared(created_at="2026-03-01T05:55:00Z"), DUE)
    assert not is_prepared(prepared(created_at=None), DUE)


# --- failures ahead ---------------------------------------------------------------------------------


def test_a_copy_that_failed_ahead_does_not_count_when_it_is_due():
    failed = prepared("failed", None, errors_log={"line_items": ["is out of stock"]})
    due = renewal(failed)

    assert next_action(due, due.found, YESTERDAY) == Conclude(failed)
    assert next_action(due, due.found, DUE) == Create(REF)
    assert as_the_shop_tells(due, [], DUE) == due


def test_a_recorded_failure_and_one_made_when_it_was_due_count():
    failed = prepared("failed", None)
    state = renewal().state

    assert has_failed_ahead(failed, DUE, state)
    assert not has_failed_ahead(failed, DUE, state.model_copy(update={"order_copy_id": failed.id}))
    assert not has_failed_ahead(copy(REF, "failed"), DUE, state)
    assert not has_failed_ahead(prepared("failed", None, place_target_order=True), DUE, state)


def test_what_failed_ahead_is_made_again_after_a_while():
    failed = prepared("failed", None)

    assert without_failed_copies(renewal(), [failed], at("2026-02-28T09:00")).found == (failed,)
    assert without_failed_copies(renewal(), [failed], at("2026-02-28T11:00")).found == ()


# --- what is known ahead ----------------------------------------------------------------------------


def test_what_copies_show_is_known_and_what_is_under_way_is_not():
    waiting, running = prepared(), prepared("in_progress", None)

    assert known_ahead(next_action(renewal(waiting), [waiting], YESTERDAY)) == Place(waiting, waiting.target_order, 1)
    assert known_ahead(next_action(renewal(running), [running], YESTERDAY)) is None
    assert known_ahead(Create(REF)) is None


READY = prepared()
OUT_OF_STOCK = prepared("failed", None, errors_log={"line_items": ["is out of stock"]})
REFUSED = error_for_answer(422, (), "POST", "/api/order_copies")


@pytest.mark.parametrize(
    ("found", "sentence", "flags"),
    [
        (Place(READY, READY.target_order, 1), "ready: order #1001 for 10.00 EUR", (True, False)),
        (CopyEnded(OUT_OF_STOCK), "out of stock", (False, True)),
        (CopyEnded(prepared(target=order())), "placed already: order #1001 for an unknown amount", (True, False)),
        (StillRunning(prepared("in_progress", None)), "order copy CpyAbcdefb is still in_progress", (False, False)),
        (NotCreated(NotConnected("POST", "/api/order_copies", "no route")), None, (False, False)),
        (NotCreated(REFUSED), None, (False, True)),
        (HeldBack(Hold(HoldReason.TARGET_CANCELLED, "it was cancelled")), "it was cancelled", (False, True)),
        (HeldBack(Hold(HoldReason.ATTEMPT_LIMIT, "not before", until=DUE)), "not before", (False, False)),
    ],
)
def test_what_is_known_is_said_in_words(found: Any, sentence: str | None, flags: tuple[bool, bool]):
    told = preparation_of(renewal(READY, customer_payment_source_id=None), found)

    assert sentence is None or told.sentence == sentence
    assert (told.is_ready, told.will_fail) == flags


def test_an_order_at_another_price_or_without_a_card_will_fail():
    cheap = order("pending", payment_source_id=None, total_amount_with_taxes_cents=1000, currency_code="EUR")
    dear = cheap.model_copy(update={"total_amount_with_taxes_cents": 1500})
    due = renewal(prepared(), customer_payment_source_id=None)

    no_card, other_price = (preparation_of(due, Place(prepared(target=each), each, 1)) for each in (cheap, dear))

    assert (no_card.will_fail, no_card.failure_class) == (True, "payment")
    assert (other_price.will_fail, other_price.failure_class) == (True, "catalogue")
    assert other_price.sentence == "its order costs 15.00 EUR instead of 10.00 EUR (price_tolerance is 0 %)"


def test_the_counts_are_said_in_words():
    assert PreparedAhead(ready=118, will_fail=2).sentence == "prepared ahead: 118 ready, 2 will fail"
    assert PreparedAhead(not_known=1).sentence == "prepared ahead: 1 not known yet"
    assert PreparedAhead().sentence == "prepared ahead: none"


# --- when it is due ---------------------------------------------------------------------------------


def test_a_prepared_order_is_used_if_nothing_has_changed():
    assert out_of_date(renewal(prepared()), one()) is None
    assert of_another_source(renewal(prepared()), prepared()) is None


LATER = "2026-02-28T10:00:01Z"


@pytest.mark.parametrize(
    ("found", "fields", "words"),
    [
        (prepared(), {"updated_at": LATER}, "the subscription was changed"),
        (prepared(), {"updated_at": None}, "the subscription was changed"),
        (prepared(source_order=order(id="SrcAbcdefg", updated_at=LATER)), {}, "its source order was changed"),
        (prepared(source_order=None), {}, "its source order was changed"),
        (prepared(source_order_id="SrcAnother"), {}, "made of order SrcAnother"),
        (
            prepared(target=order("pending", total_amount_with_taxes_cents=1500, currency_code="EUR")), {},
            "costs 15.00 EUR instead of 10.00 EUR",
        ),
    ],
)  # fmt: skip
def test_a_prepared_order_is_not_used_if_something_has_changed(found: OrderCopy, fields: dict[str, Any], words: str):
    stale = out_of_date(renewal(found), one(**fields))

    assert stale is not None
    assert (stale.copy, words in stale.why) == (found, True)
    assert stale.is_of_other_terms is ("costs" not in words)


@pytest.mark.parametrize(
    "found",
    [
        copy(REF, target=order("pending")),
        prepared("in_progress", None),
        prepared(target=order("placed")),
        prepared(target=order("placing")),
        prepared(target=order("cancelled")),
        prepared(target=order("pending", payment_status="authorized")),
        prepared(target=order("pending", errors_count=1)),
    ],
    ids=["made when due", "not done", "placed", "being placed", "cancelled", "confirmed", "declined"],
)
def test_an_order_that_was_not_prepared_or_is_not_untouched_is_never_out_of_date(found: OrderCopy):
    assert out_of_date(renewal(found), one(updated_at=LATER)) is None


def test_an_attempt_on_a_prepared_order_is_announced_as_soon_as_there_may_have_been_one():
    found, state = prepared(), renewal().state
    untouched = found.target_order
    assert untouched is not None

    def told(**changes: Any) -> bool:
        changed = untouched.model_copy(update=changes)
        return may_have_been_tried(found.model_copy(update={"target_order": changed}), changed, DUE, state)

    assert not told()
    assert told(errors_count=1)
    assert told(updated_at=DUE)
    assert told(updated_at=None)
    assert may_have_been_tried(found, untouched, DUE, state.model_copy(update={"attempt": 1}))
    assert may_have_been_tried(found, untouched, DUE, state.model_copy(update={"order_copy_id": found.id}))
    assert may_have_been_tried(copy(REF, target=untouched), untouched, DUE, state)


# --- orders that nothing waits for ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({}, None),
        ({"metadata": {}}, SkipReason.NOT_ADOPTED),
        ({"state": {"held": True}}, SkipReason.HELD),
        ({"next_run_at": "2026-03-02T06:00:00Z"}, SkipReason.NOT_DUE),
        ({"next_run_at": None}, SkipReason.NOT_DUE),
        ({"expires_at": "2026-03-01T06:00:00Z"}, SkipReason.EXPIRED),
        ({"metadata": {"perennial": {"v": "broken"}}}, None),
    ],
)
def test_a_prepared_order_is_withdrawn_once_no_renewal_will_use_it(fields: dict[str, Any], reason: SkipReason | None):
    refusal = no_longer_prepared_for(one(**fields), prepared(), DUE)

    assert (refusal and refusal[0]) == reason


def test_an_order_that_was_attempted_waits_for_its_retry_even_if_the_date_was_moved():
    state = {"period": "2026-03-01T06:00Z", "outcome": "retry_scheduled", "attempt": 1, "order_copy_id": "CpyAbcdefb"}

    assert no_longer_prepared_for(one(state=state, next_run_at="2026-03-02T06:00:00Z"), prepared(), DUE) is None
    assert (
        no_longer_prepared_for(one(next_run_at="2026-03-02T06:00:00Z"), copy(REF, target=order("pending")), DUE) is None
    )


def test_the_watch_does_not_mind_an_order_that_waits_for_its_date():
    known = {"SubAbcdefg": OpenWork.of(one(), POLICY, YESTERDAY)}
    moved = {"SubAbcdefg": OpenWork.of(one(next_run_at="2026-03-05T06:00:00Z"), POLICY, YESTERDAY)}

    assert left_unplaced(prepared(), known) is None
    assert left_unplaced(prepared(), moved) is not None
