"""Failures while a card is set on an order or charged: no period is charged twice, and no old card is charged."""

from __future__ import annotations

import json

import pytest
from card_charges import QUARTER, attach_card, charges
from merchant import Merchant


@pytest.mark.parametrize(("trouble", "when"), [("reset", "before"), ("reset", "after"), ("status", "before")])
async def test_failed_requests_to_set_the_card_lead_to_one_charge_of_the_new_card(
    merchant: Merchant, trouble: str, when: str
) -> None:
    made = merchant.sandbox.create_subscription()
    new = attach_card(merchant, made)
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
    new = attach_card(merchant, made)
    merchant.sandbox.fault("reset", when="before", method="PATCH", path="/api/orders/*", match="_place", times=1)

    assert (await merchant.sweep()).outcomes == {"renewed": 1}
    assert charges(merchant) == [(new, 1)]


async def test_the_card_is_set_once_although_lists_lag(merchant: Merchant) -> None:
    made = merchant.sandbox.create_subscription()
    new = attach_card(merchant, made)
    merchant.sandbox.advance(60)
    merchant.sandbox.lag_lists(4)
    merchant.sandbox.reset_counters()

    assert (await merchant.sweep()).outcomes == {"renewed": 1}
    assert charges(merchant) == [(new, 1)]
    assert merchant.requests("PATCH /api/orders/{id}") == 2


async def test_a_card_that_the_shop_refuses_is_a_failed_attempt_without_a_charge(merchant: Merchant) -> None:
    made = merchant.sandbox.create_subscription()
    attach_card(merchant, made)
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
