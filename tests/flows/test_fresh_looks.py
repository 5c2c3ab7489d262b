"""Placements that wait for the rate limit look at their subscriptions again when the limit lets them go."""

from __future__ import annotations

from meanwhile import Meanwhile, patch
from merchant import Merchant

from blocks.commerce_layer.clock import use_clock
from blocks.commerce_layer.rate_limit import RateLimits


async def test_subscriptions_that_are_cancelled_while_they_wait_for_the_rate_limit_are_not_charged(
    merchant: Merchant,
) -> None:
    await merchant.install(limits=RateLimits(writes_per_minute=4))
    due = merchant.sandbox.seed(6)["subscription_ids"]
    cancelled: list[str] = []

    def cancel_the_others() -> None:
        charged = {each.partition("@")[0] for each in merchant.placed()}
        cancelled.extend(each for each in due if each not in charged)
        for each in cancelled:
            patch(merchant, "order_subscriptions", each, _cancel=True)
        merchant.sandbox.advance(11)  # a last look is valid for ten seconds

    with use_clock(Meanwhile(merchant, lambda: bool(merchant.placed()), cancel_the_others)):
        ended = await merchant.sweep()

    assert len(cancelled) == 5
    assert ended.outcomes == {"renewed": 1, "skipped": 5}
    assert ended.facts["skipped"] == {"cancelled": 5}
    assert [each.partition("@")[0] for each in merchant.placed()] == [each for each in due if each not in cancelled]
    assert {order["status"] for order in merchant.target_orders() if order["placed_at"] is None} <= {"cancelled"}
