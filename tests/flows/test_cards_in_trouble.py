"""What goes wrong while a card is set or charged: nobody pays twice, and no old card pays."""

from __future__ import annotations

import json

import pytest
from card_charges import QUARTER, charges, give
from merchant import Merchant


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
