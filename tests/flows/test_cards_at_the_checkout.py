"""Renewals that the customer pays at the checkout: the subscription takes over the card, and the order is placed."""

from __future__ import annotations

import json

import pytest
from card_charges import DAY, QUARTER, attach_card, card_of, charges, declined, open_order
from meanwhile import patch
from merchant import Merchant


@pytest.mark.parametrize("kind", ["declined", "hard_declined"])
async def test_a_card_that_paid_a_renewal_at_the_checkout_is_charged_from_then_on(
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
    assert merchant.requests("PATCH /api/order_subscriptions/{id}") == 2, (
        "one asks whether it may write, the other is the record"
    )
    merchant.sandbox.advance(32 * DAY)
    assert (await merchant.sweep()).outcomes == {"renewed": 1}
    assert charges(merchant)[1:] == [(other, 1), (other, 1)]


async def test_the_subscription_keeps_its_card_if_the_policy_says_so(merchant: Merchant) -> None:
    await merchant.install(follow_checkout_card=False)
    made = await declined(merchant)
    merchant.sandbox.customer_pays(open_order(merchant), merchant.sandbox.add_payment_source(made["customer_id"]))
    await merchant.sweep()

    assert card_of(merchant, made) == made["customer_payment_source_id"]


async def test_a_card_that_is_attached_after_the_checkout_is_kept(merchant: Merchant) -> None:
    made = await declined(merchant)
    merchant.sandbox.customer_pays(open_order(merchant))
    new = attach_card(merchant, made)
    await merchant.sweep()

    assert card_of(merchant, made) == new


@pytest.mark.parametrize("trouble", [{"status": 503}, {"status": 422}])
async def test_a_renewal_is_recorded_although_its_new_card_cannot_be_attached(
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
async def test_an_order_that_was_authorized_at_the_checkout_and_not_placed_is_placed(
    merchant: Merchant, kind: str
) -> None:
    made = await declined(merchant, kind)
    other = merchant.sandbox.add_payment_source(made["customer_id"])
    patch(merchant, "orders", open_order(merchant), _customer_payment_source_id=other)
    patch(merchant, "orders", open_order(merchant), _authorize=True)
    merchant.sandbox.advance(QUARTER)

    assert (await merchant.sweep()).outcomes == {"renewed": 1}
    assert charges(merchant)[1:] == [(other, 1)], "authorized once, and not charged again"
    assert card_of(merchant, made) == other
    assert (await merchant.sweep()).outcomes == {}


async def test_an_authorized_order_keeps_its_card_although_the_subscription_has_another(merchant: Merchant) -> None:
    made = merchant.sandbox.create_subscription()
    await merchant.sweep_that_dies_before_placing()
    patch(merchant, "orders", open_order(merchant), _authorize=True)
    new = attach_card(merchant, made)

    assert (await merchant.sweep()).outcomes == {"renewed": 1}
    assert charges(merchant) == [(made["customer_payment_source_id"], 1)]
    assert card_of(merchant, made) == new


async def test_an_authorized_order_that_is_out_of_stock_is_not_tried_by_every_sweep(merchant: Merchant) -> None:
    made = await declined(merchant)
    patch(merchant, "orders", open_order(merchant), _customer_payment_source_id=attach_card(merchant, made))
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
