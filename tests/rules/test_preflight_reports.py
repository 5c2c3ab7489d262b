"""The sentence, the table and the data of a preflight, and the comparison of an earlier one with what happened."""

from __future__ import annotations

import json
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from rules.making import at, copy, order, subscription

from flows.rules.dashboard_links import Dashboard
from flows.rules.predictions import Expected, Prediction
from flows.rules.preflight import NoSuchSpan, Preflight, end_of_preflight
from flows.rules.preflight_comparison import (
    KEPT,
    Happened,
    KeptPrediction,
    orders_by_reference,
    was_foreseeable,
    why_not_renewed,
)
from flows.rules.preflight_limits import TimeNeeded

ROME = ZoneInfo("Europe/Rome")
NOW = at("2026-03-01T12:00")


def renewal(number: int, expected: Expected = Expected.RENEWED, cents: int | None = 1000, **fields) -> Prediction:
    given = {"reference": f"Sub{number:07}@2026-03-02T06:00Z", "at": at("2026-03-02T06:00"), **fields}
    return Prediction(subscription_id=f"Sub{number:07}", expected=expected, cents=cents, currency="EUR", **given)


def preflight(*predictions: Prediction, **fields) -> Preflight:
    time = TimeNeeded(writes=3, per_minute=100, seconds=(5, 67))
    given = {"subscriptions": len(predictions), "predictions": predictions, "time": time, **fields}
    return Preflight(NOW, at("2026-03-02T23:00"), ROME, Dashboard("acme", "test"), **given)


@pytest.mark.parametrize(
    ("until", "end"),
    [
        (None, "2026-03-02T23:00"),
        (date(2026, 3, 1), "2026-03-01T23:00"),
        (date(2026, 3, 29), "2026-03-29T22:00"),
        (at("2026-03-05T06:30"), "2026-03-05T06:30"),
        (datetime(2026, 3, 5, 6, 30), "2026-03-05T06:30"),  # noqa: DTZ001 - as a form may send it
    ],
)
def test_a_preflight_ends_with_a_day_where_the_merchant_is_or_at_an_instant(until, end):
    assert end_of_preflight(until, NOW, ROME) == at(end)


@pytest.mark.parametrize(
    ("until", "said"),
    [
        (date(2026, 2, 28), "until is 2026-02-28, which is over (it is Sun 1 Mar 13:00 CET 2026): give a later one."),
        (NOW, "until is 2026-03-01 12:00 UTC, which is over"),
        (date(2027, 3, 1), "until is 2027-03-01, more than 62 days ahead"),
    ],
)
def test_an_end_in_the_past_or_too_far_ahead_is_refused(until, said):
    with pytest.raises(NoSuchSpan) as refused:
        end_of_preflight(until, NOW, ROME)

    assert str(refused.value).startswith(said)


def test_the_sentence_counts_adds_up_and_begins_with_what_matters():
    found = preflight(
        renewal(1), renewal(2), renewal(3, Expected.FAILED), renewal(4, Expected.NOT_CHARGED),
        caps=["2026-03-02: 1 of 2 renewals fit into max_renewals_per_day (1)"],
    )  # fmt: skip

    assert found.sentence == (
        "2026-03-02: 1 of 2 renewals fit into max_renewals_per_day (1); 4 renewals until Tue 3 Mar 00:00 CET 2026: "
        "2 expected to succeed for 20.00 EUR, 1 to fail, 1 not to be charged; 5 to 67 s for 3 writes at 100 a minute"
    )
    assert found.needs_person
    assert not found.is_fine


def test_what_stops_a_sweep_comes_first_and_needs_a_person():
    stopped = preflight(renewal(1), stopped="charging is stopped: wrong prices", unread=("cards cannot be read",))
    braked = preflight(renewal(1), brake="the brake stops the sweep")

    assert stopped.sentence.startswith("charging is stopped: wrong prices; cards cannot be read; 1 renewal until ")
    assert braked.sentence.startswith("the brake stops the sweep; 1 renewal until ")
    assert [each.needs_person for each in (stopped, braked, preflight(renewal(1)))] == [True, True, False]


def test_a_shop_in_which_nothing_comes_due_is_fine():
    assert preflight().sentence == "0 renewals until Tue 3 Mar 00:00 CET 2026"
    assert preflight().is_fine
    assert json.loads(json.dumps(preflight().facts))["renewals"] == []


