"""What each observation of a probe means."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from blocks.commerce_layer.resources import CustomerPaymentSource, Order, OrderCopy, OrderSubscription
from flows.rules import observations
from flows.rules.observations import Cards, Payer
from flows.rules.probing import SWITCHES, Found, NoAnswer, Question, not_found_out, settings_of

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
OLD, MIDDLE, NEW = (
    CustomerPaymentSource(id=name, payment_source_token=f"pm_{name}") for name in ("old", "middle", "new")
)


def order(card: CustomerPaymentSource | None = None, **fields: Any) -> Order:
    details = None if card is None else {"payment_method_id": card.payment_source_token}
    return Order.model_validate({"id": "orderOrder", "payment_source_details": details, **fields})


def copy(starts: float, takes: float, **fields: Any) -> OrderCopy:
    started = NOON + timedelta(seconds=starts)
    times = {"created_at": NOON, "started_at": started, "completed_at": started + timedelta(seconds=takes)}
    return OrderCopy.model_validate({"id": "copyCopyCo", "status": "completed", **times, **fields})


def subscription(**fields: Any) -> OrderSubscription:
    return OrderSubscription.model_validate({"id": "subSubSubS", "frequency": "monthly", "status": "active", **fields})


@pytest.mark.parametrize(
    ("paid_with", "payer"),
    [(order(OLD), Payer.OF_ORDER), (order(NEW), Payer.OTHER), (order(MIDDLE), Payer.ANOTHER), (order(), Payer.NONE)],
)
def test_the_payer_is_told_by_the_token_of_the_card(paid_with: Order, payer: Payer) -> None:
    assert observations.payer_of(paid_with, Cards(OLD, NEW)) is payer


@pytest.mark.parametrize(
    ("wallet", "template", "spare", "chosen"),
    [
        ([NEW, MIDDLE, OLD], order(MIDDLE), None, Cards(MIDDLE, NEW)),
        ([NEW, MIDDLE, OLD], order(NEW), None, Cards(OLD, NEW)),
        ([NEW, MIDDLE, OLD], order(MIDDLE), "old", Cards(OLD, NEW, may_be_deleted=True)),
        (
            [NEW],
            order(NEW),
            None,
            Cards(NEW, why_no_other="the wallet has only one card: save a second one at the ..."),
        ),
    ],
)
def test_the_source_order_is_paid_with_an_older_card(
    wallet: list[CustomerPaymentSource], template: Order, spare: str | None, chosen: Cards
) -> None:
    found = observations.chosen_cards(wallet, template, spare)

    assert (found.of_order, found.other, found.may_be_deleted) == (
        chosen.of_order, chosen.other, chosen.may_be_deleted
    )  # fmt: skip
    if chosen.other is None:
        with pytest.raises(NoAnswer, match="only one card"):
            found.one_and_other()


@pytest.mark.parametrize(("wallet", "spare"), [([], None), ([NEW, OLD], "new"), ([NEW, OLD], "gone")])
def test_a_wallet_that_cannot_be_used_is_refused(wallet: list[CustomerPaymentSource], spare: str | None) -> None:
    with pytest.raises(NoAnswer):
        observations.chosen_cards(wallet, order(OLD), spare)


@pytest.mark.parametrize(
    ("found", "value"),
    [
        (observations.copy_pays(Payer.OF_ORDER, Payer.OF_ORDER), "source-order"),
        (observations.copy_pays(Payer.OF_ORDER, Payer.OTHER), "subscription"),
        (observations.copy_pays(Payer.OTHER, Payer.OTHER), "newest"),
        (observations.copy_pays(Payer.ANOTHER, Payer.OTHER), "newest"),
        (observations.copy_pays(Payer.OTHER, Payer.OF_ORDER), None),
        (observations.copy_pays(Payer.NONE, Payer.NONE), None),
        (observations.missing_card(Payer.NONE, "source-order"), "pending"),
        (observations.missing_card(Payer.ANOTHER, "source-order"), "newest"),
        (observations.missing_card(Payer.OF_ORDER, "source-order"), None),
        (observations.missing_card(Payer.OTHER, "newest"), None),
        (observations.native_pays(Payer.OTHER), "subscription"),
        (observations.native_pays(Payer.OF_ORDER), "source-order"),
        (observations.native_pays(Payer.NONE), None),
        (observations.created_card(subscription(), Cards(OLD)), "none"),
        (observations.created_card(subscription(customer_payment_source_id="old"), Cards(OLD)), "source-order"),
        (observations.created_card(subscription(customer_payment_source_id="new"), Cards(OLD)), None),
        (observations.failed_target(copy(1, 1, status="failed", target_order=order(status="draft"))), "draft"),
        (observations.failed_target(copy(1, 1, status="failed", target_order=order(status="placed"))), None),
        (observations.failed_target(copy(1, 1, status="failed")), None),
        (observations.failed_target(copy(1, 1, target_order=order(status="placed"))), None),
        (observations.refused_place(order(metadata={"mark": True}), "mark"), "keeps"),
        (observations.refused_place(order(), "mark"), "rolls-back"),
        (observations.write_counters(9, 10), "per-method"),
        (observations.write_counters(10, 10), "shared"),
        (observations.write_counters(None, 10), None),
        (observations.past_expiry(subscription()), "keeps"),
        (observations.past_expiry(subscription(status="inactive")), "inactive"),
        (observations.past_expiry(subscription(status="cancelled")), None),
        (observations.place_of_mode({"mode": "test"}), "resource"),
        (observations.place_of_mode({"created_with_version": "2017-08"}), "document"),
        (observations.place_of_mode(None), "document"),
    ],
)
def test_an_observation_has_one_meaning_or_none(found: Found, value: str | None) -> None:
    assert found.value == value
    assert found.is_known == (value is not None)
    assert found.said.startswith("not found out: ") == (value is None)


@pytest.mark.parametrize(
    ("ran", "values"),
    [
        (subscription(status="pending"), ["on", None]),
        (subscription(succeeded_on_last_run=True, occurrencies=1), [None, None]),
        (subscription(succeeded_on_last_run=False, occurrencies=1), ["off", "runs"]),
        (subscription(succeeded_on_last_run=False, occurrencies=0), ["off", "successes"]),
    ],
)
def test_a_run_without_a_card_shows_what_is_counted(ran: OrderSubscription, values: list[str | None]) -> None:
    found = {each.question: each.value for each in observations.failing_run(ran)}

    assert [found[Question.WITHOUT_CARD], found[Question.OCCURRENCIES]] == values


def test_durations_are_averages_without_the_time_in_which_the_copy_could_not_be_read() -> None:
    found = observations.durations([copy(6, 1), copy(8, 3), OrderCopy(id="copyCopyCo", status="pending")], late=5)

    assert [each.value for each in found] == [2.0, 2.0, 0.5]
    assert observations.durations([copy(3, 0)], late=5)[0].value == 0
    assert [each.value for each in observations.durations([], late=0)] == [None, None, None]


def test_the_longest_time_until_something_could_be_read_counts() -> None:
    assert observations.seconds_until(Question.LIST_LAG, [0.0, 2.34]).value == 2.3
    assert observations.seconds_until(Question.LIST_LAG, [0.0]).said == "at once"
    assert not observations.seconds_until(Question.LIST_LAG, []).is_known


@pytest.mark.parametrize(
    ("times", "wrong", "switch"), [(1, False, "charges-once"), (2, True, "charges-again"), (0, False, None)]
)
def test_two_charges_of_one_order_are_wrong(times: int, wrong: bool, switch: str | None) -> None:  # noqa: FBT001 - a table
    found = observations.charged(times)

    assert (found.is_wrong, found.is_known, found.value) == (wrong, switch is not None, switch)


LATER = NOON + timedelta(seconds=1)


@pytest.mark.parametrize(
    ("found", "said", "switch"),
    [
        (observations.shows_card(order(OLD), OLD), "yes", "--shown-card token"),
        (
            observations.shows_card(order(), OLD),
            "no: the card is set before each attempt, which costs one more write",
            "--shown-card nothing",
        ),
        (observations.shows_refusal(order(), order(errors_count=1)), "yes", "--refusal-shows error"),
        (observations.shows_refusal(order(updated_at=NOON), order(updated_at=LATER)), "yes", "--refusal-shows error"),
        (
            observations.shows_refusal(order(updated_at=NOON), order(updated_at=NOON)),
            "no: leave prepare_ahead off",
            "--refusal-shows nothing",
        ),
        (
            observations.copying_changes(order(updated_at=NOON), order(updated_at=NOON)),
            "yes",
            "--copied-source unchanged",
        ),
        (
            observations.copying_changes(order(updated_at=NOON), order(updated_at=LATER)),
            "no: with prepare_ahead, each order is copied again when it is due",
            "--copied-source changes",
        ),
    ],
)
def test_what_perennial_relies_on_is_answered_with_what_follows(found: Found, said: str, switch: str) -> None:
    assert (found.said, found.switch) == (said, switch)


def test_settings_have_only_what_was_found_out() -> None:
    found = [
        Found(Question.COPY_PAYS, "the newest", "newest"),
        Found(Question.LIST_LAG, "at once", 0.0),
        Found(Question.PLACED_LATER, "yes"),
        not_found_out(Question.ABORTED, "nothing aborts"),
    ]

    assert settings_of(found) == {"copy-pays": "newest", "list-lag": 0.0}
    assert [each.switch for each in found] == ["--copy-pays newest", "--list-lag 0", "", ""]
    assert len(set(SWITCHES.values())) == len(SWITCHES)
