"""Which subscriptions have an open failure, in which order people see them, and what they are told to do."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rules.making import POLICY, at, order, subscription

from flows.rules.dashboard_links import Dashboard
from flows.rules.open_failure_reports import ROWS_SHOWN, SPREADSHEET_COLUMNS, OpenFailureReport, attempts_cell
from flows.rules.open_failures import Awaited, OpenFailure, open_failure, unreadable_failure, worst_first

NOW = at("2026-03-01T07:00")
DECLINED = {
    "period": "2026-03-01T06:00Z", "outcome": "retry_scheduled", "attempt": 2, "failures": {"payment": 2},
    "error_class": "payment", "error": "Your card was declined", "next_attempt_at": "2026-03-02T06:00Z",
    "target_order_id": "TgtAbcdefg", "order_copy_id": "CpyAbcdefb",
}  # fmt: skip
HELD = {**DECLINED, "outcome": "needs_attention", "next_attempt_at": None, "held": True}


def failure(state=None, policy=POLICY, as_of=NOW, **fields):
    return open_failure(subscription(state, **fields), policy, as_of)


def test_a_retry_that_waits_is_open_with_its_words_its_attempts_and_its_next_attempt():
    found = failure(DECLINED, customer_email="ann@example.com")
    assert found == OpenFailure(
        "SubAbcdefg", Awaited.ITS_NEXT_ATTEMPT, "payment", "nothing: next attempt Mon 2 Mar 06:00 UTC",
        said="Your card was declined", attempts=2, attempts_allowed=5, next_attempt_at=at("2026-03-02T06:00"),
        since=at("2026-03-01T06:00"), customer_email="ann@example.com", order_id="TgtAbcdefg",
        source_order_id="SrcAbcdefg",
    )  # fmt: skip
    assert attempts_cell(found) == "2 of 5"


def test_the_attempts_are_counted_by_the_policy_of_the_subscription_itself():
    assert attempts_cell(failure({**DECLINED, "policy": {"payment_retries": ["1d", "2d"]}})) == "2 of 3"


def test_a_class_that_this_version_does_not_know_hides_no_retry():
    found = failure({**DECLINED, "error_class": "solar_flare"})
    assert (found.failure_class, found.attempts_allowed, attempts_cell(found)) == ("solar_flare", None, "2")


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ({}, "ask the customer for another card"),
        ({"price_to_accept": {"cents": 900, "currency": "EUR"}, "error_class": None}, "correct the price"),
        ({"error_class": "stock"}, "remove the cause, then `perennial adopt --release --apply SubAbcdefg`"),
        ({"error_class": None, "error": None}, "it was held by hand"),
    ],
)
def test_a_held_subscription_says_what_a_person_must_do(state, words):
    found = failure({**HELD, **state})
    assert found.awaits is Awaited.A_PERSON
    assert found.what_to_do.startswith(words)
    assert "--release --apply SubAbcdefg" in found.what_to_do
    assert found.next_attempt_at is None


def test_a_hold_by_hand_after_a_settled_period_is_open_without_the_words_of_another_period():
    done = {"period": "2026-02-01T06:00Z", "done_through": "2026-02-01T06:00Z", "outcome": "renewed", "held": True}
    found = failure({**done, "target_order_id": "OldAbcdefg", "attempt": 1}, next_run_at="2026-04-01T06:00:00Z")
    assert (found.failure_class, found.said, found.attempts, found.order_id) == ("held by hand", "", 0, None)


@pytest.mark.parametrize(
    ("state", "fields"),
    [
        ({}, {}),  # due, and no sweep was there yet
        ({"done_through": "2026-03-01T06:00Z"}, {"next_run_at": "2026-04-01T06:00:00Z"}),
        (DECLINED, {"next_run_at": "2026-03-09T06:00:00Z"}),  # postponed
        ({**DECLINED, "paused": True}, {}),
        (HELD, {"status": "cancelled"}),
        (DECLINED, {"expires_at": "2026-02-28T06:00:00Z"}),
        ({"period": "2026-03-01T06:00Z", "outcome": "placing", "attempt": 1}, {}),  # a run is at work on it
        ({"period": "2026-03-01T06:00Z", "outcome": "in_progress", "under_way_since": "2026-03-01T06:30Z"}, {}),
        ({}, {"metadata": {}}),
        ({}, {"frequency": "sometimes", "next_run_at": "2026-03-09T06:00:00Z"}),  # no sweep has come to it
        ({}, {"next_run_at": "9999-12-31T00:00:00Z"}),  # never
        ({}, {"metadata": {}, "tags": [{"name": "perennial"}], "status": "active"}),  # another engine renews it
    ],
)
def test_what_is_settled_postponed_paused_ended_or_just_under_way_is_no_open_failure(state, fields):
    assert failure(state, **fields) is None


@pytest.mark.parametrize(
    ("fields", "cls"),
    [
        ({"status": "active"}, "second engine"),
        ({"next_run_at": None}, "no next run"),
        ({"source_order_id": None}, "no source order"),
        ({"frequency": "sometimes"}, "unknown frequency"),
        ({"metadata": {"perennial": 7}}, "damaged"),
        ({"metadata": {}, "tags": [{"name": "perennial"}]}, "state lost"),
    ],
)
def test_an_adopted_subscription_that_no_sweep_can_renew_waits_for_a_person(fields, cls):
    found = failure({}, **fields)
    assert (found.awaits, found.failure_class) == (Awaited.A_PERSON, cls)
    assert found.what_to_do


def test_a_retry_that_is_due_waits_for_the_next_sweep():
    found = failure(DECLINED, as_of=at("2026-03-02T06:05"))
    assert (found.awaits, found.what_to_do) == (Awaited.THE_NEXT_SWEEP, "nothing: the next sweep goes on with it")


def test_a_period_that_no_sweep_has_settled_for_a_day_waits_for_a_person():
    state = {"period": "2026-03-01T06:00Z", "outcome": "in_progress", "under_way_since": "2026-03-01T06:30Z"}
    assert failure(state, as_of=at("2026-03-02T06:29")) is None
    found = failure(state, as_of=at("2026-03-02T06:30"))
    assert (found.awaits, found.failure_class) == (Awaited.A_PERSON, "in progress")
    assert "`perennial explain SubAbcdefg`" in found.what_to_do


def test_an_order_that_was_paid_meanwhile_leaves_nothing_to_do_for_a_person():
    paid = order(id="TgtAbcdefg", number="1001", total_amount_with_taxes_cents=1200, currency_code="EUR")
    found = failure(HELD).with_order(paid)
    assert (found.awaits, found.amount_cents, found.currency_code) == (Awaited.THE_NEXT_SWEEP, 1200, "EUR")
    assert found.what_to_do == "its order #1001 is placed: the next sweep records it"


def test_without_an_order_of_its_own_the_source_order_says_what_is_at_stake():
    source = order(id="SrcAbcdefg", number="7", total_amount_with_taxes_cents=900, currency_code="EUR")
    open_one = failure({**HELD, "target_order_id": None})
    assert open_one.priced_by == "SrcAbcdefg"
    found = open_one.with_order(source)
    assert (found.awaits, found.amount_cents, found.order_number) == (Awaited.A_PERSON, 900, None)


def made(subscription_id, awaits=Awaited.A_PERSON, cents=None, currency=None):
    return OpenFailure(subscription_id, awaits, "payment", "", amount_cents=cents, currency_code=currency)


def test_what_waits_for_a_person_comes_first_then_the_most_valuable():
    some = [
        made("waits", Awaited.ITS_NEXT_ATTEMPT, 99_900, "EUR"), made("unknown"),
        made("small", cents=500, currency="EUR"), made("large", cents=5000, currency="EUR"),
        made("yen", cents=9000, currency="JPY"),
    ]  # fmt: skip
    assert [each.subscription_id for each in worst_first(some)] == ["large", "small", "yen", "unknown", "waits"]


@given(
    st.lists(
        st.builds(
            made, st.text(max_size=3), st.sampled_from(Awaited), st.none() | st.integers(0, 9),
            st.none() | st.sampled_from(["EUR", "USD"]),
        )
    )
)  # fmt: skip
def test_the_order_loses_nothing_and_no_amount_is_behind_a_smaller_one_of_its_currency(failures):
    ordered = worst_first(failures)
    assert sorted(map(repr, ordered)) == sorted(map(repr, failures))
    assert [each.awaits for each in ordered] == sorted(each.awaits for each in failures)
    for kind in {(each.awaits, each.currency_code) for each in failures}:
        cents = [each.amount_cents for each in ordered if (each.awaits, each.currency_code) == kind]
        assert cents == sorted(cents, key=lambda cent: (cent is None, -(cent or 0)))


def report(*failures):
    return OpenFailureReport(NOW, Dashboard("acme", "test"), worst_first(failures))


def test_the_sentence_counts_what_waits_and_what_is_at_stake():
    some = report(
        made("a", cents=1000, currency="EUR"), made("b", Awaited.ITS_NEXT_ATTEMPT, 500, "EUR"),
        made("c", Awaited.ITS_NEXT_ATTEMPT, 700, "JPY"), made("d", Awaited.THE_NEXT_SWEEP),
    )  # fmt: skip
    assert some.sentence == (
        "4 open failures: 1 waits for a person, 1 waits for the next sweep, 2 wait for their next attempt; "
        "15.00 EUR, 700 JPY at stake"
    )
    assert some.for_a_person == 1
    assert report().sentence == "no failure is open"


def test_the_table_escapes_what_comes_from_outside_and_says_how_many_more_there_are():
    odd = OpenFailure("s", Awaited.A_PERSON, "payment", "act", said="<b>[link](http://x)</b>", customer_email="*a*@b.c")
    (row,) = report(odd).table_rows
    assert "<b>" not in row["said by the shop"]
    assert row["customer"] == r"\*a\*@b.c"
    assert row["in Commerce Layer"] == "https://dashboard.commercelayer.io/test/acme/apps/subscriptions/list/s"
    rows = report(*(made(str(number)) for number in range(ROWS_SHOWN + 3))).table_rows
    assert len(rows) == ROWS_SHOWN + 1
    assert rows[-1]["what to do"] == "and 3 more: `perennial failed` lists all"


def test_a_row_for_a_spreadsheet_has_a_cell_for_each_column():
    found = failure(DECLINED, customer_email="ann@example.com").with_order(
        order("pending", id="TgtAbcdefg", total_amount_with_taxes_cents=123_450, currency_code="EUR")
    )
    (cells,) = report(found).spreadsheet_rows
    assert tuple(cells) == SPREADSHEET_COLUMNS
    assert (cells["amount"], cells["currency"], cells["attempts"], cells["attempts_allowed"]) == (
        "1234.50", "EUR", "2", "5",
    )  # fmt: skip
    assert (cells["next_attempt_at"], cells["open_since"]) == ("2026-03-02T06:00Z", "2026-03-01T06:00Z")
    assert cells["order_link"].endswith("/apps/orders/list/TgtAbcdefg")


def test_a_subscription_that_cannot_be_read_waits_for_a_person():
    found = unreadable_failure("SubAbcdefg", ValueError("odd"))
    assert (found.awaits, found.failure_class) == (Awaited.A_PERSON, "not readable")


def test_a_policy_of_its_own_that_cannot_be_used_waits_for_a_person():
    found = failure({**DECLINED, "policy": {"payment_retries": "never"}})
    assert (found.awaits, found.failure_class) == (Awaited.A_PERSON, "bad policy")
