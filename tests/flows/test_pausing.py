"""Pausing subscriptions, and cancelling the orders of renewals that Perennial gives up."""

from __future__ import annotations

import pytest
from merchant import Merchant
from stored_runs import table

from flows.__main__ import main


async def test_a_paused_subscription_is_not_charged_until_it_is_resumed(merchant: Merchant) -> None:
    made = merchant.sandbox.create_subscription(frequency="daily")

    paused = await merchant.hand_over(made["id"], handover="pause")
    swept = [await merchant.sweep() for _ in range(2)]
    assert paused.message == "1 paused"
    assert [each.outcomes for each in swept] == [{"skipped": 1}] * 2
    assert merchant.copies() == []

    merchant.sandbox.advance(3 * 86400)
    assert (await merchant.hand_over(made["id"], handover="resume")).message == "1 resumed"
    assert (await merchant.sweep()).outcomes == {}
    merchant.sandbox.advance(86400)
    assert (await merchant.sweep()).outcomes == {"renewed": 1}
    assert len(merchant.placed()) == 1


async def test_a_subscription_that_is_paused_between_copy_and_charge_is_not_charged(merchant: Merchant) -> None:
    made = merchant.sandbox.create_subscription()
    await merchant.sweep_that_dies_before_placing()
    assert [order["status"] for order in merchant.target_orders()] == ["pending"]

    await merchant.hand_over(made["id"], handover="pause")
    await merchant.sweep()

    assert [order["status"] for order in merchant.target_orders()] == ["cancelled"]
    assert merchant.placed() == []


@pytest.mark.parametrize("action", ["cancel", "skip_period"])
async def test_the_order_of_a_renewal_whose_retries_are_used_up_is_cancelled(merchant: Merchant, action: str) -> None:
    await merchant.install(payment_retries=[], final_action=action)
    merchant.sandbox.create_subscription(failure="declined")

    await merchant.sweep()

    assert [order["status"] for order in merchant.target_orders()] == ["cancelled"]


@pytest.mark.parametrize("action", ["cancel", "skip_period"])
async def test_the_next_sweep_cancels_an_order_that_the_last_one_could_not_cancel(
    merchant: Merchant, action: str
) -> None:
    await merchant.install(payment_retries=[], final_action=action)
    merchant.sandbox.create_subscription(failure="declined")
    merchant.sandbox.fault("status", method="PATCH", path="/api/orders/*", match="_cancel", status=503)
    await merchant.sweep()
    assert [order["status"] for order in merchant.target_orders()] == ["pending"]

    merchant.sandbox.clear_faults()
    await merchant.sweep()

    assert [order["status"] for order in merchant.target_orders()] == ["cancelled"]


async def test_no_subscription_is_cancelled_because_the_payment_gateway_is_down(merchant: Merchant) -> None:
    await merchant.install(payment_retries=[], transient_retries=[], final_action="cancel", brake_share=1.0)
    made = merchant.sandbox.create_subscription(failure="gateway_timeout")

    ended = await merchant.sweep()

    (row,) = await table(ended.flow_run_id)
    assert merchant.subscription(made["id"])["status"] == "inactive"
    assert "held for a person" in row["why"]


def test_the_pause_command_is_refused_without_a_subscription_id(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["pause"]) == 2
    assert "ID" in capsys.readouterr().err