def test_the_table_shows_the_worst_first_and_escapes_what_comes_from_outside():
    found = preflight(renewal(1), renewal(2, Expected.FAILED, sentence="[click](http://evil)"))

    rows = found.table_rows
    assert [row["expected"] for row in rows] == ["failed", "renewed"]
    assert rows[0]["why"] == "\\[click\\](http\\://evil)"
    assert found.by_day == [(date(2026, 3, 2), {Expected.RENEWED: 1, Expected.FAILED: 1}, {"EUR": 1000})]


def placed(number: int, seconds: int, cents: int = 1000):
    at_that_moment = NOW + timedelta(hours=18, seconds=seconds)
    target = order(
        id=f"Ord{number}", placed_at=at_that_moment, total_amount_with_taxes_cents=cents, currency_code="EUR"
    )
    return copy(f"Sub{number:07}@2026-03-02T06:00Z", target=target, id=f"Cpy{number}")


def happened(kept: KeptPrediction, *copies, why=None) -> Happened:
    orders = orders_by_reference(copies)
    known = {each: orders[each] for each in kept.references if each in orders}
    others = {each: order for each, order in orders.items() if each not in known and was_foreseeable(order, kept)}
    return Happened(kept, known, others, why or {})


def test_a_prediction_that_came_true_says_so():
    kept = KeptPrediction.of(preflight(renewal(1), renewal(2, Expected.FAILED)), "run-1", None)

    came = happened(kept, placed(1, 0))

    assert came.sentence == (
        "predicted 1 renewed and 1 not, 10.00 EUR in 5 to 67 s; happened: 1 renewed and 1 not, 10.00 EUR in 0 s; "
        "all as predicted"
    )
    assert came.table_rows == []


def test_the_error_in_amount_failures_and_time_is_told():
    predictions = (renewal(1), renewal(2), renewal(3, Expected.FAILED), renewal(4))
    kept = KeptPrediction.of(preflight(*predictions), "run-1", None)

    came = happened(
        KeptPrediction.model_validate(json.loads(kept.model_dump_json())), placed(1, 0), placed(3, 40),
        placed(4, 80, cents=900), placed(9, 3600), why={"Sub0000002@2026-03-02T06:00Z": "card declined"},
    )  # fmt: skip

    assert came.sentence == (
        "predicted 3 renewed and 1 not, 30.00 EUR in 5 to 67 s; happened: 4 renewed and 1 not, 39.00 EUR in 80 s; "
        "4 otherwise than predicted, +9.00 EUR"
    )
    assert [(each.reference[:10], each.predicted, each.happened, each.why) for each in came.differences] == [
        ("Sub0000002", "renewed 10.00 EUR", "not renewed", "card declined"),
        ("Sub0000003", "failed 10.00 EUR", "renewed 10.00 EUR", ""),
        ("Sub0000004", "renewed 10.00 EUR", "renewed 9.00 EUR", ""),
        ("Sub0000009", "", "renewed 10.00 EUR", ""),
    ]


def test_an_order_that_was_placed_after_the_span_for_another_renewal_does_not_count():
    kept = KeptPrediction.of(preflight(renewal(1)), "run-1", None)

    assert happened(kept, placed(1, 0), placed(2, 86_400)).sentence.endswith("all as predicted")


def test_no_more_is_kept_than_can_be_compared():
    kept = KeptPrediction.of(preflight(*(renewal(number) for number in range(KEPT + 2))), "run-1", None)

    assert (len(kept.renewals), kept.left_out) == (KEPT, 2)
    came = happened(kept, placed(KEPT, 0))
    assert "(and 2 more, which were not kept)" in came.sentence
    assert came.unforeseen == {}, "it is one of those that were not kept"


@pytest.mark.parametrize(
    ("one", "why"),
    [
        (None, "the subscription does not exist any more"),
        (subscription(status="cancelled"), "the subscription is cancelled"),
        (subscription({"paused": True}), "it is paused; `perennial resume` lets it go on"),
        (
            subscription({"period": "2026-03-01T06:00Z", "error_class": "payment", "error": "Your card was declined."}),
            "card declined",
        ),
        (subscription(), "no attempt is recorded"),
    ],
    ids=["gone", "cancelled", "paused", "declined", "untouched"],
)
def test_a_missed_renewal_says_why(one, why):
    assert why_not_renewed(one) == why
