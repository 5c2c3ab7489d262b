"""The card that a customer has chosen is the one that is charged, whenever they choose it; the old one never again."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from meanwhile import Meanwhile, delete, patch
from merchant import Merchant, open_merchant

from blocks.commerce_layer.clock import use_clock
from flows.cli.prefect_server import PrefectServer

Made = dict[str, Any]
DAY, QUARTER = 86_400, 900
COPY_EXISTS = "SELECT 1 FROM order_copies"
COPY_ENDED = "SELECT 1 FROM order_copies WHERE target_order_id IS NOT NULL"


def give(merchant: Merchant, made: Made, card: str | None = None) -> str:
    """The customer gives the subscription a card, a new one unless it is named; returns its id."""
    card = card or merchant.sandbox.add_payment_source(made["customer_id"])
    link = {"customer_payment_source": {"data": {"type": "customer_payment_sources", "id": card}}}
    patch(merchant, "order_subscriptions", made["id"], relationships=link)
    return card


def charges(merchant: Merchant) -> list[tuple[str, int]]:
    """Every attempt to charge a card, and whether it was accepted, as the shop itself has noted it."""
    rows = merchant.rows("SELECT card_id, accepted FROM sandbox_charges ORDER BY rowid")
    return [(row["card_id"], row["accepted"]) for row in rows]


def card_of(merchant: Merchant, made: Made) -> str | None:
    card: str | None = merchant.subscription(made["id"])["customer_payment_source_id"]
    return card


def open_order(merchant: Merchant) -> str:
    (row,) = merchant.rows("SELECT target_order_id FROM order_copies")
    return str(row["target_order_id"])


async def declined(merchant: Merchant, kind: str = "declined") -> Made:
    """A subscription whose card was declined once."""
    made: Made = merchant.sandbox.create_subscription(failure=kind)
    await merchant.sweep()
    assert charges(merchant) == [(made["customer_payment_source_id"], 0)]
    return made


async def test_a_card_that_was_changed_before_the_first_attempt_pays_for_it(merchant: Merchant) -> None:
    made = merchant.sandbox.create_subscription()
    new = give(merchant, made)

    assert (await merchant.sweep()).outcomes == {"renewed": 1}
    assert charges(merchant) == [(new, 1)]


async def test_an_old_card_that_would_be_declined_is_not_tried_at_all(merchant: Merchant) -> None:
    made = merchant.sandbox.create_subscription(failure="declined")
    new = give(merchant, made)

    assert (await merchant.sweep()).outcomes == {"renewed": 1}
    assert charges(merchant) == [(new, 1)]


async def test_a_card_that_has_left_the_wallet_is_replaced_by_the_subscriptions(merchant: Merchant) -> None:
    made = merchant.sandbox.create_subscription()
    new = give(merchant, made)
    delete(merchant, "customer_payment_sources", made["customer_payment_source_id"])

    assert (await merchant.sweep()).outcomes == {"renewed": 1}
    assert charges(merchant) == [(new, 1)]


async def test_a_subscription_without_a_card_has_its_order_placed_as_it_is(merchant: Merchant) -> None:
    made = merchant.sandbox.create_subscription()
    patch(merchant, "order_subscriptions", made["id"], relationships={"customer_payment_source": {"data": None}})

    assert (await merchant.sweep()).outcomes == {"renewed": 1}
    assert charges(merchant) == [(made["customer_payment_source_id"], 1)]


async def test_where_the_card_is_right_no_request_is_added(merchant: Merchant) -> None:
    for _ in range(5):
        merchant.sandbox.create_subscription()
    merchant.sandbox.reset_counters()

    assert (await merchant.sweep()).outcomes == {"renewed": 5}
    requests = merchant.sandbox.counters()["requests"]
    assert requests["PATCH /api/orders/{id}"] == 5
    assert requests["PATCH /api/order_subscriptions/{id}"] == 1 + 5  # one asks whether subscriptions may be written
    assert not [name for name in requests if "payment" in name or name == "GET /api/orders/{id}"]


@pytest.mark.parametrize("happened", [COPY_EXISTS, COPY_ENDED])
@pytest.mark.parametrize("failure", [None, "declined"])
async def test_a_card_that_is_changed_between_the_copy_and_the_placement_pays(
    merchant: Merchant, happened: str, failure: str | None
) -> None:
    made = merchant.sandbox.create_subscription(failure=failure)
    given: list[str] = []
    clock = Meanwhile(merchant, lambda: bool(merchant.rows(happened)), lambda: given.append(give(merchant, made)))
    with use_clock(clock):
        ended = await merchant.sweep()

    assert ended.outcomes == {"renewed": 1}
    assert charges(merchant) == [(given[0], 1)]


async def test_a_new_card_is_tried_at_the_next_sweep_after_a_decline(merchant: Merchant) -> None:
    made = await declined(merchant)
    merchant.sandbox.advance(QUARTER)
    assert (await merchant.sweep()).outcomes.get("renewed", 0) == 0
    new = give(merchant, made)
    merchant.sandbox.advance(QUARTER)

    assert (await merchant.sweep()).outcomes == {"renewed": 1}
    assert charges(merchant) == [(made["customer_payment_source_id"], 0), (new, 1)]


async def test_a_new_card_that_is_declined_as_well_waits_as_the_policy_says(merchant: Merchant) -> None:
    made = await declined(merchant)
    new = give(merchant, made)
    merchant.sandbox.set_card_failure(new, "declined")

    for _ in range(3):
        merchant.sandbox.advance(QUARTER)
        await merchant.sweep()

    assert charges(merchant)[1:] == [(new, 0)]
    state = merchant.subscription(made["id"])["metadata"]["perennial"]
    assert (state["attempt"], state["payment_source_id"]) == (2, new)
    assert sorted(state["attempt_cards"].values()) == sorted([made["customer_payment_source_id"], new])


async def test_a_card_that_is_attached_on_day_19_does_not_wait_for_the_old_ones_limit(merchant: Merchant) -> None:
    daily = ["1d", "1d", "1d", "1d"]
    await merchant.install(max_attempts_per_month=5, payment_retries=daily, final_action="skip_period")
    made = merchant.sandbox.create_subscription(frequency="weekly", failure="declined")
    old = made["customer_payment_source_id"]
    for days in (1, 1, 1, 1, 3, 11):
        await merchant.sweep()
        merchant.sandbox.advance(days * DAY + 60)
    assert charges(merchant) == [(old, 0)] * 5
    assert (await merchant.sweep()).outcomes.get("renewed", 0) == 0, "the old card waits for its limit"

    new = give(merchant, made)
    merchant.sandbox.advance(QUARTER)

    assert (await merchant.sweep()).outcomes == {"renewed": 1}
    assert charges(merchant)[5:] == [(new, 1)]


async def held(merchant: Merchant, made: Made) -> None:
    merchant.sandbox.set_failure(made["source_order_id"], "hard_declined")
    await merchant.sweep()


async def exhausted(merchant: Merchant, made: Made) -> None:
    merchant.sandbox.set_failure(made["source_order_id"], "declined")
    for _ in range(5):
        await merchant.sweep()
        merchant.sandbox.advance(5 * DAY)


async def waiting(merchant: Merchant, made: Made) -> None:
    merchant.sandbox.set_failure(made["source_order_id"], "declined")
    await merchant.sweep()
    merchant.sandbox.advance(QUARTER)


async def left_by_a_dead_run(merchant: Merchant, _: Made) -> None:
    await merchant.sweep_that_dies_before_placing()


async def left_by_a_run_that_recorded_nothing(merchant: Merchant, made: Made) -> None:
    merchant.sandbox.set_failure(made["source_order_id"], "declined")
    merchant.sandbox.fault("status", method="PATCH", path="/api/order_subscriptions/*", status=503)
    await merchant.sweep()
    merchant.sandbox.clear_faults()


async def renewed(merchant: Merchant, _: Made) -> None:
    assert (await merchant.sweep()).outcomes == {"renewed": 1}


async def not_begun(_: Merchant, __: Made) -> None:
    return


POINTS = [not_begun, left_by_a_dead_run, left_by_a_run_that_recorded_nothing, waiting, held, exhausted, renewed]


async def two_periods_more(merchant: Merchant, made: Made, point: Callable[..., Any]) -> None:
    """The card is changed at this point of a period; from then on the old one is never charged, and nothing is lost."""
    await point(merchant, made)
    old, before = made["customer_payment_source_id"], len(charges(merchant))
    new = give(merchant, made)
    for days in (0, 1, 31, 31):
        merchant.sandbox.advance(days * DAY + QUARTER)
        await merchant.sweep()

    after = charges(merchant)[before:]
    assert (old, 0) not in after
    assert (old, 1) not in after
    assert after == [(new, 1)] * len(after)
    assert len(after) >= 2
    assert len(set(merchant.placed())) == len(merchant.placed())


@pytest.mark.parametrize("point", POINTS)
async def test_a_card_that_is_changed_at_any_point_of_a_period_is_the_last_that_is_charged(
    merchant: Merchant, point: Callable[..., Any]
) -> None:
    made = merchant.sandbox.create_subscription()
    await two_periods_more(merchant, made, point)


@pytest.mark.parametrize("copies", ["newest", "subscription"])
@pytest.mark.parametrize("missing", ["pending", "newest"])
async def test_it_is_so_whichever_card_the_shop_gives_to_a_copy(
    server: PrefectServer, copies: str, missing: str
) -> None:
    async with open_merchant("--copy-pays", copies, "--missing-card", missing) as merchant:
        made = merchant.sandbox.create_subscription()
        merchant.sandbox.advance(1)
        merchant.sandbox.add_payment_source(made["customer_id"])  # the newest of the wallet, and not the subscription's
        await two_periods_more(merchant, made, waiting)


# --- trouble on the way -------------------------------------------------------------------------


@pytest.mark.parametrize(("trouble", "when"), [("reset", "before"), ("reset", "after"), ("status", "before")])
async def test_what_happens_to_the_request_that_sets_the_card_charges_nobody_twice_and_no_old_card(
    merchant: Merchant, trouble: str, when: str
) -> None:
    made = merchant.sandbox.create_subscription()
    new = give(merchant, made)
    more = {"status": 503} if trouble == "status" else {}
    merchant.sandbox.fault(
        trouble, when=when, method="PATCH", path="/api/orders/*", match="_customer_payment_source_id", times=6, **more
    )
    for _ in range(3):
        await merchant.sweep()
        merchant.sandbox.advance(QUARTER)

    assert charges(merchant) == [(new, 1)]
    assert len(merchant.placed()) == 1


async def test_a_lost_placement_is_sent_again_with_the_same_card(merchant: Merchant) -> None:
    made = merchant.sandbox.create_subscription()
    new = give(merchant, made)
    merchant.sandbox.fault("reset", when="before", method="PATCH", path="/api/orders/*", match="_place", times=1)

    assert (await merchant.sweep()).outcomes == {"renewed": 1}
    assert charges(merchant) == [(new, 1)]


async def test_lists_that_lag_do_not_have_the_card_set_again(merchant: Merchant) -> None:
    made = merchant.sandbox.create_subscription()
    new = give(merchant, made)
    merchant.sandbox.advance(60)
    merchant.sandbox.lag_lists(4)
    merchant.sandbox.reset_counters()

    assert (await merchant.sweep()).outcomes == {"renewed": 1}
    assert charges(merchant) == [(new, 1)]
    assert merchant.requests("PATCH /api/orders/{id}") == 2


async def test_a_card_that_the_shop_refuses_is_a_failed_payment_and_no_charge(merchant: Merchant) -> None:
    made = merchant.sandbox.create_subscription()
    give(merchant, made)
    refusal = {"errors": [{"title": "must exist", "detail": "customer_payment_source - must exist", "status": "422"}]}
    merchant.sandbox.fault(
        "status", status=422, body=json.dumps(refusal), method="PATCH", path="/api/orders/*",
        match="_customer_payment_source_id",
    )  # fmt: skip
    ended = await merchant.sweep()

    assert ended.outcomes == {"retry_scheduled": 1}
    assert charges(merchant) == []
    state = merchant.subscription(made["id"])["metadata"]["perennial"]
    assert (state["attempt"], state["attempts"], state["error_class"]) == (1, [], "payment")


# --- the checkout -------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["declined", "hard_declined"])
async def test_a_card_that_a_renewal_was_paid_with_at_the_checkout_is_charged_from_then_on(
    merchant: Merchant, kind: str
) -> None:
    made = await declined(merchant, kind)
    other = merchant.sandbox.add_payment_source(made["customer_id"])
    merchant.sandbox.customer_pays(open_order(merchant), other)
    merchant.sandbox.reset_counters()

    ended = await merchant.sweep()

    assert sum(ended.outcomes.values()) == 1
    assert "skipped" not in ended.outcomes
    assert card_of(merchant, made) == other
    assert merchant.requests("PATCH /api/order_subscriptions/{id}") == 2, "the permission is asked, and the record"
    merchant.sandbox.advance(32 * DAY)
    assert (await merchant.sweep()).outcomes == {"renewed": 1}
    assert charges(merchant)[1:] == [(other, 1), (other, 1)]


async def test_a_merchant_can_leave_the_card_as_it_is(merchant: Merchant) -> None:
    await merchant.install(follow_checkout_card=False)
    made = await declined(merchant)
    merchant.sandbox.customer_pays(open_order(merchant), merchant.sandbox.add_payment_source(made["customer_id"]))
    await merchant.sweep()

    assert card_of(merchant, made) == made["customer_payment_source_id"]


async def test_a_card_that_is_given_after_the_checkout_is_not_taken_back(merchant: Merchant) -> None:
    made = await declined(merchant)
    merchant.sandbox.customer_pays(open_order(merchant))
    new = give(merchant, made)
    await merchant.sweep()

    assert card_of(merchant, made) == new


@pytest.mark.parametrize("trouble", [{"status": 503}, {"status": 422}])
async def test_a_renewal_is_recorded_although_its_new_card_cannot_be(
    merchant: Merchant, trouble: dict[str, int]
) -> None:
    made = await declined(merchant)
    other = merchant.sandbox.add_payment_source(made["customer_id"])
    merchant.sandbox.customer_pays(open_order(merchant), other)
    if trouble["status"] == 503:
        merchant.sandbox.fault("status", method="GET", path="/api/customer_payment_sources", **trouble)
    else:
        refusal = {"errors": [{"title": "must exist", "detail": "customer_payment_source - must exist"}]}
        merchant.sandbox.fault(
            "status",
            body=json.dumps(refusal),
            method="PATCH",
            path="/api/order_subscriptions/*",
            match=other,
            **trouble,
        )
    ended = await merchant.sweep()

    assert sum(ended.outcomes.values()) == 1
    state = merchant.subscription(made["id"])
    assert state["customer_payment_source_id"] == made["customer_payment_source_id"]
    assert state["metadata"]["perennial"]["outcome"] in {"renewed", "already_renewed"}
    assert state["next_run_at"] > merchant.sandbox.clock().isoformat()


@pytest.mark.parametrize("kind", ["declined", "hard_declined"])
async def test_an_order_whose_payment_was_confirmed_and_that_was_not_placed_is_placed(
    merchant: Merchant, kind: str
) -> None:
    made = await declined(merchant, kind)
    other = merchant.sandbox.add_payment_source(made["customer_id"])
    patch(merchant, "orders", open_order(merchant), _customer_payment_source_id=other)
    patch(merchant, "orders", open_order(merchant), _authorize=True)
    merchant.sandbox.advance(QUARTER)

    assert (await merchant.sweep()).outcomes == {"renewed": 1}
    assert charges(merchant)[1:] == [(other, 1)], "confirmed once, and not charged again"
    assert card_of(merchant, made) == other
    assert (await merchant.sweep()).outcomes == {}


async def test_a_confirmed_order_keeps_its_card_although_the_subscription_has_another(merchant: Merchant) -> None:
    made = merchant.sandbox.create_subscription()
    await merchant.sweep_that_dies_before_placing()
    patch(merchant, "orders", open_order(merchant), _authorize=True)
    new = give(merchant, made)

    assert (await merchant.sweep()).outcomes == {"renewed": 1}
    assert charges(merchant) == [(made["customer_payment_source_id"], 1)]
    assert card_of(merchant, made) == new


async def test_a_confirmed_order_that_is_out_of_stock_is_not_tried_by_every_sweep(merchant: Merchant) -> None:
    made = await declined(merchant)
    patch(merchant, "orders", open_order(merchant), _customer_payment_source_id=give(merchant, made))
    patch(merchant, "orders", open_order(merchant), _authorize=True)
    merchant.sandbox.set_failure(made["source_order_id"], "out_of_stock_at_placing")
    merchant.sandbox.advance(QUARTER)
    refused = "SELECT * FROM resource_errors WHERE name = 'line_items'"

    for _ in range(4):
        await merchant.sweep()
        merchant.sandbox.advance(QUARTER)

    assert len(merchant.rows(refused)) == 1
    merchant.sandbox.set_failure(made["source_order_id"], None)
    merchant.sandbox.advance(DAY)
    assert (await merchant.sweep()).outcomes == {"renewed": 1}
